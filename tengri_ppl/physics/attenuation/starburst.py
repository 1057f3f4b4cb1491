"""Attenuation laws of galaxies: power laws, and starburst laws with free slope and bump."""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from tengri_ppl.physics.attenuation.base import PIVOT, AttenuationLaw, drude_bump
from tengri_ppl.physics.component import Parameter, register

__all__ = [
    "CalzettiLaw",
    "KriekConroyLaw",
    "LeithererLaw",
    "NollLaw",
    "PowerLaw",
    "ReddyLaw",
    "SalimLaw",
    "WildLaw",
    "calzetti",
    "kriek_conroy",
    "leitherer2002",
    "noll",
    "power_law",
    "reddy2015",
    "salim",
    "wild2007",
]

_RV_CALZETTI = 4.05
# Where Calzetti's red branch reaches zero [Angstrom], and the joint of his two branches (which
# differ there by 0.6 % of A_V).
_CALZETTI_RED = (6300.0, 1.04e4 / (1.857 - _RV_CALZETTI / 2.659))
_CALZETTI_BREAKS = (1200.0, *_CALZETTI_RED)
_LEITHERER_BREAKS = (912.0, 1500.0, *_CALZETTI_RED)
_RV_REDDY = 2.505
# The last is the zero of the red branch.
_REDDY_BREAKS = (950.0, 1500.0, 6000.0, 28527.2)


def power_law(wave: ArrayLike, slope: ArrayLike = -0.7) -> Array:
    r"""Power law, :math:`k = (\lambda / 5500)^{s}` (Charlot & Fall 2000, ApJ 539, 718).

    Parameters
    ----------
    wave : array_like, shape (...,)
        Rest-frame wavelength [Angstrom].
    slope : array_like
        Exponent s, negative for attenuation that rises to the blue.
    """
    return jnp.exp(jnp.asarray(slope) * jnp.log(jnp.asarray(wave) / PIVOT))


def wild2007(wave: ArrayLike, mu: ArrayLike = 0.3) -> Array:
    r"""Sum of two power laws for one screen (Wild et al. 2007, MNRAS 381, 543).

    .. math:: k = (1 - \mu)\, (\lambda / 5500)^{-1.3} + \mu\, (\lambda / 5500)^{-0.7}

    This is what stars inside birth clouds see in the model of Charlot & Fall (2000) with these
    slopes: mu is the share of the optical depth that is due to the diffuse medium, about 0.3 there
    and 0.4 in Wild et al. (2011, MNRAS 417, 1760). To let older stars see the diffuse medium
    alone, choose ``power_law`` for both components, with slopes of -0.7 and, for the birth
    clouds, -1.3.

    Parameters
    ----------
    wave : array_like, shape (...,)
        Rest-frame wavelength [Angstrom].
    mu : array_like
        Share of the diffuse medium, 0 to 1.
    """
    mu = jnp.asarray(mu)
    return (1.0 - mu) * power_law(wave, -1.3) + mu * power_law(wave, -0.7)


def _calzetti_branches(micron: Array) -> Array:
    """Calzetti et al. (2000), eq. 4, over R_V; extrapolated on both sides, zero beyond the red."""
    x = 1.0 / micron
    blue = _RV_CALZETTI + 2.659 * (-2.156 + x * (1.509 + x * (-0.198 + 0.011 * x)))
    red = _RV_CALZETTI + 2.659 * (-1.857 + 1.040 * x)
    return jnp.maximum(jnp.where(micron < 0.63, blue, red), 0.0) / _RV_CALZETTI


def calzetti(wave: ArrayLike) -> Array:
    r"""Starburst law of Calzetti et al. (2000, ApJ 533, 682), eq. 4, R_V = 4.05.

    The published polynomials hold for 0.12-2.2 micron. Below 0.12 micron the curve goes on as
    :math:`\lambda^{-0.77}`, and the red branch is followed until it reaches zero at 3.1 micron,
    both as in BAGPIPES (Carnall et al. 2018). k(5500 A) = 0.9995.

    Parameters
    ----------
    wave : array_like, shape (...,)
        Rest-frame wavelength [Angstrom].
    """
    micron = jnp.asarray(wave) * 1e-4
    far_uv = (jnp.minimum(micron, 0.12) / 0.12) ** -0.77
    return far_uv * _calzetti_branches(jnp.maximum(micron, 0.12))


def leitherer2002(wave: ArrayLike) -> Array:
    r"""Starburst law with the far ultraviolet of Leitherer et al. (2002, ApJS 140, 303), eq. 14.

    .. math:: 4.05\, k = 5.472 + 0.671 / \lambda - 9.218\times10^{-3} / \lambda^2
              + 2.620\times10^{-3} / \lambda^3, \quad \lambda\ \mathrm{in\ micron},

    measured at 970-1800 Angstrom, is used from 912 to 1500 Angstrom, where it is 0.5 % of A_V
    below the law of Calzetti et al. (2000), which follows redward (see :func:`calzetti`). Blueward
    of 912 Angstrom k stays at its value there. k(5500 A) = 0.9995.

    Parameters
    ----------
    wave : array_like, shape (...,)
        Rest-frame wavelength [Angstrom].
    """
    micron = jnp.asarray(wave) * 1e-4
    x = 1.0 / jnp.maximum(micron, 0.0912)
    far_uv = 5.472 + x * (0.671 + x * (-9.218e-3 + 2.620e-3 * x))
    redward = _calzetti_branches(jnp.maximum(micron, 0.15))
    return jnp.where(micron < 0.15, far_uv / _RV_CALZETTI, redward)


def salim(wave: ArrayLike, slope: ArrayLike = 0.0, bump: ArrayLike = 0.0) -> Array:
    r"""Calzetti law with another slope and a bump (Salim et al. 2018, ApJ 859, 11, eqs. 4, 6).

    .. math:: k = k_{Cal} (\lambda/5500)^\delta + B\, D(\lambda) / R_V, \quad
              R_V = \frac{4.05}{5.05\, (4400/5500)^\delta - 4.05}

    with D of :func:`~tengri_ppl.physics.attenuation.base.drude_bump`. The bump adds to the curve
    after normalisation, so k(5500 A) exceeds 1 slightly for B > 0.

    Parameters
    ----------
    wave : array_like, shape (...,)
        Rest-frame wavelength [Angstrom].
    slope : array_like
        Deviation delta from the Calzetti slope, about -1.6 to 0.4.
    bump : array_like
        Amplitude B of the 2175 Angstrom bump, about -2 to 6.
    """
    r_v = _RV_CALZETTI / ((_RV_CALZETTI + 1.0) * (4400.0 / PIVOT) ** slope - _RV_CALZETTI)
    return calzetti(wave) * power_law(wave, slope) + jnp.asarray(bump) * drude_bump(wave) / r_v


def noll(wave: ArrayLike, slope: ArrayLike = 0.0, bump: ArrayLike = 0.0) -> Array:
    r"""Starburst law with another slope and a bump (Noll et al. 2009, A&A 507, 1793).

    .. math:: k = \left[k_{L02}(\lambda) + E_b\, D(\lambda) / 4.05\right] (\lambda/5500)^\delta

    with :func:`leitherer2002` and :func:`~tengri_ppl.physics.attenuation.base.drude_bump`; unlike
    in :func:`salim`, the slope tilts the bump, too. k(5500 A) = 0.9995 + 0.0014 E_b. Negative
    values, which a negative bump may cause, are set to zero.

    Parameters
    ----------
    wave : array_like, shape (...,)
        Rest-frame wavelength [Angstrom].
    slope : array_like
        Deviation delta from the Calzetti slope, about -1.6 to 0.4.
    bump : array_like
        Amplitude E_b of the 2175 Angstrom bump; 3.5 is that of the Milky Way.
    """
    untilted = leitherer2002(wave) + jnp.asarray(bump) * drude_bump(wave) / _RV_CALZETTI
    return jnp.maximum(untilted, 0.0) * power_law(wave, slope)


def kriek_conroy(wave: ArrayLike, slope: ArrayLike = 0.0) -> Array:
    r"""Starburst law whose bump follows from the slope (Kriek & Conroy 2013, ApJ 775, L16).

    .. math:: k = \left[k_{Cal}(\lambda) + E_b\, D(\lambda) / 4.05\right] (\lambda/5500)^\delta,
              \quad E_b = 0.85 - 1.9\, \delta

    (their eqs. 1-3) with :func:`calzetti`; k(5500 A) = 1.0007 - 0.0027 delta. For slopes above 0.45
    the bump turns into a dip, and what it makes negative is set to zero.

    Parameters
    ----------
    wave : array_like, shape (...,)
        Rest-frame wavelength [Angstrom].
    slope : array_like
        Deviation delta from the Calzetti slope.
    """
    bump = 0.85 - 1.9 * jnp.asarray(slope)
    untilted = calzetti(wave) + bump * drude_bump(wave) / _RV_CALZETTI
    return jnp.maximum(untilted, 0.0) * power_law(wave, slope)


def reddy2015(wave: ArrayLike) -> Array:
    r"""Law of star-forming galaxies at z ~ 2 (Reddy et al. 2015, ApJ 806, 259, eq. 8), R_V = 2.505.

    Two polynomials in 1/wavelength for 0.15-0.6 and 0.6-2.85 micron. The red one reaches zero at
    2.85 micron, where k stays. For 950-1500 Angstrom :math:`2.505\, k = 2.191 + 0.974/\lambda` of
    Reddy et al. (2016, ApJ 828, 107); blueward k stays at its value at 950 Angstrom. Where the
    published pieces meet, at 1500 and 6000 Angstrom, they differ by 1.9 and 1.4 % of A_V.
    k(5500 A) = 0.9971.

    Parameters
    ----------
    wave : array_like, shape (...,)
        Rest-frame wavelength [Angstrom].
    """
    micron = jnp.asarray(wave) * 1e-4
    x = 1.0 / jnp.maximum(micron, 0.095)
    far_uv = 2.191 + 0.974 * x
    blue = -5.726 + _RV_REDDY + x * (4.004 + x * (-0.525 + 0.029 * x))
    red = -2.672 + _RV_REDDY + x * (-0.010 + x * (1.532 - 0.412 * x))
    k = jnp.where(micron < 0.15, far_uv, jnp.where(micron < 0.6, blue, red))
    return jnp.maximum(k, 0.0) / _RV_REDDY


@register("dust_law", "power_law")
@dataclass(frozen=True)
class PowerLaw(AttenuationLaw):
    """See :func:`power_law`; parameter ``dust_slope``."""

    citations = ("CharlotFall2000",)
    function = staticmethod(power_law)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """dust_slope."""
        return (self._parameter("slope", "exponent of the attenuation power law", -0.7),)


@register("dust_law", "wild2007")
@dataclass(frozen=True)
class WildLaw(AttenuationLaw):
    """See :func:`wild2007`; parameter ``dust_mu``."""

    citations = ("Wild2007",)
    function = staticmethod(wild2007)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """dust_mu."""
        return (self._parameter("mu", "share of the diffuse medium in the optical depth", 0.3),)


@register("dust_law", "calzetti")
@dataclass(frozen=True)
class CalzettiLaw(AttenuationLaw):
    """See :func:`calzetti`; no parameters."""

    citations = ("Calzetti2000",)
    breaks = _CALZETTI_BREAKS
    function = staticmethod(calzetti)


@register("dust_law", "leitherer2002")
@dataclass(frozen=True)
class LeithererLaw(AttenuationLaw):
    """See :func:`leitherer2002`; no parameters."""

    citations = ("Leitherer2002",)
    breaks = _LEITHERER_BREAKS
    function = staticmethod(leitherer2002)


@register("dust_law", "reddy2015")
@dataclass(frozen=True)
class ReddyLaw(AttenuationLaw):
    """See :func:`reddy2015`; no parameters."""

    citations = ("Reddy2015",)
    breaks = _REDDY_BREAKS
    function = staticmethod(reddy2015)


@dataclass(frozen=True)
class _TiltedLaw(AttenuationLaw):
    """A starburst law with another slope and a bump; ``dust_slope`` and ``dust_bump``."""

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """dust_slope, dust_bump."""
        return (
            self._parameter("slope", "deviation from the Calzetti slope", (-1.2, 0.4)),
            self._parameter("bump", "amplitude of the 2175 Angstrom bump", (0.0, 4.0)),
        )


@register("dust_law", "salim")
@dataclass(frozen=True)
class SalimLaw(_TiltedLaw):
    """See :func:`salim`; parameters ``dust_slope`` (delta) and ``dust_bump`` (B)."""

    citations = ("Salim2018", "Calzetti2000")
    breaks = _CALZETTI_BREAKS
    function = staticmethod(salim)


@register("dust_law", "noll")
@dataclass(frozen=True)
class NollLaw(_TiltedLaw):
    """See :func:`noll`; parameters ``dust_slope`` (delta) and ``dust_bump`` (E_b)."""

    citations = ("Noll2009", "Calzetti2000", "Leitherer2002")
    breaks = _LEITHERER_BREAKS
    function = staticmethod(noll)


@register("dust_law", "kriek_conroy")
@dataclass(frozen=True)
class KriekConroyLaw(AttenuationLaw):
    """See :func:`kriek_conroy`; parameter ``dust_slope``."""

    citations = ("KriekConroy2013", "Noll2009", "Calzetti2000")
    breaks = _CALZETTI_BREAKS
    function = staticmethod(kriek_conroy)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """dust_slope."""
        return (self._parameter("slope", "deviation from the Calzetti slope", (-1.2, 0.4)),)
