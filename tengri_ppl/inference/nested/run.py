"""Nested sampling from the first live point to the result."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from blackjax.ns.adaptive import AdaptiveNSState
from blackjax.ns.base import StateWithLogLikelihood
from jax import Array

from tengri_ppl.errors import MemoryBudgetError, ParameterError
from tengri_ppl.inference.approximation import check_positive
from tengri_ppl.inference.flat import FlatTarget
from tengri_ppl.inference.nested.checkpoint import Checkpoint, identity
from tengri_ppl.inference.nested.dead import Evidence, insertion_p_value, weigh
from tengri_ppl.inference.nested.kernel import Settings, first_state
from tengri_ppl.inference.nested.loop import advance, is_finished
from tengri_ppl.inference.nested.record import Record
from tengri_ppl.inference.pareto import effective_draws, resample
from tengri_ppl.inference.result import InferenceResult
from tengri_ppl.inference.start import Start
from tengri_ppl.inference.target import Target
from tengri_ppl.runtime.chunks import largest_divisor

__all__ = ["NSSOptions", "run_nss", "settings_of", "shares"]

_FEWEST_SLICES = 25


@dataclass(frozen=True)
class NSSOptions:
    """Options of :func:`run_nss`.

    Attributes
    ----------
    n_samples : int
        Equally weighted draws to return.
    num_live : int
        Live points. The error of ln Z falls with its root, time grows in proportion.
    num_delete : int
        Points replaced in a step. Above a quarter of the live points ln Z is biased.
    num_inner_steps : float
        Slices by which a new point is moved away from the one it starts from, in units of the
        number of coordinates; at least 25 in all. Fewer make ln Z too large.
    chunk_size : int, optional
        Points moved, and first evaluated, at a time: memory grows with it. All at once by default.
        Rounded down to a divisor of ``num_delete`` (of ``num_live`` for the first ones).
    live_fraction : float
        Sampling ends when the live points hold less than this share of the evidence.
    width : float
        Width of a slice's first interval, in standard deviations of the live points along it.
    max_steps : int
        Steps by which the interval may be widened at most. None are needed for exact draws, and
        without any a slice takes half as many likelihoods.
    max_shrinkage : int
        Points tried in a slice at most.
    max_evaluations : int, optional
        Sampling ends with the first block of steps after so many likelihoods.
    max_seconds : float, optional
        Sampling ends with the first block of steps after this time [s].
    checkpoint : str or Path, optional
        File that the run is saved to, and taken up from if it is there already.
    every : float
        Seconds between two savings.
    """

    n_samples: int = 4000
    num_live: int = 500
    num_delete: int = 50
    num_inner_steps: float = 4.0
    chunk_size: int | None = None
    live_fraction: float = 0.01
    width: float = 4.0
    max_steps: int = 0
    max_shrinkage: int = 100
    max_evaluations: int | None = None
    max_seconds: float | None = None
    checkpoint: str | Path | None = None
    every: float = 60.0

    def __post_init__(self) -> None:
        """Check ranges."""
        positive = (name for name in asdict(self) if name not in ("checkpoint", "max_steps"))
        check_positive(self, *positive)
        if self.max_steps < 0:
            raise ParameterError(f"max_steps={self.max_steps}: expected 0 or more")
        if self.num_delete >= self.num_live:
            raise ParameterError(
                f"num_delete={self.num_delete}: expected fewer than num_live={self.num_live}; "
                "a tenth is a good choice"
            )
        if not self.live_fraction < 1.0:
            raise ParameterError(f"live_fraction={self.live_fraction}: expected less than 1")


def shares(n: int, chunk_size: int | None) -> tuple[int, int]:
    """Return the number of devices that share n points, and how many each takes at a time."""
    n_devices = largest_divisor(n, jax.local_device_count())
    return n_devices, largest_divisor(n // n_devices, chunk_size)


def settings_of(options: NSSOptions, dimension: int) -> Settings:
    """Return what the program of the steps is compiled for."""
    return Settings(
        options.num_delete,
        max(_FEWEST_SLICES, round(options.num_inner_steps * dimension)),
        *shares(options.num_delete, options.chunk_size),
        options.width,
        options.max_steps,
        options.max_shrinkage,
    )


def run_nss(
    target: Target,
    key: Array,
    options: NSSOptions | None = None,
    *,
    start: Start | None = None,
    progress: Any = None,
) -> InferenceResult:
    """Sample a target by nested slice sampling (Yallup, Kroupa & Handley 2026, arXiv:2601.23252).

    Live points, first drawn from the prior, are replaced from the least likely on by draws of the
    prior inside the contour of those replaced. The volume inside is known, so that the dead points
    give the evidence.

    Parameters
    ----------
    target : Target
        Posterior to sample; its priors have to be proper.
    key : Array
        Random key.
    options : NSSOptions, optional
        Defaults are documented there.
    start : Start, optional
        Not needed: the live points come from the prior.
    progress : callable, optional
        Called after every block of steps.

    Returns
    -------
    InferenceResult
        One chain of equally weighted draws, and all points with their weights in ``dead_points``.

    Raises
    ------
    ParameterError
        If a prior is improper, or no draw of it has a likelihood, or one has an infinite one.
    DataError
        If the checkpoint is of another run.
    """
    begin = time.perf_counter()
    options = options or NSSOptions()
    flat = FlatTarget(target)
    key_prior, key_run, *keys = jax.random.split(key, 4)
    state, record = _first_points(flat, key_prior, options)
    checkpoint = None
    if options.checkpoint is not None:
        checkpoint = Checkpoint(options.checkpoint, options.every, identity(flat, key, options))
        state, record = checkpoint.resume(state) or (state, record)
    steps = _Steps(flat, options, key_run, begin, checkpoint, progress)
    state, finished, note = steps.run(state, record)
    result = _result(steps, state, record, finished, *keys)
    return replace(result, notes=(note,)) if note else result


def _first_points(
    flat: FlatTarget, key: Array, options: NSSOptions
) -> tuple[AdaptiveNSState, Record]:
    """Draw the live points from the prior."""
    x = flat.prior(key, options.num_live)
    n_devices, size = shares(options.num_live, options.chunk_size)
    state = first_state(flat.target.model, flat.layout, n_devices, size, x, *flat.arguments)
    _check_likelihood(state.particles.loglikelihood)
    return state, Record(n_evaluations=options.num_live)


def _result(
    steps: _Steps,
    state: AdaptiveNSState,
    record: Record,
    finished: bool,
    key_draw: Array,
    key_weigh: Array,
) -> InferenceResult:
    """Weigh all points, draw from them, and say how the run went."""
    options = steps.options
    points = _sorted([*record.dead, jax.tree.map(np.asarray, state.particles)])
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key_weigh)))
    evidence = weigh(points.loglikelihood_birth, points.loglikelihood, rng)
    index = resample(key_draw, evidence.log_weight, options.n_samples)
    size = largest_divisor(options.num_live, options.chunk_size)
    values = _values(steps.flat, points.position, size)
    slices = settings_of(options, steps.flat.dimension).num_inner_steps
    diagnostics = _diagnostics(evidence, record, points, slices)
    return InferenceResult(
        method="nss",
        samples={name: value[index][None] for name, value in values.items()},
        sample_stats={"lp": (points.logdensity + points.loglikelihood)[index][None]},
        settings=asdict(options),
        wall_time_s=time.perf_counter() - steps.begin,
        diagnostics=diagnostics | {"unfinished": 0.0 if finished else _live_fraction(state)},
        dead_points={
            **values,
            "log_likelihood": points.loglikelihood,
            "log_likelihood_birth": points.loglikelihood_birth,
            "log_weight": evidence.log_weight,
        },
    )


def _diagnostics(
    evidence: Evidence, record: Record, points: StateWithLogLikelihood, num_inner_steps: int
) -> dict[str, float]:
    ranks = record.ranks()
    return {
        "log_evidence": evidence.log_evidence,
        "log_evidence_error": evidence.log_evidence_error,
        "information": evidence.information,
        "n_effective": effective_draws(evidence.log_weight),
        "n_evaluations": float(record.n_evaluations),
        "n_steps": float(record.n_steps),
        "insertion_p_value": insertion_p_value(ranks),
        "stuck_share": record.n_stuck / max(1, ranks.size * num_inner_steps),
        "log_likelihood_rounding": _rounding(points.loglikelihood[np.argmax(evidence.log_weight)]),
    }


@dataclass(frozen=True)
class _Steps:
    """The steps of a run, up to its end or a limit."""

    flat: FlatTarget
    options: NSSOptions
    key: Array
    begin: float
    checkpoint: Checkpoint | None
    progress: Any

    def run(self, state: AdaptiveNSState, record: Record) -> tuple[AdaptiveNSState, bool, str]:
        """Advance; return the last state, whether it is the end, and why not."""
        options, fraction = self.options, jnp.asarray(self.options.live_fraction)
        note = ""
        while True:
            finished = bool(is_finished(state, options.num_delete, fraction))
            if finished or self._is_over(record):
                break
            state = self._block(state, record, fraction)
            if self.checkpoint is not None:
                self.checkpoint.save_if_due(state, record)
            note = self._report(state, record)
            if note:
                break
        if self.checkpoint is not None:
            self.checkpoint.save(state, record)
        return state, finished, note

    def _report(self, state: AdaptiveNSState, record: Record) -> str:
        """Call back with how it goes; return why sampling has to end now, if it has to."""
        if self.progress is None:
            return ""
        share = _live_fraction(state)
        how = (
            f"ln Z {_log_evidence(state):.2f}, live {share:.1%}, {record.n_evaluations} "
            f"evaluations, insertion p {insertion_p_value(record.ranks()):.2f}"
        )
        done = min(1.0, np.log(share) / np.log(self.options.live_fraction))
        try:
            self.progress(how, int(100 * done), 100, 0)
        except MemoryBudgetError as error:
            return str(error)
        return ""

    def _is_over(self, record: Record) -> bool:
        seconds = time.perf_counter() - self.begin
        return record.n_evaluations >= (self.options.max_evaluations or np.inf) or (
            seconds >= (self.options.max_seconds or np.inf)
        )

    def _block(self, state: AdaptiveNSState, record: Record, fraction: Array) -> AdaptiveNSState:
        options, flat = self.options, self.flat
        static = (flat.target.model, flat.layout, settings_of(options, flat.dimension))
        first = jnp.asarray(record.n_steps)
        block = advance(*static, state, self.key, first, fraction, *flat.arguments)
        record.add(block)
        _check_likelihood(block.state.particles.loglikelihood)
        return block.state


def _log_evidence(state: AdaptiveNSState) -> float:
    """Evidence of dead and live points so far."""
    return float(np.logaddexp(state.integrator.logZ_live, state.integrator.logZ))


def _live_fraction(state: AdaptiveNSState) -> float:
    """Share of the evidence in the live points."""
    return float(np.exp(float(state.integrator.logZ_live) - _log_evidence(state)))


def _check_likelihood(log_likelihood: Array) -> None:
    values = np.asarray(log_likelihood)
    if np.any(np.isposinf(values)):
        raise ParameterError(
            "the likelihood is infinite at a point, so the evidence is; a scale may have become "
            "zero: give it a prior that keeps it positive"
        )
    if not np.any(np.isfinite(values)):
        raise ParameterError(
            f"none of {values.size} draws of the prior has a likelihood above zero; raise "
            "num_live, check the data for NaN, or narrow the priors"
        )


def _sorted(parts: list[StateWithLogLikelihood]) -> StateWithLogLikelihood:
    """Join dead points and the last live ones, by likelihood, in double precision."""
    joined = jax.tree.map(lambda *x: np.concatenate(x).astype(float), *parts)
    order = np.argsort(joined.loglikelihood, kind="stable")
    return jax.tree.map(lambda x: x[order], joined)


def _values(flat: FlatTarget, x: np.ndarray, size: int) -> dict[str, np.ndarray]:
    """Sites at all points (n, D), ``size`` of them at a time so that no new size is compiled."""
    n = len(x)
    padded = np.resize(x, (-(-n // size) * size, x.shape[1]))
    parts = [flat.values(jnp.asarray(part)) for part in np.split(padded, len(padded) // size)]
    return {name: np.concatenate([p[name] for p in parts])[:n] for name in parts[0]}


def _rounding(log_likelihood: float) -> float:
    """Return how coarse a log-likelihood is in the precision that it was computed in."""
    return float(abs(log_likelihood) * jnp.finfo(jnp.zeros(0).dtype).eps)
