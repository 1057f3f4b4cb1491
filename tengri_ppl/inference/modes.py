"""Point estimates and Gaussian approximations: ``map`` and ``laplace``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from tengri_ppl.inference.approximation import (
    Approximation,
    check_positive,
    gaussian_draws,
    search_points,
)
from tengri_ppl.inference.flat import FlatTarget
from tengri_ppl.inference.laplace import Curvature, curvature, log_volume
from tengri_ppl.inference.optimize import Modes, find_modes
from tengri_ppl.inference.result import InferenceResult
from tengri_ppl.inference.start import Start
from tengri_ppl.inference.target import Target

__all__ = ["MAX_DECREMENT", "LaplaceOptions", "MAPOptions", "run_laplace", "run_map"]

#: A point is certified as a mode if a Newton step from it is shorter than this [widths of the
#: posterior]. The log-density there is within half its square of the mode's.
MAX_DECREMENT = 0.1
#: Ends of searches that are closer than this [widths of the posterior] are one mode.
_SAME = 1.0


@dataclass(frozen=True)
class MAPOptions:
    """Options of :func:`run_map`.

    Attributes
    ----------
    n_modes : int
        Searches, each from another point.
    max_steps : int
        Iterations of each search.
    """

    n_modes: int = 8
    max_steps: int = 200

    def __post_init__(self) -> None:
        """Check ranges."""
        check_positive(self, "n_modes", "max_steps")


@dataclass(frozen=True)
class LaplaceOptions:
    """Options of :func:`run_laplace`.

    Attributes
    ----------
    n_samples : int
        Draws of the Gaussian.
    n_modes, max_steps : int
        As in :class:`MAPOptions`.
    """

    n_samples: int = 4000
    n_modes: int = 8
    max_steps: int = 200

    def __post_init__(self) -> None:
        """Check ranges."""
        check_positive(self, "n_samples", "n_modes", "max_steps")


class _Search(NamedTuple):
    """Ends of all searches, with their curvature; ``log_mass`` is the Laplace evidence of each."""

    modes: Modes
    bend: Curvature
    factor: Array
    decrement: np.ndarray
    log_mass: np.ndarray


def run_map(
    target: Target,
    key: Array,
    options: MAPOptions | None = None,
    *,
    start: Start | None = None,
    progress: Any = None,
) -> InferenceResult:
    """Find the point of the largest posterior density: a single draw.

    The density is that over the unconstrained coordinates, so the point depends on them. The Newton
    decrement sqrt(g^T H^-1 g) certifies it: the distance to the mode in widths of the posterior,
    to be below :data:`MAX_DECREMENT`.

    Parameters
    ----------
    target : Target
        Posterior.
    key : Array
        Random key of the points to search from.
    options : MAPOptions, optional
        Defaults are documented there.
    start : Start, optional
        Search around this approximation; else from the better ones of draws of the prior.
    progress : callable, optional
        Called at the end.

    Returns
    -------
    InferenceResult
        With diagnostics ``newton_decrement``, ``log_density``, ``n_flat`` (directions without
        positive curvature), ``n_modes`` (distinct ones), ``mode_share`` (of the probability, by the
        Laplace approximation at each), and all modes in the notes.
    """
    options = options or MAPOptions()
    run = Approximation("map", FlatTarget(target), options)
    search = _find(run, key, start)
    best = int(np.argmax(search.modes.log_density))
    _describe(run, search, best)
    if progress is not None:
        progress("search", 1, 1, 0)
    return run.result(search.modes.x[best][None])


def run_laplace(
    target: Target,
    key: Array,
    options: LaplaceOptions | None = None,
    *,
    start: Start | None = None,
    progress: Any = None,
) -> InferenceResult:
    """Draw from a Gaussian at the mode, with the exact Hessian there (Laplace approximation).

    Of several modes it takes the one that holds the most probability by the same approximation.
    Directions without positive curvature get a standard deviation of 3; they are counted in
    ``n_flat``.

    Parameters
    ----------
    target : Target
        Posterior.
    key : Array
        Random key.
    options : LaplaceOptions, optional
        Defaults are documented there.
    start : Start, optional
        Search around this approximation; else from the better ones of draws of the prior.
    progress : callable, optional
        Called at the end.

    Returns
    -------
    InferenceResult
        With the diagnostics of :func:`run_map`, those of
        :func:`~tengri_ppl.inference.approximation.assess`, and ``log_evidence_laplace``, the
        evidence if the posterior were that Gaussian.
    """
    options = options or LaplaceOptions()
    key_search, key_draw = jax.random.split(key)
    run = Approximation("laplace", FlatTarget(target), options)
    search = _find(run, key_search, start)
    best = int(np.argmax(search.log_mass))
    _describe(run, search, best)
    run.diagnostics["log_evidence_laplace"] = float(search.log_mass[best])
    gaussian = Start(search.modes.x[best], search.factor[best])
    if progress is not None:
        progress("search", 1, 1, 0)
    return run.result(*gaussian_draws(gaussian, key_draw, options.n_samples))


def _find(run: Approximation, key: Array, start: Start | None) -> _Search:
    points = search_points(run.flat, key, run.options.n_modes, start)
    modes = find_modes(run.flat, points, max_steps=run.options.max_steps)
    bend = curvature(run.flat, modes.x)
    run.count(modes.n_evaluations)
    run.count(modes.x.size)  # a Hessian is D gradients
    factor = bend.factor
    decrement = jnp.linalg.norm(jnp.einsum("nji,nj->ni", factor, modes.gradient), axis=1)
    norm = 0.5 * modes.x.shape[1] * np.log(2.0 * np.pi)
    log_mass = np.asarray(modes.log_density + log_volume(factor), dtype=float) + norm
    return _Search(modes, bend, factor, np.asarray(decrement, dtype=float), log_mass)


def _describe(run: Approximation, search: _Search, best: int) -> None:
    """Put the certificate of the best mode, and all others, into diagnostics and notes."""
    density = np.asarray(search.modes.log_density, dtype=float)
    distinct = _distinct(search)
    n_flat = int(search.bend.n_flat[best])
    run.diagnostics |= {
        "newton_decrement": float(search.decrement[best]),
        "log_density": float(density[best]),
        "n_flat": float(n_flat),
        "n_modes": float(len(distinct)),
        "mode_share": _share(search.log_mass, best, list(distinct)),
    }
    if not search.decrement[best] < MAX_DECREMENT:
        run.notes.append(
            f"no mode certified: a Newton step from the best point is "
            f"{search.decrement[best]:.2g} widths long (limit {MAX_DECREMENT:g}); raise max_steps, "
            "or use 64 bits"
        )
    if n_flat:
        run.notes.append(
            f"{n_flat} of {run.flat.dimension} directions have no positive curvature at the mode: "
            "the data say nothing along them, or it is a saddle"
        )
    for index, n_found in distinct.items():
        run.notes.append(
            f"mode with log-density {density[index]:.2f} and log-evidence "
            f"{search.log_mass[index]:.2f} (Laplace), found by {n_found} of {density.size} searches"
        )


def _share(log_mass: np.ndarray, best: int, modes: list[int]) -> float:
    """Share of the probability at the mode ``best`` or its like, by the Laplace approximation."""
    log_masses = log_mass[modes] if modes else log_mass[[best]]
    own = min(log_mass[best], log_masses.max())
    return float(np.exp(own - np.logaddexp.reduce(log_masses)))


def _distinct(search: _Search) -> dict[int, int]:
    """Index of each certified mode, the best first, with the number of searches that found it."""
    x = np.asarray(search.modes.x, dtype=float)
    factor = np.asarray(search.factor, dtype=float)
    found: dict[int, int] = {}
    for i in np.flatnonzero(search.decrement < MAX_DECREMENT):
        for j in found:
            if np.linalg.norm(np.linalg.solve(factor[j], x[i] - x[j])) < _SAME:
                found[j] += 1
                break
        else:
            found[int(i)] = 1
    return found
