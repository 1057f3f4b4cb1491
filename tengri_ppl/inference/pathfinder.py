"""Pathfinder: Gaussians along the paths of quasi-Newton searches (Zhang et al. 2022).

Every point of an L-BFGS path comes with an estimate of the inverse Hessian, so with a Gaussian; the
one with the largest evidence lower bound is taken. The paths and the inverse Hessians are
blackjax's. Its Gaussians are not used: up to version 1.7.1 their means lie on the wrong side of the
points.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from blackjax.optimizers.lbfgs import (
    LBFGSHistory,
    lbfgs_inverse_hessian_factors,
    lbfgs_inverse_hessian_formula_1,
    minimize_lbfgs,
)
from jax import Array
from jax.scipy.linalg import solve_triangular
from jax.scipy.special import logsumexp

from tengri_ppl.distributions.layout import Layout
from tengri_ppl.errors import ParameterError
from tengri_ppl.inference.approximation import (
    Approximation,
    check_positive,
    gaussian_log_density,
    search_points,
)
from tengri_ppl.inference.flat import FlatTarget, flat_potential
from tengri_ppl.inference.pareto import effective_draws, estimate_evidence, resample, smooth_weights
from tengri_ppl.inference.result import InferenceResult
from tengri_ppl.inference.start import Start
from tengri_ppl.inference.target import Model, Target
from tengri_ppl.runtime.compiled import Compiled

__all__ = [
    "MultipathfinderOptions",
    "PathfinderOptions",
    "run_multipathfinder",
    "run_pathfinder",
]

_MAX_LINE_SEARCH = 20


@dataclass(frozen=True)
class PathfinderOptions:
    """Options of :func:`run_pathfinder`.

    Attributes
    ----------
    n_samples : int
        Draws of the best Gaussian.
    max_steps : int
        Iterations of L-BFGS at most.
    history : int
        Past steps that L-BFGS estimates the Hessian from.
    n_elbo : int
        Draws for the evidence lower bound of each Gaussian along a path.
    """

    n_samples: int = 4000
    max_steps: int = 60
    history: int = 10
    n_elbo: int = 50

    def __post_init__(self) -> None:
        """Check ranges."""
        check_positive(self, "n_samples", "max_steps", "history", "n_elbo")


@dataclass(frozen=True)
class MultipathfinderOptions(PathfinderOptions):
    """Options of :func:`run_multipathfinder`, beyond those of :class:`PathfinderOptions`.

    Attributes
    ----------
    n_paths : int
        Paths, each from a point of its own.
    n_pool : int
        Draws of all paths together, from which ``n_samples`` are resampled.
    """

    n_paths: int = 8
    n_pool: int = 8000

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        check_positive(self, "n_paths", "n_pool")


class _Path(NamedTuple):
    """The best Gaussian of a path, its evidence lower bound, and the number of steps."""

    gaussian: Start
    elbo: Array
    n_steps: Array


def run_pathfinder(
    target: Target,
    key: Array,
    options: PathfinderOptions | None = None,
    *,
    start: Start | None = None,
    progress: Any = None,
) -> InferenceResult:
    """Draw from the best Gaussian along one path (Zhang et al. 2022, JMLR 23, 306).

    Parameters
    ----------
    target : Target
        Posterior.
    key : Array
        Random key.
    options : PathfinderOptions, optional
        Defaults are documented there.
    start : Start, optional
        Approximation to start from a dispersed draw of, and whose coordinates the path takes;
        without it a good draw of the prior, in unconstrained coordinates.
    progress : callable, optional
        Called at the end of the path.

    Raises
    ------
    ParameterError
        If no point of the path has a Gaussian.
    """
    options = options or PathfinderOptions()
    run = Approximation("pathfinder", FlatTarget(target), options)
    key_path, key_draw = jax.random.split(key)
    paths = _paths(run, key_path, 1, start, progress)
    x, _ = _pool(paths.gaussian, key_draw, options.n_samples)
    return run.result(x[0], _log_density(jax.tree.map(lambda a: a[0], paths.gaussian), x[0]))


def run_multipathfinder(
    target: Target,
    key: Array,
    options: MultipathfinderOptions | None = None,
    *,
    start: Start | None = None,
    progress: Any = None,
) -> InferenceResult:
    """Resample draws of the Gaussians of many paths by their importance weights.

    The weights (Pareto smoothed) are those against the mixture of all Gaussians, so that two paths
    to the same mode don't count it twice.

    Parameters
    ----------
    target, key, start, progress
        As for :func:`run_pathfinder`.
    options : MultipathfinderOptions, optional
        Defaults are documented there.

    Returns
    -------
    InferenceResult
        Its draws stand for weighted ones: they follow the posterior if ``pareto_k`` is below 0.7,
        and ``n_effective`` is their number.

    Raises
    ------
    ParameterError
        If no point of any path has a Gaussian.
    """
    options = options or MultipathfinderOptions()
    run = Approximation("multipathfinder", FlatTarget(target), options)
    key_path, key_draw, key_resample = jax.random.split(key, 3)
    paths = _paths(run, key_path, options.n_paths, start, progress)
    good = np.flatnonzero(np.isfinite(paths.elbo))
    gaussians = jax.tree.map(lambda a: a[good], paths.gaussian)
    x, log_q = _pool(gaussians, key_draw, -(-options.n_pool // len(good)))
    x = x.reshape(-1, run.flat.dimension)
    log_p = np.asarray(run.flat.log_density(x), dtype=float)
    run.count(len(x))
    log_ratio = log_p - np.asarray(log_q, dtype=float).ravel()
    log_weight, k = smooth_weights(log_ratio)
    log_evidence, error = estimate_evidence(log_ratio, log_weight)
    run.diagnostics |= {
        "pareto_k": k,
        "n_effective": effective_draws(log_weight),
        "log_evidence": log_evidence,
        "log_evidence_error": error,
        "n_paths": float(len(good)),
    }
    return run.result(x[resample(key_resample, log_weight, options.n_samples)])


def _paths(run: Approximation, key: Array, n: int, start: Start | None, progress: Any) -> _Path:
    """Follow ``n`` paths; count the evaluations and refuse if none came to anything."""
    options, flat = run.options, run.flat
    key_start, key_elbo = jax.random.split(key)
    points = search_points(flat, key_start, n, start)
    frame = start or Start(jnp.zeros(flat.dimension), jnp.eye(flat.dimension))
    static = (options.max_steps, options.history, options.n_elbo)
    keys = jax.random.split(key_elbo, n)
    paths = _follow(flat.target.model, flat.layout, static, keys, points, frame, *flat.arguments)
    # a step evaluates gradients for its line search, at least one, and for its record
    run.count(paths.n_steps * (2 + options.n_elbo))
    if not bool(jnp.any(jnp.isfinite(paths.elbo))):
        raise ParameterError(
            "pathfinder has found no Gaussian with a finite evidence lower bound along its path; "
            "use method='multipathfinder' or 'auto'"
        )
    if progress is not None:
        progress("paths", n, n, 0)
    return paths


@partial(Compiled, static_argnums=(0, 1, 2))
def _follow(
    model: Model,
    layout: Layout,
    static: tuple[int, int, int],
    keys: Array,
    points: Array,
    frame: Start,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> _Path:
    max_steps, history, n_elbo = static

    def log_density(u: Array) -> Array:
        energy = flat_potential(model, layout, frame.points(u), args, kwargs)
        return -jnp.nan_to_num(energy, nan=1e30, posinf=1e30)

    def one(key: Array, x: Array) -> _Path:
        u = solve_triangular(frame.factor, x - frame.mean, lower=True)
        _, path = minimize_lbfgs(
            lambda u: -log_density(u), u, max_steps, history, maxls=_MAX_LINE_SEARCH
        )
        gaussians = _gaussians(path, history)
        noise = jax.random.normal(key, (n_elbo, u.size))
        moved = jnp.any(path.x[1:] != path.x[:-1], axis=1)

        def elbo(gaussian: Start) -> Array:
            log_p = jax.vmap(log_density)(gaussian.points(noise))
            return jnp.mean(log_p - gaussian_log_density(gaussian, noise))

        elbos = jax.lax.map(elbo, gaussians)
        valid = jnp.append(True, moved) & jnp.isfinite(elbos)
        best = jnp.argmax(jnp.where(valid, elbos, -jnp.inf))
        gaussian = jax.tree.map(lambda a: a[best], gaussians)
        in_x = Start(frame.points(gaussian.mean), frame.factor @ gaussian.factor)
        return _Path(in_x, jnp.where(valid[best], elbos[best], -jnp.inf), jnp.sum(moved) + 1)

    return jax.lax.map(lambda pair: one(*pair), (keys, points))


def _gaussians(path: LBFGSHistory, history: int) -> Start:
    """Turn positions, gradients and the steps before them into Gaussians, one per point."""
    used = path.update_mask[1:]
    before = ((history, 0), (0, 0))
    steps = jnp.pad(jnp.where(used, jnp.diff(path.x, axis=0), 0.0), before)
    changes = jnp.pad(jnp.where(used, jnp.diff(path.g, axis=0), 0.0), before)

    def one(i: Array) -> Start:
        window = i + jnp.arange(history)
        factors = lbfgs_inverse_hessian_factors(steps[window].T, changes[window].T, path.alpha[i])
        inverse = lbfgs_inverse_hessian_formula_1(path.alpha[i], *factors)
        mean = path.x[i] - inverse @ path.g[i]
        return Start(mean, jnp.linalg.cholesky(0.5 * (inverse + inverse.T)))

    return jax.vmap(one)(jnp.arange(len(path.x)))


@partial(Compiled, static_argnums=2)
def _pool(gaussians: Start, key: Array, n: int) -> tuple[Array, Array]:
    """``n`` draws of each of K Gaussians (K, n, D), and the log-density (K, n) of their mixture."""
    n_paths, dimension = gaussians.mean.shape
    u = jax.random.normal(key, (n_paths, n, dimension))
    x = jax.vmap(Start.points)(gaussians, u)
    each = jax.vmap(lambda g: _log_density(g, x))(gaussians)
    return x, logsumexp(each, axis=0) - jnp.log(n_paths)


def _log_density(gaussian: Start, x: Array) -> Array:
    """Log-density of a Gaussian at points (..., D)."""
    flat = (x - gaussian.mean).reshape(-1, x.shape[-1])
    u = solve_triangular(gaussian.factor, flat.T, lower=True).T
    return gaussian_log_density(gaussian, u).reshape(x.shape[:-1])
