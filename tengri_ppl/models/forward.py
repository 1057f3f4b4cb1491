"""The forward model proper: a pytree of grids and tables with pure functions of the parameters.

Every method takes the complete parameters of one galaxy by full name. Batching, compilation and
the separation of free and fixed parameters are :class:`SEDModel`'s business.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from tengri_ppl.models.exact import ExactSpectra
from tengri_ppl.models.fast import FastPhotometry
from tengri_ppl.models.ingredients import SFR_WINDOWS_GYR
from tengri_ppl.models.starlight import Stars
from tengri_ppl.physics.attenuation import MAG_PER_TAU

__all__ = ["ForwardModel"]

_V_BAND = 5500.0


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class ForwardModel(FastPhotometry, ExactSpectra):
    """Everything that a prediction needs, and all predictions; see :class:`Ingredients`."""

    def star_formation_rate(self, params: Mapping[str, Any], lookback: Array) -> Array:
        """Star formation rate [Msun/yr] at lookback times [Gyr], (n_time,)."""
        return self.starlight.rate(params, lookback)

    def derived(self, params: Mapping[str, Any]) -> dict[str, Array]:
        """See :meth:`tengri_ppl.SEDModel.derived`."""
        stars = self.starlight.stars(params)
        formed = stars.formed
        out = {"mass_formed": formed.mass.sum()}
        for name, window in SFR_WINDOWS_GYR.items():
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
