"""The stars of a galaxy: from the parameters to the masses of the SSPs and their light."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from tengri_ppl.models.structure import Structure
from tengri_ppl.physics.composite import (
    FormedMass,
    form_mass,
    node_masses,
    share_among_metallicities,
    star_formation_rate,
)
from tengri_ppl.physics.cosmology import age_gyr

__all__ = ["Starlight", "Stars"]


class Stars(NamedTuple):
    """The stars of one galaxy, by SSP.

    Attributes
    ----------
    formed : FormedMass
        Mass formed per age interval.
    young : Array, shape (n_young,), or (n_met, n_young) without ``share``
        Mass formed per SSP by stars in birth clouds [Msun]; older SSPs have none.
    every : Array, shape (n_age,), or (n_met, n_age) without ``share``
        Mass formed per SSP by all stars [Msun].
    share : Array, shape (n_met,), or None
        Share of each metallicity, where it is the same at all ages.
    """

    formed: FormedMass
    young: Array
    every: Array
    share: Array | None

    def by_metallicity(self, masses: Array) -> Array:
        """Return ``young`` or ``every`` per metallicity and age, (n_met, n)."""
        return masses if self.share is None else self.share[:, None] * masses

    def total(self, per_mass: Array) -> Array:
        """Sum a property per mass formed, (n_met, n_age), over all stars."""
        if self.share is None:
            return jnp.sum(self.every * per_mass)
        return self.share @ (per_mass @ self.every)


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Starlight:
    """An SSP grid and how its ages and metallicities are populated.

    Attributes
    ----------
    flux : array, shape (n_met, n_age, n_wave)
        L_nu of the SSPs [Lsun/Hz per Msun formed].
    lgmet : array, shape (n_met,)
        log10 of the absolute metallicities.
    mass_remaining : array, shape (n_met, n_age), or None
        Surviving fraction of the mass formed.
    age_lower, age_upper : array, shape (n_interval,)
        Age intervals [Gyr].
    h0, om0 : array
        Cosmology.
    age_scheme : str
        See :mod:`tengri_ppl.physics.composite`.
    n_fine, n_young : int
        Number of the oldest intervals that take a finer rule, and of the youngest ages at which
        stars can be in birth clouds.
    zsun : float
        Solar metallicity of the grid.
    """

    flux: Array
    lgmet: Array
    mass_remaining: Array | None
    age_lower: Array
    age_upper: Array
    h0: Array
    om0: Array
    structure: Structure = field(metadata={"static": True})
    age_scheme: str = field(metadata={"static": True})
    n_fine: int = field(metadata={"static": True})
    n_young: int = field(metadata={"static": True})
    zsun: float = field(metadata={"static": True})

    def formed(self, params: Mapping[str, Any]) -> FormedMass:
        """Mass formed per age interval."""
        return form_mass(self.structure.sfh, params, self._cosmic_age(params), *self._intervals)

    def rate(self, params: Mapping[str, Any], lookback: Array) -> Array:
        """Star formation rate [Msun/yr] at lookback times [Gyr], (n_time,)."""
        cosmic_age = self._cosmic_age(params)
        return star_formation_rate(
            self.structure.sfh, params, cosmic_age, lookback, *self._intervals
        )

    def stars(self, params: Mapping[str, Any]) -> Stars:
        """Populate the SSPs."""
        formed = self.formed(params)
        n_interval = self.n_young + 1
        young = formed.youngest(n_interval).younger_than(self.structure.young_age(params))
        share = self.structure.metallicity.weights(self.lgmet, self.zsun, params, formed)
        if share.ndim == 1:
            few, every = (node_masses(part, self.age_scheme) for part in (young, formed))
        else:
            parts = (young, share[:, :n_interval]), (formed, share)
            few, every = (share_among_metallicities(p, s, self.age_scheme) for p, s in parts)
        masses = few[..., : self.n_young], every, share if share.ndim == 1 else None
        # several products read the masses; without the barrier each would compute them anew
        return Stars(formed, *jax.lax.optimization_barrier(masses))

    def spectra(self, stars: Stars) -> tuple[Array, Array]:
        """L_nu of young and of old stars without dust and gas [Lsun/Hz], (n_wave,) each."""
        every = stars.by_metallicity(stars.every)
        young = stars.by_metallicity(stars.young)
        young = jnp.pad(young, ((0, 0), (0, every.shape[1] - self.n_young)))
        masses = jnp.stack([young, every - young]).reshape(2, -1)
        light = masses @ jnp.asarray(self.flux, dtype=masses.dtype).reshape(masses.shape[1], -1)
        return light[0], light[1]

    def surviving_mass(self, stars: Stars) -> Array | None:
        """Mass of living stars and remnants [Msun]; None where the grid does not say."""
        return None if self.mass_remaining is None else stars.total(self.mass_remaining)

    @property
    def _intervals(self) -> tuple[Array, Array, int]:
        return self.age_lower, self.age_upper, self.n_fine

    def _cosmic_age(self, params: Mapping[str, ArrayLike]) -> Array:
        return age_gyr(params["redshift"], self.h0, self.om0)
