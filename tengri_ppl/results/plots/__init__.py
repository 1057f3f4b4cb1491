"""Figures of a posterior: functions that make and return a matplotlib figure, and show nothing."""

from tengri_ppl.results.plots.corner import plot_corner
from tengri_ppl.results.plots.population import plot_relation, plot_shrinkage
from tengri_ppl.results.plots.sed import plot_sed
from tengri_ppl.results.plots.sfh import plot_sfh
from tengri_ppl.results.plots.trace import plot_trace

__all__ = [
    "plot_corner",
    "plot_relation",
    "plot_sed",
    "plot_sfh",
    "plot_shrinkage",
    "plot_trace",
]
