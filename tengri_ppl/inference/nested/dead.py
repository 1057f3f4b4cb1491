r"""Evidence and weights from dead points, in double precision.

With :math:`n_i` points alive when the i-th dies, the prior volume shrinks by a factor
:math:`t_i \sim \mathrm{Beta}(n_i, 1)` (Skilling 2006, Bayesian Analysis 1, 833). The number alive
follows from the likelihoods at which points were born and died, also for points that are deleted
together and on plateaus (Fowlie, Handley & Su 2021, MNRAS 503, 1199).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats  # type: ignore[import-untyped]

__all__ = ["Evidence", "insertion_p_value", "live_counts", "weigh"]

_N_SHRINKAGES = 200


@dataclass(frozen=True)
class Evidence:
    """What the dead points, sorted by likelihood, say.

    Attributes
    ----------
    log_evidence, log_evidence_error : float
        Natural logarithm of the evidence, and its scatter over simulated shrinkages of the volume.
    information : float
        Kullback-Leibler divergence of the posterior from the prior [nat].
    log_weight : ndarray, shape (n,)
        Posterior weights, normalised to a sum of one.
    """

    log_evidence: float
    log_evidence_error: float
    information: float
    log_weight: np.ndarray


def live_counts(birth: np.ndarray, death: np.ndarray) -> np.ndarray:
    """Count the points alive just before each dies.

    Parameters
    ----------
    birth, death : ndarray, shape (n,)
        Log-likelihoods of the contour inside which a point was drawn, NaN for draws of the prior,
        and of the point itself, which increases. Points that never died are the last.

    Returns
    -------
    ndarray of int, shape (n,)
    """
    from_prior = np.isnan(birth)
    born = np.searchsorted(np.sort(birth[~from_prior]), death, side="left")
    return np.asarray(from_prior.sum() + born - np.arange(len(death)))


def weigh(birth: np.ndarray, death: np.ndarray, rng: np.random.Generator) -> Evidence:
    """Integrate the likelihood over the prior volume.

    Parameters
    ----------
    birth, death : ndarray, shape (n,)
        As for :func:`live_counts`.
    rng : numpy.random.Generator
        For the shrinkages that are simulated.
    """
    n = live_counts(birth, death)
    log_product = death + _log_volumes(-1.0 / n)
    log_evidence = np.logaddexp.reduce(log_product)
    log_weight = log_product - log_evidence
    weight, inside = np.exp(log_weight), np.isfinite(death)
    simulated = [
        np.logaddexp.reduce(death + _log_volumes(np.log(rng.uniform(size=len(n))) / n))
        for _ in range(_N_SHRINKAGES)
    ]
    return Evidence(
        float(log_evidence),
        float(np.std(simulated, ddof=1)),
        float(np.sum(weight[inside] * death[inside]) - log_evidence),
        log_weight,
    )


def _log_volumes(log_shrinkage: np.ndarray) -> np.ndarray:
    """Logarithm of the volume between each contour and the one before; the last holds the rest."""
    log_x = np.cumsum(log_shrinkage)
    before = np.concatenate([[0.0], log_x[:-1]])
    log_shell = before + np.log(-np.expm1(log_shrinkage))
    log_shell[-1] = before[-1]
    return np.asarray(log_shell)


def insertion_p_value(insertion: np.ndarray) -> float:
    """Probability that insertion ranks of independent draws deviate as much from uniform ones.

    Kolmogorov-Smirnov test of Fowlie, Handley & Su (2020, MNRAS 497, 5256).
    """
    if insertion.size == 0:
        return 1.0
    return float(stats.kstest(insertion, "uniform").pvalue)
