r"""Geometries: how much of the light of young and old stars gets through the dust.

An optical depth is that of the whole dust on the line of sight, at 5500 Angstrom. Through a
screen in front of the stars passes :math:`e^{-\tau}`; where stars and dust mix, or the dust is
patchy, more does, and the attenuation grows greyer with the optical depth.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from tengri_ppl.physics.attenuation.base import AttenuationLaw
from tengri_ppl.physics.attenuation.starburst import CalzettiLaw
from tengri_ppl.physics.component import Component, Parameter, register

__all__ = [
    "ClumpyScreen",
    "DustScreen",
    "FractionObscured",
    "MixedSlab",
    "NoDust",
    "SingleScreen",
    "TwoComponentDust",
    "clumpy_screen_transmission",
    "mixed_slab_transmission",
]

_TAU_DIFFUSE = Parameter(
    "dust_tau_diff", "1", "optical depth of the diffuse dust at 5500 Angstrom", (0.0, 4.0)
)


def mixed_slab_transmission(tau: ArrayLike) -> Array:
    r"""Share of the light that leaves a uniform mixture of stars and absorbing dust.

    .. math:: T = \frac{1 - e^{-\tau}}{\tau}

    for a slab seen along its normal, without scattering (Disney, Davies & Phillipps 1989, MNRAS
    239, 939). It falls as 1/tau: however much dust there is, the near side shines.

    Parameters
    ----------
    tau : array_like
        Optical depth through the whole slab, at least 0.
    """
    tau = jnp.asarray(tau)
    thin = tau < 0.02  # where the quotient and its gradient lose digits
    thick = jnp.where(thin, 1.0, tau)
    series = 1.0 - tau * (1.0 - tau * (1.0 - 0.25 * tau) / 3.0) / 2.0
    return jnp.where(thin, series, -jnp.expm1(-thick) / thick)


def clumpy_screen_transmission(tau: ArrayLike, n_clumps: ArrayLike) -> Array:
    r"""Share of the light that passes a screen of equal, randomly placed clumps.

    .. math:: T = \exp[-N\, (1 - e^{-\tau / N})]

    for clumps whose number on a line of sight is Poisson distributed (Natta & Panagia 1984, ApJ
    287, 228). For many clumps it is that of a uniform screen; it never falls below exp(-N), the
    chance to miss all clumps.

    Parameters
    ----------
    tau : array_like
        Mean optical depth of the screen, at least 0.
    n_clumps : array_like
        Mean number N of clumps on a line of sight, above 0.
    """
    n_clumps = jnp.asarray(n_clumps)
    return jnp.exp(n_clumps * jnp.expm1(-jnp.asarray(tau) / n_clumps))


@dataclass(frozen=True)
class DustScreen(Component):
    """A geometry: what young and old starlight goes through.

    A screen in front of the stars defines :meth:`optical_depths`, another geometry
    :meth:`transmission`; each follows from the other.
    """

    kind = "dust"

    #: Whether young stars are in birth clouds, up to :meth:`birth_cloud_age`.
    has_birth_clouds: ClassVar[bool] = False

    @property
    def breaks(self) -> tuple[float, ...]:
        """Rest-frame wavelengths [Angstrom] at which the attenuation is not smooth, increasing."""
        return ()

    def transmission(self, wave: ArrayLike, params: Mapping[str, Any]) -> tuple[Array, Array]:
        """Return the share of the light of (young, old) stars that gets out.

        Parameters
        ----------
        wave : array_like, shape (...,)
            Rest-frame wavelengths [Angstrom].
        params : mapping
            The model's parameters.
        """
        young, old = self.optical_depths(wave, params)
        return jnp.exp(-young), jnp.exp(-old)

    def optical_depths(self, wave: ArrayLike, params: Mapping[str, Any]) -> tuple[Array, Array]:
        """Return the optical depths towards (young, old) stars at rest wavelengths [Angstrom].

        Where the dust is no screen, they are effective ones, -ln(transmission).
        """
        young, old = self.transmission(wave, params)
        least = jnp.finfo(jnp.result_type(young)).tiny
        return -jnp.log(jnp.maximum(young, least)), -jnp.log(jnp.maximum(old, least))

    def birth_cloud_age(self, params: Mapping[str, Any]) -> ArrayLike:
        """Age up to which stars count as young [Gyr]."""
        return 0.0


@register("dust", "none")
@dataclass(frozen=True)
class NoDust(DustScreen):
    """No attenuation."""

    citations = ()

    def optical_depths(self, wave: ArrayLike, params: Mapping[str, Any]) -> tuple[Array, Array]:
        """See :meth:`DustScreen.optical_depths`."""
        none = jnp.zeros_like(jnp.asarray(wave))
        return none, none


@register("dust", "single")
@dataclass(frozen=True)
class SingleScreen(DustScreen):
    """One screen in front of all stars."""

    citations: ClassVar[tuple[str, ...]] = ()
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
        tau = self._tau(wave, params)
        return tau, tau

    def _tau(self, wave: ArrayLike, params: Mapping[str, Any]) -> Array:
        """Optical depth of all dust."""
        return params["dust_tau_diff"] * self.law.curve(wave, params)


@register("dust", "mixed_slab")
@dataclass(frozen=True)
class MixedSlab(SingleScreen):
    """All stars and the dust uniformly mixed; see :func:`mixed_slab_transmission`.

    ``dust_tau_diff`` is the optical depth through the whole slab.
    """

    citations = ("Disney1989",)

    def transmission(self, wave: ArrayLike, params: Mapping[str, Any]) -> tuple[Array, Array]:
        """See :meth:`DustScreen.transmission`."""
        share = mixed_slab_transmission(self._tau(wave, params))
        return share, share

    optical_depths = DustScreen.optical_depths


@register("dust", "clumpy_screen")
@dataclass(frozen=True)
class ClumpyScreen(SingleScreen):
    """A screen of clumps in front of all stars; see :func:`clumpy_screen_transmission`.

    ``dust_tau_diff`` is the mean optical depth.
    """

    citations = ("NattaPanagia1984",)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """dust_n_clumps, dust_tau_diff and the law's parameters."""
        clumps = Parameter("dust_n_clumps", "1", "mean number of clumps on a line of sight", 5.0)
        return (clumps, *super().parameters)

    def transmission(self, wave: ArrayLike, params: Mapping[str, Any]) -> tuple[Array, Array]:
        """See :meth:`DustScreen.transmission`."""
        tau = self._tau(wave, params)
        share = clumpy_screen_transmission(tau, params["dust_n_clumps"])
        return share, share

    optical_depths = DustScreen.optical_depths


@register("dust", "two_component")
@dataclass(frozen=True)
class TwoComponentDust(DustScreen):
    r"""Birth clouds and a diffuse screen (Charlot & Fall 2000, ApJ 539, 718).

    Stars younger than ``dust_t_bc_gyr`` see both,
    :math:`\tau_{bc} k_{bc}(\lambda) + \tau_{diff} k(\lambda)`, older ones only the diffuse screen.
    """

    citations: ClassVar[tuple[str, ...]] = ("CharlotFall2000",)
    has_birth_clouds = True
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


@register("dust", "fraction_obscured")
@dataclass(frozen=True)
class FractionObscured(TwoComponentDust):
    r"""Two components that leave a share of the light free (Lower et al. 2022, ApJ 931, 14).

    .. math:: T = f + (1 - f)\, e^{-\tau}, \quad f = \mathtt{dust\_frac\_unobscured},

    with the optical depths of :class:`TwoComponentDust`: the share f of the light of young and of
    old stars meets neither birth clouds nor diffuse dust. (In FSPS, ``frac_nodust`` frees light
    from the diffuse dust alone.)
    """

    citations = ("CharlotFall2000", "Lower2022")

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """dust_frac_unobscured and the parameters of TwoComponentDust."""
        share = Parameter(
            "dust_frac_unobscured", "1", "share of the starlight that meets no dust", (0.0, 1.0)
        )
        return (share, *super().parameters)

    def transmission(self, wave: ArrayLike, params: Mapping[str, Any]) -> tuple[Array, Array]:
        """See :meth:`DustScreen.transmission`."""
        free = jnp.asarray(params["dust_frac_unobscured"])
        young, old = super().optical_depths(wave, params)
        return free + (1.0 - free) * jnp.exp(-young), free + (1.0 - free) * jnp.exp(-old)

    optical_depths = DustScreen.optical_depths
