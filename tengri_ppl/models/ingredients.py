"""What every prediction needs: grids, tables, and the parts that all predictions share.

The *host* is what scales with the amplitude: stars, gas and the dust that they heat. What else
shines (:attr:`Structure.additions`) may depend on the host, but not in proportion.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from tengri_ppl.models.absorption import AbsorptionTable
from tengri_ppl.models.photometry_table import PhotometryTable
from tengri_ppl.models.starlight import Starlight, Stars
from tengri_ppl.models.structure import Structure
from tengri_ppl.observation.photometry import BandQuadrature
from tengri_ppl.physics.constants import MICROJANSKY_CGS, MPC_CM
from tengri_ppl.physics.cosmology import luminosity_distance_mpc
from tengri_ppl.physics.emission import Galaxy, Templates
from tengri_ppl.physics.igm import IGM
from tengri_ppl.physics.nebular import (
    BandCurves,
    NebularCoupling,
    NebularData,
    line_luminosities,
)

__all__ = [
    "SFR_WINDOWS_GYR",
    "TEN_PARSEC_MPC",
    "Ingredients",
    "Nebula",
    "flux_unit",
    "igm_transmission",
]

TEN_PARSEC_MPC = 1e-5
SFR_WINDOWS_GYR = {"10myr": 0.01, "100myr": 0.1}
_IONISING_WAVE = 500.0
_X_RAYS = 41.4


def flux_unit(lsun_erg_s: float) -> float:
    """Flux density at 10 pc of one solar luminosity per hertz [microjansky]."""
    area = 4.0 * np.pi * (TEN_PARSEC_MPC * MPC_CM) ** 2
    return lsun_erg_s / area / MICROJANSKY_CGS


def igm_transmission(
    igm: IGM, coefficients: Any, wave_obs: ArrayLike, redshift: ArrayLike
) -> Array:
    """IGM transmission at observed wavelengths [Angstrom], shape of ``wave_obs``.

    Evaluated on a rest-frame grid with a node on either side of each Lyman line, and interpolated.
    The models hold for the ultraviolet; X-rays pass.
    """
    rest = jnp.asarray(igm.rest_grid)
    grid = igm.transmission(rest * (1.0 + redshift), redshift, coefficients)
    at = jnp.asarray(wave_obs) / (1.0 + redshift)
    return jnp.where(at < _X_RAYS, 1.0, jnp.interp(at, rest, grid, right=1.0))


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Nebula:
    """Arrays of the nebular component: its grid, its link to the stars, and filters for lines."""

    data: NebularData
    coupling: NebularCoupling
    curves: BandCurves


@dataclass(frozen=True, eq=False)
class Ingredients:
    """Everything that a prediction needs.

    Attributes
    ----------
    starlight : Starlight
        The SSP grid, on the wavelengths ``wave``.
    wave : array, shape (n_wave,)
        Rest-frame wavelengths of spectra [Angstrom].
    frequency_weight : array, shape (n_wave,)
        Weights that integrate L_nu over frequency [Hz].
    nebula : Nebula or None
        Nebular emission.
    templates : tuple of Templates or None
        Templates of each of :attr:`Structure.emissions`.
    table : PhotometryTable
        Integrals for the fast mode, in units of :func:`flux_unit`.
    absorption : AbsorptionTable or None
        Integrals for the energy balance in the fast mode [Lsun].
    quadrature : BandQuadrature
        Filters for the exact mode.
    igm : pytree
        Coefficients of the IGM model.
    """

    starlight: Starlight
    wave: Array
    frequency_weight: Array
    nebula: Nebula | None
    templates: tuple[Templates | None, ...]
    table: PhotometryTable
    absorption: AbsorptionTable | None
    quadrature: BandQuadrature
    igm: Any
    h0: Array
    om0: Array
    structure: Structure = field(metadata={"static": True})
    bands: tuple[str, ...] = field(metadata={"static": True})
    lsun_erg_s: float = field(metadata={"static": True})

    def _gas(self, stars: Stars, params: Mapping[str, Any]) -> Array:
        """Weights of the nebular models, (n_model,)."""
        if self.nebula is None:
            return jnp.zeros(0)
        young = stars.by_metallicity(stars.young)
        nebula = self.nebula
        weights = self.structure.nebular.weights(young, params, nebula.data, nebula.coupling)
        return jax.lax.optimization_barrier(weights)

    def _escaping(self, params: Mapping[str, Any]) -> Array:
        """Share of the ionising light of young stars that the gas lets out."""
        return self.structure.nebular.starlight(jnp.asarray(_IONISING_WAVE), params)

    def _line_transmission(self, params: Mapping[str, Any]) -> Array:
        """Transmission of the dust at the nebular lines, (n_line,)."""
        return self.structure.dust.transmission(self._nebula.data.line_wave, params)[0]

    def _seen_lines(self, gas: Array, params: Mapping[str, Any]) -> Array:
        """Luminosities of the nebular lines behind the dust [Lsun], (n_line,)."""
        return line_luminosities(gas, self._nebula.data) * self._line_transmission(params)

    def _absorbed_lines(self, gas: Array, params: Mapping[str, Any]) -> Array:
        """Luminosity of the lines that the dust absorbs [Lsun]."""
        lines = line_luminosities(gas, self._nebula.data)
        return jnp.sum(lines * (1.0 - self._line_transmission(params)))

    @property
    def _nebula(self) -> Nebula:
        """The nebular arrays, where there are any."""
        assert self.nebula is not None
        return self.nebula

    def _galaxy(self, stars: Stars, params: Mapping[str, Any], absorbed: Array) -> Galaxy:
        window = SFR_WINDOWS_GYR["100myr"]
        surviving = self.starlight.surviving_mass(stars)
        return Galaxy(
            redshift=jnp.asarray(params["redshift"]),
            absorbed=absorbed,
            sfr=stars.formed.mass_younger_than(window) / (window * 1e9),
            stellar_mass=stars.formed.mass.sum() if surviving is None else surviving,
        )

    def _dilution(self, redshift: ArrayLike) -> Array:
        """Factor from luminosity at 10 pc to observed flux density, (1 + z) (10 pc / D_L)^2."""
        distance = luminosity_distance_mpc(redshift, self.h0, self.om0)
        return (1.0 + jnp.asarray(redshift)) * (TEN_PARSEC_MPC / distance) ** 2
