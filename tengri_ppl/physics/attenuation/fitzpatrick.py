"""Extinction of the Milky Way and the Magellanic Clouds after the method of Fitzpatrick (1999)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from tengri_ppl.physics.attenuation.base import AttenuationLaw
from tengri_ppl.physics.attenuation.cardelli import INFRARED_POWER, RVLaw
from tengri_ppl.physics.component import register

__all__ = [
    "FitzpatrickLaw",
    "LMC2Law",
    "LMCLaw",
    "MilkyWayLaw",
    "SMCLaw",
    "fitzpatrick1999",
    "lmc",
    "lmc2",
    "mw",
    "smc",
]

_UV_ANCHORS = (1e4 / 2700.0, 1e4 / 2600.0)
_SHORTEST = 912.0
_LONGEST = 1e4 / 0.3
_SPLINE_BREAKS = (_SHORTEST, 2700.0, _LONGEST)


class _Ultraviolet(NamedTuple):
    """Parameters of Fitzpatrick & Massa (1990), with C1 and C2 possibly functions of R_V."""

    c1: ArrayLike
    c2: ArrayLike
    c3: float
    c4: float
    x0: float
    gamma: float


def _fitzpatrick_massa(x: ArrayLike, shape: _Ultraviolet, r_v: ArrayLike) -> Array:
    """Evaluate A/A_V at wavenumbers x [1/micron] (Fitzpatrick & Massa 1990, ApJS 72, 163)."""
    x = jnp.asarray(x)
    y = jnp.maximum(x - 5.9, 0.0)
    drude = x**2 / ((x**2 - shape.x0**2) ** 2 + (x * shape.gamma) ** 2)
    excess = jnp.asarray(shape.c1) + jnp.asarray(shape.c2) * x + shape.c3 * drude
    return 1.0 + (excess + shape.c4 * y**2 * (0.5392 + 0.05644 * y)) / jnp.asarray(r_v)


def _second_derivatives(knots: np.ndarray) -> np.ndarray:
    """Matrix from values to second derivatives at the knots of a natural cubic spline."""
    h, n = np.diff(knots), knots.size
    system, right = np.eye(n), np.zeros((n, n))
    for i in range(1, n - 1):
        system[i, i - 1 : i + 2] = h[i - 1] / 6.0, (h[i - 1] + h[i]) / 3.0, h[i] / 6.0
        right[i, i - 1 : i + 2] = 1.0 / h[i - 1], -1.0 / h[i - 1] - 1.0 / h[i], 1.0 / h[i]
    return np.linalg.solve(system, right)


def _natural_spline(x: Array, knots: np.ndarray, values: Array) -> Array:
    """Natural cubic spline through ``values`` at ``knots`` (n,), evaluated at x inside them."""
    bend = jnp.asarray(_second_derivatives(knots), values.dtype) @ values
    i = jnp.clip(jnp.searchsorted(jnp.asarray(knots), x, side="right"), 1, knots.size - 1)
    left, right = jnp.asarray(knots, x.dtype)[i - 1], jnp.asarray(knots, x.dtype)[i]
    h = right - left
    t = (x - left) / h
    s = 1.0 - t
    line = s * values[i - 1] + t * values[i]
    return line + h**2 / 6.0 * ((s**3 - s) * bend[i - 1] + (t**3 - t) * bend[i])


def _anchored(
    wave: ArrayLike,
    shape: _Ultraviolet,
    r_v: ArrayLike,
    anchor_waves: tuple[float, ...],
    anchors: Array,
) -> Array:
    """Curve after the method of Fitzpatrick (1999, PASP 111, 63).

    Ultraviolet parameters below 0.27 micron; redward a natural cubic spline in 1/wavelength
    through zero at infinite wavelength, the anchors (longest wavelength [Angstrom] first) and the
    ultraviolet curve at 0.27 and 0.26 micron.
    """
    x = jnp.minimum(1e4 / jnp.asarray(wave), 1e4 / _SHORTEST)
    uv = _fitzpatrick_massa(jnp.maximum(x, _UV_ANCHORS[0]), shape, r_v)
    knots = np.array([0.0, *(1e4 / w for w in anchor_waves), *_UV_ANCHORS])
    ends = _fitzpatrick_massa(jnp.array(_UV_ANCHORS), shape, r_v)
    values = jnp.concatenate([jnp.zeros_like(ends[:1]), anchors, ends])
    shortest = 1e4 / _LONGEST
    redward = _natural_spline(jnp.clip(x, shortest, _UV_ANCHORS[0]), knots, values)
    redward *= (jnp.minimum(x, shortest) / shortest) ** INFRARED_POWER
    return jnp.maximum(jnp.where(x >= _UV_ANCHORS[0], uv, redward), 0.0)


class _Average(NamedTuple):
    """An average curve: R_V, ultraviolet, and anchors in the optical and infrared."""

    r_v: float
    ultraviolet: _Ultraviolet
    anchor_waves: tuple[float, ...]
    anchors: tuple[float, ...]


_CLOUD_WAVES = (21980.0, 16500.0, 12500.0, 5500.0, 4400.0, 3700.0)
_SMC_BAR = _Average(
    2.74,
    _Ultraviolet(-4.959, 2.264, 0.389, 0.461, 4.600, 1.000),
    (21980.0, 16500.0, 12500.0, 8100.0, 6500.0, 5500.0, 4400.0, 3700.0),
    (0.110, 0.169, 0.250, 0.567, 0.801, 1.000, 1.374, 1.672),
)
_LMC_AVERAGE = _Average(
    3.41,
    _Ultraviolet(-0.890, 0.998, 2.719, 0.400, 4.579, 0.934),
    _CLOUD_WAVES,
    (0.100, 0.186, 0.257, 1.000, 1.293, 1.518),
)
_LMC2_SUPERSHELL = _Average(
    2.76,
    _Ultraviolet(-1.475, 1.132, 1.463, 0.294, 4.558, 0.945),
    _CLOUD_WAVES,
    (0.101, 0.150, 0.299, 1.000, 1.349, 1.665),
)


def _average(wave: ArrayLike, curve: _Average) -> Array:
    """Evaluate an average curve."""
    anchors = jnp.array(curve.anchors)
    return _anchored(wave, curve.ultraviolet, curve.r_v, curve.anchor_waves, anchors)


def smc(wave: ArrayLike) -> Array:
    r"""Average extinction in the bar of the Small Magellanic Cloud, R_V = 2.74.

    Gordon et al. (2003, ApJ 594, 279, Table 4): ultraviolet parameters of Fitzpatrick &
    Massa, and points from U to K that a natural cubic spline in 1/wavelength joins. Two of the
    infrared points are those of Gordon et al. (2016, ApJ 826, 104), which make the curve smooth.

    The curve was measured for 0.116-2.2 micron. The formula is used from 912 Angstrom to 3.33
    micron; beyond, k goes on as :math:`\lambda^{-1.61}`, and blueward it stays at its value at 912
    Angstrom.

    Parameters
    ----------
    wave : array_like, shape (...,)
        Rest-frame wavelength [Angstrom].
    """
    return _average(wave, _SMC_BAR)


def lmc(wave: ArrayLike) -> Array:
    """Average extinction in the Large Magellanic Cloud, R_V = 3.41.

    As :func:`smc`, with the LMC average of Gordon et al. (2003) and one amended point at K.

    Parameters
    ----------
    wave : array_like, shape (...,)
        Rest-frame wavelength [Angstrom].
    """
    return _average(wave, _LMC_AVERAGE)


def lmc2(wave: ArrayLike) -> Array:
    """Average extinction near the LMC 2 supershell, around 30 Doradus, R_V = 2.76.

    As :func:`smc`, with the LMC2 average of Gordon et al. (2003) and one amended point at H.

    Parameters
    ----------
    wave : array_like, shape (...,)
        Rest-frame wavelength [Angstrom].
    """
    return _average(wave, _LMC2_SUPERSHELL)


def fitzpatrick1999(wave: ArrayLike, r_v: ArrayLike = 3.1) -> Array:
    r"""Milky Way extinction of Fitzpatrick (1999, PASP 111, 63), Table 4.

    Ultraviolet parameters, of which two follow from R_V, below 0.27 micron; redward a natural
    cubic spline in 1/wavelength through six points that depend on R_V. The formula is used
    from 912 Angstrom to 3.33 micron; beyond, k goes on as :math:`\lambda^{-1.61}`, and blueward it
    stays at its value at 912 Angstrom. A_V is that of the V band: k is 1
    near 5410 Angstrom, and k(5500 A) = 0.978 for R_V = 3.1.

    Parameters
    ----------
    wave : array_like, shape (...,)
        Rest-frame wavelength [Angstrom].
    r_v : array_like
        Total to selective extinction R_V = A_V / E(B-V), 2 to 6.
    """
    r_v = jnp.asarray(r_v)
    c2 = -0.824 + 4.717 / r_v
    shape = _Ultraviolet(2.030 - 3.007 * c2, c2, 3.23, 0.41, 4.596, 0.99)
    # A/E(B-V); Table 4 prints -1.208 in the last row, which contradicts the values of Table 3.
    anchors = [
        0.265 * r_v / 3.1,
        0.829 * r_v / 3.1,
        -0.426 + 1.0044 * r_v,
        -0.050 + 1.0016 * r_v,
        0.701 + 1.0016 * r_v,
        1.208 + 1.0032 * r_v - 0.00033 * r_v**2,
    ]
    waves = (26500.0, 12200.0, 6000.0, 5470.0, 4670.0, 4110.0)
    return _anchored(wave, shape, r_v, waves, jnp.stack(anchors) / r_v)


def mw(wave: ArrayLike) -> Array:
    """Average extinction in the diffuse medium of the Milky Way: R_V = 3.1.

    :func:`fitzpatrick1999` at R_V = 3.1, built like the curves of :func:`smc` and :func:`lmc`.

    Parameters
    ----------
    wave : array_like, shape (...,)
        Rest-frame wavelength [Angstrom].
    """
    return fitzpatrick1999(wave, 3.1)


@register("dust_law", "fitzpatrick1999")
@dataclass(frozen=True)
class FitzpatrickLaw(RVLaw):
    """See :func:`fitzpatrick1999`; parameter ``dust_r_v``."""

    citations = ("Fitzpatrick1999",)
    breaks = _SPLINE_BREAKS
    function = staticmethod(fitzpatrick1999)


@register("dust_law", "mw")
@dataclass(frozen=True)
class MilkyWayLaw(AttenuationLaw):
    """See :func:`mw`; no parameters."""

    citations = ("Fitzpatrick1999",)
    breaks = _SPLINE_BREAKS
    function = staticmethod(mw)


@register("dust_law", "smc")
@dataclass(frozen=True)
class SMCLaw(AttenuationLaw):
    """See :func:`smc`; no parameters."""

    citations = ("Gordon2003",)
    breaks = _SPLINE_BREAKS
    function = staticmethod(smc)


@register("dust_law", "lmc")
@dataclass(frozen=True)
class LMCLaw(AttenuationLaw):
    """See :func:`lmc`; no parameters."""

    citations = ("Gordon2003",)
    breaks = _SPLINE_BREAKS
    function = staticmethod(lmc)


@register("dust_law", "lmc2")
@dataclass(frozen=True)
class LMC2Law(AttenuationLaw):
    """See :func:`lmc2`; no parameters."""

    citations = ("Gordon2003",)
    breaks = _SPLINE_BREAKS
    function = staticmethod(lmc2)
