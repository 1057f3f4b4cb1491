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
their prior, and cost nothing. Of models with a plate around all data and many coordinates J is
mostly zero, and :mod:`~tengri_ppl.inference.arrow` treats the members of the plate one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
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
from tengri_ppl.inference.expansions import draw_expansions, mirrored, no_solution, pairs
from tengri_ppl.inference.flat import FlatTarget
from tengri_ppl.inference.members import draw_by_member, move_mean
from tengri_ppl.inference.metric import SOLVED, MetricDraws, draw_around, iterate
from tengri_ppl.inference.plated import plate_structure
from tengri_ppl.inference.result import InferenceResult
from tengri_ppl.inference.standard import StandardTarget
from tengri_ppl.inference.start import Start, start_at_mode
from tengri_ppl.inference.target import Target

__all__ = ["MAX_UNSOLVED", "GeometricOptions", "run_geovi", "run_mgvi"]

#: Up to so many coordinates all of them are in one matrix.
_MOST_DENSE = 400
_N_MODES, _N_PAIRS = 8, 32
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
    n_pairs : int, optional
        Mirrored pairs that the energy is averaged over to find the mean, best a power of two.
        They are the same in all iterations. 32 by default; 4 where the data are those of the
        members of a plate.
    max_iterations : int
        Rounds of drawing and moving the mean.
    tolerance : float
        Shift of the mean in any direction [widths of the posterior] at which it has converged.
    n_modes : int, optional
        Searches for the mode, where the mean starts: 8 by default; 2 for each member of a plate.
    reweight : bool
        Resample the draws by their importance weights: exact where their k-hat is below 0.7.
    n_expansions : int
        Means around which draws are made if they are reweighted: several reach what one does not
        (:mod:`~tengri_ppl.inference.expansions`), for as many times the evaluations.
    """

    n_samples: int = 4000
    n_pairs: int | None = None
    max_iterations: int = 40
    tolerance: float = 0.02
    n_modes: int | None = None
    reweight: bool = False
    n_expansions: int = 1

    def __post_init__(self) -> None:
        """Check ranges."""
        check_positive(self, "n_samples", "n_pairs", "max_iterations", "tolerance", "n_modes")
        check_positive(self, "n_expansions")
        if self.n_expansions > 1 and not self.reweight:
            raise ParameterError(
                f"n_expansions={self.n_expansions}: draws around several means have to be "
                "weighted; give reweight=True as well"
            )
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
    Reweighting does not bring them back, so more than a few of them are a failure; draws around
    several means, ``n_expansions``, may reach what they would have been.
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
    structure = plate_structure(view) if view.dimension > _MOST_DENSE else None
    *keys, key_pick = jax.random.split(key, 4)
    if structure is None:
        x, log_q, log_p = _with_all(run, keys, start, progress)
        return run.result(x, log_q, key_pick, log_p)
    if options.n_expansions > 1:
        raise ParameterError(
            "n_expansions: several means are for models whose coordinates are in one matrix; this "
            f"one has a plate around its data and more than {_MOST_DENSE} coordinates"
        )
    xi = None if start is None else _first_mean(view, keys[0], start, 1)
    x, log_q, log_p = draw_by_member(run, structure, keys, xi, progress)
    return run.result(x, log_q, key_pick, log_p)


def _with_all(
    run: Approximation, keys: Sequence[Array], start: Start | None, progress: Any
) -> tuple[Array, Array, np.ndarray | None]:
    """Draw with all coordinates in one matrix.

    Returns points (n, D), their log q (n,), and their log-posterior (n,) if it is known.
    """
    view, options = run.flat, run.options
    key_mode, key_mean, key_draw = keys
    mean = _first_mean(view, key_mode, start, options.n_modes or _N_MODES)
    y = _even(key_mean, options.n_pairs or _N_PAIRS, view.dimension)
    curved = run.method == "geovi"
    static = (view.target.model, view.layout, curved)

    def move(mean: Array) -> tuple[Array, Array, Array, Array]:
        return iterate(*static, mean, y, *view.arguments)

    mean = move_mean(run, move, mean, progress)
    if options.n_expansions > 1:
        return draw_expansions(run, mean, key_draw, options.n_samples, options.n_expansions)
    y = mirrored(key_draw, options.n_samples // 2, view.dimension)
    draws = draw_around(*static, mean, y, *view.arguments)
    run.count(draws.n_evaluations)
    return *(_solved(run, draws) if curved else (draws.x, draws.log_q)), None


def _solved(run: Approximation, draws: MetricDraws) -> tuple[Array, Array]:
    """Leave out draws without a solution; others take their places, so that the shape stays."""
    solved = np.asarray(draws.residual) < SOLVED
    n = int(np.sum(~solved))
    run.diagnostics["unsolved_share"] = n / solved.size
    if n == 0:
        return draws.x, draws.log_q
    if n == solved.size:
        raise no_solution(run.method)
    run.notes.append(
        f"{n} of {solved.size} draws have no solution in the curved coordinates and were left out"
    )
    if run.options.reweight:
        return draws.x, jnp.where(solved, draws.log_q, jnp.inf)
    index = np.resize(np.flatnonzero(solved), solved.size)
    return draws.x[index], draws.log_q[index] - np.log1p(-n / solved.size)


def _first_mean(view: StandardTarget, key: Array, start: Start | None, n_modes: int) -> Array:
    """Return the mode in standard coordinates, or the mean of a start."""
    if start is None:
        flat = FlatTarget(Target(view.model, *view.arguments))
        return start_at_mode(flat, key, n_modes).mean
    values = FlatTarget(view.target).values(start.mean[None])
    return view.coordinates({name: values[name][0] for name, _ in view.layout})


def _even(key: Array, n: int, dimension: int) -> Array:
    """``n`` mirrored pairs that fill the standard normal evenly: scrambled Sobol points.

    Independent ones would pull the mean along a ridge of the posterior by their chance average.
    """
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    points = qmc.Sobol(dimension, rng=rng).random_base2((n - 1).bit_length())[:n]
    y = ndtri(jnp.asarray(np.clip(points, _EDGE, 1.0 - _EDGE), dtype=float))
    return pairs(y)
