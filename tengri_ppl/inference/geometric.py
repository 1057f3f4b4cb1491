r"""Geometric variational inference: MGVI and geoVI, in standard coordinates.

The energy is :math:`H(\xi) = -\ln L(\xi) + |\xi|^2/2` and its metric :math:`M = 1 + J^T J`, with
J the Jacobian of the whitened prediction t. Around a mean m, MGVI (Knollmueller & Ensslin 2019,
arXiv:1901.11033) draws from :math:`N(m, M(m)^{-1})`; geoVI (Frank, Leike & Ensslin 2021, Entropy
23, 853) draws w from N(0, M(m)) and solves
:math:`g(\xi) = \xi - m + J(m)^T [t(\xi) - t(m)] = w`, so that the draws follow the curvature. Then
the mean moves to where the energy averaged over the draws is least, and so on.

M is factorised (QR of J), not inverted by conjugate gradients: exact, and the faster up to some
hundred coordinates. With :math:`M = R^T R` and :math:`w = R^T y`, y is standard normal, and so both
methods have a density: that of y times Jacobians.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.linalg import solve_triangular

from tengri_ppl.errors import ParameterError
from tengri_ppl.inference.approximation import Approximation, check_positive
from tengri_ppl.inference.flat import FlatTarget, Layout
from tengri_ppl.inference.result import InferenceResult
from tengri_ppl.inference.standard import StandardTarget, whitened_prediction
from tengri_ppl.inference.start import Start, start_at_mode
from tengri_ppl.inference.target import Model, Target

__all__ = ["GeometricOptions", "run_geovi", "run_mgvi"]

#: Residual of the curved draws [widths], and steps to get there.
_CURVE_TOLERANCE, _CURVE_STEPS = 2e-3, 60
_NEWTON_STEPS = 3
#: Draws that are made at once.
_BATCH = 256


@dataclass(frozen=True)
class GeometricOptions:
    """Options of :func:`run_mgvi` and :func:`run_geovi`.

    Attributes
    ----------
    n_samples : int
        Draws to return, made around the final mean; mirrored pairs, so an even number.
    n_pairs : int
        Mirrored pairs that the energy is averaged over to find the mean. They are the same in all
        iterations.
    max_iterations : int
        Rounds of drawing and moving the mean.
    tolerance : float
        Shift of the mean in any direction [widths of the posterior] at which it has converged.
    n_modes : int
        Searches for the mode, where the mean starts.
    """

    n_samples: int = 4000
    n_pairs: int = 25
    max_iterations: int = 40
    tolerance: float = 0.02
    n_modes: int = 8

    def __post_init__(self) -> None:
        """Check ranges."""
        check_positive(self, "n_samples", "n_pairs", "max_iterations", "tolerance", "n_modes")
        if self.n_samples % 2:
            raise ParameterError(
                f"n_samples={self.n_samples}: expected an even number, for mirrored pairs"
            )


class _Draws(NamedTuple):
    """Draws around a mean.

    ``x`` (n, D), ``log_q`` (n,), residual of each (n,) in widths, and gradients evaluated.
    """

    x: Array
    log_q: Array
    residual: Array
    n_evaluations: Array


class _Frame(NamedTuple):
    """Mean m (D,), Jacobian (N, D) and whitened prediction (N,) there, and R (D, D)."""

    mean: Array
    jacobian: Array
    prediction: Array
    root: Array


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
    have no solution are counted in the diagnostic ``n_unsolved``.
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
    key_mode, key_mean, key_draw = jax.random.split(key, 3)
    mean = _first_mean(view, key_mode, start, options)
    y = _mirrored(key_mean, options.n_pairs, view.dimension)
    static = (target.model, view.layout, method == "geovi")
    shifts, energies = [], []
    for i in range(options.max_iterations):
        mean, shift, energy, n = _iterate(*static, mean, y, *view.arguments)
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
    draws = _draws(*static, mean, y, *view.arguments)
    run.count(draws.n_evaluations)
    if method == "geovi":
        _count_unsolved(run, draws)
    return run.result(draws.x, draws.log_q)


def _count_unsolved(run: Approximation, draws: _Draws) -> None:
    n = int(np.sum(~(np.asarray(draws.residual) < 10.0 * _CURVE_TOLERANCE)))
    run.diagnostics["n_unsolved"] = float(n)
    if n:
        run.notes.append(
            f"{n} of {len(draws.x)} draws have no solution in the curved coordinates; they stand "
            "where the residual is least"
        )


def _first_mean(
    view: StandardTarget, key: Array, start: Start | None, options: GeometricOptions
) -> Array:
    """Return the mode in standard coordinates, or the mean of a start."""
    if start is None:
        flat = FlatTarget(Target(view.model, *view.arguments))
        return start_at_mode(flat, key, options.n_modes).mean
    values = FlatTarget(view.target).values(start.mean[None])
    return view.coordinates({name: values[name][0] for name, _ in view.layout})


def _mirrored(key: Array, n: int, dimension: int) -> Array:
    """``n`` pairs of standard normals y and -y, (2 n, D)."""
    y = jax.random.normal(key, (n, dimension))
    return jnp.stack([y, -y], axis=1).reshape(2 * n, dimension)


# -- compiled programs -----------------------------------------------------------------------------


@partial(jax.jit, static_argnums=(0, 1, 2))
def _iterate(
    model: Model,
    layout: Layout,
    curved: bool,
    mean: Array,
    y: Array,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> tuple[Array, Array, Array, Array]:
    """Draw around the mean, then move it to the least mean energy.

    Returns
    -------
    mean (D,), its largest shift in widths, mean energy, gradients evaluated.
    """

    def predict(xi: Array) -> tuple[Array, Array]:
        log_density, prediction = whitened_prediction(model, layout, xi, args, kwargs)
        return 0.5 * jnp.sum(xi**2) - log_density, prediction

    frame = _frame(predict, mean)
    draws = _drawn(predict, curved, frame, y)
    offset = draws.x - mean

    def newton(_: int, centre: Array) -> Array:
        return _newton_step(predict, frame, centre, offset)

    moved = jax.lax.fori_loop(0, _NEWTON_STEPS, newton, mean)
    shift = jnp.max(jnp.abs(frame.root @ (moved - mean)))
    energy = jnp.mean(jax.vmap(lambda s: predict(moved + s)[0])(offset))
    n = draws.n_evaluations + _NEWTON_STEPS * len(y) * (mean.size + 1)
    return moved, shift, energy, n


@partial(jax.jit, static_argnums=(0, 1, 2))
def _draws(
    model: Model,
    layout: Layout,
    curved: bool,
    mean: Array,
    y: Array,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> _Draws:
    """Turn standard normals y (n, D) into draws around the mean."""

    def predict(xi: Array) -> tuple[Array, Array]:
        log_density, prediction = whitened_prediction(model, layout, xi, args, kwargs)
        return 0.5 * jnp.sum(xi**2) - log_density, prediction

    return _drawn(predict, curved, _frame(predict, mean), y)


def _frame(predict: Any, mean: Array) -> _Frame:
    """Linearise the whitened prediction; R from a QR decomposition, which squares no condition."""
    jacobian = jax.jacfwd(lambda xi: predict(xi)[1])(mean)
    stacked = jnp.concatenate([jacobian, jnp.eye(mean.size)])
    root = jnp.linalg.qr(stacked, mode="r")
    return _Frame(mean, jacobian, predict(mean)[1], root)


def _drawn(predict: Any, curved: bool, frame: _Frame, y: Array) -> _Draws:
    log_det = jnp.sum(jnp.log(jnp.abs(jnp.diagonal(frame.root))))
    norm = log_det - 0.5 * y.shape[1] * jnp.log(2.0 * jnp.pi)
    if not curved:
        x = frame.mean + solve_triangular(frame.root, y.T).T
        log_q = norm - 0.5 * jnp.sum(y**2, axis=1)
        return _Draws(x, log_q, jnp.zeros(len(y)), jnp.asarray(frame.mean.size))
    solve = partial(_solve_curve, predict, frame)
    x, log_q, residual, n = jax.lax.map(solve, y, batch_size=min(_BATCH, len(y)))
    return _Draws(x, norm + log_q, residual, jnp.sum(n) * (frame.mean.size + 1))


def _solve_curve(predict: Any, frame: _Frame, y: Array) -> tuple[Array, Array, Array, Array]:
    """Solve R^-T g(m + R^-1 v) = y for v by Levenberg and Marquardt's method.

    Returns
    -------
    The point (D,), log N(y) + log |d y / d v| up to a constant, residual, iterations.
    """
    jacobian = solve_triangular(frame.root, frame.jacobian.T, trans="T")  # R^-T J^T

    def point(v: Array) -> Array:
        return frame.mean + solve_triangular(frame.root, v)

    def curve(v: Array) -> tuple[Array, Array]:
        offset = solve_triangular(frame.root, solve_triangular(frame.root, v), trans="T")
        image = offset + jacobian @ (predict(point(v))[1] - frame.prediction)
        return image, image

    slope = jax.jacfwd(curve, has_aux=True)

    def size(image: Array) -> Array:
        return jnp.nan_to_num(jnp.linalg.norm(y - image), nan=jnp.inf)

    def unfinished(state: Any) -> Array:
        _, image, _, _, i = state
        return (i < _CURVE_STEPS) & (size(image) > _CURVE_TOLERANCE)

    def step(state: Any) -> Any:
        v, image, matrix, damping, i = state
        normal = matrix.T @ matrix + damping * jnp.eye(v.size)
        trial = v + jnp.linalg.solve(normal, matrix.T @ (y - image))
        new_matrix, new_image = slope(trial)
        better = size(new_image) < size(image)
        damping = jnp.where(better, 0.2 * damping, 4.0 * damping + 1e-3)
        chosen = (trial, new_image, new_matrix), (v, image, matrix)
        return (*(jnp.where(better, a, b) for a, b in zip(*chosen, strict=True)), damping, i + 1)

    first_matrix, first_image = slope(y)
    # far out the curve may be undefined: then begin at the mean, where it is the identity
    sane = jnp.all(jnp.isfinite(first_matrix)) & jnp.all(jnp.isfinite(first_image))
    sane &= size(first_image) <= jnp.linalg.norm(y)
    begin = (
        jnp.where(sane, y, 0.0),
        jnp.where(sane, first_image, 0.0),
        jnp.where(sane, first_matrix, jnp.eye(y.size)),
    )
    damping, none = jnp.full((), 1e-2), jnp.zeros((), int)
    v, image, matrix, _, i = jax.lax.while_loop(unfinished, step, (*begin, damping, none))
    log_q = -0.5 * jnp.sum(image**2) + jnp.linalg.slogdet(matrix)[1]
    return point(v), log_q, size(image), i


def _newton_step(predict: Any, frame: _Frame, centre: Array, offset: Array) -> Array:
    """Move the centre of all draws by a step of Newton's method, in widths, with a line search."""

    def local(s: Array) -> tuple[Array, Array]:
        jacobian = jax.jacfwd(lambda xi: predict(xi)[1])(centre + s)
        return jax.grad(lambda xi: predict(xi)[0])(centre + s), jacobian.T @ jacobian

    def mean_energy(point: Array) -> Array:
        energy = jnp.mean(jax.vmap(lambda s: predict(point + s)[0])(offset))
        return jnp.where(jnp.isfinite(energy), energy, jnp.inf)

    gradient, metric = jax.tree.map(lambda x: jnp.mean(x, axis=0), jax.vmap(local)(offset))
    metric = metric + jnp.eye(centre.size)
    whitened = solve_triangular(frame.root, metric, trans="T")
    whitened = solve_triangular(frame.root, whitened.T, trans="T")
    downhill = solve_triangular(frame.root, gradient, trans="T")
    step = -solve_triangular(frame.root, jnp.linalg.solve(whitened, downhill))
    lengths = jnp.append(0.5 ** jnp.arange(8), 0.0)
    energies = jax.vmap(lambda a: mean_energy(centre + a * step))(lengths)
    best = lengths[jnp.argmin(energies)]
    return centre + best * jnp.nan_to_num(step)
