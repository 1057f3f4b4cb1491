"""Star formation history of a posterior."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tengri_ppl.errors import ParameterError
from tengri_ppl.models.sed import SEDModel
from tengri_ppl.physics.cosmology import age_gyr
from tengri_ppl.results.plots.draws import bands_of, spread_draws
from tengri_ppl.results.plots.style import PALETTE, log_ticks, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot_sfh"]

_N_TIME = 400
_FIRST_GYR = 1e-3


def plot_sfh(
    sed: SEDModel,
    samples: Mapping[str, np.ndarray],
    *,
    n_draws: int = 300,
    scale: str = "linear",
    truths: Mapping[str, float] | None = None,
    ax: Any = None,
    color: str = PALETTE[0],
    label: str | None = None,
) -> Figure:
    """Plot the star formation rate against lookback time: median, 68 and 95 % bands.

    Parameters
    ----------
    sed : SEDModel
        The model.
    samples : mapping of str to ndarray, shape (n,)
        Draws of the free parameters.
    n_draws : int
        Draws to evaluate.
    scale : {"linear", "log"}
        ``"linear"`` shows both axes linear from zero; ``"log"`` shows recent times and low rates,
        from 1 Myr on.
    truths : mapping, optional
        Free parameters of a history to draw as a dotted line.
    ax : Axes, optional
        Where to draw; by default a new figure.
    color, label : str, optional
        Colour and entry in the legend.

    Returns
    -------
    Figure
        The figure of the axes. The time axis ends at the age of the Universe at the galaxy's
        (median) redshift.

    Raises
    ------
    ParameterError
        If ``scale`` is unknown.
    """
    if scale not in ("linear", "log"):
        raise ParameterError(f"scale is {scale!r}; expected 'linear' or 'log'")
    new = ax is None
    ax = new_figure(6.4, 4.0, layout="constrained").subplots() if ax is None else ax
    draws = spread_draws(samples, n_draws)
    age = float(age_gyr(_redshift(sed, draws), sed.forward.h0, sed.forward.om0))
    time = np.linspace(0.0, age, _N_TIME)
    if scale == "log":
        time = np.geomspace(_FIRST_GYR, age, _N_TIME)
    bands = bands_of(np.asarray(sed.predict_sfh(draws, time), dtype=float))
    ax.fill_between(
        time, bands[2.5], bands[97.5], color=color, alpha=0.18, lw=0, label="95 %" if new else None
    )
    ax.fill_between(
        time, bands[16.0], bands[84.0], color=color, alpha=0.35, lw=0, label="68 %" if new else None
    )
    ax.plot(time, bands[50.0], color=color, lw=1.8, label=label or "median")
    if truths is not None:
        rate = np.asarray(sed.predict_sfh(sed.spec.free_values(truths), time))
        ax.plot(time, rate, color="k", ls=":", lw=1.6, label="truth")
    _finish(ax, scale, age, bands)
    return ax.figure


def _redshift(sed: SEDModel, draws: Mapping[str, np.ndarray]) -> float:
    return float(np.median({**sed.spec.fixed, **draws}["redshift"]))


def _finish(ax: Any, scale: str, age: float, bands: Mapping[float, np.ndarray]) -> None:
    top = max(1.05 * float(bands[97.5].max()), 1e-12)
    if scale == "log":
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_xlim(_FIRST_GYR, age)
        bottom = max(0.3 * float(bands[16.0][bands[16.0] > 0].min(initial=top)), 1e-4 * top)
        ax.set_ylim(bottom, 2.0 * top)
        log_ticks(ax.xaxis, _FIRST_GYR, age)
        log_ticks(ax.yaxis, bottom, 2.0 * top)
    else:
        ax.set_xlim(0.0, age)
        ax.set_ylim(0.0, top)
    ax.set_xlabel("lookback time [Gyr]")
    ax.set_ylabel(r"SFR [$M_\odot\,\mathrm{yr}^{-1}$]")
    ax.legend(frameon=False, fontsize=9)
