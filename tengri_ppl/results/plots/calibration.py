"""Calibration plot: distribution functions of ranks, less the uniform one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tengri_ppl.results.plots.style import PALETTE, label_of, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tengri_ppl.results.calibration import Calibration

__all__ = ["plot_calibration"]

_LINES = ("-", "--", ":")


def plot_calibration(calibration: Calibration, *, title: str = "", prob: float = 0.99) -> Figure:
    """Plot the distribution function of the ranks of each quantity, less the uniform one.

    Calibrated posteriors stay in the grey band. A curve that rises above it first and falls below
    it later belongs to posteriors that are too narrow; one that stays on one side, to biased ones.

    Parameters
    ----------
    calibration : Calibration
        The ranks.
    title : str
        Heading.
    prob : float
        Probability that all of a curve is in the band, if ranks are uniform.

    Returns
    -------
    Figure
    """
    fig = new_figure(6.0, 4.0, layout="constrained")
    ax = fig.subplots()
    low, high = calibration.band(prob)
    for i, name in enumerate(calibration.ranks):
        at, found = calibration.ecdf(name)
        if i == 0:
            label = f"{100 * prob:g} % of uniform"
            ax.fill_between(at, low - at, high - at, color="0.88", lw=0, label=label)
        color, line = PALETTE[i % len(PALETTE)], _LINES[i // len(PALETTE) % len(_LINES)]
        ax.plot(at, found - at, line, color=color, lw=1.3, label=label_of(name))
    ax.axhline(0.0, color="0.5", lw=0.8)
    ax.set_xlim(0.0, 1.0)
    ax.set_xlabel("rank of the truth among the draws")
    ax.set_ylabel("ECDF - uniform")
    ax.set_title(title)
    fig.legend(loc="outside right upper", frameon=False, fontsize=8)
    return fig
