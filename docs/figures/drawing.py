"""One style for the figures of the gallery: a panel per parameter, the values above its lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.ticker import MaxNLocator, NullFormatter

from tengri_ppl.results.plots.style import log_ticks, new_figure

__all__ = ["Look", "Panel", "colours", "draw_panels", "save"]

_COLUMNS = 3
#: Size of a panel and room around it [inch].
_WIDTH, _HEIGHT = 2.7, 1.85
_LEFT, _RIGHT, _BETWEEN, _TOP, _BOTTOM = 0.6, 0.12, 0.5, 0.45, 0.42
#: Size [points] times length of a title that fills the width of a panel.
_TITLE_ROOM = 300.0
#: A range of x below this ratio is drawn on a linear axis.
_NARROW = 5.0


@dataclass(frozen=True)
class Look:
    """Axes of a figure.

    Attributes
    ----------
    xlabel, ylabel : str
        Labels, with units.
    xscale, yscale : {"linear", "log"}
        Scales.
    xlim, ylim : tuple of float, optional
        Ranges.
    decades : float
        Range of a logarithmic y axis below the highest line, where ``ylim`` is not given.
    marker : str
        Marker of each point.
    """

    xlabel: str
    ylabel: str
    xscale: str = "log"
    yscale: str = "log"
    xlim: tuple[float, float] | None = None
    ylim: tuple[float, float] | None = None
    decades: float = 4.0
    marker: str = ""


@dataclass(frozen=True)
class Panel:
    """What one parameter does.

    Attributes
    ----------
    title : str
        Name of the parameter, with its unit.
    labels : sequence of str
        Its values.
    x : ndarray, shape (n_x,) or (n_value, n_x)
        Abscissa.
    lines : ndarray, shape (n_value, n_line, n_x)
        Curves; the first solid, a second one dashed.
    xlim : tuple of float, optional
        Range that differs from that of the figure.
    """

    title: str
    labels: Sequence[str]
    x: np.ndarray
    lines: np.ndarray
    xlim: tuple[float, float] | None = None


def colours(n: int) -> list[Any]:
    """Return colours for ordered values, dark to light, readable on white."""
    return [matplotlib.colormaps["viridis"](x) for x in np.linspace(0.0, 0.88, n)]


def draw_panels(panels: Sequence[Panel], look: Look) -> Any:
    """Draw a grid of panels and return the figure."""
    n_column = min(_COLUMNS, len(panels))
    n_row = -(-len(panels) // n_column)
    width = _LEFT + n_column * _WIDTH + (n_column - 1) * _BETWEEN + _RIGHT
    height = _TOP + n_row * _HEIGHT + (n_row - 1) * (_TOP + _BOTTOM) + _BOTTOM
    figure = new_figure(width, height)
    axes = figure.subplots(n_row, n_column, squeeze=False)
    figure.subplots_adjust(
        left=_LEFT / width,
        right=1.0 - _RIGHT / width,
        bottom=_BOTTOM / height,
        top=1.0 - _TOP / height,
        wspace=_BETWEEN / _WIDTH,
        hspace=(_TOP + _BOTTOM) / _HEIGHT,
    )
    for axis in axes.flat[len(panels) :]:
        axis.remove()
    for i, (axis, panel) in enumerate(zip(axes.flat, panels, strict=False)):
        _draw(axis, panel, look)
        axis.set_xlabel(look.xlabel, fontsize=8)
        if i % n_column == 0:
            axis.set_ylabel(look.ylabel, fontsize=8)
    return figure


def _draw(axis: Any, panel: Panel, look: Look) -> None:
    """Draw one panel."""
    x = np.broadcast_to(panel.x, panel.lines.shape[::2])
    for row, lines, colour in zip(x, panel.lines, colours(len(panel.lines)), strict=True):
        for line, dash in zip(lines, ("-", "--"), strict=False):
            axis.plot(row, line, dash, color=colour, lw=1.1, marker=look.marker, ms=3)
    narrow = panel.xlim is not None and panel.xlim[1] < _NARROW * panel.xlim[0]
    xscale = "linear" if narrow else look.xscale
    axis.set(xscale=xscale, yscale=look.yscale)
    axis.set_xlim(panel.xlim or look.xlim)
    axis.set_ylim(look.ylim or _y_range(axis, x, panel.lines, look))
    axis.tick_params(labelsize=7)
    if narrow:
        axis.xaxis.set_major_locator(MaxNLocator(5))
    elif xscale == "log":
        log_ticks(axis.xaxis, *axis.get_xlim())
    if look.yscale == "log":
        axis.yaxis.set_minor_formatter(NullFormatter())
    size = min(8.0, _TITLE_ROOM / len(panel.title))
    axis.set_title(panel.title, fontsize=size, family="monospace", pad=15)
    places = (np.arange(len(panel.labels)) + 0.5) / max(len(panel.labels), 1)
    for place, label, colour in zip(places, panel.labels, colours(len(places)), strict=True):
        axis.text(
            *(place, 1.02, label),
            transform=axis.transAxes,
            ha="center",
            va="bottom",
            fontsize=8,
            color=colour,
            weight="bold",
        )


def _y_range(axis: Any, x: np.ndarray, lines: np.ndarray, look: Look) -> tuple[float, float]:
    """Return a range that holds the highest line within the range of x."""
    low, high = axis.get_xlim()
    inside = ((x >= low) & (x <= high))[:, None, :] & np.isfinite(lines)
    top = np.max(lines, where=inside, initial=0.0)
    if look.yscale == "linear":
        bottom = np.min(lines, where=inside, initial=0.0)
        return bottom - 0.04 * (top - bottom), top + 0.06 * (top - bottom)
    lowest = np.min(lines, where=inside & (lines > 0), initial=top)
    return max(lowest / 1.5, top * 10.0**-look.decades), top * 2.0


def save(figure: Any, path: Any) -> None:
    """Write a figure."""
    figure.savefig(path, dpi=110)
