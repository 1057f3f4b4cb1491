"""Where an engine begins: a Gaussian approximation of the posterior, and dispersed points of it.

All engines share it. The modes and their curvature make one for any model; the draws of an earlier
result make a better one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from tengri_ppl.errors import ParameterError
from tengri_ppl.inference.convergence import worst_rhat_and_ess
from tengri_ppl.inference.flat import FlatTarget
from tengri_ppl.inference.laplace import Curvature, curvature, log_volume
from tengri_ppl.inference.optimize import find_modes
from tengri_ppl.runtime.compiled import Compiled

__all__ = [
    "DISPERSION",
    "Start",
    "dispersed_points",
    "regularised",
    "start_at_mode",
    "start_from_draws",
    "start_refined",
]

#: Chains start from draws this much farther from the mean than the posterior is wide.
DISPERSION = 1.5
_CANDIDATES = 32
_N_MODES = 8
_REGULARISATION = 1e-9
#: Chains also start at modes whose Laplace approximation holds this share of the best one's.
_LEAST_SHARE = 0.01


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Start:
    """A Gaussian approximation of a posterior in unconstrained coordinates x.

    Attributes
    ----------
    mean : Array, shape (D,)
        Its centre.
    factor : Array, shape (D, D)
        Lower Cholesky factor of its covariance. In *whitened* coordinates u, with
        x = mean + factor u, the posterior is about as wide as a standard normal.
    centres : Array, shape (M, D), optional
        Modes that matter, repeated ones included, around which chains start in turn; the mean if
        there are none. Chains in different modes don't agree, so that R-hat tells of them.
    """

    mean: Array
    factor: Array
    centres: Array | None = None

    @property
    def covariance(self) -> Array:
        """Covariance of x, (D, D)."""
        return self.factor @ self.factor.T

    @property
    def log_volume(self) -> Array:
        """Logarithm of the volume in x of a unit of volume in whitened coordinates."""
        return log_volume(self.factor)

    def points(self, whitened: Array) -> Array:
        """Turn whitened coordinates (..., D) into x."""
        return _points(self, whitened)

    def whitened(self, x: Array) -> Array:
        """Turn x (..., D) into whitened coordinates."""
        return _whitened(self, x)


@Compiled
def _points(start: Start, whitened: Array) -> Array:
    return start.mean + whitened @ start.factor.T


@Compiled
def _whitened(start: Start, x: Array) -> Array:
    return jax.scipy.linalg.solve_triangular(start.factor, (x - start.mean).T, lower=True).T


def start_at_mode(flat: FlatTarget, key: Array, n_modes: int = _N_MODES) -> Start:
    """Search for modes from dispersed points; take the one that holds the most probability.

    The probability is estimated by the Laplace approximation at each mode.

    Parameters
    ----------
    flat : FlatTarget
        The posterior.
    key : Array
        Random key.
    n_modes : int
        Searches.
    """
    modes = find_modes(flat, flat.flatten(flat.target.initial(key, n_modes)))
    return _at_best(modes.x, modes.log_density, curvature(flat, modes.x, exact=False))


@Compiled
def _at_best(x: Array, log_density: Array, bend: Curvature) -> Start:
    factor = bend.factor
    share = log_density + log_volume(factor)
    best = jnp.argmax(share)
    matters = share > share[best] + jnp.log(_LEAST_SHARE)
    return Start(x[best], factor[best], jnp.where(matters[:, None], x, x[best]))


def start_from_draws(x: Array) -> Start:
    """Take mean and covariance of draws (n, D), of which there must be more than D.

    Raises
    ------
    ParameterError
        If there are too few draws for a covariance.
    """
    n, dimension = x.shape
    if n <= dimension:
        raise ParameterError(
            f"{n} draws don't give a covariance of {dimension} coordinates; use more draws"
        )
    centred = x - x.mean(axis=0)
    covariance = regularised(centred.T @ centred / (n - 1))
    return Start(x.mean(axis=0), jnp.linalg.cholesky(covariance))


def regularised(covariance: Array) -> Array:
    """Add to the diagonal of a covariance (D, D) what rounding may have taken from it."""
    rounding = 10 * len(covariance) * jnp.finfo(covariance.dtype).eps
    return covariance + jnp.diag(rounding * jnp.diag(covariance) + _REGULARISATION)


def start_refined(start: Start, x: np.ndarray) -> Start:
    """Take mean and covariance of correlated draws, as far as they are known from them.

    In the old whitened coordinates, both are shrunk towards zero and the identity: by D + 2 draws
    against the effective number of draws.

    Parameters
    ----------
    start : Start
        Approximation so far.
    x : ndarray, shape (chain, draw, D)
        Draws of all chains.
    """
    dimension = x.shape[-1]
    flattened = jnp.asarray(x.reshape(-1, dimension))
    u = np.asarray(start.whitened(flattened), dtype=float).reshape(x.shape)
    _, ess = worst_rhat_and_ess({"": u})
    ess = max(ess, 1.0) if np.isfinite(ess) else 1.0
    pooled = u.reshape(-1, dimension)
    known, assumed = ess, dimension + 2.0
    covariance = np.cov(pooled, rowvar=False).reshape(dimension, dimension)
    covariance = (known * covariance + assumed * np.eye(dimension)) / (known + assumed)
    mean = known / (known + assumed) * pooled.mean(axis=0)
    factor = start.factor @ np.linalg.cholesky(covariance)
    return Start(start.points(jnp.asarray(mean, start.mean.dtype)), factor.astype(start.mean.dtype))


def dispersed_points(flat: FlatTarget, start: Start, key: Array, n: int) -> Array:
    """Draw start points that are spread wider than the posterior, so that R-hat means something.

    Each is one of several draws from the widened approximation, picked with the weights that turn
    them into draws from the equally widened (tempered) posterior. Where the approximation is good
    all have the same chance; where it is not, those are avoided that lie so far down the
    posterior's slopes that a chain would not get away.

    Parameters
    ----------
    flat : FlatTarget
        The posterior.
    start : Start
        Its approximation.
    key : Array
        Random key.
    n : int
        Number of points.

    Returns
    -------
    Array, shape (n, D)
        Points at which the density is finite.

    Raises
    ------
    ParameterError
        If the density is zero or NaN around ``start``.
    """
    key_draw, key_pick = jax.random.split(key)
    u, x = _candidates(start, key_draw, n)
    points, found = _picked(key_pick, u, x, flat.log_density(x), n)
    if not bool(found):
        raise ParameterError(
            f"no start point found: the log-density is NaN or -inf at {_CANDIDATES} points around "
            "the approximation of the posterior; check the data for NaN, or start from prior draws"
        )
    return points


@partial(Compiled, static_argnums=2)
def _candidates(start: Start, key: Array, n: int) -> tuple[Array, Array]:
    """Offsets in whitened coordinates and points, each (n * _CANDIDATES, D)."""
    u = DISPERSION * jax.random.normal(key, (n * _CANDIDATES, start.mean.size))
    centres = start.mean[None] if start.centres is None else start.centres
    turns = jnp.repeat(jnp.arange(n) % len(centres), _CANDIDATES)
    return u, centres[turns] + u @ start.factor.T


@partial(Compiled, static_argnums=4)
def _picked(key: Array, u: Array, x: Array, log_density: Array, n: int) -> tuple[Array, Array]:
    """One candidate for each of n points, (n, D), and whether all have one of finite density."""
    log_weight = (log_density + 0.5 * jnp.sum(u**2, axis=1)) / DISPERSION**2
    finite = jnp.isfinite(log_density).reshape(n, _CANDIDATES)
    log_weight = jnp.where(finite, log_weight.reshape(n, _CANDIDATES), -jnp.inf)
    pick = jax.random.categorical(key, log_weight, axis=1)
    return x.reshape(n, _CANDIDATES, -1)[jnp.arange(n), pick], jnp.all(finite.any(axis=1))
