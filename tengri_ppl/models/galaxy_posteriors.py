"""Posteriors of galaxies one by one, under the priors of the SED model, for all of them at once."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jax import Array

from tengri_ppl.models.best_fits import GalaxyProblem, best_fits, parameter_values
from tengri_ppl.models.population import Population, own_names
from tengri_ppl.observation.noise import GaussianNoise
from tengri_ppl.runtime.chunks import map_chunks
from tengri_ppl.runtime.compiled import Compiled

if TYPE_CHECKING:
    from tengri_ppl.models.sed import SEDModel

__all__ = ["galaxy_log_density", "galaxy_start", "galaxy_values"]

#: Points (draws times galaxies) that are evaluated at the same time.
_LANES = 1024
#: Ends of searches that are worse than the best by more than this [nats] are treated alike.
_WORST = 5.0
#: Points are spread wider than posteriors by this factor, to reach the ends of curved ones.
_SPREAD = 3.0


def _priors(sed: SEDModel, columns: Mapping[str, Array]) -> dict[str, Any]:
    return {name: sed.spec[name] for name in own_names(sed.spec, Population(), columns)}


@partial(Compiled, static_argnums=(5, 6))
def galaxy_start(
    sed: SEDModel,
    noise: GaussianNoise,
    data: Array,
    columns: Mapping[str, Array],
    key: Array,
    n: int,
    n_starts: int,
) -> Array:
    """Points around the best fits of galaxies, as far from them as the data allow.

    Parameters
    ----------
    sed, noise, data, columns
        As in :class:`~.best_fits.GalaxyProblem`.
    key : Array
        Random key.
    n : int
        Points of each galaxy.
    n_starts : int
        Searches for the best fit of each; the points are around their ends in turn, the better ones
        more often.

    Returns
    -------
    Array, shape (n, n_galaxy, D)
        In standard normals.
    """
    key_fit, key_pick, key_draw = jax.random.split(key, 3)
    fits = best_fits(
        GalaxyProblem(sed, noise, data, columns, _priors(sed, columns)), key_fit, n_starts
    )
    curvature = fits.precision + jnp.eye(fits.u.shape[-1])
    root = jnp.linalg.cholesky(jnp.linalg.inv(curvature))
    worse = jnp.minimum(fits.energy - jnp.min(fits.energy, axis=0), _WORST)
    pick = jax.random.categorical(key_pick, -worse, axis=0, shape=(n, len(data)))
    galaxy = jnp.arange(len(data))
    normal = jax.random.normal(key_draw, (n, *fits.u.shape[1:]))
    return fits.u[pick, galaxy] + _SPREAD * jnp.einsum("ngij,ngj->ngi", root[pick, galaxy], normal)


def galaxy_log_density(
    u: Array, sed: SEDModel, noise: GaussianNoise, data: Array, columns: Mapping[str, Array]
) -> Array:
    """Logarithms of the posteriors at standard normals u (n, n_galaxy, D), (n, n_galaxy)."""
    problem = GalaxyProblem(sed, noise, data, columns, _priors(sed, columns))
    return map_chunks(problem.log_density, u, max(1, _LANES // len(data)))


@Compiled
def galaxy_values(u: Array, sed: SEDModel, columns: Mapping[str, Array]) -> dict[str, Array]:
    """Parameters at standard normals u (..., D), with the same leading axes."""
    return parameter_values(_priors(sed, columns), u)
