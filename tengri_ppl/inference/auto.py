"""The default engine: the fastest that proves itself, else the safest."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from typing import Any

import jax
from jax import Array

from tengri_ppl.errors import ParameterError
from tengri_ppl.inference.flat import FlatTarget
from tengri_ppl.inference.geometric import MAX_UNSOLVED, GeometricOptions, run_geovi
from tengri_ppl.inference.importance import ImportanceOptions, adapt_from_modes, as_result
from tengri_ppl.inference.leaps import Leaps
from tengri_ppl.inference.nuts import NUTSOptions, run_nuts
from tengri_ppl.inference.pareto import MAX_PARETO_K
from tengri_ppl.inference.result import InferenceResult
from tengri_ppl.inference.start import Start
from tengri_ppl.inference.target import Target
from tengri_ppl.inference.weighted import WeightedDraws

__all__ = ["AutoOptions", "run_auto"]

#: Draws of the proposal that a chain may leap to.
_N_LEAPS = 32
#: Adaptation steps that begin with a good mass matrix.
_N_WARMUP = 200


@dataclass(frozen=True)
class AutoOptions:
    """Options of :func:`run_auto`.

    Attributes
    ----------
    n_samples : int
        Equally weighted draws to return, if importance sampling serves.
    min_ess : float
        Effective number of draws to aim at.
    max_dimension : int
        Importance sampling is tried for up to so many coordinates.
    min_geovi_dimension, max_geovi_dimension : int
        Reweighted geoVI is tried for so many coordinates, if the model is one for it.
    max_rounds : int
        Rounds of importance sampling at most.
    num_chains : int
        Chains of NUTS, if it has to be.
    n_warmup : int, optional
        Adaptation steps per chain: 200 by default where importance sampling has found a mass
        matrix and start points, else as many as NUTS has by default.
    """

    n_samples: int = 4000
    min_ess: float = 1000.0
    max_dimension: int = 20
    min_geovi_dimension: int = 51
    max_geovi_dimension: int = 300
    max_rounds: int = 8
    num_chains: int = 4
    n_warmup: int | None = None


def run_auto(
    target: Target,
    key: Array,
    options: AutoOptions | None = None,
    *,
    start: Start | None = None,
    progress: Any = None,
) -> InferenceResult:
    """Sample a target by weighted draws if their diagnostics are good, else by NUTS.

    The modes and their curvature make the first proposal. If the weights of adaptive importance
    sampling keep a k-hat below 0.7 and reach ``min_ess``, its draws are the result, with the
    evidence. Otherwise NUTS goes on: its chains start from dispersed draws of the proposal, with
    its covariance for a mass matrix, and may leap to draws of it; or, where importance sampling
    has learnt nothing, they start from the priors. For many coordinates geoVI, reweighted, takes
    the place of importance sampling, and for those in between there is only NUTS. What was tried is
    in the result's notes.

    Parameters
    ----------
    target : Target
        Posterior to sample.
    key : Array
        Random key.
    options : AutoOptions, optional
        Defaults are documented there.
    start : Start, optional
        Search for modes around this approximation; else from dispersed points.
    progress : callable, optional
        Passed on to the engines.
    """
    begin = time.perf_counter()
    options = options or AutoOptions()
    flat = FlatTarget(target)
    key_init, key_run, key_draw, key_nuts = jax.random.split(key, 4)
    draws, note = None, f"{flat.dimension} coordinates are too many for importance sampling"
    if options.min_geovi_dimension <= flat.dimension <= options.max_geovi_dimension:
        result, note = _try_geovi(target, key_run, options, start, progress)
        if result is not None:
            return _finished(result, options, note, begin)
    elif flat.dimension <= options.max_dimension:
        settings = ImportanceOptions(
            n_samples=options.n_samples, min_ess=options.min_ess, max_rounds=options.max_rounds
        )
        draws = adapt_from_modes(flat, key_init, key_run, settings, start, progress)
        note = f"importance sampling: k-hat {draws.pareto_k:.2f}, {draws.ess:.0f} effective draws"
        if draws.good(options.min_ess):
            result = as_result(flat, draws, key_draw, settings, 0.0)
            return _finished(result, options, note, begin)
    result = _sample_chains(target, draws, key_nuts, options, start, progress)
    return _finished(result, options, f"{note}; went on to mcmc_nuts", begin)


def _try_geovi(
    target: Target, key: Array, options: AutoOptions, start: Start | None, progress: Any
) -> tuple[InferenceResult | None, str]:
    """Return the reweighted draws of geoVI if they are good, and what is to be said of it."""
    settings = GeometricOptions(n_samples=options.n_samples, reweight=True)
    try:
        result = run_geovi(target, key, settings, start=start, progress=progress)
    except ParameterError as error:
        return None, f"geovi: {error}"
    found = result.diagnostics
    k, ess, unsolved = (found[n] for n in ("pareto_k", "n_effective", "unsolved_share"))
    note = f"geovi: k-hat {k:.2f}, {ess:.0f} effective draws, {unsolved:.1%} without a solution"
    good = k < MAX_PARETO_K and ess >= options.min_ess and unsolved <= MAX_UNSOLVED
    return result if good else None, note


def _finished(
    result: InferenceResult, options: AutoOptions, note: str, begin: float
) -> InferenceResult:
    """Put name, options and history of the run on the result."""
    return replace(
        result,
        method=f"auto ({result.method})",
        settings=asdict(options),
        notes=(note, *result.notes),
        wall_time_s=time.perf_counter() - begin,
    )


def _sample_chains(
    target: Target,
    draws: WeightedDraws | None,
    key: Array,
    options: AutoOptions,
    start: Start | None,
    progress: Any,
) -> InferenceResult:
    """Run NUTS, from what importance sampling has learnt where it has learnt something."""
    settings = NUTSOptions(num_chains=options.num_chains)
    if draws is not None and Leaps(_N_LEAPS, draws).useful:
        settings = replace(settings, n_warmup=_N_WARMUP, n_leaps=_N_LEAPS)
    if options.n_warmup is not None:
        settings = replace(settings, n_warmup=options.n_warmup)
    return run_nuts(target, key, settings, start=start, progress=progress, learnt=draws)
