"""Did the chains converge? One verdict, with the reason and what to do next."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tengri_ppl.inference.approximation import MAX_DIVERGENCE
from tengri_ppl.inference.convergence import MAX_RHAT, MIN_ESS
from tengri_ppl.inference.geometric import MAX_UNSOLVED
from tengri_ppl.inference.modes import MAX_DECREMENT
from tengri_ppl.inference.pareto import MAX_PARETO_K
from tengri_ppl.results.statistics import (
    effective_sample_sizes,
    free_draws,
    independent_draws,
    rhats,
)

__all__ = ["Convergence", "convergence"]

#: A chain of which a larger share of draws repeats the one before is frozen.
_FROZEN_SHARE = 0.95
#: Above this R-hat the chains are in different places, and more draws of them don't help.
_APART = 1.1
#: Nested sampling: smallest p-value of the insertion ranks, largest share of slices in which no
#: point was found, and coarsest rounding of log-likelihoods.
_MIN_INSERTION_P, _MAX_STUCK, _MAX_ROUNDING = 1e-3, 0.05, 0.01
#: A single mode may stand for the posterior if it holds at least this share of the probability.
_MIN_MODE_SHARE = 0.95


@dataclass(frozen=True)
class Convergence:
    """Convergence of the free parameters of a posterior.

    Attributes
    ----------
    converged : bool
        Whether all limits are kept.
    max_rhat : float
        Largest rank-normalised split R-hat.
    min_ess_bulk, min_ess_tail : float
        Smallest effective sample sizes of the bulk and of the 5 and 95 % quantiles.
    divergences : float
        Share of divergent draws; 0 for engines that have none.
    worst_rhat, worst_ess : str
        Names of the parameters with the largest R-hat and the smallest bulk effective sample size.
    frozen_chains : tuple of int
        Chains that hardly move.
    message : str
        The verdict in one line, with what to do next.
    """

    converged: bool
    max_rhat: float
    min_ess_bulk: float
    min_ess_tail: float
    divergences: float
    worst_rhat: str
    worst_ess: str
    frozen_chains: tuple[int, ...]
    message: str

    def __bool__(self) -> bool:
        """Return ``converged``."""
        return self.converged

    def __str__(self) -> str:
        """Return ``message``."""
        return self.message


def convergence(
    inference_data: Any,
    *,
    max_rhat: float = MAX_RHAT,
    min_ess: float = MIN_ESS,
    max_divergences: float = 0.01,
) -> Convergence:
    """Judge the chains by the criteria of Vehtari et al. (2021, Bayesian Analysis 16, 667).

    Parameters
    ----------
    inference_data : arviz.InferenceData
        With a group ``posterior`` and, where the engine has it, ``sample_stats.diverging``.
    max_rhat : float
        Largest rank-normalised split R-hat that is accepted.
    min_ess : float
        Smallest bulk effective sample size that is accepted; that of the tails is reported only.
    max_divergences : float
        Largest share of divergent draws that is accepted.

    Returns
    -------
    Convergence
        A single chain is cut into two for R-hat. NaN, from chains that do not move, fails. Draws
        that stand for weighted ones are judged by their number and by the tail of the weights
        (k-hat below 0.7: Vehtari et al. 2024, JMLR 25, 72), those of nested sampling by whether
        new points were independent draws (insertion ranks: Fowlie, Handley & Su 2020, MNRAS 497,
        5256). For an approximation the verdict says whether it is close to the posterior, for a
        point whether it is a mode.
    """
    if "insertion_p_value" in inference_data.attrs:
        return _nested_verdict(inference_data, min_ess)
    if "pareto_k" in inference_data.attrs:
        return _weighted_verdict(inference_data, min_ess)
    if inference_data.attrs.get("method") == "map":
        return _mode_verdict(inference_data)
    if "approximation_k" in inference_data.attrs:
        return _approximate_verdict(inference_data)
    draws = free_draws(inference_data)
    scores = _Scores(
        rhat=_Worst(rhats(inference_data), largest=True),
        bulk=_Worst(effective_sample_sizes(inference_data, "bulk")),
        tail=_Worst(effective_sample_sizes(inference_data, "tail")),
        divergences=_divergent_share(inference_data),
        frozen=_frozen_chains(draws),
        n_draws=next(iter(draws.values())).shape[1],
    )
    problems = _problems(scores, max_rhat, min_ess, max_divergences)
    return Convergence(
        converged=not problems,
        max_rhat=scores.rhat.value,
        min_ess_bulk=scores.bulk.value,
        min_ess_tail=scores.tail.value,
        divergences=scores.divergences,
        worst_rhat=scores.rhat.name,
        worst_ess=scores.bulk.name,
        frozen_chains=scores.frozen,
        message=_message(problems, scores, min_ess, max_divergences),
    )


def _weighted_verdict(inference_data: Any, min_ess: float) -> Convergence:
    """Judge importance sampling by its effective number of draws and the tail of its weights."""
    k, n = float(inference_data.attrs["pareto_k"]), independent_draws(inference_data)
    problems = _unseen(inference_data.attrs)
    if not k < MAX_PARETO_K:
        problems.append(f"k-hat of the weights is {k:.2f} (limit {MAX_PARETO_K:g})")
    if not n >= min_ess:
        problems.append(f"{n:.0f} effective draws ({min_ess:g} needed)")
    figures = f"k-hat {k:.2f}, {n:.0f} effective draws"
    more = (
        "raise max_rounds, or " if "max_rounds" in inference_data.attrs.get("settings", "") else ""
    )
    return _verdict(problems, n, figures, f"{more}use method='mcmc_nuts'")


def _nested_verdict(inference_data: Any, min_ess: float) -> Convergence:
    """Judge nested sampling by whether it ended, and by whether new points were independent."""
    attrs, n, problems, advice = inference_data.attrs, independent_draws(inference_data), [], []
    p, left, stuck, rounding = (
        float(attrs[name])
        for name in ("insertion_p_value", "unfinished", "stuck_share", "log_likelihood_rounding")
    )
    if left > 0.0:
        problems.append(f"stopped with {left:.0%} of the evidence in the live points")
        advice.append("raise max_evaluations or max_seconds")
    if p < _MIN_INSERTION_P or stuck > _MAX_STUCK:
        problems.append(
            f"new points are no independent draws (p = {p:.1g}, {stuck:.1%} of the slices empty)"
        )
        advice.append("double num_inner_steps")
    if rounding > _MAX_ROUNDING:
        problems.append(f"log-likelihoods are rounded to {rounding:.2g}")
        advice.append("use 64 bits (jax.config.update('jax_enable_x64', True))")
    if not n >= min_ess:
        problems.append(f"{n:.0f} effective draws ({min_ess:g} needed)")
        advice.append("raise num_live and n_samples")
    figures = (
        f"ln Z = {float(attrs['log_evidence']):.2f} +- {float(attrs['log_evidence_error']):.2f}, "
        f"{n:.0f} effective draws, insertion p {p:.2f}"
    )
    return _verdict(problems, n, figures, " and ".join(advice))


def _unseen(attrs: Mapping[str, Any]) -> list[str]:
    """Say so if an approximation may have left out too much of the posterior."""
    problems, limit = [], f"(limit {MAX_UNSOLVED:.0%})"
    unsolved, unseen = (float(attrs.get(f"{name}_share", 0.0)) for name in ("unsolved", "unseen"))
    if unsolved > MAX_UNSOLVED:
        problems.append(f"{unsolved:.0%} of the draws have no solution {limit}")
    if unseen > MAX_UNSOLVED:
        problems.append(f"{unseen:.0%} of the posterior may be out of reach of all means {limit}")
    return problems


def _approximate_verdict(inference_data: Any) -> Convergence:
    """Judge an approximation by the importance weights of its draws, and by modes it left out."""
    attrs, problems = inference_data.attrs, _unseen(inference_data.attrs)
    k, share = float(attrs["approximation_k"]), float(attrs.get("mode_share", 1.0))
    if math.isnan(k):
        problems.append("nothing tells how far the draws are from the posterior")
    elif not k < MAX_PARETO_K:
        problems.append(f"k-hat of the approximation is {k:.2f} (limit {MAX_PARETO_K:g})")
    divergence = float(attrs.get("kl_divergence", 0.0))
    if k < MAX_PARETO_K and not divergence < MAX_DIVERGENCE:
        problems.append(
            f"divergence of the approximation is {divergence:.2f} (limit {MAX_DIVERGENCE:g})"
        )
    if share < _MIN_MODE_SHARE:
        problems.append(f"other modes hold {1.0 - share:.0%} of the probability")
    n = independent_draws(inference_data)
    figures = f"k-hat of the approximation {k:.2f}, {n:.0f} independent draws of it"
    return _verdict(problems, n, figures, "use method='auto' or 'mcmc_nuts'")


def _mode_verdict(inference_data: Any) -> Convergence:
    """Judge a point by its distance from the mode."""
    decrement = float(inference_data.attrs["newton_decrement"])
    figures = f"a Newton step from the point is {decrement:.2g} posterior widths long"
    problems = [] if decrement < MAX_DECREMENT else [f"{figures} (limit {MAX_DECREMENT:g})"]
    return _verdict(problems, 1.0, figures, "raise max_steps or n_modes, or use 64 bits")


def _verdict(problems: list[str], n: float, figures: str, advice: str) -> Convergence:
    """Return the verdict on draws that form no chains."""
    return Convergence(
        converged=not problems,
        max_rhat=math.nan,
        min_ess_bulk=n,
        min_ess_tail=math.nan,
        divergences=0.0,
        worst_rhat="",
        worst_ess="",
        frozen_chains=(),
        message=f"not converged: {', '.join(problems)}; {advice}"
        if problems
        else f"converged: {figures}",
    )


# -- scores ----------------------------------------------------------------------------------------


class _Worst:
    """The worst of one statistic over the parameters; NaN is worse than anything."""

    def __init__(self, values: dict[str, float], largest: bool = False) -> None:
        sign = 1.0 if largest else -1.0
        self.name = max(
            values, key=lambda n: math.inf if math.isnan(values[n]) else sign * values[n]
        )
        self.value = values[self.name]


@dataclass(frozen=True)
class _Scores:
    rhat: _Worst
    bulk: _Worst
    tail: _Worst
    divergences: float
    frozen: tuple[int, ...]
    n_draws: int


def _divergent_share(inference_data: Any) -> float:
    stats = getattr(inference_data, "sample_stats", None)
    if stats is None or "diverging" not in stats:
        return 0.0
    return float(np.mean(stats["diverging"].values))


def _frozen_chains(draws: dict[str, np.ndarray]) -> tuple[int, ...]:
    """Chains in which nearly every draw repeats the one before in every parameter."""
    moves = np.any([np.diff(x, axis=1) != 0.0 for x in draws.values()], axis=0)
    if moves.shape[1] == 0:
        return ()
    return tuple(int(i) for i in np.flatnonzero(moves.mean(axis=1) < 1.0 - _FROZEN_SHARE))


# -- words -----------------------------------------------------------------------------------------


def _problems(
    scores: _Scores, max_rhat: float, min_ess: float, max_divergences: float
) -> list[str]:
    """Say which limits are broken."""
    rhat, problems = scores.rhat, []
    if scores.frozen:
        word = "chain" if len(scores.frozen) == 1 else "chains"
        problems.append(f"{word} {', '.join(map(str, scores.frozen))} did not move")
    if not rhat.value <= max_rhat:
        problems.append(f"R-hat of {rhat.name} is {rhat.value:.3f} (limit {max_rhat:g})")
    ess = scores.bulk
    if not ess.value >= min_ess:
        problems.append(f"ess_bulk of {ess.name} is {ess.value:.0f} ({min_ess:g} needed)")
    if not scores.divergences <= max_divergences:
        problems.append(
            f"{scores.divergences:.1%} of the draws diverged (limit {max_divergences:.1%})"
        )
    return problems


def _message(problems: list[str], scores: _Scores, min_ess: float, max_divergences: float) -> str:
    rhat, ess = scores.rhat, scores.bulk
    if not problems:
        return (
            f"converged: largest R-hat {rhat.value:.3f} ({rhat.name}), "
            f"smallest ess_bulk {ess.value:.0f} ({ess.name})"
        )
    advice = []
    if scores.frozen or math.isnan(rhat.value):
        advice.append("start again with another seed and a longer warm-up")
    elif rhat.value > _APART:
        advice.append(
            "double n_warmup; if the chains still disagree the posterior has several modes"
        )
    elif len(problems) > 1 or scores.divergences <= max_divergences:
        advice.append(f"run longer (n_samples={_enough_draws(scores.n_draws, ess.value, min_ess)})")
    if scores.divergences > max_divergences:
        advice.append("raise target_accept_rate to 0.99")
    return f"not converged: {', '.join(problems)}; {' and '.join(advice)}"


def _enough_draws(n_draws: int, ess: float, needed: float) -> int:
    """Draws per chain after which the effective sample size should do, in round numbers."""
    factor = min(max(1.5, 1.2 * needed / max(ess, 1.0)), 20.0)
    return int(math.ceil(n_draws * factor / 100.0) * 100)
