"""Emission lines and nebular continuum: from weights over the grid to spectra and bands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from tengri_ppl.physics.constants import C_ANGSTROM_PER_S, C_KM_PER_S
from tengri_ppl.physics.nebular.grid import NebularData

__all__ = [
    "BandCurves",
    "band_curves",
    "line_band_response",
    "line_luminosities",
    "line_profiles",
    "nebular_continuum",
]

#: Narrower lines [km/s] are drawn this wide; they fall into single pixels of any galaxy spectrum.
_NARROWEST = 0.1


def line_luminosities(weights: ArrayLike, data: NebularData) -> Array:
    """Luminosities of all lines [Lsun], shape (n_line,).

    Parameters
    ----------
    weights : array_like, shape (n_logu * n_met * n_age,)
        Weights of the models, from :meth:`CloudyNebular.weights`.
    data : NebularData
        The grid.
    """
    lines = jnp.asarray(data.lines)
    return jnp.asarray(weights) @ lines.reshape(-1, lines.shape[-1])


def nebular_continuum(weights: ArrayLike, data: NebularData) -> Array:
    """L_nu of the continuum [Lsun/Hz] on ``data.wave``, shape (n_wave,).

    Parameters
    ----------
    weights : array_like, shape (n_logu * n_met * n_age,)
        Weights of the models, from :meth:`CloudyNebular.weights`.
    data : NebularData
        The grid.
    """
    continuum = jnp.asarray(data.continuum)
    return jnp.asarray(weights) @ continuum.reshape(-1, continuum.shape[-1])


def line_profiles(
    wave: ArrayLike, hertz: ArrayLike, line_wave: ArrayLike, width_kms: ArrayLike = 0.0
) -> Array:
    r"""Gaussian lines on a grid of wavelengths, averaged over each pixel.

    .. math:: \phi_\nu = \frac{1}{w} \int_{pixel}
              \frac{e^{-(\lambda - \lambda_0)^2 / 2\sigma^2}}{\sqrt{2\pi}\, \sigma}\, d\lambda,
              \quad \sigma = \lambda_0\, v / c

    Pixels reach to the midpoints between wavelengths. With w, the weight of a wavelength in
    integrals over frequency, :math:`\sum \phi_\nu w = 1` for every line inside the grid,
    resolved or not.

    Parameters
    ----------
    wave : array_like, shape (n_wave,)
        Wavelength [Angstrom], increasing.
    hertz : array_like, shape (n_wave,)
        Weights w [Hz], from :func:`tengri_ppl.physics.templates.frequency_weights`.
    line_wave : array_like, shape (n_line,)
        Wavelengths of the lines, in the same medium and frame [Angstrom].
    width_kms : array_like, scalar or shape (n_line,)
        Standard deviation v [km/s]; 0 for lines that are not resolved.

    Returns
    -------
    Array, shape (n_line, n_wave)
        L_nu per luminosity [1/Hz]; ``luminosities @ line_profiles(...)`` is a spectrum.
    """
    wave, centre = jnp.asarray(wave), jnp.asarray(line_wave)[:, None]
    half = 0.5 * jnp.diff(wave)
    edges = jnp.concatenate([wave[:1] - half[:1], wave[:-1] + half, wave[-1:] + half[-1:]])
    width = jnp.maximum(jnp.asarray(width_kms), _NARROWEST).reshape(-1, 1)
    sigma = centre * (width / C_KM_PER_S)
    inside = jnp.diff(0.5 * jax.scipy.special.erf((edges - centre) / (np.sqrt(2.0) * sigma)))
    return inside / jnp.asarray(hertz)


class BandCurves(NamedTuple):
    """Transmission curves as arrays.

    Attributes
    ----------
    wave : array, shape (n_band, n_point)
        Observed wavelength [Angstrom]; each row increases, then repeats its last value.
    response : array, shape (n_band, n_point)
        Transmission over its integral in ln(wavelength); linear in wavelength, zero outside.
    """

    wave: ArrayLike
    response: ArrayLike


def band_curves(waves: Sequence[np.ndarray], transmissions: Sequence[np.ndarray]) -> BandCurves:
    """Normalise and stack the transmission curves of photon-counting bands.

    Parameters
    ----------
    waves, transmissions : sequence of ndarray, each of shape (n,)
        Wavelengths [Angstrom] and transmissions [1] of each band.
    """
    n_point = max(wave.size for wave in waves)
    rows = []
    for wave, transmission in zip(waves, transmissions, strict=True):
        slope = np.diff(transmission) / np.diff(wave)
        offset = transmission[:-1] - slope * wave[:-1]
        integral = np.sum(offset * np.diff(np.log(wave)) + slope * np.diff(wave))
        pad = (0, n_point - wave.size)
        rows.append((np.pad(wave, pad, "edge"), np.pad(transmission / integral, pad, "edge")))
    return BandCurves(*(np.stack(column) for column in zip(*rows, strict=True)))


def line_band_response(line_wave: ArrayLike, redshift: ArrayLike, curves: BandCurves) -> Array:
    r"""Band average of L_nu that a line of unit luminosity gives, its width neglected.

    The photon-counting average :math:`\int L_\nu T\, d\ln\lambda / \int T\, d\ln\lambda` of a line
    at rest wavelength :math:`\lambda_0`, with the filter moved to the rest frame, is

    .. math:: \frac{\lambda_0}{c} \frac{T(\lambda_0 (1 + z))}{\int T\, d\ln\lambda}

    so that it adds to the band average of the continuum's rest-frame L_nu.

    Parameters
    ----------
    line_wave : array_like, shape (n_line,)
        Rest-frame wavelengths [Angstrom].
    redshift : array_like, scalar
        Redshift.
    curves : BandCurves
        From :func:`band_curves`.

    Returns
    -------
    Array, shape (n_line, n_band)
        Response [1/Hz].
    """
    line_wave = jnp.asarray(line_wave)
    observed = line_wave * (1.0 + jnp.asarray(redshift))

    def at_lines(wave: Array, response: Array) -> Array:
        return jnp.interp(observed, wave, response, left=0.0, right=0.0)

    response = jax.vmap(at_lines)(jnp.asarray(curves.wave), jnp.asarray(curves.response))
    return (response * (line_wave / C_ANGSTROM_PER_S)).T
