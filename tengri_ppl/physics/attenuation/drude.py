"""Extinction curves that are sums of Drude-like terms: Pei (1992) and Li et al. (2008)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from tengri_ppl.errors import ParameterError, suggest
from tengri_ppl.physics.attenuation.base import PIVOT, AttenuationLaw
from tengri_ppl.physics.component import Parameter, register

__all__ = [
    "LI2008_PRESETS",
    "Li2008Law",
    "PeiLMCLaw",
    "PeiMilkyWayLaw",
    "PeiSMCLaw",
    "li2008",
    "pei",
]


def _term(
    wave: ArrayLike, amplitude: ArrayLike, centre: float, offset: ArrayLike, power: ArrayLike
) -> Array:
    """Evaluate a / [(wave/centre)^n + (centre/wave)^n + b], which overflows nowhere."""
    decay = jnp.exp(-jnp.asarray(power) * jnp.abs(jnp.log(jnp.asarray(wave) / centre)))
    return jnp.asarray(amplitude) * decay / (1.0 + decay * (decay + jnp.asarray(offset)))


# Pei (1992), Table 4: a, lambda [Angstrom], b, n of the background, far-ultraviolet, 2175 Angstrom,
# 9.7 micron, 18 micron and far-infrared terms.
_PEI_TERMS = {
    "mw": (
        (165.0, 470.0, 90.0, 2.0),
        (14.0, 800.0, 4.00, 6.5),
        (0.045, 2200.0, -1.95, 2.0),
        (0.002, 9.7e4, -1.95, 2.0),
        (0.002, 1.8e5, -1.80, 2.0),
        (0.012, 2.5e5, 0.00, 2.0),
    ),
    "lmc": (
        (175.0, 460.0, 90.0, 2.0),
        (19.0, 800.0, 5.50, 4.5),
        (0.023, 2200.0, -1.95, 2.0),
        (0.005, 9.7e4, -1.95, 2.0),
        (0.006, 1.8e5, -1.80, 2.0),
        (0.020, 2.5e5, 0.00, 2.0),
    ),
    "smc": (
        (185.0, 420.0, 90.0, 2.0),
        (27.0, 800.0, 5.50, 4.0),
        (0.005, 2200.0, -1.95, 2.0),
        (0.010, 9.7e4, -1.95, 2.0),
        (0.012, 1.8e5, -1.80, 2.0),
        (0.030, 2.5e5, 0.00, 2.0),
    ),
}


def pei(wave: ArrayLike, galaxy: str = "smc") -> Array:
    r"""Extinction of the Milky Way, LMC or SMC (Pei 1992, ApJ 395, 130, Table 4).

    .. math:: k \propto \sum_{i=1}^{6} \frac{a_i}
              {(\lambda/\lambda_i)^{n_i} + (\lambda_i/\lambda)^{n_i} + b_i}

    The fit holds from 0.1 micron to the far infrared, silicate features included; it goes on as
    lambda^-2 redward, and blueward of its peak near 0.07 micron falls as lambda^2. The sum is
    divided by its value at 5500 Angstrom, so that k(5500 A) = 1. As published, A_lambda / A_V =
    (1 + 1/R_V) A_lambda / A_B is 0.977 (MW), 1.000 (LMC) and 0.967 (SMC) there.

    Parameters
    ----------
    wave : array_like, shape (...,)
        Rest-frame wavelength [Angstrom].
    galaxy : {"mw", "lmc", "smc"}
        Which curve.
    """
    if galaxy not in _PEI_TERMS:
        raise ParameterError(f"galaxy={galaxy!r}: expected one of {', '.join(_PEI_TERMS)}")
    terms = _PEI_TERMS[galaxy]
    total = sum(_term(wave, *term) for term in terms)
    return jnp.asarray(total / sum(_term(PIVOT, *term) for term in terms))


#: c1, c2, c3, c4 of Li et al. (2008).
LI2008_PRESETS = {
    "mw": (14.4, 6.52, 2.04, 0.0519),
    "lmc": (4.47, 2.39, -0.988, 0.0221),
    "smc": (38.7, 3.83, 6.34, 0.0),
    "calzetti": (44.9, 7.56, 61.2, 0.0),
}


def li2008(
    wave: ArrayLike,
    c1: ArrayLike = LI2008_PRESETS["mw"][0],
    c2: ArrayLike = LI2008_PRESETS["mw"][1],
    c3: ArrayLike = LI2008_PRESETS["mw"][2],
    c4: ArrayLike = LI2008_PRESETS["mw"][3],
) -> Array:
    r"""Universal form of Li et al. (2008, ApJ 685, 1046).

    .. math:: k = \frac{c_1}{(\lambda/0.08)^{c_2} + (0.08/\lambda)^{c_2} + c_3}
              + \frac{C\, [1 - c_1 / D(c_2, c_3) - c_4 / 4.60]}
                     {(\lambda/0.046)^2 + (0.046/\lambda)^2 + 90}
              + \frac{c_4}{(\lambda/0.2175)^2 + (0.2175/\lambda)^2 - 1.95}

    with the wavelength in micron: far-ultraviolet rise, optical and infrared, 2175 Angstrom bump.
    C = 233, D and 4.60 are the denominators at 0.55 micron and make k(5500 A) = 1; here they are
    computed, not rounded. Fitted to 0.1-1 micron and beyond in the infrared; the terms fall off
    on both sides. Values below zero, which unusual parameters cause, are set to zero.

    Parameters
    ----------
    wave : array_like, shape (...,)
        Rest-frame wavelength [Angstrom].
    c1, c2 : array_like
        Amplitude and slope of the far-ultraviolet rise.
    c3 : array_like
        Its width; above -2, below which the first term has a pole.
    c4 : array_like
        Amplitude of the 2175 Angstrom bump.
    """

    def terms(at: ArrayLike) -> tuple[Array, Array, Array]:
        return (
            _term(at, c1, 800.0, c3, c2),
            _term(at, 1.0, 460.0, 90.0, 2.0),
            _term(at, c4, 2175.0, -1.95, 2.0),
        )

    rise, optical, bump = terms(wave)
    rise_v, optical_v, bump_v = terms(PIVOT)
    return jnp.maximum(rise + (1.0 - rise_v - bump_v) * optical / optical_v + bump, 0.0)


@register("dust_law", "pei_mw")
@dataclass(frozen=True)
class PeiMilkyWayLaw(AttenuationLaw):
    """Extinction of the Milky Way after Pei (1992); see :func:`pei`."""

    citations = ("Pei1992",)
    function = staticmethod(partial(pei, galaxy="mw"))


@register("dust_law", "pei_lmc")
@dataclass(frozen=True)
class PeiLMCLaw(AttenuationLaw):
    """Extinction of the Large Magellanic Cloud after Pei (1992); see :func:`pei`."""

    citations = ("Pei1992",)
    function = staticmethod(partial(pei, galaxy="lmc"))


@register("dust_law", "pei_smc")
@dataclass(frozen=True)
class PeiSMCLaw(AttenuationLaw):
    """Extinction of the Small Magellanic Cloud after Pei (1992); see :func:`pei`."""

    citations = ("Pei1992",)
    function = staticmethod(partial(pei, galaxy="smc"))


@register("dust_law", "li2008")
@dataclass(frozen=True)
class Li2008Law(AttenuationLaw):
    """See :func:`li2008`; parameters ``dust_c1`` to ``dust_c4``.

    Attributes
    ----------
    preset : {"mw", "lmc", "smc", "calzetti"}
        The curve whose coefficients are the defaults of the parameters.
    """

    citations = ("Li2008",)
    function = staticmethod(li2008)
    preset: str = "mw"

    def __post_init__(self) -> None:
        """Check the choice."""
        if self.preset not in LI2008_PRESETS:
            raise ParameterError(
                f"preset={self.preset!r} is unknown{suggest(self.preset, LI2008_PRESETS)} "
                f"(available: {', '.join(LI2008_PRESETS)})"
            )

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """dust_c1, dust_c2, dust_c3, dust_c4."""
        meanings = (
            "amplitude of the far-ultraviolet rise",
            "slope of the far-ultraviolet rise",
            "width of the far-ultraviolet rise",
            "amplitude of the 2175 Angstrom bump",
        )
        return tuple(
            self._parameter(f"c{i}", meaning, default)
            for i, (meaning, default) in enumerate(
                zip(meanings, LI2008_PRESETS[self.preset], strict=True), start=1
            )
        )
