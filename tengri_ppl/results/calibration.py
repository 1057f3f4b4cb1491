r"""Simulation-based calibration: whether posteriors contain the truth as often as they say.

If a true value :math:`\theta` is drawn from the prior, data from the model, and L draws from the
posterior of these data, then the number of draws below :math:`\theta` is uniform on 0 ... L (Talts
et al. 2018, arXiv:1804.06788). Departures are judged by the distribution function of the ranks and
the band that contains all of it with a given probability (Sailynoja et al. 2022, Statistics and
Computing 32, 32). Ranks of a function of parameters and data, such as the log-likelihood, see what
ranks of parameters do not (Modrak et al. 2023, Bayesian Analysis 20, 461).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import numpy as np
from jax import Array

from tengri_ppl._arviz import load_arviz
from tengri_ppl.errors import DataError

__all__ = ["Calibration", "calibrate"]


@dataclass(frozen=True)
class Calibration:
    """Ranks of true values among draws of their posteriors.

    Attributes
    ----------
    ranks : dict of str to ndarray, shape (n_simulation,)
        Number of draws below the truth, 0 ... ``n_draws``, for every quantity.
    n_draws : int
        Draws per posterior.
    """

    ranks: dict[str, np.ndarray]
    n_draws: int

    def share(self, name: str) -> np.ndarray:
        """Ranks between 0 and 1, shape (n_simulation,)."""
        return (self.ranks[name] + 0.5) / (self.n_draws + 1)

    def ecdf(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Where the distribution function is evaluated, and it; shape (n_draws,) each."""
        at = np.arange(self.n_draws)
        share = np.searchsorted(np.sort(self.ranks[name]), at, side="right")
        return (at + 1) / (self.n_draws + 1), share / len(self.ranks[name])

    def band(self, prob: float = 0.99) -> tuple[np.ndarray, np.ndarray]:
        """Band that the distribution function of uniform ranks stays in with a probability."""
        return _band(len(next(iter(self.ranks.values()))), self.n_draws, prob)

    def uniform(self, name: str, prob: float = 0.99) -> bool:
        """Whether the distribution function stays in the band."""
        low, high = self.band(prob)
        _, found = self.ecdf(name)
        return bool(np.all((found >= low) & (found <= high)))

    def coverage(self, name: str, prob: float) -> float:
        """Share of truths inside the central interval of a probability."""
        return float(np.mean(np.abs(self.share(name) - 0.5) <= 0.5 * prob))

    def overconfidence(self, name: str) -> float:
        """Spread of the ranks over that of uniform ones: above 1 if posteriors are too narrow."""
        return float(np.sqrt(12.0 * np.mean((self.share(name) - 0.5) ** 2)))

    def summary(self, prob: float = 0.99) -> str:
        """Return a table with a line per quantity."""
        width = max(len("quantity"), *(len(name) for name in self.ranks))
        lines = [f"{'quantity':{width}s}  mean rank  spread  68 % in  95 % in  inside the band"]
        for name in self.ranks:
            lines.append(
                f"{name:{width}s}  {self.share(name).mean():9.3f}  "
                f"{self.overconfidence(name):6.2f}  {self.coverage(name, 0.68):7.1%}  "
                f"{self.coverage(name, 0.95):7.1%}  {'yes' if self.uniform(name, prob) else 'NO'}"
            )
        return "\n".join(lines)


@lru_cache(maxsize=8)
def _band(n_simulations: int, n_draws: int, prob: float) -> tuple[np.ndarray, np.ndarray]:
    """Simultaneous band of the distribution function of uniform ranks."""
    load_arviz()
    from arviz.stats.ecdf_utils import ecdf_confidence_band

    at = np.arange(1, n_draws + 1) / (n_draws + 1)
    low, high = ecdf_confidence_band(n_simulations, at, at, prob=prob, method="optimized")
    return np.asarray(low), np.asarray(high)


def calibrate(
    simulate: Callable[[Array], tuple[Mapping[str, Any], Any]],
    fit: Callable[[Any, Array], Mapping[str, Any]],
    n_simulations: int,
    key: Array,
    *,
    n_draws: int = 99,
    progress: Callable[[int, int], None] | None = None,
) -> Calibration:
    """Draw truths, simulate data, fit them, and rank the truths among the draws.

    Parameters
    ----------
    simulate : callable
        Random key -> (quantities drawn from the prior, the data that follow from them).
    fit : callable
        (data, random key) -> draws of the posterior of the same quantities, (..., as the
        quantity). Draws of chains should be several per effective draw: ``n_draws`` of them are
        taken at even distances.
    n_simulations : int
        Simulated data sets.
    key : Array
        Random key.
    n_draws : int
        Draws of each posterior that the truth is ranked among.
    progress : callable, optional
        Called with the number of fits done and to do.

    Raises
    ------
    DataError
        If a fit returns too few draws or lacks a quantity.
    """
    ranks: dict[str, list[int]] = {}
    for i, each in enumerate(jax.random.split(key, n_simulations)):
        key_truth, key_fit = jax.random.split(each)
        truth, data = simulate(key_truth)
        draws = fit(data, key_fit)
        for name, value in truth.items():
            if name not in draws:
                raise DataError(f"the fit returned no draws of {name!r}; it has {', '.join(draws)}")
            ranks.setdefault(name, []).append(_rank(name, value, draws[name], n_draws))
        if progress is not None:
            progress(i + 1, n_simulations)
    return Calibration({name: np.asarray(values) for name, values in ranks.items()}, n_draws)


def _rank(name: str, truth: Any, draws: Any, n_draws: int) -> int:
    """Rank a scalar among evenly spaced draws."""
    flat = np.ravel(np.asarray(draws))
    if np.size(truth) != 1 or len(flat) < n_draws:
        raise DataError(
            f"{name}: {np.size(truth)} true value(s) and {len(flat)} draws; expected a scalar and "
            f"at least {n_draws} draws. Give components of vectors names of their own"
        )
    index = np.linspace(0, len(flat) - 1, n_draws).round().astype(int)
    return int(np.sum(flat[index] < float(np.asarray(truth).item())))
