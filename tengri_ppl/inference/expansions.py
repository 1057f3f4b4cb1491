"""Geometric inference around several means, whose draws are weighted as those of one mixture.

Where a likelihood folds, no draw around one mean gets behind the fold. Draws around a mean behind
it do. All draws of all expansions together are weighted by the mean of their densities
(deterministic mixture weights: Cornuet et al. 2012, Scandinavian Journal of Statistics 39, 798).
The density of an expansion at a point of another one is found by going back to the standard
normals there and drawing with them: if that does not lead to the point, it is zero.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from tengri_ppl.errors import ParameterError
from tengri_ppl.inference.approximation import Approximation
from tengri_ppl.inference.metric import SOLVED, draw_around, reached_density
from tengri_ppl.inference.pareto import resample, smooth_weights
from tengri_ppl.inference.weighted import Record

__all__ = ["draw_expansions", "mirrored", "no_solution", "pairs"]

#: The next mean is the one of so many posterior draws where proposals are scarcest.
_N_CANDIDATES = 200


def draw_expansions(
    run: Approximation, mean: Array, key: Array, n: int, n_expansions: int
) -> tuple[Array, Array, np.ndarray]:
    """Draw around a mean, and around means where draws have been scarce so far.

    Parameters
    ----------
    run : Approximation
        What is run; takes the number of evaluations, and ``unseen_share``: an estimate of the
        share of the posterior that no expansion reaches, from what only one of them does (Good
        1953, Biometrika 40, 237).
    mean : Array, shape (D,)
        The first mean.
    key : Array
        Random key.
    n : int
        Draws in all, at least; expansions have equal, even numbers of them.
    n_expansions : int
        Number of means.

    Returns
    -------
    x : Array, shape (n, D)
        Draws.
    log_q : Array, shape (n,)
        Log-density of the mixture.
    log_p : ndarray, shape (n,)
        Log-posterior up to the evidence; -inf for draws without a solution.

    Raises
    ------
    ParameterError
        If no draw around the first mean has a solution.
    """
    view = run.flat
    static = view.target.model, view.layout, run.method == "geovi"
    n_pairs = -(-n // (2 * n_expansions))

    def density(mean: Array, x: Array) -> Array:
        log_q, n_gradients = reached_density(*static, mean, x, *view.arguments)
        run.count(n_gradients)
        return log_q

    record = Record(0, density)
    for i, own in enumerate(jax.random.split(key, n_expansions)):
        key_draw, key_next = jax.random.split(own)
        if i:
            mean = _scarcest(record, key_next)
        draws = draw_around(*static, mean, mirrored(key_draw, n_pairs, mean.size), *view.arguments)
        run.count(draws.n_evaluations)
        solved = np.asarray(draws.residual) < SOLVED
        log_p = np.where(solved, np.asarray(view.log_density(draws.x), dtype=float), -np.inf)
        record.add(mean, draws.x, log_p, draws.log_q)
        if not np.any(np.isfinite(record.log_weight)):
            raise no_solution(run.method)
    run.count(record.log_density.size)
    run.diagnostics["unseen_share"] = _unseen_share(record)
    return jnp.asarray(record.x), jnp.asarray(record.log_mixture), record.log_density


def no_solution(method: str) -> ParameterError:
    """Say that no draw could be made."""
    return ParameterError(
        f"no draw of {method} has a solution in the curved coordinates around the mean; use "
        "method='mgvi' or 'auto'"
    )


def mirrored(key: Array, n: int, dimension: int) -> Array:
    """``n`` pairs of standard normals y and -y, (2 n, D)."""
    return pairs(jax.random.normal(key, (n, dimension)))


def pairs(y: Array) -> Array:
    """Put -y behind each y (n, ...), (2 n, ...)."""
    return jnp.stack([y, -y], axis=1).reshape(2 * len(y), *y.shape[1:])


def _scarcest(record: Record, key: Array) -> Array:
    """Return the draw of the posterior, of some, with the fewest draws in its neighbourhood."""
    log_weight = record.log_weight
    smoothed, _ = smooth_weights(log_weight)
    candidates = resample(key, smoothed, _N_CANDIDATES)
    return jnp.asarray(record.x[candidates[np.argmax(log_weight[candidates])]])


def _unseen_share(record: Record) -> float:
    """Estimate the share of the posterior that no expansion reaches."""
    weight = np.exp(record.log_weight - np.logaddexp.reduce(record.log_weight))
    n_reaching = np.sum(np.isfinite(record.log_densities), axis=0)
    return float(np.sum(weight[n_reaching == 1]) / len(record.log_densities))
