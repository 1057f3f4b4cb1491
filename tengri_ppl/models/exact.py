"""Whole spectra, and photometry from them: the exact mode."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array

from tengri_ppl.models.ingredients import (
    TEN_PARSEC_MPC,
    Ingredients,
    flux_unit,
    igm_transmission,
)
from tengri_ppl.models.photometry_table import LINE_OFFSET
from tengri_ppl.models.sources import IONISING_EDGE
from tengri_ppl.models.starlight import Stars
from tengri_ppl.models.structure import EMISSION_KINDS
from tengri_ppl.physics.constants import MICROJANSKY_CGS
from tengri_ppl.physics.cosmology import luminosity_distance_mpc
from tengri_ppl.physics.emission import Emission, Galaxy
from tengri_ppl.physics.nebular import (
    line_band_response,
    line_luminosities,
    line_profiles,
    nebular_continuum,
)

__all__ = ["ExactSpectra"]


class _Intrinsic(NamedTuple):
    """Light without dust on the wavelengths of the model, (n_wave,) each, and lines (n_line,)."""

    young: Array
    old: Array
    gas: Array
    lines: Array


@dataclass(frozen=True, eq=False)
class ExactSpectra(Ingredients):
    """Predictions of spectra and lines, and of photometry from whole spectra."""

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
        per_area = flux_unit(self.lsun_erg_s) * (TEN_PARSEC_MPC / distance) ** 2
        return {
            "luminosity": line_luminosities(gas, self._nebula.data),
            "flux": seen * per_area * MICROJANSKY_CGS,
        }
