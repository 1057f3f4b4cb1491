"""Compare an engine's result with what is known of a posterior."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import arviz as az
import numpy as np
from problems import Problem

from tengri_ppl.inference.approximation import MAX_DIVERGENCE
from tengri_ppl.inference.convergence import MAX_RHAT, worst_rhat_and_ess
from tengri_ppl.inference.pareto import MAX_PARETO_K
from tengri_ppl.inference.result import InferenceResult

#: Exact engines: standard errors for a mean; and the share of a standard deviation by which it may
#: be off, beside as many standard errors of its own.
MAX_Z = 4.0
MAX_SD_ERROR = 0.05
#: Approximate engines, unless they say that they are off: shift of a mean in posterior widths, and
#: error of a width. The limit of their divergence allows shifts of 0.32 and errors of 0.22.
MAX_SHIFT, MAX_WIDTH_ERROR = 0.32, 0.25


class Deviation(NamedTuple):
    """Distance of one component's moments from the reference, and their standard errors [sd]."""

    name: str
    mean: float
    mean_error: float
    sd: float
    sd_error: float


def deviations(result: InferenceResult, problem: Problem) -> Iterator[Deviation]:
    """Yield the deviations of all components that are known."""
    for site, reference in problem.mean.items():
        draws = result.samples[site]
        draws = draws.reshape(*draws.shape[:2], -1)
        means, sds = np.ravel(reference), np.ravel(problem.sd[site])
        for i, (mean, sd) in enumerate(zip(means, sds, strict=True)):
            x = np.asarray(draws[..., i], dtype=float)
            mean_error, sd_error = monte_carlo_errors(x, result)
            yield Deviation(
                f"{site}[{i}]",
                (x.mean() - mean) / sd,
                np.hypot(mean_error / sd, problem.n_reference**-0.5),
                x.std() / sd - 1.0,
                np.hypot(sd_error / sd, (2.0 * problem.n_reference) ** -0.5),
            )


def monte_carlo_errors(x: np.ndarray, result: InferenceResult) -> tuple[float, float]:
    """Standard errors of mean and standard deviation of draws x (chain, draw).

    Draws that were resampled from weighted ones have the errors of both steps.
    """
    if np.ptp(x) == 0.0:  # draws that are all the same have no error, and are wrong
        return 0.0, 0.0
    mean_error, sd_error = float(az.mcse(x)), float(az.mcse(x, method="sd"))
    inflation = np.sqrt(1.0 + x.size / result.diagnostics.get("n_effective", np.inf))
    return mean_error * inflation, sd_error * inflation


def check_exact(
    result: InferenceResult, problem: Problem, measured: Callable[..., None], label: str
) -> None:
    """Means within 4 standard errors, standard deviations within 5 % beside theirs."""
    found = list(deviations(result, problem))
    measured(f"{label}: means [standard errors]", [d.mean / d.mean_error for d in found])
    measured(f"{label}: standard deviations [relative]", [d.sd for d in found])
    for d in found:
        assert abs(d.mean) < MAX_Z * d.mean_error, d
        assert abs(d.sd) < MAX_SD_ERROR + MAX_Z * d.sd_error, d
        # or the test would say nothing
        assert d.mean_error < 0.15 and d.sd_error < 0.15, d


def check_evidence(result: InferenceResult, problem: Problem) -> None:
    """Evidence, where the engine gives one and trusts it."""
    error = result.diagnostics.get("log_evidence_error", np.inf)
    if problem.log_evidence is not None and np.isfinite(error):
        difference = result.diagnostics["log_evidence"] - problem.log_evidence
        assert abs(difference) < 4.0 * error + 0.05, (difference, error)


def says_that_it_is_off(result: InferenceResult, exact: bool) -> bool:
    """Whether the result's own diagnostics warn of it, by the limits of the verdict."""
    diagnostics = result.diagnostics
    if "pareto_k" in diagnostics:
        return not diagnostics["pareto_k"] < MAX_PARETO_K
    if exact:
        return not worst_rhat_and_ess(result.samples)[0] < MAX_RHAT
    return not (
        diagnostics["approximation_k"] < MAX_PARETO_K
        and diagnostics["kl_divergence"] < MAX_DIVERGENCE
        and diagnostics.get("mode_share", 1.0) > 0.95
    )


def worst(result: InferenceResult, problem: Problem) -> tuple[float, float]:
    """Largest shift of a mean, and largest error of a width, beyond Monte-Carlo errors."""
    found = list(deviations(result, problem))
    shift = max(abs(d.mean) - MAX_Z * d.mean_error for d in found)
    return shift, max(abs(d.sd) - MAX_Z * d.sd_error for d in found)
