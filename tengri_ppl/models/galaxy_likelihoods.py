"""Gaussian approximations of the likelihoods of all galaxies of a population at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

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
#: Rounds of weighted draws from which the Gaussians learn.
_N_ROUNDS, _N_DRAWS, _WIDENED, _LANES = 6, 1024, 1.2, 32
#: Weights are raised to the largest of these powers at which this share of the draws counts.
_POWERS, _LEAST_SHARE = (1.0, 0.7, 0.5, 0.3, 0.2, 0.1), 0.1


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
    """Fit each galaxy by itself, under the priors of the SED model, and divide by these.

    All galaxies at the same time, in standard normals: Levenberg-Marquardt steps find the best fit
    and its curvature (Nocedal & Wright 2006, chapter 10), and from there Gaussians are fitted to
    the posteriors by importance sampling (Cappe et al. 2008, Statistics and Computing 18, 447).

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
    key_start, key_draw = jax.random.split(key)
    starts = _START_WIDTH * jax.random.normal(key_start, (n_starts, n_galaxy, n_fitted))
    fits = jax.lax.map(partial(_fitted, residual), starts)
    best = jnp.argmin(fits.energy, axis=0)
    fit = jax.tree.map(lambda x: x[best, jnp.arange(n_galaxy)], fits)
    gaussians = _Gaussians(fit.u, _root_of_inverse(_curvature(fit.jacobian, 1.0)))
    for own in jax.random.split(key_draw, _N_ROUNDS):
        gaussians = _matched(gaussians, residual, own)
    return _in_natural_units(gaussians, values, layout)


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
        curvature = _curvature(fit.jacobian, (1.0 + damping)[:, None, None])
        tried = expanded(fit.u - jnp.linalg.solve(curvature, gradient[..., None])[..., 0])
        better = tried.energy < fit.energy
        kept = jax.tree.map(partial(_where, better), tried, fit)
        damping = damping * jnp.where(better, _LESS, _MORE)
        return (kept, jnp.clip(damping, _LEAST_DAMPING, _MOST_DAMPING)), None

    first = expanded(start), jnp.full(len(start), _FIRST_DAMPING)
    (fit, _), _ = jax.lax.scan(step, first, length=_N_STEPS)
    return fit


def _where(condition: Array, new: Array, old: Array) -> Array:
    return jnp.where(condition.reshape(-1, *(1 for _ in new.shape[1:])), new, old)


def _curvature(jacobian: Array, ridge: ArrayLike) -> Array:
    """J^T J and a multiple of the identity, (n_galaxy, K, K)."""
    squared = jnp.einsum("nbi,nbj->nij", jacobian, jacobian)
    return squared + ridge * jnp.eye(jacobian.shape[-1])


def _root_of_inverse(matrix: Array) -> Array:
    """R with R R^T the inverse of positive matrices (n_galaxy, K, K)."""
    root = jnp.linalg.cholesky(matrix)
    identity = jnp.broadcast_to(jnp.eye(matrix.shape[-1]), matrix.shape)
    return jnp.swapaxes(jnp.linalg.solve(root, identity), 1, 2)


class _Gaussians(NamedTuple):
    """Posteriors of the galaxies by themselves: means (n_galaxy, K) and roots of covariances."""

    mean: Array
    root: Array


def _matched(gaussians: _Gaussians, residual: Callable[[Array], Array], key: Array) -> _Gaussians:
    """Take mean and covariance of weighted draws of the Gaussians, widened.

    Weights of which a few dominate are flattened. Moments are shrunk towards the old ones by K + 2
    draws against the effective number.
    """
    n_galaxy, dimension = gaussians.mean.shape
    z = _WIDENED * jax.random.normal(key, (_N_DRAWS, n_galaxy, dimension))
    u = gaussians.mean + jnp.einsum("nij,knj->kni", gaussians.root, z)
    squares = jax.lax.map(lambda u: jnp.sum(residual(u) ** 2, axis=-1), u, batch_size=_LANES)
    excess = jnp.sum(z**2, axis=-1) / _WIDENED**2 - jnp.sum(u**2, axis=-1)
    weight = _flattened(0.5 * (excess - squares))
    n_effective = 1.0 / jnp.sum(weight**2, axis=0)
    trust = n_effective / (n_effective + dimension + 2.0)
    shift = trust[:, None] * jnp.einsum("kn,kni->ni", weight, z)
    centred = z - shift
    covariance = jnp.einsum("kn,kni,knj->nij", weight, centred, centred)
    trust = trust[:, None, None]
    covariance = trust * covariance + (1.0 - trust) * jnp.eye(dimension)
    return _Gaussians(
        gaussians.mean + jnp.einsum("nij,nj->ni", gaussians.root, shift),
        gaussians.root @ jnp.linalg.cholesky(covariance),
    )


def _flattened(log_weight: Array) -> Array:
    """Normalised weights (k, n_galaxy), to powers at which enough draws count."""
    powers = jnp.asarray(_POWERS)[:, None, None]
    weight = jax.nn.softmax(powers * log_weight, axis=1)
    enough = jnp.sum(weight**2, axis=1) < 1.0 / (_LEAST_SHARE * len(log_weight))
    first = jnp.argmax(enough.at[-1].set(True), axis=0)
    return jnp.take_along_axis(weight, first[None, None], axis=0)[0]


def _in_natural_units(
    gaussians: _Gaussians, values: Callable[[Array], dict[str, Array]], layout: Coordinates
) -> GalaxyLikelihoods:
    """Divide by the priors; from standard normals to the values of what depends on others."""
    u = gaussians.mean
    n_standard = length(layout.own) + length(layout.needed)

    def natural(u: Array) -> Array:
        columns = [x.reshape(len(u), -1) for x in values(u).values()]
        return jnp.concatenate(columns, axis=1)[:, n_standard:]

    # every value is a function of one standard normal
    x, slope = jax.jvp(natural, (u,), (jnp.ones_like(u),))
    x = jnp.concatenate([u[:, :n_standard], x], axis=1)
    scale = jnp.concatenate([jnp.ones((len(u), n_standard)), 1.0 / slope], axis=1)
    inverse = jnp.linalg.inv(gaussians.root)
    precision = jnp.swapaxes(inverse, 1, 2) @ inverse - jnp.eye(u.shape[1])
    value, vector = jnp.linalg.eigh(precision)
    precision = (vector * jnp.maximum(value, 0.0)[:, None]) @ jnp.swapaxes(vector, 1, 2)
    gradient = u  # of the log-likelihood: where the posterior is flat it balances the prior's
    precision = precision * scale[:, :, None] * scale[:, None, :]
    information = jnp.einsum("nij,nj->ni", precision, x) + gradient * scale
    return GalaxyLikelihoods.from_joint(information, precision, length(layout.own))
