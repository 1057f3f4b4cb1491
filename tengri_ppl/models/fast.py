"""Photometry from tables: the fast mode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from tengri_ppl.models.ingredients import Ingredients, flux_unit
from tengri_ppl.models.light_table import Light, LightTable
from tengri_ppl.models.photometry_table import BandNodes, Neighbours
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
        emitted = _Emitted(self, self.structure.host_emissions, params, galaxy)
        escaping = self._escaping(params)

        def add_up(values: LightTable) -> tuple[Light, Array]:
            return values.light(stars, gas, escaping), emitted.by_templates(values)

        def predict(sums: tuple[Light, Array], nodes: BandNodes) -> Array:
            light, by_templates = sums
            return self._behind_dust(light, nodes, params) + by_templates + emitted.smooth(nodes)

        flux = near.fluxes(add_up, predict)
        if self.nebula is not None:
            flux += self._seen_lines(gas, params) @ self._line_response(near, params["redshift"])
        return Host(flux * self._dilution(params["redshift"]), galaxy)

    def added_flux(self, params: Mapping[str, Any], galaxy: Galaxy) -> Array:
        """Fast photometry of what does not belong to the host [microjansky], (n_band,)."""
        if not self.structure.additions:
            return jnp.zeros(len(self.bands))
        emitted = _Emitted(self, self.structure.additions, params, galaxy)
        flux = self.table.near(params["redshift"]).fluxes(
            emitted.by_templates, lambda by_templates, nodes: by_templates + emitted.smooth(nodes)
        )
        return flux * self._dilution(params["redshift"])

    def photometry_fast(self, params: Mapping[str, Any]) -> Array:
        """Fluxes [erg/s/cm^2/Hz] from the tables, (n_band,)."""
        amplitude = 10.0 ** jnp.asarray(params[self.structure.sfh.amplitude_name])
        host = self.unit_host(params).scaled(amplitude)
        return (host.flux + self.added_flux(params, host.galaxy)) * MICROJANSKY_CGS

    def _behind_dust(self, light: Light, nodes: BandNodes, params: Mapping[str, Any]) -> Array:
        """Light of stars and gas behind the dust in the bands, lines excepted, (n_band,)."""
        young, old = self.structure.dust.transmission(jnp.asarray(nodes.wave), params)
        at_nodes = light.young.reshape(young.shape) * young + light.old.reshape(old.shape) * old
        return at_nodes.sum(axis=1)

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
        values = near.values
        if values.lines is not None:
            return values.lines[0]
        seen = near.blend(values.line_transmission)
        response = line_band_response(self._nebula.data.line_wave, redshift, self._nebula.curves)
        return response * seen[:, None] * flux_unit(self.lsun_erg_s)


class _Emitted:
    """Light of components in the bands, as a function of what is tabulated at one redshift."""

    def __init__(
        self,
        model: FastPhotometry,
        components: Sequence[Emission],
        params: Mapping[str, Any],
        galaxy: Galaxy,
    ) -> None:
        indices = [model.structure.emissions.index(component) for component in components]
        self._params, self._galaxy, self._n_band = params, galaxy, len(model.bands)
        self._components = dict(zip(indices, components, strict=True))
        self._weights = {
            i: component.weights(params, galaxy, templates)
            for i, component in self._components.items()
            if (templates := model.templates[i]) is not None
        }

    def by_templates(self, values: LightTable) -> Array:
        """Light with features, (n_band,)."""
        parts = (weights @ values.templates[i] for i, weights in self._weights.items())
        return sum(parts, start=jnp.zeros(self._n_band))

    def smooth(self, nodes: BandNodes) -> Array:
        """Light with a smooth spectrum, (n_band,)."""
        flux = jnp.zeros(self._n_band)
        for i, component in self._components.items():
            if (table := nodes.smooth[i]) is not None:
                light = component.smooth(table.wave, self._params, self._galaxy)
                flux += light @ jnp.asarray(table.weight)
        return flux
