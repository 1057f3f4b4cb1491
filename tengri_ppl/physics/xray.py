r"""X-ray emission: binaries, hot gas and the corona of an AGN, behind gas that absorbs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from tengri_ppl.errors import ParameterError
from tengri_ppl.physics.agn import AGN
from tengri_ppl.physics.component import NormalPrior, Parameter, register
from tengri_ppl.physics.constants import LSUN_ERG_S
from tengri_ppl.physics.emission import Emission, Galaxy

__all__ = [
    "KEV_ANGSTROM",
    "Lehmer2016XRay",
    "XRay",
    "alpha_ox",
    "cutoff_power_law",
    "photoelectric_cross_section",
    "xray_binaries",
]

#: Energy times wavelength of a photon [keV Angstrom] (exact constants, SI).
KEV_ANGSTROM = 12.398419843320026
_HZ_PER_KEV = 2.4179892420849183e17
_LOG_LSUN = float(np.log10(LSUN_ERG_S))
_BAND_NODES = 16
#: Fits of Lehmer et al. (2016), table 3: log10 of alpha_0 [erg/s/Msun], gamma, log10 of beta_0
#: [erg/s/(Msun/yr)], delta.
_LEHMER = {
    "0.5-2": ((0.5, 2.0), (29.04, 3.78, 39.38, 0.99)),
    "2-10": ((2.0, 10.0), (29.37, 2.03, 39.28, 1.31)),
}
#: Luminosity of hot gas from 0.5 to 2 keV per star formation rate [Lsun/(Msun/yr)].
_HOT_GAS = 8.3e38 / LSUN_ERG_S
_HOT_GAS_INDEX, _HOT_GAS_CUTOFF = 1.0, 1.0
_BINARY_CUTOFF = 100.0
_ALPHA_OX_SCALE = 0.3838
#: Discs fainter than this at 2500 Angstrom [Lsun/Hz] have no corona to speak of; no log of 0.
_FAINTEST = 1e-20
#: Lower energies [keV] of the ranges of Morrison & McCammon (1983), table 2, and coefficients.
#: The last range, beyond theirs, falls as E^-3.
_ENERGY_EDGES = (
    *(0.03, 0.1, 0.284, 0.4, 0.532, 0.707, 0.867, 1.303),
    *(1.84, 2.471, 3.21, 4.038, 7.111, 8.331, 10.0),
)
_CROSS_SECTION = (
    (17.3, 608.1, -2150.0),
    (34.6, 267.9, -476.1),
    (78.1, 18.8, 4.3),
    (71.4, 66.8, -51.4),
    (95.5, 145.8, -61.1),
    (308.9, -380.6, 294.0),
    (120.6, 169.3, -47.7),
    (141.3, 146.8, -31.5),
    (202.7, 104.7, -17.0),
    (342.7, 18.7, 0.0),
    (352.2, 18.7, 0.0),
    (433.9, -2.4, 0.75),
    (629.0, 30.9, 0.0),
    (701.2, 25.2, 0.0),
    (953.2, 0.0, 0.0),
)


def photoelectric_cross_section(energy: ArrayLike) -> Array:
    r"""Photoelectric cross-section of interstellar gas (Morrison & McCammon 1983, ApJ 270, 119).

    .. math:: \sigma = (c_0 + c_1 E + c_2 E^2)\, E^{-3} \times 10^{-24}\,\mathrm{cm^2}

    per hydrogen atom, for solar abundances and neutral gas, with coefficients for 14 ranges of
    0.03-10 keV. Above, it falls as :math:`E^{-3}`. Scattering is not included: columns should
    stay below :math:`10^{24}\,\mathrm{cm^{-2}}`.

    Parameters
    ----------
    energy : array_like, shape (...,)
        Energy [keV], 0.03 or more.

    Returns
    -------
    Array, shape (...,)
        Cross-section [1e-24 cm^2].
    """
    energy = jnp.asarray(energy)
    index = jnp.searchsorted(jnp.asarray(_ENERGY_EDGES[1:]), energy, side="right")
    c = jnp.asarray(_CROSS_SECTION)[index]
    return (c[..., 0] + energy * (c[..., 1] + energy * c[..., 2])) / energy**3


def cutoff_power_law(
    energy: ArrayLike, index: ArrayLike, cutoff: ArrayLike, band: tuple[float, float]
) -> Array:
    r"""Power law with an exponential cutoff, with a luminosity of one in a band.

    .. math:: L_\nu \propto E^{1 - \Gamma}\, e^{-E / E_c}

    Parameters
    ----------
    energy : array_like, shape (...,)
        Energy [keV].
    index : array_like
        Photon index.
    cutoff : array_like
        Energy E_c [keV].
    band : tuple of float
        Energies between which the luminosity is one [keV].

    Returns
    -------
    Array, shape (...,)
        L_nu over the luminosity in the band [1/Hz].
    """
    nodes, weight = np.polynomial.legendre.leggauss(_BAND_NODES)
    low, high = np.log(band)
    ln_e = low + 0.5 * (high - low) * (nodes + 1.0)
    per_ln_e = _log_cutoff(np.exp(ln_e), index, cutoff) + ln_e
    total = 0.5 * (high - low) * _HZ_PER_KEV * jnp.sum(weight * jnp.exp(per_ln_e))
    return jnp.exp(_log_cutoff(energy, index, cutoff)) / total


def _log_cutoff(energy: ArrayLike, index: ArrayLike, cutoff: ArrayLike) -> Array:
    """Return ln(E^(1 - index) exp(-E / cutoff))."""
    return (1.0 - jnp.asarray(index)) * jnp.log(energy) - energy / jnp.asarray(cutoff)


def xray_binaries(
    stellar_mass: ArrayLike, sfr: ArrayLike, redshift: ArrayLike, band: str = "2-10"
) -> tuple[Array, Array]:
    r"""Luminosity of X-ray binaries (Lehmer et al. 2016, ApJ 825, 7, table 3).

    .. math:: L_X = \alpha_0 (1+z)^\gamma M_* + \beta_0 (1+z)^\delta SFR

    Fitted to stacks of normal galaxies in the Chandra Deep Field-South.

    Parameters
    ----------
    stellar_mass : array_like
        Surviving stellar mass [Msun].
    sfr : array_like
        Star formation rate [Msun/yr].
    redshift : array_like
        Redshift.
    band : {"2-10", "0.5-2"}
        Energies [keV].

    Returns
    -------
    low_mass, high_mass : Array
        Luminosities of low- and of high-mass binaries in the band [Lsun].
    """
    log_alpha, gamma, log_beta, delta = _LEHMER[band][1]
    growth = jnp.log1p(jnp.asarray(redshift))
    low_mass = 10.0 ** (log_alpha - _LOG_LSUN) * jnp.exp(gamma * growth) * stellar_mass
    high_mass = 10.0 ** (log_beta - _LOG_LSUN) * jnp.exp(delta * growth) * sfr
    return low_mass, high_mass


def alpha_ox(l_nu_2500: ArrayLike) -> Array:
    r"""Slope between 2500 Angstrom and 2 keV (Just et al. 2007, ApJ 665, 1004, eq. 3).

    .. math:: \alpha_{ox} = -0.137 \log_{10} L_{2500} + 2.638
              = 0.3838\, \log_{10} (L_{2 keV} / L_{2500})

    with L_2500 in erg/s/Hz, fitted over five decades around 10^30.

    Parameters
    ----------
    l_nu_2500 : array_like
        L_nu at 2500 Angstrom [Lsun/Hz].
    """
    return -0.137 * (jnp.log10(l_nu_2500) + _LOG_LSUN) + 2.638


@dataclass(frozen=True)
class XRay(Emission):
    """X-ray emission from 0.3 to 200 keV.

    Attributes
    ----------
    agn : AGN, optional
        The nucleus of the model, which then has a corona.
    """

    kind = "xray"
    coverage: ClassVar[tuple[float, float]] = (KEV_ANGSTROM / 200.0, KEV_ANGSTROM / 0.3)
    #: Rest-frame wavelengths [Angstrom] at which the light is not smooth: the edges of absorption.
    breaks: ClassVar[tuple[float, ...]] = (
        coverage[0],
        *(KEV_ANGSTROM / e for e in reversed(_ENERGY_EDGES) if e > 0.3),
        coverage[1],
    )
    agn: AGN | None = None


@register("xray", "lehmer2016")
@dataclass(frozen=True)
class Lehmer2016XRay(XRay):
    r"""Binaries by stellar mass and star formation rate, hot gas, and the corona of an AGN.

    * Low- and high-mass binaries: :func:`xray_binaries`, with the photon indices of Yang et al.
      (2020, MNRAS 491, 740), 1.56 and 2.0, and cutoffs at 100 keV. The mass is the surviving one.
    * Hot gas: 8.3e38 erg/s per Msun/yr from 0.5 to 2 keV (Mineo, Gilfanov & Sunyaev 2012, MNRAS
      426, 1870), with a photon index of 1 and a cutoff at 1 keV.
    * Corona: :func:`alpha_ox` of the disc before any dust, plus ``xray_agn_delta_alpha_ox`` (its
      scatter is 0.15); a power law with an exponential cutoff.

    Gas absorbs (:func:`photoelectric_cross_section`): ``xray_log_nh`` in front of binaries and hot
    gas, ``xray_agn_log_nh`` in front of the corona.

    Attributes
    ----------
    band : {"2-10", "0.5-2"}
        Energies [keV] of the fit of Lehmer et al. that sets the luminosity of the binaries.
    """

    needs_surviving_mass = True
    band: str = "2-10"

    def __post_init__(self) -> None:
        """Check the choice."""
        if self.band not in _LEHMER:
            raise ParameterError(f"band={self.band!r}: expected one of {', '.join(_LEHMER)}")

    @property
    def citations(self) -> tuple[str, ...]:
        """See :attr:`~tengri_ppl.physics.component.Component.citations`."""
        own = ("Lehmer2016", "Mineo2012", "Yang2020", "MorrisonMcCammon1983")
        return own if self.agn is None else (*own, "Just2007")

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """xray_lmxb_index, xray_hmxb_index, xray_log_nh, and with a nucleus xray_agn_*."""
        column = "log10 of the column of hydrogen in front of the "
        own = (
            Parameter("xray_lmxb_index", "1", "photon index of low-mass binaries", 1.56),
            Parameter("xray_hmxb_index", "1", "photon index of high-mass binaries", 2.0),
            Parameter("xray_log_nh", "dex(cm-2)", column + "galaxy", 20.0),
        )
        corona = (
            Parameter(
                "xray_agn_delta_alpha_ox", "1", "deviation of alpha_ox", NormalPrior(0.0, 0.15)
            ),
            Parameter("xray_agn_index", "1", "photon index of the corona", 1.8),
            Parameter("xray_agn_cutoff", "keV", "cutoff energy of the corona", 300.0),
            Parameter("xray_agn_log_nh", "dex(cm-2)", column + "corona", (20.0, 24.0)),
        )
        return own if self.agn is None else (*own, *corona)

    def smooth(self, wave: ArrayLike, params: Mapping[str, Any], galaxy: Galaxy) -> Array:
        """See :meth:`Emission.smooth`."""
        wave = jnp.asarray(wave)
        inside = (wave >= self.coverage[0]) & (wave <= self.coverage[1])
        energy = KEV_ANGSTROM / jnp.clip(wave, *self.coverage)
        cross_section = photoelectric_cross_section(energy)
        light = self._galaxy(energy, params, galaxy)
        light *= _transmission(cross_section, params["xray_log_nh"])
        if self.agn is not None:
            corona = self._corona(energy, params, self.agn.l_nu_2500(params, galaxy))
            light += corona * _transmission(cross_section, params["xray_agn_log_nh"])
        return jnp.where(inside, light, 0.0)

    def _galaxy(self, energy: Array, params: Mapping[str, Any], galaxy: Galaxy) -> Array:
        """Binaries and hot gas [Lsun/Hz]."""
        low_mass, high_mass = xray_binaries(
            galaxy.stellar_mass, galaxy.sfr, galaxy.redshift, self.band
        )
        band = _LEHMER[self.band][0]
        low = cutoff_power_law(energy, params["xray_lmxb_index"], _BINARY_CUTOFF, band)
        high = cutoff_power_law(energy, params["xray_hmxb_index"], _BINARY_CUTOFF, band)
        gas = cutoff_power_law(energy, _HOT_GAS_INDEX, _HOT_GAS_CUTOFF, (0.5, 2.0))
        return low_mass * low + high_mass * high + _HOT_GAS * galaxy.sfr * gas

    def _corona(self, energy: Array, params: Mapping[str, Any], l_nu_2500: Array) -> Array:
        """Corona [Lsun/Hz]."""
        l_nu_2500 = jnp.maximum(l_nu_2500, _FAINTEST)
        slope = alpha_ox(l_nu_2500) + params["xray_agn_delta_alpha_ox"]
        at_2_kev = l_nu_2500 * 10.0 ** (slope / _ALPHA_OX_SCALE)
        index, cutoff = params["xray_agn_index"], params["xray_agn_cutoff"]
        log_shape = _log_cutoff(energy, index, cutoff) - _log_cutoff(2.0, index, cutoff)
        return at_2_kev * jnp.exp(log_shape)


def _transmission(cross_section: Array, log_nh: ArrayLike) -> Array:
    """Return exp(-sigma N_H)."""
    return jnp.exp(-cross_section * 10.0 ** (jnp.asarray(log_nh) - 24.0))
