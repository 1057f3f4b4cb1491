r"""Geometric variational inference: MGVI and geoVI, in standard coordinates.

The energy is :math:`H(\xi) = -\ln L(\xi) + |\xi|^2/2` and its metric :math:`M = 1 + J^T J`, with
J the Jacobian of the whitened prediction t. Around a mean m, MGVI (Knollmueller & Ensslin 2019,
arXiv:1901.11033) draws from :math:`N(m, M(m)^{-1})`; geoVI (Frank, Leike & Ensslin 2021, Entropy
23, 853) draws w from N(0, M(m)) and solves
:math:`g(\xi) = \xi - m + J(m)^T [t(\xi) - t(m)] = w`, so that the draws follow the curvature. Then
the mean moves to where the energy averaged over the draws is least, and so on.

M is factorised by the singular vectors of J, not inverted by conjugate gradients: exact, and the
faster for up to some hundred data or coordinates. With :math:`w = M^{1/2} y`, y is standard normal,
and so both methods have a density: that of y times Jacobians. Directions in which J is zero keep
their prior, and cost nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import ndtri
from scipy.stats import qmc  # type: ignore[import-untyped]

from tengri_ppl.errors import ParameterError
from tengri_ppl.inference.approximation import Approximation, check_positive
from tengri_ppl.inference.flat import FlatTarget
from tengri_ppl.inference.metric import SOLVED, MetricDraws, draw_around, iterate
from tengri_ppl.inference.result import InferenceResult
from tengri_ppl.inference.standard import StandardTarget
from tengri_ppl.inference.start import Start, start_at_mode
from tengri_ppl.inference.target import Target

__all__ = ["MAX_UNSOLVED", "GeometricOptions", "run_geovi", "run_mgvi"]

#: Points of the unit cube keep this far from its walls, in 32 bits too.
_EDGE = 1e-6
#: Where draws can't be made the posterior is not seen: at most this share of them.
MAX_UNSOLVED = 0.01


@dataclass(frozen=True)
class GeometricOptions:
    """Options of :func:`run_mgvi` and :func:`run_geovi`.

    Attributes
    ----------
    n_samples : int
        Draws to return, made around the final mean; mirrored pairs, so an even number.
    n_pairs : int
        Mirrored pairs that the energy is averaged over to find the mean, best a power of two.
        They are the same in all iterations.
    max_iterations : int
        Rounds of drawing and moving the mean.
    tolerance : float
        Shift of the mean in any direction [widths of the posterior] at which it has converged.
    n_modes : int
        Searches for the mode, where the mean starts.
    reweight : bool
        Resample the draws by their importance weights: exact where their k-hat is below 0.7.
    """

    n_samples: int = 4000
    n_pairs: int = 32
    max_iterations: int = 40
    tolerance: float = 0.02
    n_modes: int = 8
    reweight: bool = False

    def __post_init__(self) -> None:
        """Check ranges."""
        check_positive(self, "n_samples", "n_pairs", "max_iterations", "tolerance", "n_modes")
        if self.n_samples % 2:
            raise ParameterError(
                f"n_samples={self.n_samples}: expected an even number, for mirrored pairs"
            )


def run_mgvi(
    target: Target,
    key: Array,
    options: GeometricOptions | None = None,
    *,
    start: Start | None = None,
    progress: Any = None,
) -> InferenceResult:
    """Approximate a posterior by a Gaussian with the Fisher metric (MGVI).

    Good where the posterior is a Gaussian in standard coordinates. Of curved ones it takes the
    tangent, too wide or too narrow; then use :func:`run_geovi`.

    Parameters
    ----------
    target : Target
        Posterior. Its priors must be functions of standard normals, and its likelihoods have a
        whitened prediction.
    key : Array
        Random key.
    options : GeometricOptions, optional
        Defaults are documented there.
    start : Start, optional
        Approximation whose mean to start from; else the best of several modes.
    progress : callable, optional
        Called after every iteration.

    Returns
    -------
    InferenceResult
        ``lp`` is the log-density over standard coordinates. The draws are those of a density, so
        that :func:`~tengri_ppl.inference.approximation.assess` applies. The trace ``energy`` is the
        mean energy after each iteration, ``shift`` how far the mean moved.

    Raises
    ------
    ParameterError
        If a prior or a likelihood is not known in these coordinates.
    """
    return _run("mgvi", target, key, options, start, progress)


def run_geovi(
    target: Target,
    key: Array,
    options: GeometricOptions | None = None,
    *,
    start: Start | None = None,
    progress: Any = None,
) -> InferenceResult:
    """Approximate a posterior by a Gaussian in coordinates that follow its curvature (geoVI).

    For parameters, results and errors see :func:`run_mgvi`. Draws for which the curved coordinates
    have no solution are left out, and counted in the diagnostic ``unsolved_share``.
    Reweighting does not bring them back, so more than a few of them are a failure.
    """
    return _run("geovi", target, key, options, start, progress)


def _run(
    method: str,
    target: Target,
    key: Array,
    options: GeometricOptions | None,
    start: Start | None,
    progress: Any,
) -> InferenceResult:
    options = options or GeometricOptions()
    view = StandardTarget(target)
    run = Approximation(method, view, options)
    key_mode, key_mean, key_draw, key_pick = jax.random.split(key, 4)
    mean = _first_mean(view, key_mode, start, options)
    y = _even(key_mean, options.n_pairs, view.dimension)
    static = (target.model, view.layout, method == "geovi")
    shifts, energies = [], []
    for i in range(options.max_iterations):
        mean, shift, energy, n = iterate(*static, mean, y, *view.arguments)
        shifts.append(float(shift))
        energies.append(float(energy))
        run.count(n)
        if progress is not None:
            progress("iterations", i + 1, options.max_iterations, 0)
        if shifts[-1] < options.tolerance:
            break
    else:
        run.notes.append(
            f"the mean still moves by {shifts[-1]:.2g} widths after {options.max_iterations} "
            "iterations; raise max_iterations or n_pairs"
        )
    run.traces |= {"energy": np.array(energies), "shift": np.array(shifts)}
    run.diagnostics |= {"n_iterations": float(len(shifts)), "last_shift": shifts[-1]}
    y = _mirrored(key_draw, options.n_samples // 2, view.dimension)
    draws = draw_around(*static, mean, y, *view.arguments)
    run.count(draws.n_evaluations)
    x, log_q = _solved(run, draws) if method == "geovi" else (draws.x, draws.log_q)
    return run.result(x, log_q, key_pick)


def _solved(run: Approximation, draws: MetricDraws) -> tuple[Array, Array]:
    """Leave out draws without a solution; others take their places, so that the shape stays."""
    solved = np.asarray(draws.residual) < SOLVED
    n = int(np.sum(~solved))
    run.diagnostics["unsolved_share"] = n / solved.size
    if n == 0:
        return draws.x, draws.log_q
    if n == solved.size:
        raise ParameterError(
            "no draw of geovi has a solution in the curved coordinates around the mean; use "
            "method='mgvi' or 'auto'"
        )
    run.notes.append(
        f"{n} of {solved.size} draws have no solution in the curved coordinates and were left out"
    )
    if run.options.reweight:
        return draws.x, jnp.where(solved, draws.log_q, jnp.inf)
    index = np.resize(np.flatnonzero(solved), solved.size)
    return draws.x[index], draws.log_q[index] - np.log1p(-n / solved.size)


def _first_mean(
    view: StandardTarget, key: Array, start: Start | None, options: GeometricOptions
) -> Array:
    """Return the mode in standard coordinates, or the mean of a start."""
    if start is None:
        flat = FlatTarget(Target(view.model, *view.arguments))
        return start_at_mode(flat, key, options.n_modes).mean
    values = FlatTarget(view.target).values(start.mean[None])
    return view.coordinates({name: values[name][0] for name, _ in view.layout})


def _even(key: Array, n: int, dimension: int) -> Array:
    """``n`` mirrored pairs that fill the standard normal evenly: scrambled Sobol points.

    Independent ones would pull the mean along a ridge of the posterior by their chance average.
    """
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    points = qmc.Sobol(dimension, rng=rng).random_base2((n - 1).bit_length())[:n]
    return _pairs(ndtri(jnp.asarray(np.clip(points, _EDGE, 1.0 - _EDGE), dtype=float)))


def _mirrored(key: Array, n: int, dimension: int) -> Array:
    """``n`` pairs of standard normals y and -y, (2 n, D)."""
    return _pairs(jax.random.normal(key, (n, dimension)))


def _pairs(y: Array) -> Array:
    return jnp.stack([y, -y], axis=1).reshape(2 * len(y), -1)
