r"""Tempered sequential Monte Carlo: from the prior to the posterior, with the evidence.

Particles pass through the densities :math:`\pi(x)\,L(x)^\lambda`, with :math:`\lambda` from 0 to 1
in steps that keep a share of the particles effective; in between they are resampled and moved by
Hamiltonian Monte Carlo (Del Moral, Doucet & Jasra 2006, J. R. Stat. Soc. B 68, 411; the adaptive
steps of Jasra et al. 2011, Scandinavian Journal of Statistics 38, 1). The stages are blackjax's.
Several islands of particles run side by side and never meet, so that R-hat between them means
something, and so that their evidences have a scatter.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, NamedTuple

import blackjax
import blackjax.smc.resampling
import jax
import jax.numpy as jnp
import numpy as np
from blackjax.smc import adaptive_tempered, extend_params
from blackjax.smc.tempered import TemperedSMCState
from jax import Array

from tengri_ppl.distributions.layout import Layout, split
from tengri_ppl.errors import ParameterError
from tengri_ppl.inference.approximation import check_positive
from tengri_ppl.inference.convergence import chains_converged
from tengri_ppl.inference.flat import FlatTarget
from tengri_ppl.inference.result import InferenceResult
from tengri_ppl.inference.start import Start
from tengri_ppl.inference.target import Model, Target, log_parts
from tengri_ppl.runtime.chunks import map_chunks
from tengri_ppl.runtime.compiled import Compiled

__all__ = ["SMCOptions", "run_smc"]

_TARGET_ACCEPTANCE = 0.8
_FIRST_STEP_SIZE = 0.3
_MIN_STEP_SIZE, _MAX_STEP_SIZE = 1e-3, 1.0
_RATE = 2.0
_REGULARISATION = 1e-6
#: More of them take more memory, and no less time.
_ISLANDS_AT_ONCE = 2
#: Log-likelihood of a point that has none: low enough that no particle stays there.
_NOWHERE = -1e10


@dataclass(frozen=True)
class SMCOptions:
    """Options of :func:`run_smc`.

    Attributes
    ----------
    n_particles : int
        Particles per island, and draws per chain of the result.
    num_chains : int
        Islands.
    target_ess : float
        Share of the particles that a step in temperature leaves effective.
    n_moves : int
        Transitions of Hamiltonian Monte Carlo per stage.
    n_leapfrog : int
        Leapfrog steps per transition.
    max_stages : int
        Stages at most on the way to the posterior.
    max_moves : int
        Stages at most that move the particles of the posterior itself, until the islands have
        converged (:func:`~tengri_ppl.inference.convergence.chains_converged`).
    """

    n_particles: int = 1000
    num_chains: int = 4
    target_ess: float = 0.6
    n_moves: int = 3
    n_leapfrog: int = 6
    max_stages: int = 200
    max_moves: int = 10

    def __post_init__(self) -> None:
        """Check ranges."""
        sizes = ("n_particles", "num_chains", "n_moves", "n_leapfrog", "max_stages", "max_moves")
        check_positive(self, *sizes)
        if not 0.0 < self.target_ess < 1.0:
            raise ParameterError(f"target_ess={self.target_ess}: expected between 0 and 1")


class _Island(NamedTuple):
    """Particles with what has been learnt on the way.

    Attributes
    ----------
    state : TemperedSMCState
        Particles (n, D), their weights and the inverse temperature.
    step_size : Array
        Of the leapfrog integrator, in units of the widths of the particles.
    log_evidence : Array
        Sum of the increments so far.
    acceptance : Array
        Mean acceptance of the last stage.
    """

    state: TemperedSMCState
    step_size: Array
    log_evidence: Array
    acceptance: Array


@partial(Compiled, static_argnums=(0, 1, 2, 3))
def _stage(
    model: Model,
    layout: Layout,
    target_ess: float,
    n_moves: int,
    islands: _Island,
    keys: Array,
    n_leapfrog: Array,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> _Island:
    """Step in temperature, resample and move, on every island."""

    def log_prior(x: Array) -> Array:
        return log_parts(model, args, kwargs, split(layout, x))[0]

    def log_likelihood(x: Array) -> Array:
        value = log_parts(model, args, kwargs, split(layout, x))[1]
        return jnp.where(jnp.isfinite(value), value, _NOWHERE)

    kernel = adaptive_tempered.build_kernel(
        log_prior,
        log_likelihood,
        blackjax.hmc.build_kernel(),
        blackjax.hmc.init,
        blackjax.smc.resampling.systematic,
        target_ess,
    )

    def advance(island: _Island, key: Array) -> _Island:
        parameters = extend_params(
            {
                "step_size": island.step_size,
                "inverse_mass_matrix": _covariance(island.state),
                "num_integration_steps": n_leapfrog,
            }
        )
        state, info = kernel(key, island.state, n_moves, parameters)
        acceptance = jnp.mean(info.update_info.acceptance_rate)
        step_size = island.step_size * jnp.exp(_RATE * (acceptance - _TARGET_ACCEPTANCE))
        return _Island(
            state,
            jnp.clip(step_size, _MIN_STEP_SIZE, _MAX_STEP_SIZE),
            island.log_evidence + info.log_likelihood_increment,
            acceptance,
        )

    return map_chunks(lambda island: advance(*island), (islands, keys), _ISLANDS_AT_ONCE)


def _covariance(state: TemperedSMCState) -> Array:
    """Weighted covariance of the particles, (D, D)."""
    centred = state.particles - state.weights @ state.particles
    covariance = (centred * state.weights[:, None]).T @ centred
    return covariance + _REGULARISATION * jnp.eye(centred.shape[1])


def run_smc(
    target: Target,
    key: Array,
    options: SMCOptions | None = None,
    *,
    start: Start | None = None,
    progress: Any = None,
) -> InferenceResult:
    """Sample a target by tempered sequential Monte Carlo; see the module.

    Parameters
    ----------
    target : Target
        Posterior to sample; its priors have to be proper.
    key : Array
        Random key.
    options : SMCOptions, optional
        Defaults are documented there.
    start : Start, optional
        Not needed: the particles come from the prior.
    progress : callable, optional
        Called after every stage with the temperature in per cent.

    Returns
    -------
    InferenceResult
        One chain an island. ``log_evidence`` is the logarithm of the mean of the islands'
        evidences, ``log_evidence_error`` its standard error.

    Raises
    ------
    ParameterError
        If the posterior is not reached within ``max_stages``.
    """
    begin = time.perf_counter()
    options = options or SMCOptions()
    flat = FlatTarget(target)
    key_prior, key_run = jax.random.split(key)
    islands = _first_islands(flat, key_prior, options)
    stage = 0
    while float(islands.state.tempering_param.min()) < 1.0:
        if stage == options.max_stages:
            raise ParameterError(
                f"after {stage} stages the inverse temperature is "
                f"{float(islands.state.tempering_param.min()):.2g}, not 1; raise max_stages, or "
                "check the likelihood for values that are not finite"
            )
        islands = _advance(flat, options, islands, jax.random.fold_in(key_run, stage))
        stage += 1
        if progress is not None:
            progress("per cent", int(100 * islands.state.tempering_param.min()), 100, 0)
    # the last step has weighted the particles; the next one resamples and moves them
    for _ in range(options.max_moves):
        islands = _advance(flat, options, islands, jax.random.fold_in(key_run, stage))
        stage += 1
        if chains_converged({"x": np.asarray(islands.state.particles)}):
            break
    return _result(flat, islands, options, stage, time.perf_counter() - begin)


def _first_islands(flat: FlatTarget, key: Array, options: SMCOptions) -> _Island:
    shape = (options.num_chains, options.n_particles)
    particles = flat.prior(key, shape[0] * shape[1]).reshape(*shape, flat.dimension)
    # without weak types, which would make the first stage another program than all others
    weights = jnp.full(shape, 1.0 / shape[1], particles.dtype)
    zero = jnp.zeros(shape[0], particles.dtype)
    return _Island(
        TemperedSMCState(particles, weights, zero),
        jnp.full(shape[0], _FIRST_STEP_SIZE, particles.dtype),
        zero,
        zero,
    )


def _advance(flat: FlatTarget, options: SMCOptions, islands: _Island, key: Array) -> _Island:
    shape = (flat.target.model, flat.layout, options.target_ess, options.n_moves)
    keys = jax.random.split(key, options.num_chains)
    return _stage(*shape, islands, keys, jnp.asarray(options.n_leapfrog), *flat.arguments)


def _result(
    flat: FlatTarget, islands: _Island, options: SMCOptions, n_stages: int, seconds: float
) -> InferenceResult:
    shape = (options.num_chains, options.n_particles)
    x = islands.state.particles.reshape(-1, flat.dimension)
    values = flat.values(x)
    log_evidence, error = _mean_evidence(np.asarray(islands.log_evidence, dtype=float))
    per_stage = shape[0] * shape[1] * (options.n_moves * options.n_leapfrog + 1)
    return InferenceResult(
        method="smc",
        samples={n: np.asarray(v).reshape(*shape, *v.shape[1:]) for n, v in values.items()},
        sample_stats={"lp": np.asarray(flat.log_density(x)).reshape(shape)},
        settings=asdict(options),
        wall_time_s=seconds,
        diagnostics={
            "log_evidence": log_evidence,
            "log_evidence_error": error,
            "n_evaluations": float(n_stages * per_stage),
            "n_stages": float(n_stages),
            "acceptance_rate": float(islands.acceptance.mean()),
        },
    )


def _mean_evidence(log_evidence: np.ndarray) -> tuple[float, float]:
    """Logarithm of the mean evidence of the islands, and its error: NaN for a single island."""
    n, peak = log_evidence.size, log_evidence.max()
    evidence = np.exp(log_evidence - peak)
    mean = evidence.mean()
    error = np.std(evidence, ddof=1) / np.sqrt(n) / mean if n > 1 else np.nan
    return float(peak + np.log(mean)), float(error)
