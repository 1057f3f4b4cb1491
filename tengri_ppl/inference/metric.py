"""The compiled steps of geometric variational inference: draw around a mean, and move the mean."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from tengri_ppl.distributions.layout import Layout
from tengri_ppl.inference.standard import whitened_prediction
from tengri_ppl.inference.target import Model
from tengri_ppl.runtime.chunks import map_chunks
from tengri_ppl.runtime.compiled import Compiled

__all__ = ["SOLVED", "MetricDraws", "draw_around", "iterate", "reached_density"]

#: Residual of the curved draws [widths], and steps to get there.
_CURVE_TOLERANCE, _CURVE_STEPS = 2e-3, 32
#: Residual below which a draw counts as solved.
SOLVED = 10.0 * _CURVE_TOLERANCE
#: Distance [widths] below which the draw that normals lead to is the point they came from.
_SAME = 0.1
_FIRST_DAMPING = 0.05
_NEWTON_STEPS = 3
#: Predictions or derivatives of them that are evaluated at once.
_LANES = 256


class MetricDraws(NamedTuple):
    """Draws around a mean.

    ``x`` (n, D), ``log_q`` (n,), residual of each (n,) in widths, and gradients evaluated.
    """

    x: Array
    log_q: Array
    residual: Array
    n_evaluations: Array


class _Frame(NamedTuple):
    """The metric M = 1 + J^T J around a mean, by J = U diag(S) V^T with k = min(N, D) columns.

    Mean m (D,), V (D, k), root H = sqrt(1 + S^2) (k,), diag(S) U^T (k, N), and the whitened
    prediction (N,) at the mean.
    """

    mean: Array
    basis: Array
    root: Array
    image: Array
    prediction: Array

    def rooted(self, x: Array, power: float = 1.0) -> Array:
        """M^(power/2) x of vectors x (..., D)."""
        return x + ((x @ self.basis) * (self.root**power - 1.0)) @ self.basis.T


@partial(Compiled, static_argnums=(0, 1, 2))
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
    predict = _prediction(model, layout, args, kwargs)
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
    shift = jnp.max(jnp.abs(frame.rooted(moved - mean)))
    energy = weight @ jax.vmap(lambda s: predict(moved + s)[0])(offset)
    n = draws.n_evaluations + _NEWTON_STEPS * len(y) * (len(frame.root) + 1)
    return moved, shift, energy, n


@partial(Compiled, static_argnums=(0, 1, 2))
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
    predict = _prediction(model, layout, args, kwargs)
    return _drawn(predict, curved, _frame(predict, mean), y)


@partial(Compiled, static_argnums=(0, 1, 2))
def reached_density(
    model: Model,
    layout: Layout,
    curved: bool,
    mean: Array,
    x: Array,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> tuple[Array, Array]:
    """Log-density (n,) of draws around the mean at points x (n, D), and gradients evaluated.

    It is -inf at points that no draw reaches: the normals that belong to them lead elsewhere.
    """
    predict = _prediction(model, layout, args, kwargs)
    frame = _frame(predict, mean)

    def normal(x: Array) -> Array:
        """Go back to the standard normals of a point, M^(-1/2) g(x)."""
        step = x - mean
        if not curved:
            return frame.rooted(step)
        seen = step @ frame.basis
        image = (seen + frame.image @ (predict(x)[1] - frame.prediction)) / frame.root
        return step + frame.basis @ (image - seen)

    draws = _drawn(predict, curved, frame, map_chunks(normal, x, _LANES))
    distance = jnp.linalg.norm(frame.rooted(draws.x - x), axis=1)
    reached = (draws.residual < SOLVED) & (distance < _SAME)
    return jnp.where(reached, draws.log_q, -jnp.inf), draws.n_evaluations


def _prediction(
    model: Model, layout: Layout, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Callable[[Array], tuple[Array, Array]]:
    """Energy and whitened prediction as a function of the coordinates."""

    def predict(xi: Array) -> tuple[Array, Array]:
        log_density, prediction = whitened_prediction(model, layout, xi, args, kwargs)
        return 0.5 * jnp.sum(xi**2) - log_density, prediction

    return predict


def _frame(predict: Any, mean: Array) -> _Frame:
    """Linearise the whitened prediction; no condition number is squared."""
    left, singular, basis = jnp.linalg.svd(_jacobian(predict, mean), full_matrices=False)
    image = singular[:, None] * left.T
    return _Frame(mean, basis.T, jnp.hypot(1.0, singular), image, predict(mean)[1])


def _jacobian(predict: Any, xi: Array) -> Array:
    """Jacobian (N, D) of the whitened prediction, in the mode that takes fewer passes."""

    def prediction(xi: Array) -> Array:
        return predict(xi)[1]

    n = jax.eval_shape(prediction, xi).size
    return (jax.jacfwd if xi.size <= n else jax.jacrev)(prediction)(xi)


def _drawn(predict: Any, curved: bool, frame: _Frame, y: Array) -> MetricDraws:
    norm = jnp.sum(jnp.log(frame.root)) - 0.5 * y.shape[1] * jnp.log(2.0 * jnp.pi)
    if not curved:
        log_q = norm - 0.5 * jnp.sum(y**2, axis=1)
        x = frame.mean + frame.rooted(y, -1.0)
        return MetricDraws(x, log_q, jnp.zeros(len(y)), jnp.asarray(len(frame.root)))
    solve = partial(_solve_curve, predict, frame)
    x, log_q, residual, n = map_chunks(solve, y, _at_once(frame))
    return MetricDraws(x, norm + log_q, residual, jnp.sum(n) * (len(frame.root) + 1))


def _at_once(frame: _Frame) -> int:
    """Return the number of draws whose Jacobians are evaluated at once."""
    return max(_LANES // max(len(frame.root), 1), 1)


def _solve_curve(predict: Any, frame: _Frame, y: Array) -> tuple[Array, Array, Array, Array]:
    """Solve M^(-1/2) g(m + M^(-1/2) v) = y for v by Levenberg and Marquardt's method.

    g bends only in the directions V that the data see: in all others v is y.

    Returns
    -------
    The point (D,), log N(y) + log |d y / d v| up to a constant, residual, iterations.
    """
    seen = y @ frame.basis
    unseen = y - frame.basis @ seen

    def point(v: Array) -> Array:
        return frame.mean + unseen + frame.basis @ (v / frame.root)

    def curve(v: Array) -> tuple[Array, Array]:
        change = frame.image @ (predict(point(v))[1] - frame.prediction)
        image = (v / frame.root + change) / frame.root
        return image, image

    slope = jax.jacfwd(curve, has_aux=True)

    def size(image: Array) -> Array:
        return jnp.nan_to_num(jnp.linalg.norm(seen - image), nan=jnp.inf)

    def unfinished(state: Any) -> Array:
        _, image, _, _, i = state
        return (i < _CURVE_STEPS) & (size(image) > _CURVE_TOLERANCE)

    def step(state: Any) -> Any:
        v, image, matrix, damping, i = state
        normal = matrix.T @ matrix + damping * jnp.eye(v.size)
        trial = v + jnp.linalg.solve(normal, matrix.T @ (seen - image))
        # begin where the curve leads if it is straight; if it bends away there, closer to the mean
        closer = (i == 1) & ~(size(image) <= jnp.linalg.norm(seen))
        trial = jnp.where(i == 0, seen, jnp.where(closer, 0.0, trial))
        new_matrix, new_image = slope(trial)
        better = size(new_image) < size(image)
        damping = jnp.where(better, 0.2 * damping, 4.0 * damping + 1e-3)
        chosen = (trial, new_image, new_matrix), (v, image, matrix)
        return (*(jnp.where(better, a, b) for a, b in zip(*chosen, strict=True)), damping, i + 1)

    nowhere = (seen, jnp.full_like(seen, jnp.inf), jnp.eye(seen.size, dtype=seen.dtype))
    damping, none = jnp.full((), _FIRST_DAMPING), jnp.zeros((), int)
    v, image, matrix, _, i = jax.lax.while_loop(unfinished, step, (*nowhere, damping, none))
    log_q = -0.5 * (jnp.sum(image**2) + jnp.sum(unseen**2)) + jnp.linalg.slogdet(matrix)[1]
    return point(v), log_q, size(image), i


def _newton_step(predict: Any, frame: _Frame, centre: Array, offset: Array, weight: Array) -> Array:
    """Move the centre of all draws by a step of Newton's method, in widths, with a line search."""

    def local(s: Array) -> tuple[Array, Array]:
        jacobian = frame.rooted(_jacobian(predict, centre + s), -1.0)
        return jax.grad(lambda xi: predict(xi)[0])(centre + s), jacobian.T @ jacobian

    def mean_energy(point: Array) -> Array:
        energies = jax.vmap(lambda s: predict(point + s)[0])(offset)
        energy = jnp.sum(jnp.where(weight > 0.0, weight * energies, 0.0))
        return jnp.where(jnp.isfinite(energy), energy, jnp.inf)

    gradients, metrics = map_chunks(local, offset, _at_once(frame))
    gradient, metric = weight @ gradients, jnp.einsum("n,nij->ij", weight, metrics)
    metric = metric + frame.rooted(jnp.eye(centre.size), -2.0)
    step = -frame.rooted(jnp.linalg.solve(metric, frame.rooted(gradient, -1.0)), -1.0)
    lengths = jnp.append(0.5 ** jnp.arange(8), 0.0)
    energies = jax.lax.map(lambda a: mean_energy(centre + a * step), lengths)
    best = lengths[jnp.argmin(energies)]
    return centre + best * jnp.nan_to_num(step)
