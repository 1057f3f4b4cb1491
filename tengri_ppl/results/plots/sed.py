"""The observed spectral energy distribution with the model and its residuals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from tengri_ppl.models.forward import ForwardModel
from tengri_ppl.models.ingredients import igm_transmission
from tengri_ppl.models.sed import SEDModel
from tengri_ppl.physics.constants import MICROJANSKY_CGS, MPC_CM
from tengri_ppl.physics.cosmology import luminosity_distance_mpc
from tengri_ppl.results.plots.draws import bands_of, spread_draws
from tengri_ppl.results.plots.style import PALETTE, log_ticks, new_figure
from tengri_ppl.results.variables import flat_draws, free_parameters
from tengri_ppl.runtime.compiled import Compiled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["observed_spectra", "plot_sed"]

_MICRON = 1e4
_DATA, _MODEL = "#000000", PALETTE[0]
_PHOTOMETRY = PALETTE[1]


def plot_sed(
    sed: SEDModel,
    inference_data: Any,
    *,
    n_draws: int = 100,
    wave_range: tuple[float, float] | None = None,
    fig: Any = None,
) -> Figure:
    """Plot data, model spectrum and model photometry in the observed frame, and the residuals.

    Masked bands are hollow and have no residual; bands below one sigma are drawn as 2-sigma upper
    limits. Residuals are (data - median model) / sigma, with lines at 1 and 3 sigma.

    Parameters
    ----------
    sed : SEDModel
        The model.
    inference_data : arviz.InferenceData
        With ``posterior``, ``observed_data`` and ``constant_data``.
    n_draws : int
        Draws to evaluate.
    wave_range : (float, float), optional
        Observed wavelengths to show [micron]; by default a bit more than the bands.
    fig : Figure or SubFigure, optional
        An empty one to draw into.

    Returns
    -------
    Figure
    """
    bands = _Bands.of(inference_data)
    draws = spread_draws(flat_draws(inference_data, free_parameters(inference_data)), n_draws)
    low, high = wave_range or (0.7 * bands.wave.min(), 1.4 * bands.wave.max())
    fig = new_figure(7.5, 5.4, layout="constrained") if fig is None else fig
    main, residual = fig.subplots(2, 1, sharex=True, height_ratios=[3.2, 1])
    wave, spectra = observed_spectra(sed, draws)
    shown = (wave > low * _MICRON) & (wave < high * _MICRON)
    spectrum = bands_of(spectra[:, shown])
    model = bands_of(np.asarray(sed.predict_photometry(draws), dtype=float) / MICROJANSKY_CGS)
    _draw_spectrum(main, wave[shown] / _MICRON, spectrum)
    _draw_photometry(main, bands, model)
    _draw_data(main, bands)
    _draw_residuals(residual, bands, model)
    _finish(main, residual, (low, high), bands, spectrum, model)
    return fig


# -- model -----------------------------------------------------------------------------------------


def observed_spectra(
    sed: SEDModel, draws: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Spectra in the observed frame, IGM absorption included.

    Parameters
    ----------
    sed : SEDModel
        The model.
    draws : mapping of str to ndarray, shape (n,)
        Draws of the free parameters.

    Returns
    -------
    wave : ndarray, shape (n_wave,)
        Observed wavelengths [Angstrom]: the model's, at the median redshift.
    flux : ndarray, shape (n, n_wave)
        f_nu [microjansky].
    """
    n = len(next(iter(draws.values())))
    redshift = np.broadcast_to({**sed.spec.fixed, **draws}["redshift"], (n,)).astype(float)
    wave = np.asarray(sed.wave, dtype=float) * (1.0 + np.median(redshift))
    luminosity = _shifted(sed.forward, sed.predict_sed(draws), jnp.asarray(redshift), wave)
    distance = luminosity_distance_mpc(redshift, sed.forward.h0, sed.forward.om0)
    area = 4.0 * np.pi * (np.asarray(distance, dtype=float) * MPC_CM) ** 2
    factor = (1.0 + redshift) / area / MICROJANSKY_CGS
    return wave, np.asarray(luminosity, dtype=float) * factor[:, None]


@Compiled
def _shifted(forward: ForwardModel, luminosity: Array, redshift: Array, wave: Array) -> Array:
    """L_nu (n, n_wave) at observed wavelengths (n_wave,) behind the IGM."""

    def one(spectrum: Array, z: Array) -> Array:
        rest = jnp.interp(wave / (1.0 + z), forward.wave, spectrum)
        return rest * igm_transmission(forward.structure.igm, forward.igm, wave, z)

    return jax.vmap(one)(luminosity, redshift)


# -- data ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Bands:
    """Observed bands: wavelength [micron], flux and error [microjansky], used or masked."""

    wave: np.ndarray
    flux: np.ndarray
    error: np.ndarray
    used: np.ndarray

    @classmethod
    def of(cls, inference_data: Any) -> _Bands:
        constant = inference_data.constant_data
        return cls(
            wave=constant["pivot_wavelength"].values / _MICRON,
            flux=inference_data.observed_data["flux"].values / MICROJANSKY_CGS,
            error=constant["flux_error"].values / MICROJANSKY_CGS,
            used=constant["mask"].values.astype(bool),
        )

    @property
    def detected(self) -> np.ndarray:
        return self.used & (self.flux > self.error)

    @property
    def limit(self) -> np.ndarray:
        """2-sigma upper limits [microjansky]."""
        return np.maximum(self.flux, 0.0) + 2.0 * self.error


def _draw_spectrum(ax: Any, wave: np.ndarray, bands: Mapping[float, np.ndarray]) -> None:
    ax.fill_between(wave, bands[2.5], bands[97.5], color=_MODEL, alpha=0.18, lw=0, label="95 %")
    ax.fill_between(wave, bands[16.0], bands[84.0], color=_MODEL, alpha=0.4, lw=0, label="68 %")
    ax.plot(wave, bands[50.0], color=_MODEL, lw=0.7, label="median spectrum")


def _draw_photometry(ax: Any, bands: _Bands, model: Mapping[float, np.ndarray]) -> None:
    median = model[50.0]
    errors = np.abs([median - model[16.0], model[84.0] - median])
    style = {"fmt": "s", "mfc": "none", "ms": 10, "mew": 1.5, "zorder": 4}
    ax.errorbar(bands.wave, median, errors, color=_PHOTOMETRY, label="model photometry", **style)


def _draw_data(ax: Any, bands: _Bands) -> None:
    style = {"fmt": "o", "ms": 5.5, "color": _DATA, "zorder": 5, "capsize": 2}
    seen = bands.detected
    if seen.any():
        ax.errorbar(bands.wave[seen], bands.flux[seen], bands.error[seen], label="data", **style)
    faint = bands.used & ~seen
    if faint.any():
        style |= {"fmt": "v"}
        ax.plot(
            bands.wave[faint],
            bands.limit[faint],
            "v",
            color=_DATA,
            ms=7,
            zorder=5,
            label=r"$2\sigma$ limit",
        )
    hidden = ~bands.used & np.isfinite(bands.flux) & (bands.flux > 0.0)
    if hidden.any():
        ax.plot(
            bands.wave[hidden],
            bands.flux[hidden],
            "o",
            color=_DATA,
            mfc="w",
            ms=6,
            zorder=5,
            label="masked",
        )


def _draw_residuals(ax: Any, bands: _Bands, model: Mapping[float, np.ndarray]) -> None:
    ax.axhline(0.0, color="0.4", lw=0.8)
    for level, dash in ((1.0, "--"), (3.0, ":")):
        for sign in (-1.0, 1.0):
            ax.axhline(sign * level, color="0.4", lw=0.8, ls=dash)
    used = bands.used
    chi = (bands.flux[used] - model[50.0][used]) / bands.error[used]
    ax.errorbar(bands.wave[used], chi, 1.0, fmt="o", color=_DATA, ms=4.5, capsize=2)
    limit = max(3.6, 1.25 * float(np.abs(chi).max(initial=0.0)) + 0.5)
    ax.set_ylim(-limit, limit)


def _finish(
    main: Any,
    residual: Any,
    wave_range: tuple[float, float],
    bands: _Bands,
    spectrum: Mapping[float, np.ndarray],
    model: Mapping[float, np.ndarray],
) -> None:
    main.set_xscale("log")
    main.set_yscale("log")
    main.set_xlim(*wave_range)
    low, high = _flux_range(bands, spectrum, model)
    main.set_ylim(low, high)
    log_ticks(main.xaxis, *wave_range)
    log_ticks(main.yaxis, low, high)
    main.set_ylabel(r"$f_\nu$ [$\mu$Jy]")
    main.legend(frameon=False, fontsize=9)
    residual.set_xlabel(r"observed wavelength [$\mu$m]")
    residual.set_ylabel(r"(data $-$ model)/$\sigma$", fontsize=9)
    residual.figure.align_ylabels([main, residual])


def _flux_range(
    bands: _Bands, spectrum: Mapping[float, np.ndarray], model: Mapping[float, np.ndarray]
) -> tuple[float, float]:
    """Range of fluxes [microjansky] that shows the data and most of the model."""
    data = np.r_[bands.flux[bands.detected], bands.limit[bands.used & ~bands.detected]]
    median = spectrum[50.0]
    high = max(data.max(), np.percentile(median, 99.5)) * 1.8
    faint = min(np.percentile(median, 2.0), model[50.0].min())
    low = min(data.min(), max(faint, 0.05 * data.min())) / 1.8
    return float(low), float(high)
