"""Milky Way extinction after Cardelli, Clayton & Mathis (1989), one parameter: R_V."""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from tengri_ppl.physics.attenuation.base import AttenuationLaw
from tengri_ppl.physics.component import Parameter, register

__all__ = ["INFRARED_POWER", "CardelliLaw", "ODonnellLaw", "RVLaw", "cardelli", "odonnell"]

# Coefficients of a(y) and b(y) in the optical, y = x - 1.82, lowest power first.
_CCM_OPTICAL = (
    (1.0, 0.17699, -0.50447, -0.02427, 0.72085, 0.01979, -0.77530, 0.32999),
    (0.0, 1.41338, 2.28305, 1.07233, -5.38434, -0.62251, 5.30260, -2.09002),
)
_ODONNELL_OPTICAL = (
    (1.0, 0.104, -0.609, 0.701, 1.137, -1.718, -0.827, 1.647, -0.505),
    (0.0, 1.952, 2.908, -3.989, -7.985, 11.102, 5.491, -10.805, 3.347),
)
_CCM_FAR_UV = ((-1.073, -0.628, 0.137, -0.070), (13.670, 4.257, -0.420, 0.374))
#: Power of 1/wavelength in the infrared.
INFRARED_POWER = 1.61
_CCM_EDGES = (1.1, 3.3, 8.0, 10.0)  # of the pieces, and the blue end [1/micron]
_CCM_BREAKS = tuple(1e4 / x for x in reversed(_CCM_EDGES))


def _horner(coefficients: tuple[float, ...], y: Array) -> Array:
    """Evaluate a polynomial, lowest power first."""
    total = jnp.zeros_like(y)
    for c in reversed(coefficients):
        total = total * y + c
    return total


def _ccm(wave: ArrayLike, r_v: ArrayLike, optical: tuple[tuple[float, ...], ...]) -> Array:
    """Evaluate a(x) + b(x) / R_V of Cardelli et al. (1989), eqs. 2-5, with a choice of eq. 3."""
    x = jnp.minimum(1e4 / jnp.asarray(wave), _CCM_EDGES[-1])
    infrared = jnp.minimum(x, _CCM_EDGES[0]) ** INFRARED_POWER
    y = jnp.clip(x, *_CCM_EDGES[:2]) - 1.82
    u = jnp.clip(x, *_CCM_EDGES[1:3])
    v = jnp.maximum(u - 5.9, 0.0)
    w = jnp.maximum(x, _CCM_EDGES[2]) - 8.0
    a_uv = 1.752 - 0.316 * u - 0.104 / ((u - 4.67) ** 2 + 0.341)
    a_uv += v**2 * (-0.04473 - 0.009779 * v)
    b_uv = -3.090 + 1.825 * u + 1.206 / ((u - 4.62) ** 2 + 0.263)
    b_uv += v**2 * (0.2130 + 0.1207 * v)
    pieces = [
        (0.574 * infrared, -0.527 * infrared),
        tuple(_horner(c, y) for c in optical),
        (a_uv, b_uv),
        tuple(_horner(c, w) for c in _CCM_FAR_UV),
    ]
    r_v = jnp.asarray(r_v)
    k = [a + b / r_v for a, b in pieces]
    where = [x < edge for edge in _CCM_EDGES[:-1]]
    return jnp.maximum(jnp.select(where, k[:3], k[3]), 0.0)


def cardelli(wave: ArrayLike, r_v: ArrayLike = 3.1) -> Array:
    r"""Milky Way extinction of Cardelli, Clayton & Mathis (1989, ApJ 345, 245), eqs. 1-5.

    .. math:: k = a(x) + b(x) / R_V, \quad x = 1\,\mathrm{micron} / \lambda

    It holds for 0.1-3.3 micron. The infrared power law :math:`\lambda^{-1.61}` goes on redward;
    below 1000 Angstrom k stays at its value there. Where the four pieces meet they differ by at
    most 0.06 % of A_V. k is 1 at 5495 Angstrom; k(5500 A) = 0.9989 for R_V = 3.1.

    Parameters
    ----------
    wave : array_like, shape (...,)
        Rest-frame wavelength [Angstrom].
    r_v : array_like
        Total to selective extinction R_V = A_V / E(B-V), 2 to 6.
    """
    return _ccm(wave, r_v, _CCM_OPTICAL)


def odonnell(wave: ArrayLike, r_v: ArrayLike = 3.1) -> Array:
    """Law of :func:`cardelli` with the optical and near infrared of O'Donnell (1994, ApJ 422, 158).

    His polynomials replace those for 0.30-0.91 micron. Where they meet the ultraviolet, at 3030
    Angstrom, the pieces differ by about 1 % of A_V. k(5500 A) = 0.9987 for R_V = 3.1.

    Parameters
    ----------
    wave : array_like, shape (...,)
        Rest-frame wavelength [Angstrom].
    r_v : array_like
        Total to selective extinction R_V = A_V / E(B-V), 2 to 6.
    """
    return _ccm(wave, r_v, _ODONNELL_OPTICAL)


@dataclass(frozen=True)
class RVLaw(AttenuationLaw):
    """A Milky Way law; parameter ``dust_r_v``."""

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """dust_r_v."""
        return (self._parameter("r_v", "total to selective extinction, A_V / E(B-V)", 3.1),)


@register("dust_law", "cardelli")
@dataclass(frozen=True)
class CardelliLaw(RVLaw):
    """See :func:`cardelli`; parameter ``dust_r_v``."""

    citations = ("Cardelli1989",)
    breaks = _CCM_BREAKS
    function = staticmethod(cardelli)


@register("dust_law", "odonnell")
@dataclass(frozen=True)
class ODonnellLaw(RVLaw):
    """See :func:`odonnell`; parameter ``dust_r_v``."""

    citations = ("ODonnell1994", "Cardelli1989")
    breaks = _CCM_BREAKS
    function = staticmethod(odonnell)
