"""When a set of chains may be called converged."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tengri_ppl._arviz import load_arviz

__all__ = ["MAX_RHAT", "MIN_ESS", "chains_converged", "rank_rhat", "worst_rhat_and_ess"]

#: Limits of Vehtari et al. (2021, Bayesian Analysis 16, 667): rank-normalised split R-hat, and
#: bulk effective sample size for four chains.
MAX_RHAT = 1.01
MIN_ESS = 400.0
#: Chains stop this share inside the limits: what follows from their draws is judged by them, too.
_MARGIN = 0.2


def rank_rhat(draws: np.ndarray) -> float:
    """Rank-normalised split R-hat of one scalar, NaN for chains that don't move.

    Parameters
    ----------
    draws : ndarray, shape (chain, draw)
        A single chain is cut in halves first, because ArviZ refuses it.
    """
    n = draws.shape[1]
    if len(draws) == 1:
        draws = draws[:, : n - n % 2].reshape(2, n // 2)
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(load_arviz().rhat(draws, method="rank"))


def worst_rhat_and_ess(draws: Mapping[str, np.ndarray]) -> tuple[float, float]:
    """Return the largest R-hat and the smallest bulk ESS over all scalar components.

    Parameters
    ----------
    draws : mapping of str to ndarray, shape (chain, draw, ...)
        At least four draws per chain.
    """
    columns = [
        column
        for value in draws.values()
        for column in np.moveaxis(value.reshape(*value.shape[:2], -1), 2, 0)
    ]
    ess = [float(load_arviz().ess(column, method="bulk")) for column in columns]
    return float(np.max([rank_rhat(column) for column in columns])), float(np.min(ess))


def chains_converged(draws: Mapping[str, np.ndarray]) -> bool:
    """Whether every component is inside :data:`MAX_RHAT` and :data:`MIN_ESS`, by a margin.

    A constant component gives NaN and counts as not converged.
    """
    rhat, ess = worst_rhat_and_ess(draws)
    return rhat - 1.0 < (1.0 - _MARGIN) * (MAX_RHAT - 1.0) and ess * (1.0 - _MARGIN) >= MIN_ESS
