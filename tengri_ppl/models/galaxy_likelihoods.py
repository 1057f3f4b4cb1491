"""Gaussian approximations of the likelihoods of all galaxies of a population at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from tengri_ppl.distributions.layout import Layout, length, split
from tengri_ppl.distributions.standard import from_standard, standard_shape
from tengri_ppl.models.decentred import Coordinates, GalaxyLikelihoods, governed_names
from tengri_ppl.models.likelihoods import effective_sigma
from tengri_ppl.models.population import ZERO_POINT, Population, calibrated_flux
from tengri_ppl.observation.noise import GaussianNoise
from tengri_ppl.physics.constants import MICROJANSKY_CGS

if TYPE_CHECKING:
    from tengri_ppl.models.sed import SEDModel

__all__ = ["approximate_likelihoods"]

#: Searches for the best fit of each galaxy, from draws this much narrower than the prior.
_N_STARTS, _START_WIDTH = 6, 0.7
_N_STEPS = 25
_FIRST_DAMPING, _LESS, _MORE = 1.0, 0.2, 5.0
_LEAST_DAMPING, _MOST_DAMPING = 1e-4, 1e6


class _Fit(NamedTuple):
    """Points (n_galaxy, K), whitened residuals (n_galaxy, n_band), their derivatives, energies."""

    u: Array
    residual: Array
    jacobian: Array
    energy: Array


@partial(jax.jit, static_argnums=6)
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

    Levenberg-Marquardt steps in standard normals, for all galaxies at the same time (Nocedal &
    Wright 2006, chapter 10); the curvature is that of the linearised SED.

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
    priors = _priors(sed, population, layout)
    names: Layout = tuple((name, standard_shape(name, prior)) for name, prior in priors.items())
    mask = jnp.ones(data.shape, bool) if noise.mask is None else jnp.asarray(noise.mask)
    known = {name: value for name, value in columns.items() if name in sed.spec.priors}

    def values(u: Array) -> dict[str, Array]:
        parts = split(names, u)
        return {name: from_standard(name, prior, parts[name]) for name, prior in priors.items()}

    def residual(u: Array) -> Array:
        params = values(u)
        flux = calibrated_flux(sed, {**params, **known}, params)
        difference = flux - data / MICROJANSKY_CGS
        return jnp.where(mask, difference / effective_sigma(flux, noise, data), 0.0)

    n_galaxy, n_fitted = len(data), length(names)
    starts = _START_WIDTH * jax.random.normal(key, (n_starts, n_galaxy, n_fitted))
    fits = jax.lax.map(partial(_fitted, residual), starts)
    best = jnp.argmin(fits.energy, axis=0)
    fit = jax.tree.map(lambda x: x[best, jnp.arange(n_galaxy)], fits)
    precision = jnp.einsum("nbi,nbj->nij", fit.jacobian, fit.jacobian)
    gradient = -jnp.einsum("nbi,nb->ni", fit.jacobian, fit.residual)
    return _in_natural_units(fit.u, gradient, precision, values, layout)


def _priors(sed: SEDModel, population: Population, layout: Coordinates) -> dict[str, object]:
    """Priors of all that a fit of one galaxy has: own, needed, governed, shared."""
    spec = sed.spec
    names = [n for n, _ in layout.own + layout.needed] + governed_names(population)
    priors = {name: spec[name] for name in [*names, *population.shared_parameters()]}
    if ZERO_POINT in layout.shared:
        offsets = population.calibration.zero_point
        priors[ZERO_POINT] = offsets.expand([sed.n_band]).to_event(1)
    return priors


def _fitted(residual: Callable[[Array], Array], start: Array) -> _Fit:
    """Minimise the energies of all galaxies, |u|^2 / 2 + |residual|^2 / 2."""

    def expanded(u: Array) -> _Fit:
        r, tangent = jax.linearize(residual, u)
        each = jnp.broadcast_to(jnp.eye(u.shape[1])[:, None], (u.shape[1], *u.shape))
        jacobian = jnp.moveaxis(jax.vmap(tangent)(each), 0, -1)
        return _Fit(u, r, jacobian, 0.5 * jnp.sum(u**2, axis=1) + 0.5 * jnp.sum(r**2, axis=1))

    def step(state: tuple[_Fit, Array], _: None) -> tuple[tuple[_Fit, Array], None]:
        fit, damping = state
        gradient = fit.u + jnp.einsum("nbi,nb->ni", fit.jacobian, fit.residual)
        curvature = jnp.einsum("nbi,nbj->nij", fit.jacobian, fit.jacobian)
        ridge = (1.0 + damping)[:, None, None] * jnp.eye(fit.u.shape[1])
        tried = expanded(fit.u - jnp.linalg.solve(curvature + ridge, gradient[..., None])[..., 0])
        better = tried.energy < fit.energy
        kept = jax.tree.map(partial(_where, better), tried, fit)
        damping = damping * jnp.where(better, _LESS, _MORE)
        return (kept, jnp.clip(damping, _LEAST_DAMPING, _MOST_DAMPING)), None

    first = expanded(start), jnp.full(len(start), _FIRST_DAMPING)
    (fit, _), _ = jax.lax.scan(step, first, length=_N_STEPS)
    return fit


def _where(condition: Array, new: Array, old: Array) -> Array:
    return jnp.where(condition.reshape(-1, *(1 for _ in new.shape[1:])), new, old)


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
