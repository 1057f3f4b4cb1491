"""Photometry from tables: the fast mode."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from tengri_ppl.models.ingredients import Ingredients, flux_unit
from tengri_ppl.models.photometry_table import BandIntegrals, Neighbours
from tengri_ppl.models.starlight import Stars
from tengri_ppl.physics.constants import MICROJANSKY_CGS
from tengri_ppl.physics.emission import Emission, Galaxy
from tengri_ppl.physics.nebular import line_band_response

__all__ = ["FastPhotometry", "Host"]


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


@dataclass(frozen=True, eq=False)
class FastPhotometry(Ingredients):
    """Predictions of photometry from tables."""

    def unit_host(self, params: Mapping[str, Any]) -> Host:
        """Photometry and properties of the host for an amplitude of one."""
        params = {**params, self.structure.sfh.amplitude_name: 0.0}
        stars = self.starlight.stars(params)
        gas = self._gas(stars, params)
        galaxy = self._galaxy(stars, params, self._absorbed_fast(stars, gas, params))
        near = self.table.near(params["redshift"])

        def flux_at(integrals: BandIntegrals) -> Array:
            flux = self._starlight_fluxes(integrals, stars, gas, params)
            for component in self.structure.host_emissions:
                flux += self._emission_fluxes(component, integrals, params, galaxy)
            return flux

        flux = near.fluxes(flux_at)
        if self.nebula is not None:
            flux += self._seen_lines(gas, params) @ self._line_response(near, params["redshift"])
        return Host(flux * self._dilution(params["redshift"]), galaxy)

    def added_flux(self, params: Mapping[str, Any], galaxy: Galaxy) -> Array:
        """Fast photometry of what does not belong to the host [microjansky], (n_band,)."""
        additions = self.structure.additions
        if not additions:
            return jnp.zeros(len(self.bands))

        def flux_at(integrals: BandIntegrals) -> Array:
            parts = [self._emission_fluxes(c, integrals, params, galaxy) for c in additions]
            return sum(parts[1:], start=parts[0])

        flux = self.table.near(params["redshift"]).fluxes(flux_at)
        return flux * self._dilution(params["redshift"])

    def photometry_fast(self, params: Mapping[str, Any]) -> Array:
        """Fluxes [erg/s/cm^2/Hz] from the tables, (n_band,)."""
        amplitude = 10.0 ** jnp.asarray(params[self.structure.sfh.amplitude_name])
        host = self.unit_host(params).scaled(amplitude)
        return (host.flux + self.added_flux(params, host.galaxy)) * MICROJANSKY_CGS

    def _starlight_fluxes(
        self, integrals: BandIntegrals, stars: Stars, gas: Array, params: Mapping[str, Any]
    ) -> Array:
        """Light of stars and gas behind the dust in the bands, lines excepted, (n_band,)."""
        light = integrals.values.light(stars, gas, self._escaping(params))
        young, old = self.structure.dust.transmission(jnp.asarray(integrals.node_wave), params)
        at_nodes = light.young.reshape(young.shape) * young + light.old.reshape(old.shape) * old
        return at_nodes.sum(axis=1)

    def _emission_fluxes(
        self,
        component: Emission,
        integrals: BandIntegrals,
        params: Mapping[str, Any],
        galaxy: Galaxy,
    ) -> Array:
        """Light of one component in the bands, (n_band,)."""
        index = self.structure.emissions.index(component)
        flux = jnp.zeros(len(self.bands))
        if (smooth := integrals.smooth[index]) is not None:
            flux += component.smooth(smooth.wave, params, galaxy) @ smooth.weight
        if (templates := self.templates[index]) is not None:
            weights = component.weights(params, galaxy, templates)
            flux += weights @ integrals.values.templates[index]
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

    def _line_response(self, near: Neighbours, redshift: ArrayLike) -> Array:
        """Light of lines of unit luminosity in the bands, IGM included, (n_line, n_band)."""
        values = near.integrals.values
        if values.lines is not None:
            return values.lines[0]
        seen = near.blend(values.line_transmission)
        response = line_band_response(self._nebula.data.line_wave, redshift, self._nebula.curves)
        return response * seen[:, None] * flux_unit(self.lsun_erg_s)
