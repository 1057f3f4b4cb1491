"""Gaussian approximations of the likelihoods of all galaxies of a population at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jax import Array

from tengri_ppl.distributions.layout import length
from tengri_ppl.models.best_fits import GalaxyProblem, best_fits
from tengri_ppl.models.decentred import Coordinates, GalaxyLikelihoods, governed_names
from tengri_ppl.models.population import ZERO_POINT, Population
from tengri_ppl.observation.noise import GaussianNoise
from tengri_ppl.runtime.compiled import Compiled

if TYPE_CHECKING:
    from tengri_ppl.models.sed import SEDModel

__all__ = ["approximate_likelihoods"]

_N_STARTS = 6


@partial(Compiled, static_argnums=6)
def approximate_likelihoods(
    sed: SEDModel,
    noise: GaussianNoise,
    data: Array,
    population: Population,
    columns: Mapping[str, Array],
    key: Array,
    n_starts: int = _N_STARTS,
) -> GalaxyLikelihoods:
    """Fit each galaxy by itself, under the priors of the SED model, and expand around its best fit.

    Parameters
    ----------
    sed : SEDModel
        The forward model.
    noise : GaussianNoise
        Errors, shape (n_galaxy, n_band).
    data : Array, shape (n_galaxy, n_band)
        Observed fluxes [erg/s/cm^2/Hz].
    population : Population
        What the galaxies share.
    columns : mapping of str to Array, shape (n_galaxy,)
        Known for each galaxy.
    key : Array
        Random key.
    n_starts : int
        Points from which each fit starts; the best one counts.
    """
    layout = Coordinates.of(sed.spec, population, columns)
    problem = GalaxyProblem(sed, noise, data, columns, _priors(sed, population, layout))
    fits = best_fits(problem, key, n_starts)
    best = jnp.argmin(fits.energy, axis=0)
    fit = jax.tree.map(lambda x: x[best, jnp.arange(len(data))], fits)
    return _in_natural_units(fit.u, fit.slope, fit.precision, problem.values, layout)


def _priors(sed: SEDModel, population: Population, layout: Coordinates) -> dict[str, Any]:
    """Priors of all that a fit of one galaxy has: own, needed, governed, shared."""
    spec = sed.spec
    names = [n for n, _ in layout.own + layout.needed] + governed_names(population)
    priors = {name: spec[name] for name in [*names, *population.shared_parameters()]}
    if ZERO_POINT in layout.shared:
        offsets = population.calibration.zero_point
        priors[ZERO_POINT] = offsets.expand([sed.n_band]).to_event(1)
    return priors


def _in_natural_units(
    u: Array,
    gradient: Array,
    precision: Array,
    values: Callable[[Array], dict[str, Array]],
    layout: Coordinates,
) -> GalaxyLikelihoods:
    """Turn an expansion at standard normals u into one in the values of what depends on others."""
    n_standard = length(layout.own) + length(layout.needed)

    def natural(u: Array) -> Array:
        columns = [x.reshape(len(u), -1) for x in values(u).values()]
        return jnp.concatenate(columns, axis=1)[:, n_standard:]

    # every value is a function of one standard normal
    x, slope = jax.jvp(natural, (u,), (jnp.ones_like(u),))
    x = jnp.concatenate([u[:, :n_standard], x], axis=1)
    scale = jnp.concatenate([jnp.ones((len(u), n_standard)), 1.0 / slope], axis=1)
    precision = precision * scale[:, :, None] * scale[:, None, :]
    information = jnp.einsum("nij,nj->ni", precision, x) + gradient * scale
    return GalaxyLikelihoods.from_joint(information, precision, length(layout.own))
