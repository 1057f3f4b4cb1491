"""Mixtures of multivariate Student-t distributions: density, draws and weighted refits."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import gammaln, logsumexp

__all__ = ["StudentTMixture"]

_SHRINKAGE = 0.02


class StudentTMixture(NamedTuple):
    """A mixture of K Student-t distributions with nu degrees of freedom.

    Attributes
    ----------
    log_weight : Array, shape (K,)
        Natural logarithm of the weights, which sum to one.
    mean : Array, shape (K, D)
        Centres.
    factor : Array, shape (K, D, D)
        Lower Cholesky factors of the scale matrices.
    nu : Array, scalar
        Degrees of freedom.
    """

    log_weight: Array
    mean: Array
    factor: Array
    nu: Array

    def component_log_density(self, x: Array) -> Array:
        """Log-density of each component at points (n, D), (n, K)."""
        dimension = self.mean.shape[1]

        def one(mean: Array, factor: Array) -> Array:
            whitened = jax.scipy.linalg.solve_triangular(factor, (x - mean).T, lower=True)
            distance = jnp.sum(whitened**2, axis=0)
            log_det = jnp.sum(jnp.log(jnp.diagonal(factor)))
            return -0.5 * (self.nu + dimension) * jnp.log1p(distance / self.nu) - log_det

        norm = gammaln(0.5 * (self.nu + dimension)) - gammaln(0.5 * self.nu)
        norm -= 0.5 * dimension * jnp.log(self.nu * np.pi)
        return norm + jax.vmap(one)(self.mean, self.factor).T

    def log_density(self, x: Array) -> Array:
        """Log-density at points (n, D), (n,)."""
        return logsumexp(self.log_weight + self.component_log_density(x), axis=1)

    def sample(self, key: Array, n: int) -> Array:
        """Draw ``n`` points, (n, D); the components take turns in proportion to their weights."""
        key_pick, key_normal, key_gamma = jax.random.split(key, 3)
        offset = jax.random.uniform(key_pick)
        turns = (jnp.arange(n) + offset) / n
        index = jnp.searchsorted(jnp.cumsum(jnp.exp(self.log_weight)), turns)
        index = jnp.clip(index, 0, self.log_weight.size - 1)
        normal = jax.random.normal(key_normal, (n, self.mean.shape[1]))
        scale = jnp.sqrt(0.5 * self.nu / jax.random.gamma(key_gamma, 0.5 * self.nu, (n,)))
        step = jnp.einsum("nij,nj->ni", self.factor[index], normal)
        return self.mean[index] + scale[:, None] * step

    def refitted(self, x: Array, log_weight: Array) -> StudentTMixture:
        """One step of expectation maximisation on weighted points.

        Every component keeps a share of its old scale matrix and of its weight, so that none
        collapses or dies in a round that misses it.

        Parameters
        ----------
        x : Array, shape (n, D)
            Points.
        log_weight : Array, shape (n,)
            Natural logarithm of their weights, in any normalisation.
        """
        weight = jnp.exp(log_weight - logsumexp(log_weight))
        joint = self.log_weight + self.component_log_density(x)
        share = jnp.exp(joint - logsumexp(joint, axis=1, keepdims=True)) * weight[:, None]
        total = share.sum(axis=0)
        # a component that few points speak for moves little
        n_speaking = total / jnp.sum(weight**2)
        trust = n_speaking / (n_speaking + 2.0 * self.mean.shape[1])
        normalised = share / jnp.maximum(total, 1e-30)
        mean = normalised.T @ x
        mean = self.mean + trust[:, None] * (mean - self.mean)
        centred = x[None] - mean[:, None]
        heavy = 1.0 - 2.0 / self.nu  # scale matrix over covariance
        scatter = heavy * jnp.einsum("nk,kni,knj->kij", normalised, centred, centred)
        old = self.factor @ jnp.swapaxes(self.factor, 1, 2)
        keep = jnp.maximum(1.0 - trust, _SHRINKAGE)[:, None, None]
        factor = jnp.linalg.cholesky(keep * old + (1.0 - keep) * scatter)
        sane = jnp.all(jnp.isfinite(factor), axis=(1, 2), keepdims=True)
        alive = jnp.maximum(total, 0.1 / total.size)
        return StudentTMixture(
            jnp.log(alive / alive.sum()), mean, jnp.where(sane, factor, self.factor), self.nu
        )
