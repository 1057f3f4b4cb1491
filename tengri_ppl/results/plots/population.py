"""Figures of populations: relations with their members, galaxies alone and together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tengri_ppl.results.plots.style import PALETTE, label_of, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot_relation", "plot_shrinkage"]

_QUANTILES = (0.16, 0.5, 0.84)
_N_GRID = 50
_PANEL_INCH = 3.2


def plot_relation(
    x: np.ndarray,
    y: np.ndarray,
    shared: Mapping[str, np.ndarray],
    *,
    name: str,
    on: str,
    pivot: float,
) -> Figure:
    """Plot a scaling relation and the galaxies that follow it.

    Parameters
    ----------
    x, y : ndarray, shape (n_draw, n_galaxy)
        Draws of the galaxies.
    shared : mapping of str to ndarray, shape (n_draw,)
        Draws of ``<name>_intercept``, ``<name>_slope_<on>`` and ``<name>_scatter``.
    name, on : str
        The parameter, and what it depends on.
    pivot : float
        Of the latter.

    Returns
    -------
    Figure
        Medians with intervals of 68 % of the galaxies; the median line with its interval of 68 %,
        and dashed the scatter about it.
    """
    fig = new_figure(4.8, 4.0, layout="constrained")
    ax = fig.subplots()
    members = [np.quantile(draws, _QUANTILES, axis=0) for draws in (x, y)]
    _points(ax, *members)
    grid = np.linspace(*_padded(members[0]), _N_GRID)
    slope, intercept = shared[f"{name}_slope_{on}"], shared[f"{name}_intercept"]
    lines = intercept[:, None] + slope[:, None] * (grid - pivot)
    low, middle, high = np.quantile(lines, _QUANTILES, axis=0)
    scatter = np.median(shared[f"{name}_scatter"])
    ax.fill_between(grid, low, high, color=PALETTE[1], alpha=0.3, lw=0, label="68 % of lines")
    ax.plot(grid, middle, color=PALETTE[1], lw=1.5, label="median")
    for sign, label in ((-1.0, "scatter"), (1.0, None)):
        ax.plot(grid, middle + sign * scatter, color=PALETTE[1], lw=1.0, ls="--", label=label)
    ax.set(xlabel=label_of(on), ylabel=label_of(name), xlim=(grid[0], grid[-1]))
    ax.legend(frameon=False, fontsize=8)
    return fig


def plot_shrinkage(
    alone: Mapping[str, Sequence[np.ndarray]],
    together: Mapping[str, np.ndarray],
    *,
    loc: Mapping[str, np.ndarray] | None = None,
) -> Figure:
    """Compare what galaxies say one by one with what they say as members of a population.

    Parameters
    ----------
    alone : mapping of str to sequence of ndarray, shape (n,)
        Parameter -> draws of each galaxy under the priors of the SED model.
    together : mapping of str to ndarray, shape (n_draw, n_galaxy)
        Draws under the population.
    loc : mapping of str to ndarray, shape (n_draw,), optional
        Draws of the mean of the population, a dashed line.

    Returns
    -------
    Figure
        A panel for each parameter, medians with intervals of 68 %. Galaxies that the population
        says nothing about lie on the diagonal; the others are drawn towards its mean.
    """
    fig = new_figure(_PANEL_INCH * len(alone), _PANEL_INCH, layout="constrained")
    axes = fig.subplots(1, len(alone), squeeze=False)[0]
    for ax, (name, each) in zip(axes, alone.items(), strict=True):
        x = np.stack([np.quantile(draws, _QUANTILES) for draws in each], axis=1)
        y = np.quantile(together[name], _QUANTILES, axis=0)
        limits = _padded(np.concatenate([x, y]))
        ax.plot(limits, limits, color="0.6", lw=1.0, zorder=0)
        if loc and name in loc:
            ax.axhline(np.median(loc[name]), color=PALETTE[1], lw=1.0, ls="--", zorder=0)
        _points(ax, x, y)
        ax.set(xlim=limits, ylim=limits, title=label_of(name))
        ax.set(xlabel="one by one", ylabel="as a population")
    return fig


def _points(ax: Any, x: np.ndarray, y: np.ndarray) -> None:
    """Draw points with errors from quantiles (3, n)."""
    errors = [np.abs(q[[0, 2]] - q[1]) for q in (x, y)]
    ax.errorbar(x[1], y[1], xerr=errors[0], yerr=errors[1], fmt="o", ms=3, lw=0.7, color=PALETTE[0])


def _padded(values: np.ndarray) -> tuple[float, float]:
    low, high = float(np.min(values)), float(np.max(values))
    margin = 0.05 * (high - low) or 0.5
    return low - margin, high + margin
