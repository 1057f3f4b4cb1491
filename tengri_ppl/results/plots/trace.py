"""Trace plot: draws in the order in which they were made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tengri_ppl.results.plots.style import PALETTE, label_of, new_figure
from tengri_ppl.results.variables import chain_draws, shown_parameters

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot_trace"]


def plot_trace(inference_data: Any, *, params: Sequence[str] | None = None) -> Figure:
    """Plot each chain's draws against their number, and its marginal at the side.

    Divergent draws are marked by black ticks at the bottom.

    Parameters
    ----------
    inference_data : arviz.InferenceData
        With a group ``posterior`` and, where the engine has it, ``sample_stats.diverging``.
    params : sequence of str, optional
        Variables of the posterior, a panel for each element of a vector; by default the free
        parameters without long vectors.

    Returns
    -------
    Figure
    """
    chosen = shown_parameters(inference_data) if params is None else params
    every = chain_draws(inference_data, chosen)
    names = list(every)
    fig = new_figure(9.0, 1.25 * len(names) + 0.8, layout="constrained")
    fig.get_layout_engine().set(hspace=0.02, h_pad=0.03, wspace=0.01)
    axes = fig.subplots(len(names), 2, squeeze=False, sharey="row", width_ratios=[5, 1])
    diverging = _diverging(inference_data)
    for (trace, marginal), name in zip(axes, names, strict=True):
        _chains(trace, marginal, every[name])
        _rug(trace, diverging)
        trace.set_ylabel(label_of(name), fontsize=9)
        trace.set_xlim(0, every[name].shape[1] - 1)
        trace.tick_params("x", labelbottom=name == names[-1])
    axes[-1][0].set_xlabel("draw")
    axes[-1][1].set_xlabel("density")
    _legend(fig, axes[0][0], diverging)
    return fig


def _chains(trace: Any, marginal: Any, draws: np.ndarray) -> None:
    from matplotlib.ticker import MaxNLocator
    from scipy.ndimage import gaussian_filter1d  # type: ignore[import-untyped]

    edges = np.histogram_bin_edges(draws, bins=40)
    centres = 0.5 * (edges[1:] + edges[:-1])
    for chain, values in enumerate(draws):
        color = PALETTE[chain % len(PALETTE)]
        trace.plot(values, color=color, lw=0.6, alpha=0.8, label=f"chain {chain}")
        density, _ = np.histogram(values, bins=edges, density=True)
        marginal.plot(gaussian_filter1d(density, 2.0), centres, color=color, lw=1.1)
    trace.yaxis.set_major_locator(MaxNLocator(4))
    trace.tick_params(labelsize=8)
    marginal.tick_params(left=False, labelleft=False)
    marginal.set_xticks([])
    marginal.set_xlim(left=0.0)


def _rug(ax: Any, diverging: np.ndarray) -> None:
    if diverging.size:
        where = ax.get_xaxis_transform()
        ax.plot(diverging, np.full(diverging.size, 0.04), "|", color="k", ms=7, transform=where)


def _diverging(inference_data: Any) -> np.ndarray:
    """Numbers of the divergent draws, of all chains together."""
    stats = getattr(inference_data, "sample_stats", None)
    if stats is None or "diverging" not in stats:
        return np.array([], dtype=int)
    return np.nonzero(stats["diverging"].values)[1]


def _legend(fig: Any, ax: Any, diverging: np.ndarray) -> None:
    handles, labels = ax.get_legend_handles_labels()
    if diverging.size:
        handles.append(ax.lines[-1])
        labels.append(f"{diverging.size} divergent")
    shown = min(len(handles), 9)
    fig.legend(
        handles[:shown],
        labels[:shown],
        loc="outside upper right",
        ncols=shown,
        frameon=False,
        fontsize=8,
    )
