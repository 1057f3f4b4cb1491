"""The forward model proper: a pytree of grids and tables with pure functions of the parameters.

Every method takes the complete parameters of one galaxy, scalars by full name. Batching,
compilation and the separation of free and fixed parameters are :class:`SEDModel`'s business.
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

from tengri_ppl.models.parameters import Structure
from tengri_ppl.models.photometry_table import PhotometryTable, contract
from tengri_ppl.observation.photometry import BandQuadrature
from tengri_ppl.physics.attenuation import MAG_PER_TAU
from tengri_ppl.physics.composite import (
    FormedMass,
    form_mass,
    node_masses,
    share_among_metallicities,
    star_formation_rate,
)
from tengri_ppl.physics.constants import MICROJANSKY_CGS, MPC_CM
from tengri_ppl.physics.cosmology import age_gyr, luminosity_distance_mpc

__all__ = ["ForwardModel", "flux_unit", "igm_transmission"]

_TEN_PARSEC_MPC = 1e-5
_V_BAND = 5500.0
_SFR_WINDOWS_GYR = {"10myr": 0.01, "100myr": 0.1}


def flux_unit(lsun_erg_s: float) -> float:
    """Flux density at 10 pc of one solar luminosity per hertz [microjansky]."""
    area = 4.0 * np.pi * (_TEN_PARSEC_MPC * MPC_CM) ** 2
    return lsun_erg_s / area / MICROJANSKY_CGS


def igm_transmission(
    structure: Structure, coefficients: Any, wave_obs: ArrayLike, redshift: ArrayLike
) -> Array:
    """IGM transmission at observed wavelengths [Angstrom], shape of ``wave_obs``.

    Evaluated on a rest-frame grid with a node on either side of each Lyman line, and interpolated.
    """
    rest = jnp.asarray(structure.igm.rest_grid)
    grid = structure.igm.transmission(rest * (1.0 + redshift), redshift, coefficients)
    return jnp.interp(jnp.asarray(wave_obs) / (1.0 + redshift), rest, grid, right=1.0)


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class ForwardModel:
    """Everything that a prediction needs.

    Attributes
    ----------
    flux : array, shape (n_met, n_age, n_wave)
        L_nu of the SSPs [Lsun/Hz per Msun formed].
    wave : array, shape (n_wave,)
        Rest-frame wavelengths [Angstrom].
    lgmet : array, shape (n_met,)
        log10 of the absolute metallicities.
    mass_remaining : array, shape (n_met, n_age), or None
        Surviving fraction of the mass formed.
    age_lower, age_upper : array, shape (n_interval,)
        Age intervals [Gyr].
    table : PhotometryTable
        Integrals for the fast mode, in units of :func:`flux_unit`.
    quadrature : BandQuadrature
        Filters for the exact mode.
    igm : pytree
        Coefficients of the IGM model.
    h0, om0 : array
        Cosmology.
    """

    flux: Array
    wave: Array
    lgmet: Array
    mass_remaining: Array | None
    age_lower: Array
    age_upper: Array
    table: PhotometryTable
    quadrature: BandQuadrature
    igm: Any
    h0: Array
    om0: Array
    structure: Structure = field(metadata={"static": True})
    bands: tuple[str, ...] = field(metadata={"static": True})
    age_scheme: str = field(metadata={"static": True})
    n_fine: int = field(metadata={"static": True})
    n_young: int = field(metadata={"static": True})
    zsun: float = field(metadata={"static": True})
    lsun_erg_s: float = field(metadata={"static": True})

    # -- populations -----------------------------------------------------------------------------

    def formed(self, params: Mapping[str, Any]) -> FormedMass:
        """Mass formed per age interval."""
        cosmic_age = age_gyr(params["redshift"], self.h0, self.om0)
        sfh = self.structure.sfh
        return form_mass(sfh, params, cosmic_age, self.age_lower, self.age_upper, self.n_fine)

    def _populations(self, params: Mapping[str, Any]) -> Array:
        """Masses of the SSPs in the young and in the old population, (2, n_met * n_age)."""
        formed = self.formed(params)
        young = formed.younger_than(self.structure.dust.birth_cloud_age(params))
        share = self.structure.metallicity.weights(self.lgmet, self.zsun, params, formed)
        if share.ndim == 2:
            parts = [share_among_metallicities(p, share, self.age_scheme) for p in (young, formed)]
            masses = jnp.stack(parts)
            return masses.at[1].add(-masses[0]).reshape(2, -1)
        ages = jnp.stack([node_masses(part, self.age_scheme) for part in (young, formed)])
        ages = ages.at[1].add(-ages[0])
        return (share[:, None] * ages[:, None, :]).reshape(2, -1)

    def _attenuated(
        self, wave: Array, light: Array | tuple[Array, Array], params: Mapping[str, Any]
    ) -> Array:
        """Sum young and old light (n,) behind their dust at rest wavelengths (n,)."""
        young, old = self.structure.dust.optical_depths(wave, params)
        return light[0] * jnp.exp(-young) + light[1] * jnp.exp(-old)

    def _dilution(self, redshift: ArrayLike) -> Array:
        """Factor from luminosity at 10 pc to observed flux density, (1 + z) (10 pc / D_L)^2."""
        distance = luminosity_distance_mpc(redshift, self.h0, self.om0)
        return (1.0 + jnp.asarray(redshift)) * (_TEN_PARSEC_MPC / distance) ** 2

    # -- predictions -----------------------------------------------------------------------------

    def unit_flux(self, params: Mapping[str, Any]) -> Array:
        """Fast photometry of a unit amplitude [microjansky], (n_band,)."""
        params = {**params, self.structure.sfh.amplitude_name: 0.0}
        redshift = params["redshift"]
        light = self._light_at_nodes(params)
        rest = jnp.asarray(self.table.node_wave) / (1.0 + jnp.asarray(redshift))
        nodes = self._attenuated(rest, light, params)
        return nodes.reshape(len(self.bands), -1).sum(axis=1) * self._dilution(redshift)

    def _light_at_nodes(self, params: Mapping[str, Any]) -> tuple[Array, Array]:
        """Integrals of the young and of the old starlight, without dust, (n_band * K,) each."""
        formed = self.formed(params)
        youngest = formed.youngest(self.n_young + 1)
        young = youngest.younger_than(self.structure.dust.birth_cloud_age(params))
        share = self.structure.metallicity.weights(self.lgmet, self.zsun, params, formed)
        integrals = self.table.at(params["redshift"])
        if share.ndim == 2:
            parts = (young, share[:, : self.n_young + 1]), (formed, share)
            few, every = (share_among_metallicities(p, s, self.age_scheme) for p, s in parts)
            light = contract(integrals, few[:, : self.n_young])
            return light, contract(integrals, every) - light
        few, every = (node_masses(part, self.age_scheme) for part in (young, formed))
        light = contract(integrals, few[: self.n_young], share)
        return light, contract(integrals, every, share) - light

    def photometry_fast(self, params: Mapping[str, Any]) -> Array:
        """Fluxes [erg/s/cm^2/Hz] from the table, (n_band,)."""
        amplitude = 10.0 ** jnp.asarray(params[self.structure.sfh.amplitude_name])
        return self.unit_flux(params) * amplitude * MICROJANSKY_CGS

    def photometry_exact(self, params: Mapping[str, Any]) -> Array:
        """Fluxes [erg/s/cm^2/Hz] from the whole spectrum, (n_band,)."""
        redshift = jnp.asarray(params["redshift"])
        points, weights = jnp.asarray(self.quadrature.wave), jnp.asarray(self.quadrature.weight)
        observed = jnp.interp(points / (1.0 + redshift), self.wave, self._spectrum_lsun(params))
        observed *= igm_transmission(self.structure, self.igm, points, redshift)
        factor = self._dilution(redshift) * flux_unit(self.lsun_erg_s)
        return jnp.sum(weights * observed * factor, axis=1) * MICROJANSKY_CGS

    def spectrum(self, params: Mapping[str, Any]) -> Array:
        """Attenuated rest-frame L_nu [erg/s/Hz], (n_wave,)."""
        return self._spectrum_lsun(params) * self.lsun_erg_s

    def _spectrum_lsun(self, params: Mapping[str, Any]) -> Array:
        """Attenuated rest-frame L_nu [Lsun/Hz], (n_wave,)."""
        populations = self._populations(params)
        flux = jnp.asarray(self.flux, dtype=populations.dtype)
        light = populations @ flux.reshape(populations.shape[1], -1)
        return self._attenuated(self.wave, light, params)

    def star_formation_rate(self, params: Mapping[str, Any], lookback: Array) -> Array:
        """Star formation rate [Msun/yr] at lookback times [Gyr], (n_time,)."""
        cosmic_age = age_gyr(params["redshift"], self.h0, self.om0)
        intervals = (self.age_lower, self.age_upper, self.n_fine)
        return star_formation_rate(self.structure.sfh, params, cosmic_age, lookback, *intervals)

    # -- derived quantities ----------------------------------------------------------------------

    def derived(self, params: Mapping[str, Any]) -> dict[str, Array]:
        """See :meth:`tengri_ppl.SEDModel.derived`."""
        formed = self.formed(params)
        populations = self._populations(params)
        out = {"mass_formed": formed.mass.sum()}
        for name, window in _SFR_WINDOWS_GYR.items():
            out[f"sfr_{name}"] = formed.mass_younger_than(window) / (window * 1e9)
        if self.mass_remaining is not None:
            out["stellar_mass"] = populations.sum(axis=0) @ self.mass_remaining.reshape(-1)
            out["ssfr_100myr"] = out["sfr_100myr"] / out["stellar_mass"]
        out["age_mass_weighted_gyr"] = formed.mean_age()
        out |= self._visual_attenuation(populations, params)
        return out

    def _visual_attenuation(
        self, populations: Array, params: Mapping[str, Any]
    ) -> dict[str, Array]:
        """Attenuation of all starlight, and of starlight outside birth clouds [mag]."""
        upper = jnp.clip(jnp.searchsorted(self.wave, _V_BAND), 1, self.wave.size - 1)
        share = (_V_BAND - self.wave[upper - 1]) / (self.wave[upper] - self.wave[upper - 1])
        column = self.flux[..., upper - 1] * (1.0 - share) + self.flux[..., upper] * share
        light = populations @ column.reshape(-1)
        young, old = self.structure.dust.optical_depths(jnp.asarray(_V_BAND), params)
        seen = light[0] * jnp.exp(-young) + light[1] * jnp.exp(-old)
        return {
            "a_v": -MAG_PER_TAU * jnp.log(seen / light.sum()),
            "a_v_diffuse": MAG_PER_TAU * old,
        }
