"""Weighted draws of several proposals, and what their weights say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jax import Array
from jax.typing import ArrayLike

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
    """All batches so far, weighted by the mixture of all proposals.

    Parameters
    ----------
    n_learning : int
        Densities that have been evaluated before.
    log_density : callable
        (proposal, points (n, D)) -> log-density of the proposal there (n,).
    """

    def __init__(
        self, n_learning: int, log_density: Callable[[Any, Array], Array] = mixture_density
    ) -> None:
        self._n_learning = n_learning
        self._at = log_density
        self._proposals: list[Any] = []
        self._x: list[Array] = []
        self._density: list[np.ndarray] = []
        #: log-density of proposal i at batch j
        self._log_q: list[list[np.ndarray]] = []

    def add(
        self, proposal: Any, x: Array, log_density: ArrayLike, log_q: Array | None = None
    ) -> None:
        """Add a batch, drawn from a new proposal, whose log-density there may be known already."""
        for earlier, row in zip(self._proposals, self._log_q, strict=True):
            row.append(np.asarray(self._at(earlier, x), dtype=float))
        everywhere = [np.asarray(self._at(proposal, y), dtype=float) for y in self._x]
        own = self._at(proposal, x) if log_q is None else log_q
        self._log_q.append([*everywhere, np.asarray(own, dtype=float)])
        self._x.append(x)
        self._proposals.append(proposal)
        self._density.append(np.asarray(log_density, dtype=float))

    @property
    def x(self) -> np.ndarray:
        """All points, (n, D)."""
        return np.concatenate([np.asarray(x) for x in self._x])

    @property
    def log_density(self) -> np.ndarray:
        """Log-posterior at all points, (n,)."""
        return np.concatenate(self._density)

    @property
    def log_densities(self) -> np.ndarray:
        """Log-densities of all proposals at all points, (proposal, n)."""
        return np.stack([np.concatenate(row) for row in self._log_q])

    @property
    def log_mixture(self) -> np.ndarray:
        """Log-density of the mixture of all proposals at all points, (n,)."""
        rows = self.log_densities
        return np.logaddexp.reduce(rows, axis=0) - np.log(len(rows))

    @property
    def log_weight(self) -> np.ndarray:
        """Deterministic mixture weights of all points, (n,)."""
        return self.log_density - self.log_mixture

    def weighted(self) -> WeightedDraws:
        """Smooth the weights and sum them up."""
        raw = self.log_weight
        smoothed, k = smooth_weights(raw)
        log_evidence, error = estimate_evidence(raw, smoothed)
        return WeightedDraws(
            x=self.x,
            log_weight=smoothed,
            log_density=self.log_density,
            pareto_k=k,
            ess=effective_draws(smoothed),
            log_evidence=log_evidence,
            log_evidence_error=error,
            n_evaluations=self._n_learning + raw.size,
            proposal=self._proposals[-1],
        )
