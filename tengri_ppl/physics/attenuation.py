r"""Dust attenuation: laws and the geometry that applies them.

A law gives :math:`k(\lambda) = A_\lambda / A_V`; an optical depth is that at 5500 Angstrom, so
that :math:`A_V = 2.5 \log_{10}(e)\, \tau = 1.086\, \tau`. Laws are normalised to
:math:`k(5500\,\mathrm{\AA}) = 1` unless their docstring says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from tengri_ppl.physics.component import Component, Parameter, register

__all__ = [
    "MAG_PER_TAU",
    "AttenuationLaw",
    "CalzettiLaw",
    "DustScreen",
    "NoDust",
    "PowerLaw",
    "SalimLaw",
    "SingleScreen",
    "TwoComponentDust",
    "calzetti",
    "power_law",
    "salim",
]

#: Magnitudes of attenuation per unit of optical depth, 2.5 log10(e).
MAG_PER_TAU = 1.0857362047581296
_PIVOT = 5500.0
_RV_CALZETTI = 4.05
# Joints of the Calzetti curve [Angstrom]: its far-ultraviolet end, its two branches (which differ
# there by 0.6 % of A_V), and where it reaches zero.
_CALZETTI_BREAKS = (1200.0, 6300.0, 1.04e4 / (1.857 - _RV_CALZETTI / 2.659))


def power_law(wave: ArrayLike, slope: ArrayLike = -0.7) -> Array:
    r"""Power law, :math:`k = (\lambda / 5500)^{s}` (Charlot & Fall 2000, ApJ 539, 718).

    Parameters
    ----------
    wave : array_like, shape (...,)
        Rest-frame wavelength [Angstrom].
    slope : array_like
        Exponent s, negative for attenuation that rises to the blue.
    """
    return jnp.exp(jnp.asarray(slope) * jnp.log(jnp.asarray(wave) / _PIVOT))


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
    x = 1.0 / jnp.maximum(micron, 0.12)
    blue = _RV_CALZETTI + 2.659 * (-2.156 + x * (1.509 + x * (-0.198 + 0.011 * x)))
    red = _RV_CALZETTI + 2.659 * (-1.857 + 1.040 * x)
    far_uv = (jnp.minimum(micron, 0.12) / 0.12) ** -0.77
    return far_uv * jnp.maximum(jnp.where(micron < 0.63, blue, red), 0.0) / _RV_CALZETTI


def salim(wave: ArrayLike, slope: ArrayLike = 0.0, bump: ArrayLike = 0.0) -> Array:
    r"""Calzetti law with another slope and a bump (Salim et al. 2018, ApJ 859, 11, eqs. 4, 6).

    .. math:: k = k_{Cal} (\lambda/5500)^\delta + D(\lambda) / R_V, \quad
              D = \frac{B\, \lambda^2 (350)^2}{(\lambda^2 - 2175^2)^2 + \lambda^2 (350)^2}, \quad
              R_V = \frac{4.05}{5.05\, (4400/5500)^\delta - 4.05}

    The bump adds to the curve after normalisation, so k(5500 A) exceeds 1 slightly for B > 0.

    Parameters
    ----------
    wave : array_like, shape (...,)
        Rest-frame wavelength [Angstrom].
    slope : array_like
        Deviation delta from the Calzetti slope, about -1.6 to 0.4.
    bump : array_like
        Amplitude B of the 2175 Angstrom bump, about -2 to 6.
    """
    wave = jnp.asarray(wave)
    r_v = _RV_CALZETTI / ((_RV_CALZETTI + 1.0) * (4400.0 / _PIVOT) ** slope - _RV_CALZETTI)
    x = wave / 2175.0
    width = x * (350.0 / 2175.0)
    drude = jnp.asarray(bump) * width**2 / ((x**2 - 1.0) ** 2 + width**2)
    return calzetti(wave) * power_law(wave, slope) + drude / r_v


@dataclass(frozen=True)
class AttenuationLaw(Component):
    """A law k(wave); ``suffix`` distinguishes the parameters of two laws in one model."""

    kind = "dust_law"

    #: Rest-frame wavelengths [Angstrom] at which the curve is not smooth.
    breaks: ClassVar[tuple[float, ...]] = ()
    suffix: str = ""

    def _parameter(
        self, name: str, description: str, default: float | tuple[float, float]
    ) -> Parameter:
        return Parameter(f"dust_{name}{self.suffix}", "1", description, default)

    def curve(self, wave: ArrayLike, params: Mapping[str, Any]) -> Array:
        """Return k at rest-frame wavelengths [Angstrom], shape of ``wave``."""
        raise NotImplementedError


@register("dust_law", "calzetti")
@dataclass(frozen=True)
class CalzettiLaw(AttenuationLaw):
    """See :func:`calzetti`; no parameters."""

    reference = "Calzetti et al. 2000, ApJ 533, 682"
    breaks = _CALZETTI_BREAKS

    def curve(self, wave: ArrayLike, params: Mapping[str, Any]) -> Array:
        """See :meth:`AttenuationLaw.curve`."""
        return calzetti(wave)


@register("dust_law", "power_law")
@dataclass(frozen=True)
class PowerLaw(AttenuationLaw):
    """See :func:`power_law`; parameter ``dust_slope``."""

    reference = "Charlot & Fall 2000, ApJ 539, 718"

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """dust_slope."""
        return (self._parameter("slope", "exponent of the attenuation power law", -0.7),)

    def curve(self, wave: ArrayLike, params: Mapping[str, Any]) -> Array:
        """See :meth:`AttenuationLaw.curve`."""
        return power_law(wave, params["dust_slope" + self.suffix])


@register("dust_law", "salim")
@dataclass(frozen=True)
class SalimLaw(AttenuationLaw):
    """See :func:`salim`; parameters ``dust_slope`` (delta) and ``dust_bump`` (B)."""

    reference = "Salim et al. 2018, ApJ 859, 11"
    breaks = _CALZETTI_BREAKS

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """dust_slope, dust_bump."""
        return (
            self._parameter("slope", "deviation from the Calzetti slope", (-1.2, 0.4)),
            self._parameter("bump", "amplitude of the 2175 Angstrom bump", (0.0, 4.0)),
        )

    def curve(self, wave: ArrayLike, params: Mapping[str, Any]) -> Array:
        """See :meth:`AttenuationLaw.curve`."""
        return salim(wave, params["dust_slope" + self.suffix], params["dust_bump" + self.suffix])


@dataclass(frozen=True)
class DustScreen(Component):
    """A geometry: what young and old starlight goes through."""

    kind = "dust"

    @property
    def breaks(self) -> tuple[float, ...]:
        """Rest-frame wavelengths [Angstrom] at which the attenuation is not smooth, increasing."""
        return ()

    def optical_depths(self, wave: ArrayLike, params: Mapping[str, Any]) -> tuple[Array, Array]:
        """Return the optical depths towards (young, old) stars at rest wavelengths [Angstrom]."""
        raise NotImplementedError

    def birth_cloud_age(self, params: Mapping[str, Any]) -> ArrayLike:
        """Age up to which stars count as young [Gyr]."""
        return 0.0


@register("dust", "none")
@dataclass(frozen=True)
class NoDust(DustScreen):
    """No attenuation."""

    def optical_depths(self, wave: ArrayLike, params: Mapping[str, Any]) -> tuple[Array, Array]:
        """See :meth:`DustScreen.optical_depths`."""
        none = jnp.zeros_like(jnp.asarray(wave))
        return none, none


_TAU_DIFFUSE = Parameter(
    "dust_tau_diff", "1", "optical depth of the diffuse dust at 5500 Angstrom", (0.0, 4.0)
)


@register("dust", "single")
@dataclass(frozen=True)
class SingleScreen(DustScreen):
    """One screen in front of all stars."""

    law: AttenuationLaw = field(default_factory=CalzettiLaw)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """dust_tau_diff and the law's parameters."""
        return (_TAU_DIFFUSE, *self.law.parameters)

    @property
    def breaks(self) -> tuple[float, ...]:
        """See :attr:`DustScreen.breaks`."""
        return self.law.breaks

    def optical_depths(self, wave: ArrayLike, params: Mapping[str, Any]) -> tuple[Array, Array]:
        """See :meth:`DustScreen.optical_depths`."""
        tau = params["dust_tau_diff"] * self.law.curve(wave, params)
        return tau, tau


@register("dust", "two_component")
@dataclass(frozen=True)
class TwoComponentDust(DustScreen):
    r"""Birth clouds and a diffuse screen (Charlot & Fall 2000, ApJ 539, 718).

    Stars younger than ``dust_t_bc_gyr`` see both,
    :math:`\tau_{bc} k_{bc}(\lambda) + \tau_{diff} k(\lambda)`, older ones only the diffuse screen.
    """

    reference = "Charlot & Fall 2000, ApJ 539, 718"
    law: AttenuationLaw = field(default_factory=CalzettiLaw)
    law_bc: AttenuationLaw = field(default_factory=CalzettiLaw)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """dust_tau_bc, dust_tau_diff, dust_t_bc_gyr and the parameters of both laws."""
        own = (
            Parameter(
                "dust_tau_bc", "1", "optical depth of birth clouds at 5500 Angstrom", (0.0, 4.0)
            ),
            _TAU_DIFFUSE,
            Parameter("dust_t_bc_gyr", "Gyr", "age at which stars leave their birth clouds", 0.01),
        )
        return tuple(dict.fromkeys((*own, *self.law.parameters, *self.law_bc.parameters)))

    @property
    def breaks(self) -> tuple[float, ...]:
        """See :attr:`DustScreen.breaks`."""
        return tuple(sorted({*self.law.breaks, *self.law_bc.breaks}))

    def optical_depths(self, wave: ArrayLike, params: Mapping[str, Any]) -> tuple[Array, Array]:
        """See :meth:`DustScreen.optical_depths`."""
        k_diffuse = self.law.curve(wave, params)
        same = self.law_bc == self.law
        k_birth = k_diffuse if same else self.law_bc.curve(wave, params)
        diffuse = params["dust_tau_diff"] * k_diffuse
        return diffuse + params["dust_tau_bc"] * k_birth, diffuse

    def birth_cloud_age(self, params: Mapping[str, Any]) -> ArrayLike:
        """See :meth:`DustScreen.birth_cloud_age`."""
        return params["dust_t_bc_gyr"]
