"""The compiled steps of geometric variational inference: draw around a mean, and move the mean."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.linalg import solve_triangular

from tengri_ppl.inference.flat import Layout
from tengri_ppl.inference.standard import whitened_prediction
from tengri_ppl.inference.target import Model

__all__ = ["SOLVED", "MetricDraws", "draw_around", "iterate"]

#: Residual of the curved draws [widths], and steps to get there.
_CURVE_TOLERANCE, _CURVE_STEPS = 2e-3, 30
#: Residual below which a draw counts as solved.
SOLVED = 10.0 * _CURVE_TOLERANCE
_NEWTON_STEPS = 3
#: Draws that are made at once.
_BATCH = 256


class MetricDraws(NamedTuple):
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


@partial(jax.jit, static_argnums=(0, 1, 2))
def iterate(
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
    mean : Array, shape (D,)
    shift : Array
        The largest, in widths.
    energy : Array
        Averaged over the draws.
    n_evaluations : Array
        Gradients.
    """

    def predict(xi: Array) -> tuple[Array, Array]:
        log_density, prediction = whitened_prediction(model, layout, xi, args, kwargs)
        return 0.5 * jnp.sum(xi**2) - log_density, prediction

    frame = _frame(predict, mean)
    draws = _drawn(predict, curved, frame, y)
    offset = draws.x - mean
    # a pair counts if both of its draws have a solution; if none does, all have to
    unsolved = jnp.repeat(jnp.any((draws.residual > SOLVED).reshape(-1, 2), axis=1), 2)
    weight = jnp.where(unsolved & ~jnp.all(unsolved), 0.0, 1.0)
    weight = weight / jnp.sum(weight)

    def newton(_: int, centre: Array) -> Array:
        return _newton_step(predict, frame, centre, offset, weight)

    moved = jax.lax.fori_loop(0, _NEWTON_STEPS, newton, mean)
    shift = jnp.max(jnp.abs(frame.root @ (moved - mean)))
    energy = weight @ jax.vmap(lambda s: predict(moved + s)[0])(offset)
    n = draws.n_evaluations + _NEWTON_STEPS * len(y) * (mean.size + 1)
    return moved, shift, energy, n


@partial(jax.jit, static_argnums=(0, 1, 2))
def draw_around(
    model: Model,
    layout: Layout,
    curved: bool,
    mean: Array,
    y: Array,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> MetricDraws:
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


def _drawn(predict: Any, curved: bool, frame: _Frame, y: Array) -> MetricDraws:
    log_det = jnp.sum(jnp.log(jnp.abs(jnp.diagonal(frame.root))))
    norm = log_det - 0.5 * y.shape[1] * jnp.log(2.0 * jnp.pi)
    if not curved:
        x = frame.mean + solve_triangular(frame.root, y.T).T
        log_q = norm - 0.5 * jnp.sum(y**2, axis=1)
        return MetricDraws(x, log_q, jnp.zeros(len(y)), jnp.asarray(frame.mean.size))
    solve = partial(_solve_curve, predict, frame)
    x, log_q, residual, n = jax.lax.map(solve, y, batch_size=min(_BATCH, len(y)))
    return MetricDraws(x, norm + log_q, residual, jnp.sum(n) * (frame.mean.size + 1))


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


def _newton_step(predict: Any, frame: _Frame, centre: Array, offset: Array, weight: Array) -> Array:
    """Move the centre of all draws by a step of Newton's method, in widths, with a line search."""

    def local(s: Array) -> tuple[Array, Array]:
        jacobian = jax.jacfwd(lambda xi: predict(xi)[1])(centre + s)
        return jax.grad(lambda xi: predict(xi)[0])(centre + s), jacobian.T @ jacobian

    def mean_energy(point: Array) -> Array:
        energies = jax.vmap(lambda s: predict(point + s)[0])(offset)
        energy = jnp.sum(jnp.where(weight > 0.0, weight * energies, 0.0))
        return jnp.where(jnp.isfinite(energy), energy, jnp.inf)

    gradients, metrics = jax.vmap(local)(offset)
    gradient, metric = weight @ gradients, jnp.einsum("n,nij->ij", weight, metrics)
    metric = metric + jnp.eye(centre.size)
    whitened = solve_triangular(frame.root, metric, trans="T")
    whitened = solve_triangular(frame.root, whitened.T, trans="T")
    downhill = solve_triangular(frame.root, gradient, trans="T")
    step = -solve_triangular(frame.root, jnp.linalg.solve(whitened, downhill))
    lengths = jnp.append(0.5 ** jnp.arange(8), 0.0)
    energies = jax.vmap(lambda a: mean_energy(centre + a * step))(lengths)
    best = lengths[jnp.argmin(energies)]
    return centre + best * jnp.nan_to_num(step)
