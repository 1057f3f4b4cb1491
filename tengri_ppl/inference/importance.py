"""Adaptive importance sampling: a mixture that learns the posterior in a few large batches.

The proposal is a mixture of Student-t distributions, first around the modes with the curvature
there, then fitted to where walkers from there have been, then refitted to weighted draws. All draws
of all rounds are used, weighted by the mixture of all proposals (deterministic mixture weights:
Cornuet et al. 2012, Scandinavian Journal of Statistics 39, 798), and the tail of the weights is
smoothed (Vehtari et al. 2024, JMLR 25, 72).
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from tengri_ppl.errors import ParameterError
from tengri_ppl.inference.approximation import search_points
from tengri_ppl.inference.flat import FlatTarget
from tengri_ppl.inference.laplace import curvature
from tengri_ppl.inference.mixture import StudentTMixture, flatten_weights
from tengri_ppl.inference.optimize import find_modes
from tengri_ppl.inference.result import InferenceResult
from tengri_ppl.inference.start import Start
from tengri_ppl.inference.target import Target
from tengri_ppl.inference.walkers import walk
from tengri_ppl.inference.weighted import Record, WeightedDraws
from tengri_ppl.runtime.chunks import largest_divisor
from tengri_ppl.runtime.compiled import Compiled
from tengri_ppl.runtime.memory import release_memory
from tengri_ppl.runtime.threads import map_in_threads

__all__ = [
    "ImportanceOptions",
    "adapt_from_modes",
    "as_result",
    "run_importance",
]

_N_WALKERS, _N_KEPT = 256, 24
#: Parts of a batch, at most; some are evaluated at the same time.
_N_PARTS = 8
#: Close to a mode is enough for walkers to start from.
_SEARCH_STEPS = 30
#: Effective draws that a refit should have, as a share of those aimed at.
_FIT_SHARE = 0.3


@dataclass(frozen=True)
class ImportanceOptions:
    """Options of :func:`run_importance`.

    Attributes
    ----------
    n_samples : int
        Equally weighted draws to return.
    n_batch : int
        Proposals per round.
    max_rounds : int
        Rounds at most; sampling stops as soon as ``min_ess`` is reached with a good tail.
    min_ess : float
        Effective number of draws (Kish) to aim at.
    n_modes : int
        Searches for a mode, from which the proposal starts.
    n_walk : int
        Steps of 256 walkers, from which the proposal learns.
    """

    n_samples: int = 4000
    n_batch: int = 4096
    max_rounds: int = 8
    min_ess: float = 1000.0
    n_modes: int = 8
    n_walk: int = 200

    def __post_init__(self) -> None:
        """Check ranges."""
        for name in ("n_samples", "n_batch", "max_rounds", "n_modes", "n_walk"):
            if getattr(self, name) < 1:
                raise ParameterError(f"{name}={getattr(self, name)}: expected at least 1")


def _first_proposal(flat: FlatTarget, start: Array) -> StudentTMixture:
    """Put a component at every mode found, with the curvature there, and a wide one around all.

    Parameters
    ----------
    flat : FlatTarget
        The posterior.
    start : Array, shape (n, D)
        Where to search from.
    """
    modes = find_modes(flat, start, max_steps=_SEARCH_STEPS)
    bend = curvature(flat, modes.x, exact=False)
    return _at_modes(modes.x, modes.log_density, bend.factor)


@partial(Compiled, static_argnums=2)
def _propose(mixture: StudentTMixture, key: Array, n: int) -> Array:
    return mixture.sample(key, n)


_at_modes = Compiled(StudentTMixture.at_modes)
_fitted = Compiled(StudentTMixture.fitted, static_argnums=2)


@Compiled
def _picked(
    key: Array, proposal: StudentTMixture, x: Array, log_density: Array, least: float
) -> Array:
    """Where walkers begin: points (n, D) picked by their weights."""
    log_weight = flatten_weights(log_density - proposal.log_density(x), least)
    weight = jax.nn.softmax(log_weight)
    return x[jax.random.choice(key, len(x), (_N_WALKERS,), p=weight)]


@Compiled
def _refit(proposal: StudentTMixture, x: Array, log_weight: Array, least: float) -> StudentTMixture:
    return proposal.adapted(x, flatten_weights(log_weight, least))


def _adapt_proposal(
    flat: FlatTarget,
    key: Array,
    proposal: StudentTMixture,
    options: ImportanceOptions,
    progress: Any = None,
) -> WeightedDraws:
    """Sample, weigh and refit until there are enough effective draws.

    Parameters
    ----------
    flat : FlatTarget
        The posterior.
    key : Array
        Random key.
    proposal : StudentTMixture
        Where to begin.
    options : ImportanceOptions
        Sizes and limits.
    progress : callable, optional
        Called after every round.
    """
    key, key_learn = jax.random.split(key)
    proposal, n_learning = _learnt(flat, key_learn, proposal, options)
    record = Record(n_learning)
    for i, round_key in enumerate(jax.random.split(key, options.max_rounds)):
        x = _propose(proposal, round_key, options.n_batch)
        record.add(proposal, x, _log_density(flat, x))
        draws = record.weighted()
        release_memory()
        if progress is not None:
            progress("rounds", i + 1, options.max_rounds, 0)
        if i > 1 and draws.good(options.min_ess):
            break
        # fixed shapes: rounds to come are points without weight, so that nothing is compiled anew
        n = options.max_rounds * options.n_batch
        x, log_weight = _filled(draws.x, n, 0.0), _filled(record.log_weight, n, -np.inf)
        proposal = _refit(proposal, x, log_weight, _FIT_SHARE * options.min_ess)
    return draws


def _learnt(
    flat: FlatTarget, key: Array, proposal: StudentTMixture, options: ImportanceOptions
) -> tuple[StudentTMixture, int]:
    """Let walkers correct a proposal; return what it becomes, with the densities evaluated."""
    key_try, key_pick, key_walk, key_fit = jax.random.split(key, 4)
    x = _propose(proposal, key_try, options.n_batch)
    log_density = np.concatenate([flat.log_density(part) for part in _parts(x)])
    first = _picked(key_pick, proposal, x, log_density, _FIT_SHARE * options.min_ess)
    n_kept = min(_N_KEPT, options.n_walk)
    path = walk(flat, key_walk, first, options.n_walk, n_kept)
    n_learning = options.n_batch + _N_WALKERS * options.n_walk
    fitted = _fitted(key_fit, path, proposal.log_weight.size)
    release_memory()
    return fitted, n_learning


def _parts(x: Array) -> list[np.ndarray]:
    """Parts of a batch, of one size, that take little memory."""
    return np.split(np.asarray(x), largest_divisor(len(x), _N_PARTS))


def _log_density(flat: FlatTarget, x: Array) -> np.ndarray:
    """Evaluate a batch in parts, some at the same time."""
    return np.concatenate(map_in_threads(flat.log_density, _parts(x)))


def _filled(values: np.ndarray, n: int, value: float) -> Array:
    """Append rows of one value up to a length."""
    width = ((0, n - len(values)), *((0, 0) for _ in values.shape[1:]))
    return jnp.asarray(np.pad(values, width, constant_values=value), dtype=float)


def adapt_from_modes(
    flat: FlatTarget,
    key_search: Array,
    key_adapt: Array,
    options: ImportanceOptions,
    start: Start | None = None,
    progress: Any = None,
) -> WeightedDraws:
    """Search for modes and adapt a proposal from there.

    Parameters
    ----------
    flat : FlatTarget
        The posterior.
    key_search, key_adapt : Array
        Random keys.
    options : ImportanceOptions
        Sizes and limits.
    start : Start, optional
        Search around this approximation; else from ``n_modes`` dispersed points.
    progress : callable, optional
        Called after every round.
    """
    proposal = _first_proposal(flat, search_points(flat, key_search, options.n_modes, start))
    return _adapt_proposal(flat, key_adapt, proposal, options, progress)


def run_importance(
    target: Target,
    key: Array,
    options: ImportanceOptions | None = None,
    *,
    start: Start | None = None,
    progress: Any = None,
) -> InferenceResult:
    """Sample a target by adaptive importance sampling; see the module.

    Parameters
    ----------
    target : Target
        Posterior to sample.
    key : Array
        Random key.
    options : ImportanceOptions, optional
        Defaults are documented there.
    start : Start, optional
        Search for modes around this approximation; else from ``n_modes`` dispersed points.
    progress : callable, optional
        Called after every round.
    """
    begin = time.perf_counter()
    options = options or ImportanceOptions()
    key_init, key_run, key_draw = jax.random.split(key, 3)
    flat = FlatTarget(target)
    draws = adapt_from_modes(flat, key_init, key_run, options, start, progress)
    return as_result(flat, draws, key_draw, options, time.perf_counter() - begin)


def as_result(
    flat: FlatTarget, draws: WeightedDraws, key: Array, options: ImportanceOptions, seconds: float
) -> InferenceResult:
    """Turn weighted draws into equally weighted ones, in one chain."""
    index = draws.resample(key, options.n_samples)
    values = flat.values(jnp.asarray(draws.x[index]))
    return InferenceResult(
        method="importance",
        samples={name: np.asarray(value)[None] for name, value in values.items()},
        sample_stats={"lp": draws.log_density[index][None]},
        settings=asdict(options),
        wall_time_s=seconds,
        diagnostics={
            "pareto_k": draws.pareto_k,
            "n_effective": draws.ess,
            "log_evidence": draws.log_evidence,
            "log_evidence_error": draws.log_evidence_error,
            "n_evaluations": float(draws.n_evaluations),
        },
    )
