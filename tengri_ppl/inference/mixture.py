"""Mixtures of multivariate Student-t distributions: density, draws and weighted refits."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import gammaln, logsumexp

__all__ = ["StudentTMixture", "flatten_weights"]

_SHRINKAGE = 0.02
#: Degrees of freedom.
_NU = 5.0
_DEFENSIVE_WEIGHT, _DEFENSIVE_SCALE = 0.1, 3.0
#: Steps of expectation maximisation per refit.
_N_REFITS, _N_FITS = 3, 20
#: Weights of which a few dominate are flattened by the first of these powers that is enough.
_POWERS = (1.0, 0.7, 0.5, 0.3, 0.2, 0.1, 0.05)


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

    @staticmethod
    def at_modes(x: Array, log_density: Array, factor: Array) -> StudentTMixture:
        """Put a component at every mode, and a wide one around the best.

        Modes weigh as much as their Laplace evidences; repeated ones share their weight.

        Parameters
        ----------
        x : Array, shape (K, D)
            Modes.
        log_density : Array, shape (K,)
            Logarithm of the density there.
        factor : Array, shape (K, D, D)
            Lower Cholesky factors of their covariances.
        """
        diagonal = jnp.diagonal(factor, axis1=-2, axis2=-1)
        height = log_density + jnp.sum(jnp.log(diagonal), axis=-1)
        weight = jnp.maximum(jax.nn.softmax(height), 0.1 / height.size)
        weight = weight / weight.sum()
        best = jnp.argmax(height)
        wide = _DEFENSIVE_SCALE * factor[best]
        return StudentTMixture(
            log_weight=jnp.log(jnp.append(weight * (1.0 - _DEFENSIVE_WEIGHT), _DEFENSIVE_WEIGHT)),
            mean=jnp.concatenate([x, x[best][None]]),
            factor=jnp.concatenate([factor, wide[None]]),
            nu=jnp.asarray(_NU),
        )

    @staticmethod
    def fitted(key: Array, x: Array, size: int) -> StudentTMixture:
        """Fit a mixture of ``size`` components to equally weighted points, from random ones.

        Parameters
        ----------
        key : Array
            Random key.
        x : Array, shape (n, D)
            Points.
        size : int
            K, of which the last is a wide component around all of them.
        """
        dimension = x.shape[1]
        centred = x - x.mean(axis=0)
        covariance = centred.T @ centred / len(x) + 1e-9 * jnp.eye(dimension)
        factor = jnp.broadcast_to(jnp.linalg.cholesky(covariance), (size, dimension, dimension))
        picked = jax.random.choice(key, x, (size,))
        weights = jnp.full(size, -jnp.log(size))
        first = StudentTMixture(weights, picked, 0.7 * factor, jnp.asarray(_NU))
        equal = jnp.zeros(len(x))
        fitted = jax.lax.fori_loop(0, _N_FITS, lambda _, m: m.refitted(x, equal), first)
        return fitted.defended(x, equal)

    def component_log_density(self, x: Array) -> Array:
        """Log-density of each component at points (n, D), (n, K)."""
        dimension = self.mean.shape[1]

        # products of small matrices, written out: faster than calls of a library
        unit = jnp.broadcast_to(jnp.eye(dimension), self.factor.shape)
        inverse = jax.scipy.linalg.solve_triangular(self.factor, unit, lower=True)
        whitened = jnp.sum(inverse * (x[:, None] - self.mean)[:, :, None, :], axis=-1)
        distance = jnp.sum(whitened**2, axis=-1)
        log_det = jnp.sum(jnp.log(jnp.diagonal(self.factor, axis1=-2, axis2=-1)), axis=-1)
        norm = gammaln(0.5 * (self.nu + dimension)) - gammaln(0.5 * self.nu)
        norm -= 0.5 * dimension * jnp.log(self.nu * np.pi) + log_det
        return norm - 0.5 * (self.nu + dimension) * jnp.log1p(distance / self.nu)

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

    def adapted(self, x: Array, log_weight: Array) -> StudentTMixture:
        """Refit to weighted points; the last component becomes a wide one around all of them.

        Parameters
        ----------
        x, log_weight
            As in :meth:`refitted`.
        """
        mixture = self
        for _ in range(_N_REFITS):
            mixture = mixture.refitted(x, log_weight)
        return mixture.defended(x, log_weight)

    def defended(self, x: Array, log_weight: Array) -> StudentTMixture:
        """Replace the last component by a wide one around all weighted points (n, D)."""
        weight = jax.nn.softmax(log_weight)
        mean = weight @ x
        centred = x - mean
        covariance = (centred * weight[:, None]).T @ centred
        wide = jnp.linalg.cholesky(_DEFENSIVE_SCALE**2 * covariance + 1e-9 * jnp.eye(x.shape[1]))
        wide = jnp.where(jnp.all(jnp.isfinite(wide)), wide, self.factor[-1])
        others = jax.nn.log_softmax(self.log_weight[:-1]) + jnp.log1p(-_DEFENSIVE_WEIGHT)
        return StudentTMixture(
            log_weight=jnp.append(others, jnp.log(_DEFENSIVE_WEIGHT)),
            mean=self.mean.at[-1].set(mean),
            factor=self.factor.at[-1].set(wide),
            nu=self.nu,
        )


def flatten_weights(log_weight: Array, least: float | Array) -> Array:
    """Flatten weights of which a few dominate, so that a refit does not collapse onto them.

    Parameters
    ----------
    log_weight : Array, shape (n,)
        Natural logarithms of weights.
    least : float
        Effective number (Kish) to reach.
    """
    powers = jnp.array(_POWERS)
    # powers of no weight at all are nothing as well
    flattened = jnp.where(jnp.isfinite(log_weight), powers[:, None] * log_weight, -jnp.inf)
    enough = 1.0 / jnp.sum(jax.nn.softmax(flattened, axis=1) ** 2, axis=1) >= least
    return flattened[jnp.where(jnp.any(enough), jnp.argmax(enough), len(_POWERS) - 1)]
