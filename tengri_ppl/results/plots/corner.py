"""Corner plot: the one- and two-dimensional marginals of a posterior."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tengri_ppl.errors import ParameterError
from tengri_ppl.results.plots.style import PALETTE, label_of, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot_corner"]

_PANEL_INCH = 1.7
_MARGIN_INCH = 0.85
_TITLE_INCH = 0.5
_TRUTH = "#000000"
_MASSES = (0.95, 0.68)


def plot_corner(
    samples: Mapping[str, np.ndarray],
    *,
    truths: Mapping[str, float] | None = None,
    color: str | None = None,
    fig: Figure | None = None,
    label: str | None = None,
    bins: int = 30,
) -> Figure:
    """Plot the marginals of all pairs of quantities as a lower triangle.

    On the diagonal: histograms, scaled to the same height, with the median (solid) and the 16 and
    84 % quantiles (dashed), which the title repeats. Below: the regions that hold 68 and 95 % of
    the draws.

    Parameters
    ----------
    samples : mapping of str to ndarray, shape (n,)
        Draws of each quantity, in the order of the panels.
    truths : mapping, optional
        Values to mark with dotted lines.
    color : str, optional
        Colour; by default the next one that is not in the figure yet.
    fig : Figure, optional
        A figure that this function made of the same quantities, to draw over.
    label : str, optional
        Entry in the legend.
    bins : int
        Bins of the histograms per quantity.

    Returns
    -------
    Figure

    Raises
    ------
    ParameterError
        If there is nothing to plot, or ``fig`` shows other quantities.
    """
    names = list(samples)
    if not names:
        raise ParameterError("a corner plot needs at least one quantity")
    first = fig is None
    fig = _new_triangle(names) if fig is None else fig
    axes = _panels(fig, names)
    color = color or PALETTE[len(axes[names[0], names[0]].patches) % len(PALETTE)]
    draws = {name: np.asarray(x, dtype=float) for name, x in samples.items()}
    ranges = {name: _range(x) for name, x in draws.items()}
    for (x, y), ax in axes.items():
        if x == y:
            _histogram(ax, draws[x], ranges[x], bins, color, label)
            ax.set_title(_title(draws[x], x) if first else "", fontsize=9)
        else:
            _density(ax, draws[x], draws[y], (ranges[x], ranges[y]), bins, color)
            _limits(ax.set_ylim, ax.get_ylim(), ranges[y], first)
        _limits(ax.set_xlim, ax.get_xlim(), ranges[x], first)
        _mark_truth(ax, x, y, truths or {})
    if label:
        _legend(fig, axes[names[0], names[0]])
    return fig


def _new_triangle(names: list[str]) -> Any:
    """Make the figure with its empty panels; a panel's label says what it shows."""
    from matplotlib.ticker import MaxNLocator

    n = len(names)
    size = _PANEL_INCH * n + _MARGIN_INCH + _TITLE_INCH
    fig = new_figure(size, size)
    low, high = _MARGIN_INCH / size, 1.0 - _TITLE_INCH / size
    grid = fig.add_gridspec(
        n, n, left=low, bottom=low, right=high, top=high, wspace=0.08, hspace=0.08
    )
    for row, y in enumerate(names):
        for col, x in enumerate(names[: row + 1]):
            ax = fig.add_subplot(grid[row, col], label=_panel(x, y))
            ax.tick_params(labelsize=8, direction="in", top=True, right=row != col)
            ax.xaxis.set_major_locator(MaxNLocator(4, prune="both"))
            ax.tick_params("x", labelrotation=45, labelbottom=row == n - 1)
            ax.tick_params("y", labelleft=col == 0 and row > 0)
            ax.yaxis.set_major_locator(MaxNLocator(4, prune="both"))
            if row == col:
                ax.set_yticks([])
            if row == n - 1:
                ax.set_xlabel(label_of(x), fontsize=9)
                ax.xaxis.set_label_coords(0.5, -0.34)
            if col == 0 and row > 0:
                ax.set_ylabel(label_of(y), fontsize=9)
                ax.yaxis.set_label_coords(-0.36, 0.5)
    return fig


def _panel(x: str, y: str) -> str:
    return f"corner {x} | {y}"


def _panels(fig: Any, names: list[str]) -> dict[tuple[str, str], Any]:
    """Find the panels of all pairs (x, y) in a figure."""
    found = {ax.get_label(): ax for ax in fig.axes}
    pairs = [(x, y) for row, y in enumerate(names) for x in names[: row + 1]]
    missing = [pair for pair in pairs if _panel(*pair) not in found]
    if missing or len(pairs) != sum(str(k).startswith("corner ") for k in found):
        raise ParameterError(
            f"fig is not a corner plot of {', '.join(names)} in this order; choose the same params"
        )
    return {pair: found[_panel(*pair)] for pair in pairs}


def _range(draws: np.ndarray) -> tuple[float, float]:
    """Range that holds all but 0.2 % of the draws, never of zero width."""
    low, high = np.quantile(draws, [0.001, 0.999])
    pad = 1e-3 * max(abs(low), 1.0) if high <= low else 0.0
    return float(low - pad), float(high + pad)


def _limits(setter: Any, now: tuple[float, float], new: tuple[float, float], first: bool) -> None:
    pad = 0.02 * (new[1] - new[0])
    low, high = new[0] - pad, new[1] + pad
    setter((low, high) if first else (min(low, now[0]), max(high, now[1])))


def _histogram(
    ax: Any, draws: np.ndarray, span: tuple[float, float], bins: int, color: str, label: str | None
) -> None:
    from matplotlib.colors import to_rgba

    counts, edges = np.histogram(draws, bins=bins, range=span)
    face = to_rgba(color, 0.25)
    ax.stairs(
        counts / counts.max(),
        edges,
        fill=True,
        facecolor=face,
        edgecolor=color,
        lw=1.2,
        label=label,
    )
    low, median, high = np.quantile(draws, [0.16, 0.5, 0.84])
    ax.axvline(median, color=color, lw=1.2)
    for value in (low, high):
        ax.axvline(value, color=color, lw=1.0, ls="--")
    ax.set_ylim(0.0, 1.1)


def _density(
    ax: Any,
    x: np.ndarray,
    y: np.ndarray,
    span: tuple[tuple[float, float], tuple[float, float]],
    bins: int,
    color: str,
) -> None:
    """Fill the smallest regions that hold 68 and 95 % of a smoothed histogram."""
    from matplotlib.colors import to_rgba
    from scipy.ndimage import gaussian_filter  # type: ignore[import-untyped]

    counts, x_edges, y_edges = np.histogram2d(x, y, bins=bins, range=span)
    # Reflection keeps the density where a posterior ends at a wall of the prior.
    width = float(np.clip(1.2 * (5000.0 / len(x)) ** (1.0 / 6.0), 1.0, 2.5))
    smooth = np.pad(gaussian_filter(counts, width, mode="reflect"), 1, mode="edge")
    levels = [_level(smooth[1:-1, 1:-1], mass) for mass in _MASSES]
    if not levels[0] < levels[1] < smooth.max():
        ax.plot(x, y, ".", color=color, ms=1.5)
        return
    grids = [np.r_[e[0], 0.5 * (e[1:] + e[:-1]), e[-1]] for e in (x_edges, y_edges)]
    colors = [to_rgba(color, alpha) for alpha in (0.22, 0.55)]
    ax.contourf(*grids, smooth.T, levels=[*levels, smooth.max() * 1.001], colors=colors)
    ax.contour(*grids, smooth.T, levels=levels, colors=color, linewidths=0.9)


def _level(density: np.ndarray, mass: float) -> float:
    """Density above which a share ``mass`` of the sum lies."""
    ordered = np.sort(density, axis=None)[::-1]
    share = np.cumsum(ordered) / ordered.sum()
    return float(ordered[np.searchsorted(share, mass)])


def _title(draws: np.ndarray, name: str) -> str:
    low, median, high = np.quantile(draws, [0.16, 0.5, 0.84])
    symbol = label_of(name).split(" [")[0]
    digits = int(np.clip(1 - np.floor(np.log10(max(min(high - median, median - low), 1e-6))), 0, 5))
    errors = rf"^{{+{high - median:.{digits}f}}}_{{-{median - low:.{digits}f}}}"
    return f"{symbol}\n$= {median:.{digits}f}{errors}$"


def _mark_truth(ax: Any, x: str, y: str, truths: Mapping[str, float]) -> None:
    if x in truths:
        ax.axvline(float(truths[x]), color=_TRUTH, ls=":", lw=1.2)
    if y in truths and x != y:
        ax.axhline(float(truths[y]), color=_TRUTH, ls=":", lw=1.2)


def _legend(fig: Any, ax: Any) -> None:
    """Put one legend into the empty upper right, or into the panel if there is only one."""
    handles, labels = ax.get_legend_handles_labels()
    for legend in list(fig.legends):
        legend.remove()
    fig.legend(handles, labels, loc="upper right", frameon=False, fontsize=10)
