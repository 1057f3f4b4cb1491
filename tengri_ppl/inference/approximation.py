"""What all approximate engines share: draws of a density q, and how far q is from the posterior.

The importance weights p/q of the draws say it: their Pareto k-hat (Vehtari et al. 2024, JMLR 25,
72), and the evidence lower bound (ELBO). The draws themselves stay draws of q.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from tengri_ppl.errors import ParameterError
from tengri_ppl.inference.flat import FlatTarget
from tengri_ppl.inference.pareto import (
    MAX_PARETO_K,
    effective_draws,
    estimate_evidence,
    resample,
    smooth_weights,
)
from tengri_ppl.inference.result import InferenceResult
from tengri_ppl.inference.start import DISPERSION, Start

__all__ = ["MAX_DIVERGENCE", "Approximation", "assess", "check_positive", "search_points"]

#: Largest divergence that is accepted [nats]. A mean that is off by d widths has d^2/2, a width
#: that is off by a share s about s^2.
MAX_DIVERGENCE = 0.05


@dataclass
class Approximation:
    """A run of an approximate engine, on its way to a result.

    Attributes
    ----------
    method : str
        Registered name.
    flat : FlatTarget or StandardTarget
        The posterior over a vector.
    options : Any
        The engine's options.
    diagnostics, notes, traces
        As in :class:`InferenceResult`; to be added to while the engine runs.
    began : float
        Start of the clock.
    """

    method: str
    flat: Any
    options: Any
    diagnostics: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    traces: dict[str, np.ndarray] = field(default_factory=dict)
    began: float = field(default_factory=time.perf_counter)

    @property
    def seconds(self) -> float:
        """Time since the start."""
        return time.perf_counter() - self.began

    def count(self, n: Any) -> None:
        """Add to the number of densities and gradients evaluated."""
        total = self.diagnostics.get("n_evaluations", 0.0) + float(np.sum(n))
        self.diagnostics["n_evaluations"] = total

    def result(
        self,
        x: Array,
        log_q: Array | None = None,
        key: Array | None = None,
        log_p: np.ndarray | None = None,
    ) -> InferenceResult:
        """Return draws x (n, D) as a result; with their log q (n,) they are assessed.

        Engines with an option ``reweight`` give a random key for it, and those that know them
        already the log-densities (n,) of the posterior.
        """
        if log_p is None:
            log_p = np.asarray(self.flat.log_density(x), dtype=float)
            self.count(len(x))
        if log_q is not None:
            log_density = np.asarray(log_q, dtype=float)
            self.diagnostics |= assess(log_p, log_density)
            if key is not None and self.options.reweight:
                index = self._resample(key, log_p - log_density)
                x, log_p = x[index], log_p[index]
            else:
                self.judge()
        values = self.flat.values(x)
        return InferenceResult(
            method=self.method,
            samples={name: np.asarray(value)[None] for name, value in values.items()},
            sample_stats={"lp": log_p[None]},
            settings=asdict(self.options),
            wall_time_s=self.seconds,
            diagnostics=self.diagnostics,
            notes=tuple(self.notes),
            traces=self.traces,
        )

    def _resample(self, key: Array, log_ratio: np.ndarray) -> np.ndarray:
        """Return indices of equally weighted draws, which from here on are judged as such."""
        log_weight, k = smooth_weights(log_ratio)
        self.diagnostics |= {"pareto_k": k, "n_effective": effective_draws(log_weight)}
        return resample(key, log_weight, self.options.n_samples)

    def judge(self) -> None:
        """Say so if the approximation is off."""
        k, divergence = (self.diagnostics[n] for n in ("approximation_k", "kl_divergence"))
        if not k < MAX_PARETO_K:
            reason = f"k-hat of the draws' importance weights is {k:.2f} (limit {MAX_PARETO_K:g})"
        elif not divergence < MAX_DIVERGENCE:
            reason = (
                f"its divergence from the posterior is {divergence:.2f} (limit {MAX_DIVERGENCE:g})"
            )
        else:
            return
        self.notes.append(f"{reason}: the approximation is off; use method='auto' or 'mcmc_nuts'")


#: The assessment of draws that are all impossible.
_HOPELESS = {
    **dict.fromkeys(("approximation_k", "kl_divergence", "log_evidence_error"), float("inf")),
    **dict.fromkeys(("elbo", "log_evidence"), float("-inf")),
}


def assess(log_p: np.ndarray, log_q: np.ndarray) -> dict[str, float]:
    """Compare draws of q with the posterior p, whose normalisation is the evidence.

    Parameters
    ----------
    log_p, log_q : ndarray, shape (n,)
        Log-densities at draws of q; that of p up to the evidence.

    Returns
    -------
    dict
        ``approximation_k``; ``elbo``, the mean of log p - log q; ``log_evidence`` by importance
        sampling with ``log_evidence_error``, infinite where k-hat says that it can't be trusted;
        ``kl_divergence`` of q from p, the difference of the two. A wide q has a good k-hat, but a
        large divergence. Draws where p vanishes, which would make it infinite, count as if q were
        cut off there and had to be known to the share that is left: twice its logarithm.
    """
    log_ratio = log_p - log_q
    if not np.isfinite(log_ratio).any():
        return dict(_HOPELESS)
    smoothed, k = smooth_weights(log_ratio)
    log_evidence, error = estimate_evidence(log_ratio, smoothed)
    finite = np.isfinite(log_ratio)
    elbo = float(np.mean(log_ratio[finite]) + 2.0 * np.log(np.mean(finite)))
    return {
        "approximation_k": k,
        "elbo": elbo,
        "kl_divergence": log_evidence - elbo,
        "log_evidence": log_evidence,
        "log_evidence_error": error if k < MAX_PARETO_K else float("inf"),
    }


def search_points(flat: FlatTarget, key: Array, n: int, start: Start | None) -> Array:
    """Points (n, D) to search from: around ``start``, or the better ones of draws of the prior."""
    if start is None:
        return flat.flatten(flat.target.initial(key, n))
    return start.points(DISPERSION * jax.random.normal(key, (n, flat.dimension)))


def gaussian_draws(start: Start, key: Array, n: int) -> tuple[Array, Array]:
    """Draw ``n`` points (n, D) of a Gaussian; return them with their log-densities (n,)."""
    u = jax.random.normal(key, (n, start.mean.size))
    return start.points(u), gaussian_log_density(start, u)


def gaussian_log_density(start: Start, u: Array) -> Array:
    """Log-density over x of a Gaussian at whitened points u (..., D)."""
    norm = 0.5 * u.shape[-1] * jnp.log(2.0 * jnp.pi) + start.log_volume
    return -0.5 * jnp.sum(u**2, axis=-1) - norm


def check_positive(options: Any, *names: str) -> None:
    """Refuse options that are not at least one, if integers, or not above zero, if not."""
    for name in names:
        value = getattr(options, name)
        if value is None:
            continue
        if isinstance(value, int) and value < 1:
            raise ParameterError(f"{name}={value}: expected at least 1")
        if not value > 0:
            raise ParameterError(f"{name}={value}: expected more than 0")
