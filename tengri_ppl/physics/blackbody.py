r"""Grey bodies of unit luminosity, and what the cosmic microwave background does to them.

Spectra are written in :math:`x = h \nu / k T`, and in logarithms, so that nothing over- or
underflows in 32 bit between X-rays and radio waves.

Dust in the microwave background is warmer than starlight alone would make it, and is seen only
where it outshines the background. Its net emission is
:math:`\epsilon_\nu [B_\nu(T) - B_\nu(T_{CMB})]`; over all frequencies this is just what the dust
absorbs from starlight (da Cunha et al. 2013, ApJ 766, 13). So the net emission is what the
functions here normalise: energy is conserved with the background as it is without.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import gammaln
from jax.typing import ArrayLike

from tengri_ppl.physics.constants import C_ANGSTROM_PER_S

__all__ = [
    "H_OVER_K",
    "T_CMB_K",
    "DustTemperature",
    "blackbody",
    "cmb_heated",
    "grey_body",
    "thick_energy",
    "thick_grey_body",
    "thick_shape",
]

#: Planck's over Boltzmann's constant [s K] (exact, SI).
H_OVER_K = 6.62607015e-34 / 1.380649e-23
#: Temperature of the cosmic microwave background today [K] (Fixsen 2009, ApJ 707, 916).
T_CMB_K = 2.7255
_HC_OVER_K = H_OVER_K * C_ANGSTROM_PER_S
#: Quadrature in ln x: the range holds all but 1e-9 of the energy, and the trapezoidal rule
#: converges exponentially for a function that vanishes at both ends.
_LN_X_RANGE, _N_X = (-5.0, 4.5), 96
_ZETA_TERMS = 10


class DustTemperature(NamedTuple):
    """Temperature of dust that starlight and the microwave background heat.

    Attributes
    ----------
    kelvin : Array
        Temperature [K].
    excess : Array
        By how much it exceeds the temperature of the background, relative to the latter. It is
        kept beside the temperature because it may be far smaller than one.
    """

    kelvin: Array
    excess: Array


def cmb_heated(temperature: ArrayLike, beta: ArrayLike, redshift: ArrayLike) -> DustTemperature:
    r"""Temperature of dust in the microwave background (da Cunha et al. 2013, ApJ 766, 13, eq. 12).

    .. math:: T(z)^{4+\beta} = T_0^{4+\beta} + T_{CMB}^{4+\beta} [(1+z)^{4+\beta} - 1]

    Parameters
    ----------
    temperature : array_like
        Temperature T_0 that the same starlight would give the dust at redshift 0 [K], above 2.7255.
    beta : array_like
        Slope of the dust's emissivity.
    redshift : array_like
        Redshift.

    Notes
    -----
    The equation holds for optically thin dust; for optically thick dust it is an approximation.
    """
    power = 4.0 + jnp.asarray(beta)
    background = T_CMB_K * (1.0 + jnp.asarray(redshift))
    starlight = (temperature / background) ** power - (T_CMB_K / background) ** power
    excess = jnp.expm1(jnp.log1p(starlight) / power)
    return DustTemperature(background * (1.0 + excess), excess)


def blackbody(wave: ArrayLike, temperature: ArrayLike) -> Array:
    """Planck's law with a luminosity of one; see :func:`grey_body`."""
    return grey_body(wave, temperature, 0.0)


def grey_body(
    wave: ArrayLike, temperature: ArrayLike, beta: ArrayLike, excess: ArrayLike | None = None
) -> Array:
    r"""Optically thin grey body with a luminosity of one (Hildebrand 1983, QJRAS 24, 267).

    .. math:: L_\nu = \frac{h}{k T} \frac{1}{\Gamma(4+\beta)\, \zeta(4+\beta)}
              \frac{x^{3+\beta}}{e^x - 1}, \quad x = \frac{h c}{\lambda k T}

    Against a background of temperature :math:`T / (1 + \mathrm{excess})` the net emission,
    :math:`\nu^\beta [B_\nu(T) - B_\nu(T_{CMB})]`, has the luminosity of one.

    Parameters
    ----------
    wave : array_like, shape (...,)
        Rest-frame wavelength [Angstrom], above 0.
    temperature : array_like
        Temperature [K], above 0.
    beta : array_like
        Slope of the emissivity, :math:`\kappa \propto \nu^\beta`, about 1 to 2.5.
    excess : array_like, optional
        From :func:`cmb_heated`; without it there is no background.

    Returns
    -------
    Array, shape (...,)
        L_nu over the luminosity [1/Hz].
    """
    temperature, power = jnp.asarray(temperature), 4.0 + jnp.asarray(beta)
    x = _HC_OVER_K / (jnp.asarray(wave) * temperature)
    log_energy = gammaln(power) + jnp.log(_zeta(power))
    if excess is not None:
        log_energy += jnp.log(-jnp.expm1(-power * jnp.log1p(excess)))
    log_spectrum = (power - 1.0) * jnp.log(x) + _log_occupation(x, excess)
    return jnp.exp(log_spectrum - log_energy) * (H_OVER_K / temperature)


def thick_grey_body(
    wave: ArrayLike,
    temperature: ArrayLike,
    beta: ArrayLike,
    lambda_0: ArrayLike,
    excess: ArrayLike | None = None,
) -> Array:
    r"""Grey body of any optical depth with a luminosity of one.

    .. math:: L_\nu \propto \left(1 - e^{-(\lambda_0/\lambda)^\beta}\right) B_\nu(T)

    (for example Casey 2012, MNRAS 425, 3094, eq. 1). The luminosity is integrated numerically,
    to better than 1e-7.

    Parameters
    ----------
    wave, temperature, beta, excess : array_like
        As in :func:`grey_body`.
    lambda_0 : array_like
        Wavelength at which the optical depth is one [Angstrom].
    """
    energy = thick_energy(temperature, beta, lambda_0, excess)
    shape = thick_shape(wave, temperature, beta, lambda_0, excess)
    return shape / energy * (H_OVER_K / jnp.asarray(temperature))


def thick_shape(
    wave: ArrayLike,
    temperature: ArrayLike,
    beta: ArrayLike,
    lambda_0: ArrayLike,
    excess: ArrayLike | None,
) -> Array:
    r"""Return :math:`(1 - e^{-\tau})\, x^3 / (e^x - 1)`, net of a background."""
    wave = jnp.asarray(wave)
    x = _HC_OVER_K / (wave * temperature)
    depth = jnp.exp(beta * jnp.log(lambda_0 / wave))
    emissivity = jnp.log(-jnp.expm1(-depth))
    return jnp.exp(emissivity + 3.0 * jnp.log(x) + _log_occupation(x, excess))


def thick_energy(
    temperature: ArrayLike, beta: ArrayLike, lambda_0: ArrayLike, excess: ArrayLike | None
) -> Array:
    """Return the integral of :func:`thick_shape` over x."""
    x, weight = _energy_rule()
    shape = thick_shape(_HC_OVER_K / (x * temperature), temperature, beta, lambda_0, excess)
    return jnp.sum(weight * shape)


def _energy_rule() -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of an integral over x."""
    ln_x, step = np.linspace(*_LN_X_RANGE, _N_X, retstep=True)
    return np.exp(ln_x), np.exp(ln_x) * step


def _log_occupation(x: Array, excess: ArrayLike | None) -> Array:
    r"""Return :math:`\ln[1/(e^x - 1)]`, or :math:`\ln[1/(e^x - 1) - 1/(e^y - 1)]`.

    Here :math:`y = x (1 + \mathrm{excess})` is that of the background. The difference is taken
    such that it is exact however close the two temperatures are.
    """
    if excess is None:
        return -x - _log_one_minus_exp(x)
    own = -x + _log_one_minus_exp(x * excess)
    return own - _log_one_minus_exp(x) - _log_one_minus_exp(x * (1.0 + jnp.asarray(excess)))


def _log_one_minus_exp(x: ArrayLike) -> Array:
    """Return ln(1 - exp(-x)) for x > 0."""
    return jnp.log(-jnp.expm1(-jnp.asarray(x)))


def _zeta(s: Array) -> Array:
    """Riemann's zeta function for s >= 4 (Euler & Maclaurin; 1e-9), differentiable in s."""
    n = float(_ZETA_TERMS)
    log_k = jnp.log(jnp.arange(1.0, n))
    head = jnp.sum(jnp.exp(-s[..., None] * log_k), axis=-1)
    tail = n / (s - 1.0) + 0.5 + s / (12.0 * n) - s * (s + 1.0) * (s + 2.0) / (720.0 * n**3)
    return head + tail * n**-s
