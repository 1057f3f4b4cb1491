"""What every engine returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

__all__ = ["InferenceResult"]


@dataclass(frozen=True)
class InferenceResult:
    """Draws from a posterior, with the statistics of the run.

    Attributes
    ----------
    method : str
        Registered name of the engine.
    samples : dict of str to ndarray, shape (chain, draw, ...)
        Latent and deterministic sites, constrained.
    sample_stats : dict of str to ndarray, shape (chain, draw)
        Named as ArviZ has them: ``lp``, ``energy``, ``diverging``, ``n_steps``, ...
    settings : dict
        The engine's options as run.
    wall_time_s : float
        Duration of the run, compilation included.
    diagnostics : dict of str to float
        Figures about the run as a whole. ``pareto_k`` and ``n_effective`` for draws that stand for
        weighted ones, ``approximation_k`` for draws of an approximation, ``log_evidence`` and
        ``log_evidence_error``, ``n_evaluations``.
    notes : tuple of str
        What a reader of the result should know: what was tried, and why it moved on.
    traces : dict of str to ndarray
        What was recorded along the way, in the order of steps; for example ``elbo``.
    dead_points : dict of str to ndarray, shape (n, ...)
        All points of nested sampling by increasing likelihood: latent and deterministic sites,
        ``log_likelihood``, ``log_likelihood_birth`` of the contour that a point was drawn inside
        (NaN for draws of the prior), and ``log_weight`` in the posterior.
    """

    method: str
    samples: dict[str, np.ndarray]
    sample_stats: dict[str, np.ndarray]
    settings: dict[str, Any] = field(default_factory=dict)
    wall_time_s: float = 0.0
    diagnostics: dict[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    traces: dict[str, np.ndarray] = field(default_factory=dict)
    dead_points: dict[str, np.ndarray] = field(default_factory=dict)
