"""Weighted draws of several proposals, and what their weights say."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jax import Array

from tengri_ppl.inference.mixture import StudentTMixture
from tengri_ppl.inference.pareto import (
    MAX_PARETO_K,
    effective_draws,
    estimate_evidence,
    resample,
    smooth_weights,
)
from tengri_ppl.runtime.compiled import Compiled

__all__ = ["Record", "WeightedDraws", "mixture_density"]

#: Log-density of a mixture at points (n, D), (n,).
mixture_density = Compiled(StudentTMixture.log_density)


@dataclass(frozen=True)
class WeightedDraws:
    """Weighted draws of an adapted proposal.

    Attributes
    ----------
    x : ndarray, shape (n, D)
        Points in unconstrained coordinates.
    log_weight : ndarray, shape (n,)
        Smoothed, normalised to a sum of one.
    log_density : ndarray, shape (n,)
        Log-posterior up to a constant.
    pareto_k, ess : float
        Shape of the tail of the weights, and effective number of draws.
    log_evidence, log_evidence_error : float
        Natural logarithm of the evidence, and its standard error.
    n_evaluations : int
        Densities evaluated.
    proposal : StudentTMixture
        The last proposal.
    """

    x: np.ndarray
    log_weight: np.ndarray
    log_density: np.ndarray
    pareto_k: float
    ess: float
    log_evidence: float
    log_evidence_error: float
    n_evaluations: int
    proposal: StudentTMixture

    def good(self, min_ess: float) -> bool:
        """Tell whether the draws may stand for the posterior."""
        return self.ess >= min_ess and self.pareto_k < MAX_PARETO_K

    def resample(self, key: Array, n: int) -> np.ndarray:
        """Return the indices of ``n`` equally weighted draws, in random order."""
        return resample(key, self.log_weight, n)


class Record:
    """All batches so far, weighted by the mixture of all proposals."""

    def __init__(self, n_learning: int) -> None:
        self._n_learning = n_learning
        self._proposals: list[StudentTMixture] = []
        self._x: list[Array] = []
        self._density: list[np.ndarray] = []
        #: log-density of proposal i at batch j
        self._log_q: list[list[np.ndarray]] = []

    def add(self, proposal: StudentTMixture, x: Array, log_density: Array) -> None:
        """Add a batch, drawn from a new proposal."""
        for earlier, row in zip(self._proposals, self._log_q, strict=True):
            row.append(np.asarray(mixture_density(earlier, x), dtype=float))
        self._x.append(x)
        self._proposals.append(proposal)
        self._density.append(np.asarray(log_density, dtype=float))
        everywhere = [np.asarray(mixture_density(proposal, y), dtype=float) for y in self._x]
        self._log_q.append(everywhere)

    @property
    def log_density(self) -> np.ndarray:
        """Log-posterior at all points, (n,)."""
        return np.concatenate(self._density)

    @property
    def log_weight(self) -> np.ndarray:
        """Deterministic mixture weights of all points, (n,)."""
        rows = np.stack([np.concatenate(row) for row in self._log_q])
        return self.log_density - (np.logaddexp.reduce(rows, axis=0) - np.log(len(rows)))

    def weighted(self) -> WeightedDraws:
        """Smooth the weights and sum them up."""
        raw = self.log_weight
        smoothed, k = smooth_weights(raw)
        log_evidence, error = estimate_evidence(raw, smoothed)
        return WeightedDraws(
            x=np.concatenate([np.asarray(x) for x in self._x]),
            log_weight=smoothed,
            log_density=self.log_density,
            pareto_k=k,
            ess=effective_draws(smoothed),
            log_evidence=log_evidence,
            log_evidence_error=error,
            n_evaluations=self._n_learning + raw.size,
            proposal=self._proposals[-1],
        )
