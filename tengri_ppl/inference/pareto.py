"""Pareto smoothed importance sampling."""

from __future__ import annotations

import jax
import numpy as np
from jax import Array

from tengri_ppl._arviz import load_arviz

__all__ = ["MAX_PARETO_K", "effective_draws", "estimate_evidence", "resample", "smooth_weights"]

#: Above this shape of the tail, importance sampling can't be trusted (Vehtari et al. 2024).
MAX_PARETO_K = 0.7
_FEWEST = 25
#: Largest weight over the mean one, below which weights count as equal.
_EQUAL = 1.01


def smooth_weights(log_weight: np.ndarray, from_prior: bool = False) -> tuple[np.ndarray, float]:
    """Smooth the largest weights by a generalised Pareto fit.

    Parameters
    ----------
    log_weight : ndarray, shape (n,)
        Natural logarithm of the weights, in any normalisation; -inf for points without density.
    from_prior : bool
        Whether the proposal is so wide that most weights are next to nothing, so that they can't
        say what a large one is: the tail is that of the effective draws then, not of all.

    Returns
    -------
    log_weight : ndarray, shape (n,)
        Smoothed and normalised to a sum of one.
    k : float
        Shape of the tail, k-hat; infinite where too few points have a density to tell, zero where
        the largest weight exceeds their mean by a per cent at most, which may be rounding.
    """
    finite = np.isfinite(log_weight)
    if finite.sum() < _FEWEST:
        uniform = np.where(finite if finite.any() else True, 0.0, -np.inf)
        return uniform - np.log(np.sum(np.exp(uniform))), np.inf
    with np.errstate(over="ignore"):  # quantiles of a hopeless tail; the weights are capped
        used = np.asarray(log_weight[finite], dtype=float)
        normalised = used - np.logaddexp.reduce(used)
        if np.max(normalised) < np.log(_EQUAL / len(used)):
            smoothed, k = normalised, 0.0
        else:
            reff = len(used) / effective_draws(normalised) if from_prior else 1.0
            smoothed, k = load_arviz().psislw(used, reff)
    out = np.full(log_weight.shape, -np.inf)
    out[finite] = smoothed
    return out, float(k)


def effective_draws(log_weight: np.ndarray) -> float:
    """Kish's effective number of draws, (sum w)^2 / sum w^2, of normalised weights."""
    return float(1.0 / np.sum(np.exp(2.0 * log_weight)))


def estimate_evidence(log_weight: np.ndarray, smoothed: np.ndarray) -> tuple[float, float]:
    """Natural logarithm of the mean weight, and its standard error.

    Parameters
    ----------
    log_weight : ndarray, shape (n,)
        Log-posterior minus log-proposal, as they are.
    smoothed : ndarray, shape (n,)
        The same from :func:`smooth_weights`, from which the error follows.
    """
    n, peak = len(log_weight), np.max(log_weight, initial=np.finfo(float).min)
    log_evidence = peak + np.log(np.mean(np.exp(log_weight - peak)))
    return float(log_evidence), float(np.std(n * np.exp(smoothed)) / np.sqrt(n))


def resample(key: Array, log_weight: np.ndarray, n: int) -> np.ndarray:
    """Return indices of ``n`` equally weighted draws in random order (systematic resampling)."""
    key_offset, key_order = jax.random.split(key)
    turns = (np.arange(n) + float(jax.random.uniform(key_offset))) / n
    index = np.searchsorted(np.cumsum(np.exp(log_weight)), turns)
    order = np.asarray(jax.random.permutation(key_order, n))
    return np.minimum(index, len(log_weight) - 1)[order]
