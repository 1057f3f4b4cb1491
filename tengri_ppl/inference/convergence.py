"""When a set of chains may be called converged."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tengri_ppl._arviz import load_arviz

__all__ = ["MAX_RHAT", "MIN_ESS", "chains_converged", "worst_rhat_and_ess"]

#: Limits of Vehtari et al. (2021, Bayesian Analysis 16, 667): rank-normalised split R-hat, and
#: bulk effective sample size for four chains.
MAX_RHAT = 1.01
MIN_ESS = 400.0


def worst_rhat_and_ess(draws: Mapping[str, np.ndarray]) -> tuple[float, float]:
    """Return the largest R-hat and the smallest bulk ESS over all scalar components.

    Parameters
    ----------
    draws : mapping of str to ndarray, shape (chain, draw, ...)
        At least four draws per chain. With one chain R-hat compares its halves.
    """
    az = load_arviz()
    rhat, ess = [], []
    with np.errstate(invalid="ignore"):  # constant components divide by zero
        for value in draws.values():
            columns = value.reshape(*value.shape[:2], -1)
            for i in range(columns.shape[2]):
                rhat.append(float(az.rhat(columns[:, :, i], method="rank")))
                ess.append(float(az.ess(columns[:, :, i], method="bulk")))
    return float(np.max(rhat)), float(np.min(ess))


def chains_converged(draws: Mapping[str, np.ndarray]) -> bool:
    """Whether every component is below :data:`MAX_RHAT` and above :data:`MIN_ESS`.

    A constant component gives NaN and counts as not converged.
    """
    rhat, ess = worst_rhat_and_ess(draws)
    return rhat < MAX_RHAT and ess >= MIN_ESS
