r"""Accretion discs: broken power laws from the soft X-rays to the submillimetre.

A disc is known by the shape of its :math:`\nu L_\nu`; its bolometric luminosity is the integral
between 41.3 Angstrom (0.3 keV, where X-ray models begin) and 1 mm. The same quadrature in
:math:`\ln\lambda` gives that integral and the energy that dust takes away, so that energy is
conserved to rounding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from tengri_ppl.errors import ParameterError
from tengri_ppl.physics.blackbody import grey_body
from tengri_ppl.physics.component import Component, Parameter, register
from tengri_ppl.physics.constants import C_ANGSTROM_PER_S, C_KM_PER_S

__all__ = [
    "DISC_RANGE",
    "AGNDisc",
    "PowerLawDisc",
    "Temple2021Disc",
    "broken_power_law",
    "disc_rule",
    "grandi_balmer_continuum",
]

#: Rest-frame wavelengths between which a disc emits [Angstrom]: 0.3 keV and 1 mm.
DISC_RANGE = (41.328, 1e7)
_PIVOT = 5500.0
_BALMER_EDGE = 3646.0
_BALMER_NORM = 3000.0
_BALMER_TEMPERATURE = 15000.0
_BALMER_SIGMA = 5000.0 / 2.3548 / C_KM_PER_S
_RULE_STEP, _RULE_ORDER = 1.0, 8
#: Breaks [Angstrom] and slopes of nu L_nu in wavelength between them; the last slope but one is
#: that of the optical continuum.
_FORMS = {
    "schartmann2005": ((500.0, 1250.0, 1e5), (2.0, 0.8, -0.5, -3.0)),
    "stalevski2016": ((100.0, 1000.0, 5e4), (1.2, 0.0, -0.5, -3.0)),
}
_TEMPLE_BREAKS = (1200.0, 3880.0)
_TEMPLE_STEP = -1.0


def broken_power_law(
    wave: ArrayLike, breaks: tuple[float, ...], slopes: tuple[ArrayLike, ...]
) -> Array:
    """Continuous broken power law in wavelength, 1 at 5500 Angstrom.

    Parameters
    ----------
    wave : array_like, shape (...,)
        Wavelength [Angstrom], above 0.
    breaks : tuple of float
        Wavelengths at which the slope changes [Angstrom], increasing.
    slopes : tuple
        Slope d ln f / d ln wave before, between and after the breaks; one more than breaks.
    """
    ln_wave = jnp.log(jnp.asarray(wave))
    edges = (-np.inf, *np.log(breaks), np.inf)
    log_shape = jnp.zeros_like(ln_wave)
    for slope, (low, high) in zip(slopes, pairwise(edges), strict=True):
        log_shape += slope * (jnp.clip(ln_wave, low, high) - np.clip(np.log(_PIVOT), low, high))
    return jnp.exp(log_shape)


def grandi_balmer_continuum(wave: ArrayLike) -> Array:
    r"""Shape of the Balmer continuum (Grandi 1982, ApJ 255, 25), 1 at 3000 Angstrom.

    .. math:: F_\nu \propto B_\nu(15000\,\mathrm{K})\,
              \left(1 - e^{-(\lambda/3646)^3}\right), \quad \lambda < 3646\,\mathrm{\AA}

    The edge is smoothed by 5000 km/s (FWHM), as in Temple et al. (2021, MNRAS 508, 737).

    Parameters
    ----------
    wave : array_like, shape (...,)
        Rest-frame wavelength [Angstrom].

    Returns
    -------
    Array, shape (...,)
        F_nu.
    """

    def spectrum(x: ArrayLike) -> Array:
        depth = (jnp.minimum(jnp.asarray(x), 2.0 * _BALMER_EDGE) / _BALMER_EDGE) ** 3
        return -jnp.expm1(-depth) * grey_body(x, _BALMER_TEMPERATURE, 0.0)

    wave = jnp.asarray(wave)
    edge = 0.5 * (1.0 - jnp.tanh(0.8 * jnp.log(wave / _BALMER_EDGE) / _BALMER_SIGMA))
    return edge * spectrum(wave) / spectrum(_BALMER_NORM)


def disc_rule(breaks: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Quadrature in ln(wavelength) over the range of the disc, cut at its breaks.

    Returns
    -------
    wave, weight : ndarray, shape (n,)
        Wavelengths [Angstrom], and weights of an integral over d ln(wavelength).
    """
    inner = [x for x in breaks if DISC_RANGE[0] < x < DISC_RANGE[1]]
    edges = np.log([DISC_RANGE[0], *inner, DISC_RANGE[1]])
    unit, weight = np.polynomial.legendre.leggauss(_RULE_ORDER)
    cells = [
        np.linspace(low, high, int(np.ceil((high - low) / _RULE_STEP)) + 1)
        for low, high in pairwise(edges)
    ]
    lower = np.concatenate([c[:-1] for c in cells])
    half = 0.5 * np.concatenate([np.diff(c) for c in cells])
    nodes = lower[:, None] + half[:, None] * (unit + 1.0)
    return np.exp(nodes).ravel(), (half[:, None] * weight).ravel()


@dataclass(frozen=True)
class AGNDisc(Component):
    """The continuum of an accretion disc. Subclasses define :meth:`shape`."""

    kind = "agn_disc"

    @property
    def breaks(self) -> tuple[float, ...]:
        """Rest-frame wavelengths [Angstrom] at which the spectrum is not smooth, increasing."""
        raise NotImplementedError

    def shape(self, wave: ArrayLike, params: Mapping[str, Any]) -> Array:
        """Return nu L_nu at rest-frame wavelengths [Angstrom], of any normalisation."""
        raise NotImplementedError

    def nu_l_nu(self, wave: ArrayLike, params: Mapping[str, Any]) -> Array:
        """Return nu L_nu over the bolometric luminosity; zero outside the range of the disc.

        Parameters
        ----------
        wave : array_like, shape (...,)
            Rest-frame wavelength [Angstrom].
        params : mapping
            The model's parameters.
        """
        nodes, weight = disc_rule(self.breaks)
        wave = jnp.asarray(wave)
        inside = (wave >= DISC_RANGE[0]) & (wave <= DISC_RANGE[1])
        shape = self.shape(jnp.clip(wave, *DISC_RANGE), params)
        return jnp.where(inside, shape, 0.0) / jnp.sum(weight * self.shape(nodes, params))

    def l_nu(self, wave: ArrayLike, params: Mapping[str, Any]) -> Array:
        """Return L_nu over the bolometric luminosity [1/Hz]; see :meth:`nu_l_nu`."""
        return self.nu_l_nu(wave, params) * (jnp.asarray(wave) / C_ANGSTROM_PER_S)


@register("agn_disc", "power_law")
@dataclass(frozen=True)
class PowerLawDisc(AGNDisc):
    r"""Broken power law of a torus model.

    .. math:: \nu L_\nu \propto \lambda^{s}

    ``"schartmann2005"``: s = 2, 0.8, -0.5, -3 with breaks at 0.05, 0.125 and 10 micron
    (Schartmann et al. 2005, A&A 437, 861, as in Yang et al. 2020, MNRAS 491, 740);
    ``"stalevski2016"``: s = 1.2, 0, -0.5, -3 with breaks at 0.01, 0.1 and 5 micron (Stalevski et
    al. 2016, MNRAS 458, 2288). ``agn_disc_slope`` adds to the third slope, that of the optical
    continuum; Yang et al. (2022, ApJ 927, 192) find -0.36 for the first form and SDSS quasars.

    Attributes
    ----------
    form : {"schartmann2005", "stalevski2016"}
        Whose slopes.
    """

    form: str = "schartmann2005"

    def __post_init__(self) -> None:
        """Check the choice."""
        if self.form not in _FORMS:
            raise ParameterError(f"form={self.form!r}: expected one of {', '.join(_FORMS)}")

    @property
    def citations(self) -> tuple[str, ...]:
        """See :attr:`~tengri_ppl.physics.component.Component.citations`."""
        return (self.form.capitalize(),)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """agn_disc_slope."""
        return (Parameter("agn_disc_slope", "1", "addition to the slope of the optical disc", 0.0),)

    @property
    def breaks(self) -> tuple[float, ...]:
        """See :attr:`AGNDisc.breaks`."""
        return (DISC_RANGE[0], *_FORMS[self.form][0], DISC_RANGE[1])

    def shape(self, wave: ArrayLike, params: Mapping[str, Any]) -> Array:
        """See :meth:`AGNDisc.shape`."""
        breaks, (*blue, optical, red) = _FORMS[self.form]
        return broken_power_law(wave, breaks, (*blue, optical + params["agn_disc_slope"], red))


@register("agn_disc", "temple2021")
@dataclass(frozen=True)
class Temple2021Disc(AGNDisc):
    r"""Quasar continuum of Temple, Hewett & Banerji (2021, MNRAS 508, 737).

    .. math:: L_\nu \propto \nu^{\alpha}

    with :math:`\alpha` = ``agn_disc_slope_uv`` (-0.349) between 1200 and 3880 Angstrom, that
    minus 1 below, and ``agn_disc_slope_optical`` (0.593) above; ``agn_disc_balmer`` is the Balmer
    continuum over the power law at 3000 Angstrom (see :func:`grandi_balmer_continuum`). The paper
    has 0 there, because its emission-line templates include the Balmer continuum. Its hot dust is
    a torus here: two_blackbody with ``agn_torus_t_hot`` = 1243.6 K and no warm dust. The paper
    covers 912 Angstrom to 3 micron; the power laws are continued beyond.
    """

    citations = ("Temple2021", "Grandi1982")

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """agn_disc_slope_uv, agn_disc_slope_optical, agn_disc_balmer."""
        return (
            Parameter("agn_disc_slope_uv", "1", "slope of L_nu in frequency, 1200-3880 A", -0.349),
            Parameter("agn_disc_slope_optical", "1", "slope above 3880 Angstrom", 0.593),
            Parameter("agn_disc_balmer", "1", "Balmer continuum over the disc at 3000 A", 0.0),
        )

    @property
    def breaks(self) -> tuple[float, ...]:
        """See :attr:`AGNDisc.breaks`."""
        return (DISC_RANGE[0], _TEMPLE_BREAKS[0], _BALMER_EDGE, _TEMPLE_BREAKS[1], DISC_RANGE[1])

    def shape(self, wave: ArrayLike, params: Mapping[str, Any]) -> Array:
        """See :meth:`AGNDisc.shape`."""
        uv = -1.0 - params["agn_disc_slope_uv"]
        optical = -1.0 - params["agn_disc_slope_optical"]
        slopes = (uv - _TEMPLE_STEP, uv, optical)
        power_law = broken_power_law(wave, _TEMPLE_BREAKS, slopes)
        at_norm = broken_power_law(_BALMER_NORM, _TEMPLE_BREAKS, slopes)
        balmer = grandi_balmer_continuum(wave) * (_BALMER_NORM / jnp.asarray(wave))
        return power_law + params["agn_disc_balmer"] * at_norm * balmer
