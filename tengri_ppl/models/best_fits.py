"""Best fits of all galaxies of a population at once, in standard normals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from tengri_ppl.distributions.layout import Layout, length, split
from tengri_ppl.distributions.standard import from_standard, standard_shape
from tengri_ppl.models.likelihoods import effective_sigma, flux_distribution
from tengri_ppl.models.population import calibrated_flux
from tengri_ppl.observation.noise import GaussianNoise
from tengri_ppl.physics.constants import MICROJANSKY_CGS

if TYPE_CHECKING:
    from tengri_ppl.models.sed import SEDModel

__all__ = ["BestFits", "GalaxyProblem", "best_fits", "parameter_values"]

#: Searches start from draws this much narrower than the prior.
_START_WIDTH = 0.7
_N_STEPS = 25
_FIRST_DAMPING, _LESS, _MORE = 1.0, 0.2, 5.0
_LEAST_DAMPING, _MOST_DAMPING = 1e-4, 1e6


@dataclass(frozen=True)
class GalaxyProblem:
    """Galaxies one by one: their parameters are functions of standard normals u (n_galaxy, K).

    Attributes
    ----------
    sed : SEDModel
        The forward model.
    noise : GaussianNoise
        Errors, shape (n_galaxy, n_band).
    data : Array, shape (n_galaxy, n_band)
        Observed fluxes [erg/s/cm^2/Hz].
    columns : mapping of str to Array, shape (n_galaxy,)
        Known for each galaxy.
    priors : mapping of str to distribution
        Of what is fitted, in the order of u.
    """

    sed: SEDModel
    noise: GaussianNoise
    data: Array
    columns: Mapping[str, Array]
    priors: Mapping[str, Any]

    @property
    def layout(self) -> Layout:
        """Names and shapes of what is fitted."""
        return _layout(self.priors)

    def values(self, u: Array) -> dict[str, Array]:
        """Parameters at standard normals (..., K), with the same leading axes."""
        return parameter_values(self.priors, u)

    def residual(self, u: Array) -> Array:
        """Deviations of the model from the data in units of the errors, (n_galaxy, n_band)."""
        flux = self._flux(u)
        difference = flux - self.data / MICROJANSKY_CGS
        scaled = difference / effective_sigma(flux, self.noise, self.data)
        return scaled if self.noise.mask is None else jnp.where(self.noise.mask, scaled, 0.0)

    def log_density(self, u: Array) -> Array:
        """Logarithm of the posterior density of u, without a constant, (n_galaxy,)."""
        expected = flux_distribution(self._flux(u), self.noise, self.data)
        return jnp.sum(expected.log_prob(self.data), axis=-1) - 0.5 * jnp.sum(u**2, axis=-1)

    def _flux(self, u: Array) -> Array:
        params = self.values(u)
        known = {name: x for name, x in self.columns.items() if name in self.sed.spec.priors}
        return calibrated_flux(self.sed, {**params, **known}, params)


def _layout(priors: Mapping[str, Any]) -> Layout:
    return tuple((name, standard_shape(name, prior)) for name, prior in priors.items())


def parameter_values(priors: Mapping[str, Any], u: Array) -> dict[str, Array]:
    """Parameters at standard normals (..., K), which are in the order of their priors."""
    parts = split(_layout(priors), u)
    return {name: from_standard(name, prior, parts[name]) for name, prior in priors.items()}


class BestFits(NamedTuple):
    """Points (n_galaxy, K), whitened residuals (n_galaxy, n_band), their derivatives, energies."""

    u: Array
    residual: Array
    jacobian: Array
    energy: Array

    @property
    def precision(self) -> Array:
        """Curvature of the likelihood of the linearised model, (..., n_galaxy, K, K)."""
        return jnp.einsum("...bi,...bj->...ij", self.jacobian, self.jacobian)

    @property
    def slope(self) -> Array:
        """Derivative of the log-likelihood, (..., n_galaxy, K)."""
        return -jnp.einsum("...bi,...b->...i", self.jacobian, self.residual)


def best_fits(problem: GalaxyProblem, key: Array, n_starts: int) -> BestFits:
    """Minimise :math:`(u^2 + r^2) / 2` of every galaxy, r being residuals, from several starts.

    Levenberg-Marquardt steps for all galaxies at the same time (Nocedal & Wright 2006,
    chapter 10); the curvature is that of the linearised SED.

    Parameters
    ----------
    problem : GalaxyProblem
        The galaxies.
    key : Array
        Random key.
    n_starts : int
        Points from which each fit starts.

    Returns
    -------
    BestFits
        With a leading axis of length ``n_starts``.
    """
    shape = (n_starts, len(problem.data), length(problem.layout))
    starts = _START_WIDTH * jax.random.normal(key, shape)
    return jax.lax.map(partial(_fitted, problem.residual), starts)


def _fitted(residual: Callable[[Array], Array], start: Array) -> BestFits:
    def expanded(u: Array) -> BestFits:
        r, tangent = jax.linearize(residual, u)
        each = jnp.broadcast_to(jnp.eye(u.shape[1])[:, None], (u.shape[1], *u.shape))
        jacobian = jnp.moveaxis(jax.vmap(tangent)(each), 0, -1)
        return BestFits(u, r, jacobian, 0.5 * jnp.sum(u**2, axis=1) + 0.5 * jnp.sum(r**2, axis=1))

    def step(state: tuple[BestFits, Array], _: None) -> tuple[tuple[BestFits, Array], None]:
        fit, damping = state
        ridge = (1.0 + damping)[:, None, None] * jnp.eye(fit.u.shape[1])
        force = (fit.u - fit.slope)[..., None]
        tried = expanded(fit.u - jnp.linalg.solve(fit.precision + ridge, force)[..., 0])
        better = tried.energy < fit.energy
        kept = jax.tree.map(partial(_where, better), tried, fit)
        damping = damping * jnp.where(better, _LESS, _MORE)
        return (kept, jnp.clip(damping, _LEAST_DAMPING, _MOST_DAMPING)), None

    first = expanded(start), jnp.full(len(start), _FIRST_DAMPING)
    (fit, _), _ = jax.lax.scan(step, first, length=_N_STEPS)
    return fit


def _where(condition: Array, new: Array, old: Array) -> Array:
    return jnp.where(condition.reshape(-1, *(1 for _ in new.shape[1:])), new, old)
