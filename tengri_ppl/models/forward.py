"""The forward model proper: a pytree of grids and tables with pure functions of the parameters.

Every method takes the complete parameters of one galaxy by full name. Batching, compilation and
the separation of free and fixed parameters are :class:`SEDModel`'s business.

The *host* is what scales with the amplitude: stars, gas and the dust that they heat. What else
shines (:attr:`Structure.additions`) may depend on the host, but not in proportion.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from tengri_ppl.models.absorption import AbsorptionTable
from tengri_ppl.models.light_table import LightTable
from tengri_ppl.models.photometry_table import LINE_OFFSET, PhotometryTable
from tengri_ppl.models.sources import IONISING_EDGE
from tengri_ppl.models.starlight import Starlight, Stars
from tengri_ppl.models.structure import EMISSION_KINDS, Structure
from tengri_ppl.observation.photometry import BandQuadrature
from tengri_ppl.physics.attenuation import MAG_PER_TAU
from tengri_ppl.physics.constants import MICROJANSKY_CGS, MPC_CM
from tengri_ppl.physics.cosmology import luminosity_distance_mpc
from tengri_ppl.physics.emission import Emission, Galaxy, Templates
from tengri_ppl.physics.igm import IGM
from tengri_ppl.physics.nebular import (
    BandCurves,
    NebularCoupling,
    NebularData,
    line_band_response,
    line_luminosities,
    line_profiles,
    nebular_continuum,
)

__all__ = ["ForwardModel", "Host", "Nebula", "flux_unit", "igm_transmission"]

_TEN_PARSEC_MPC = 1e-5
_V_BAND = 5500.0
_SFR_WINDOWS_GYR = {"10myr": 0.01, "100myr": 0.1}
_IONISING_WAVE = 500.0
_X_RAYS = 41.4


def flux_unit(lsun_erg_s: float) -> float:
    """Flux density at 10 pc of one solar luminosity per hertz [microjansky]."""
    area = 4.0 * np.pi * (_TEN_PARSEC_MPC * MPC_CM) ** 2
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


class Host(NamedTuple):
    """Photometry of the host, and the properties on which other light depends.

    Attributes
    ----------
    flux : Array, shape (n_band,)
        Flux [microjansky].
    galaxy : Galaxy
        Properties.
    """

    flux: Array
    galaxy: Galaxy

    def scaled(self, factor: ArrayLike) -> Host:
        """Return a host of another mass; the factor has the leading axes of the properties."""
        factor = jnp.asarray(factor)
        galaxy = self.galaxy._replace(
            absorbed=self.galaxy.absorbed * factor,
            sfr=self.galaxy.sfr * factor,
            stellar_mass=self.galaxy.stellar_mass * factor,
        )
        return Host(self.flux * factor[..., None], galaxy)


class _Intrinsic(NamedTuple):
    """Light without dust on the wavelengths of the model, (n_wave,) each, and lines (n_line,)."""

    young: Array
    old: Array
    gas: Array
    lines: Array


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class ForwardModel:
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

    # -- the parts of the fast mode --------------------------------------------------------------

    def unit_host(self, params: Mapping[str, Any]) -> Host:
        """Photometry and properties of the host for an amplitude of one."""
        params = {**params, self.structure.sfh.amplitude_name: 0.0}
        stars = self.starlight.stars(params)
        gas = self._gas(stars, params)
        table = self.table.at(params["redshift"])
        rest = self._rest(self.table.node_wave, params)
        light = table.light(stars, gas, self._escaping(params))
        young, old = self.structure.dust.transmission(rest, params)
        flux = self._band_sums(light.young * young + light.old * old)
        if self.nebula is not None:
            flux += self._seen_lines(gas, params) @ self._line_response(table, params["redshift"])
        galaxy = self._galaxy(stars, params, self._absorbed_fast(stars, gas, params))
        for component in self.structure.host_emissions:
            flux += self._emission_fluxes(component, table, params, galaxy)
        return Host(flux * self._dilution(params["redshift"]), galaxy)

    def added_flux(self, params: Mapping[str, Any], galaxy: Galaxy) -> Array:
        """Fast photometry of what does not belong to the host [microjansky], (n_band,)."""
        flux = jnp.zeros(len(self.bands))
        if not self.structure.additions:
            return flux
        table = self.table.at(params["redshift"])
        for component in self.structure.additions:
            flux += self._emission_fluxes(component, table, params, galaxy)
        return flux * self._dilution(params["redshift"])

    @staticmethod
    def _rest(wave: ArrayLike, params: Mapping[str, Any]) -> Array:
        return jnp.asarray(wave) / (1.0 + jnp.asarray(params["redshift"]))

    def _band_sums(self, at_nodes: Array) -> Array:
        return at_nodes.reshape(len(self.bands), -1).sum(axis=1)

    def _emission_fluxes(
        self,
        component: Emission,
        table: LightTable,
        params: Mapping[str, Any],
        galaxy: Galaxy,
    ) -> Array:
        """Light of one component in the bands, (n_band,)."""
        index = self.structure.emissions.index(component)
        flux = jnp.zeros(len(self.bands))
        if component.is_smooth:
            rest = self._rest(self.table.smooth_wave, params)
            flux += self._band_sums(component.smooth(rest, params, galaxy) * table.smooth)
        if (templates := self.templates[index]) is not None:
            flux += component.weights(params, galaxy, templates) @ table.templates[index]
        return flux

    def _absorbed_fast(self, stars: Stars, gas: Array, params: Mapping[str, Any]) -> Array:
        """Luminosity that the dust absorbs [Lsun]."""
        if self.absorption is None:
            return jnp.zeros(())
        light = self.absorption.values.light(stars, gas, self._escaping(params))
        young, old = self.structure.dust.transmission(self.absorption.node_wave, params)
        absorbed = jnp.sum(light.young * (1.0 - young) + light.old * (1.0 - old))
        if self.nebula is not None:
            ionising = self.absorption.values.ionising_light(stars).sum()
            absorbed += self.structure.nebular.dust_share(params) * ionising
            absorbed += self._absorbed_lines(gas, params)
        return absorbed

    # -- gas -------------------------------------------------------------------------------------

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

    def _line_response(self, table: LightTable, redshift: ArrayLike) -> Array:
        """Light of lines of unit luminosity in the bands, IGM included, (n_line, n_band)."""
        if table.lines is not None:
            return table.lines
        nebula = self._nebula
        response = line_band_response(nebula.data.line_wave, redshift, nebula.curves)
        seen = jnp.asarray(table.line_transmission)[:, None]
        return response * seen * flux_unit(self.lsun_erg_s)

    @property
    def _nebula(self) -> Nebula:
        """The nebular arrays, where there are any."""
        assert self.nebula is not None
        return self.nebula

    # -- photometry ------------------------------------------------------------------------------

    def photometry_fast(self, params: Mapping[str, Any]) -> Array:
        """Fluxes [erg/s/cm^2/Hz] from the tables, (n_band,)."""
        amplitude = 10.0 ** jnp.asarray(params[self.structure.sfh.amplitude_name])
        host = self.unit_host(params).scaled(amplitude)
        return (host.flux + self.added_flux(params, host.galaxy)) * MICROJANSKY_CGS

    def photometry_exact(self, params: Mapping[str, Any]) -> Array:
        """Fluxes [erg/s/cm^2/Hz] from the whole spectrum, (n_band,)."""
        redshift = jnp.asarray(params["redshift"])
        points, weights = jnp.asarray(self.quadrature.wave), jnp.asarray(self.quadrature.weight)
        stars = self.starlight.stars(params)
        gas = self._gas(stars, params)
        spectrum = self._attenuated(self._intrinsic(stars, gas, params), params)
        galaxy = self._galaxy_exact(stars, gas, params)
        for component in self.structure.emissions:
            spectrum += self._emitted(component, params, galaxy)
        observed = jnp.interp(points / (1.0 + redshift), self.wave, spectrum, left=0.0, right=0.0)
        observed *= igm_transmission(self.structure.igm, self.igm, points, redshift)
        flux = jnp.sum(weights * observed, axis=1)
        if self.nebula is not None:
            lines = jnp.asarray(self.nebula.data.line_wave)
            behind = igm_transmission(
                self.structure.igm,
                self.igm,
                lines * (1.0 - LINE_OFFSET) * (1.0 + redshift),
                redshift,
            )
            response = line_band_response(lines, redshift, self.nebula.curves)
            flux += (self._seen_lines(gas, params) * behind) @ response
        factor = self._dilution(redshift) * flux_unit(self.lsun_erg_s)
        return flux * factor * MICROJANSKY_CGS

    def _dilution(self, redshift: ArrayLike) -> Array:
        """Factor from luminosity at 10 pc to observed flux density, (1 + z) (10 pc / D_L)^2."""
        distance = luminosity_distance_mpc(redshift, self.h0, self.om0)
        return (1.0 + jnp.asarray(redshift)) * (_TEN_PARSEC_MPC / distance) ** 2

    # -- spectra ---------------------------------------------------------------------------------

    def _intrinsic(self, stars: Stars, gas: Array, params: Mapping[str, Any]) -> _Intrinsic:
        """Light of stars and gas without dust."""
        young, old = self.starlight.spectra(stars)
        young *= self.structure.nebular.starlight(self.wave, params)
        if self.nebula is None:
            return _Intrinsic(young, old, jnp.zeros_like(young), jnp.zeros(0))
        data = self.nebula.data
        continuum = jnp.interp(
            self.wave, data.wave, nebular_continuum(gas, data), left=0.0, right=0.0
        )
        return _Intrinsic(young, old, continuum, line_luminosities(gas, data))

    def _attenuated(self, light: _Intrinsic, params: Mapping[str, Any]) -> Array:
        """Stars and gas behind the dust, lines excepted [Lsun/Hz], (n_wave,)."""
        young, old = self.structure.dust.transmission(self.wave, params)
        return (light.young + light.gas) * young + light.old * old

    def _galaxy_exact(self, stars: Stars, gas: Array, params: Mapping[str, Any]) -> Galaxy:
        """Properties of the galaxy, the absorbed luminosity from its whole spectrum."""
        light = self._intrinsic(stars, gas, params)
        young, old = self.structure.dust.transmission(self.wave, params)
        lost = (light.young + light.gas) * (1.0 - young) + light.old * (1.0 - old)
        absorbed = jnp.sum(lost * self.frequency_weight)
        if self.nebula is not None:
            blue = self.starlight.spectra(stars)[0] * (self.wave < IONISING_EDGE)
            ionising = jnp.sum(blue * self.frequency_weight)
            absorbed += self.structure.nebular.dust_share(params) * ionising
            absorbed += self._absorbed_lines(gas, params)
        return self._galaxy(stars, params, absorbed)

    def _galaxy(self, stars: Stars, params: Mapping[str, Any], absorbed: Array) -> Galaxy:
        window = _SFR_WINDOWS_GYR["100myr"]
        surviving = self.starlight.surviving_mass(stars)
        return Galaxy(
            redshift=jnp.asarray(params["redshift"]),
            absorbed=absorbed,
            sfr=stars.formed.mass_younger_than(window) / (window * 1e9),
            stellar_mass=stars.formed.mass.sum() if surviving is None else surviving,
        )

    def _emitted(self, component: Emission, params: Mapping[str, Any], galaxy: Galaxy) -> Array:
        """L_nu of one component [Lsun/Hz], (n_wave,)."""
        templates = self.templates[self.structure.emissions.index(component)]
        return component.light(self.wave, params, galaxy, templates)

    def decomposition(self, params: Mapping[str, Any]) -> dict[str, Array]:
        """See :meth:`tengri_ppl.SEDModel.sed_decomposition`."""
        stars = self.starlight.stars(params)
        gas = self._gas(stars, params)
        light = self._intrinsic(stars, gas, params)
        galaxy = self._galaxy_exact(stars, gas, params)
        young, old = self.structure.dust.transmission(self.wave, params)
        glow, seen_glow = light.gas, light.gas * young
        if self.nebula is not None:
            width = params["neb_line_width_kms"]
            profiles = line_profiles(
                self.wave, self.frequency_weight, self.nebula.data.line_wave, width
            )
            glow = glow + light.lines @ profiles
            seen_glow = seen_glow + (light.lines * self._line_transmission(params)) @ profiles
        parts = {
            "intrinsic": light.young + light.old + glow,
            "attenuated": light.young * young + light.old * old + seen_glow,
            "nebular": seen_glow,
        }
        parts |= {kind: jnp.zeros_like(self.wave) for kind in EMISSION_KINDS}
        for component in self.structure.emissions:
            parts[component.kind] += self._emitted(component, params, galaxy)
        parts["dust_ir"] = parts.pop("dust_emission")
        added = [parts[k] for k in parts if k not in ("intrinsic", "attenuated", "nebular")]
        total = sum(added, start=parts["attenuated"])
        return {"total": total * self.lsun_erg_s} | {
            name: part * self.lsun_erg_s for name, part in parts.items()
        }

    def spectrum(self, params: Mapping[str, Any]) -> Array:
        """Rest-frame L_nu of everything [erg/s/Hz], (n_wave,)."""
        return self.decomposition(params)["total"]

    def lines(self, params: Mapping[str, Any]) -> dict[str, Array]:
        """Luminosities [Lsun] and observed fluxes [erg/s/cm^2] of the lines, (n_line,) each."""
        stars = self.starlight.stars(params)
        gas = self._gas(stars, params)
        seen = self._seen_lines(gas, params)
        distance = luminosity_distance_mpc(params["redshift"], self.h0, self.om0)
        per_area = flux_unit(self.lsun_erg_s) * (_TEN_PARSEC_MPC / distance) ** 2
        return {
            "luminosity": line_luminosities(gas, self._nebula.data),
            "flux": seen * per_area * MICROJANSKY_CGS,
        }

    # -- derived quantities ----------------------------------------------------------------------

    def star_formation_rate(self, params: Mapping[str, Any], lookback: Array) -> Array:
        """Star formation rate [Msun/yr] at lookback times [Gyr], (n_time,)."""
        return self.starlight.rate(params, lookback)

    def derived(self, params: Mapping[str, Any]) -> dict[str, Array]:
        """See :meth:`tengri_ppl.SEDModel.derived`."""
        stars = self.starlight.stars(params)
        formed = stars.formed
        out = {"mass_formed": formed.mass.sum()}
        for name, window in _SFR_WINDOWS_GYR.items():
            out[f"sfr_{name}"] = formed.mass_younger_than(window) / (window * 1e9)
        if (surviving := self.starlight.surviving_mass(stars)) is not None:
            out["stellar_mass"] = surviving
            out["ssfr_100myr"] = out["sfr_100myr"] / surviving
        out["age_mass_weighted_gyr"] = formed.mean_age()
        out |= self._visual_attenuation(stars, params)
        if self.absorption is not None:
            gas = self._gas(stars, params)
            out["dust_luminosity"] = self._absorbed_fast(stars, gas, params)
        return out

    def _visual_attenuation(self, stars: Stars, params: Mapping[str, Any]) -> dict[str, Array]:
        """Attenuation of all starlight, and of starlight outside birth clouds [mag]."""
        upper = jnp.clip(jnp.searchsorted(self.wave, _V_BAND), 1, self.wave.size - 1)
        share = (_V_BAND - self.wave[upper - 1]) / (self.wave[upper] - self.wave[upper - 1])
        flux = self.starlight.flux
        column = flux[..., upper - 1] * (1.0 - share) + flux[..., upper] * share
        every = stars.total(column)
        few = jnp.sum(stars.by_metallicity(stars.young) * column[:, : self.starlight.n_young])
        v_band = jnp.asarray(_V_BAND)
        young, old = self.structure.dust.transmission(v_band, params)
        seen = few * young + (every - few) * old
        return {
            "a_v": -MAG_PER_TAU * jnp.log(seen / every),
            "a_v_diffuse": MAG_PER_TAU * self.structure.dust.optical_depths(v_band, params)[1],
        }
