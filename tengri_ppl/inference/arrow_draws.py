r"""Draws of MGVI and geoVI where data come from the members of a plate.

Draws of geoVI, :math:`\xi - m + J^T [t(\xi) - t(m)] = y + J^T n` with standard normals y and n, are
:math:`\xi = m + y + J^T U H^{-1} v` in the notation of :mod:`~tengri_ppl.inference.arrow`, with B
unknowns :math:`v_g` of each member, for which Levenberg's and Marquardt's method solves in units of
the posterior's widths.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from tengri_ppl.inference.arrow import Frame, Linear, Mean, Predict, linearised, predictions
from tengri_ppl.inference.plated import Structure
from tengri_ppl.inference.target import Model
from tengri_ppl.runtime.compiled import Compiled

__all__ = ["Normals", "PlatedDraws", "draw_evaluations", "draw_plated"]

#: Residual at which a draw counts as solved [widths].
_SOLVED = 0.05
#: Rounds of steps to get there, each with slopes of its own.
_N_ROUNDS, _N_STEPS = 8, 5
#: Share of the members that is enough to go on to the last rounds.
_MOST_SOLVED = 0.95
#: Before the last round, members whose residual is above this take the straight draw.
_HOPELESS = 0.3
_FIRST_DAMPING, _LESS, _MORE = 0.05, 0.2, 4.0


class Normals(NamedTuple):
    """Standard normals from which a draw is made: shared (h,), local (G, K), data (G, B)."""

    shared: Array
    local: Array
    data: Array


class PlatedDraws(NamedTuple):
    """n draws around a mean.

    Offsets from it, shared (n, h) and local (n, G, K); log_q (n,); solved (n, G); and the members
    there, with leading axes of length n.
    """

    offset: Mean
    log_q: Array
    solved: Array
    there: Linear


class _Slopes(NamedTuple):
    """Derivatives of the negative residual in v (G, B, B) and d (G, B, h)."""

    own: Array
    coupling: Array


class _Search(NamedTuple):
    """A draw that is being solved for: v (G, B) and d (h,).

    With the residual (G, B) [widths], the slopes, the members there, the damping (G,), and whether
    members follow the curve (G,).
    """

    v: Array
    d: Array
    residual: Array
    slopes: _Slopes
    there: Linear
    damping: Array
    bent: Array


def draw_evaluations(frame: Frame, curved: bool) -> int:
    """Count predictions of all members, and derivatives of them, that a draw takes."""
    linearised = 1 + sum(frame.shared.shape[1:])
    return 1 + linearised + curved * _N_ROUNDS * (linearised + _N_STEPS)


@partial(Compiled, static_argnums=(0, 1))
def draw_plated(
    model: Model,
    structure: Structure,
    frame: Frame,
    mean: Mean,
    y: Normals,
    curved: Array,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> PlatedDraws:
    """Turn n standard normals into draws around a mean, one after the other.

    Parameters
    ----------
    model : callable
        NumPyro model function.
    structure : Structure
        Its plate.
    frame : Frame
        Of the mean.
    mean : Mean
        The point.
    y : Normals
        With leading axes of length n.
    curved : Array of bool
        Whether draws follow the curvature (geoVI) or not (MGVI).
    args, kwargs
        Of the model.
    """
    predict = predictions(model, structure, args, kwargs)
    return jax.lax.map(partial(_draw, predict, frame, mean, curved), y)


def _draw(predict: Predict, frame: Frame, mean: Mean, curved: Array, y: Normals) -> PlatedDraws:
    equation = _Equation(predict, frame, mean, y)
    first, d = frame.straight(equation.noise - frame.gain * equation.prior, y.shared)
    n = len(first)
    every, last = jnp.full(n, curved), jnp.where(curved, _N_ROUNDS, 0)
    # begin where the curve leads if it is straight; if it bends away there, close to the mean
    away = ~(_size(equation.residual(first, d, every)) <= jnp.linalg.norm(first, axis=1))
    v = jnp.where((away & curved)[:, None], -frame.gain * equation.prior, first)

    def round_(carry: tuple[Array, _Search]) -> tuple[Array, _Search]:
        i, state = carry
        hopeless = (i == last - 1) & (i > 0) & (_size(state.residual) > _HOPELESS)
        bent = state.bent & ~hopeless
        d = jnp.where(i == last, y.shared + frame.back(state.v).shared, state.d)
        found = equation.linearised(state.v, d, bent)
        now = _Search(state.v, d, *found, jnp.where(bent, state.damping, 0.0), bent)
        n_steps = jnp.where(i == last, 0, _N_STEPS)
        now = jax.lax.fori_loop(0, n_steps, lambda _, now: _step(equation, now), now)
        # once most are there, the next round is the one that gives the others up
        return jnp.where(_nearly_solved(equation, now), jnp.maximum(i, last - 2), i) + 1, now

    residual, slopes, there = jax.tree.map(
        lambda x: jnp.zeros(x.shape, x.dtype),
        jax.eval_shape(lambda: equation.linearised(v, d, every)),
    )
    start = _Search(v, d, residual, slopes, there, jnp.full(n, _FIRST_DAMPING), every)
    none = jnp.zeros((), int)
    _, found = jax.lax.while_loop(lambda carry: carry[0] <= last, round_, (none, start))
    back = frame.back(found.v)
    offset = Mean(y.shared + back.shared, y.local + back.local)
    solved = jnp.logical_not(curved) | (found.bent & (_size(found.residual) < _SOLVED))
    log_q = _log_density(frame, offset, equation.noise, found)
    return PlatedDraws(offset, log_q, solved, found.there)


class _Equation:
    """The equation of a draw for v (G, B) and the shared step d (h,)."""

    def __init__(self, predict: Predict, frame: Frame, mean: Mean, y: Normals) -> None:
        self.predict, self.frame, self.mean, self.y = predict, frame, mean, y
        self.noise = jnp.einsum("gbc,gc->gb", frame.whiten, y.data)
        self.prior = frame.seen(y.local)

    def residual(self, v: Array, d: Array, bent: Array) -> Array:
        """Residuals (G, B) [widths]."""
        _, found = self.predict(*self._point(v, d))
        return self._residual(v, d, bent, found)

    def linearised(self, v: Array, d: Array, bent: Array) -> tuple[Array, _Slopes, Linear]:
        """Residuals, all slopes, and the members there."""
        frame, one, bends = self.frame, jnp.eye(v.shape[1]), bent[:, None, None]
        there = linearised(self.predict, self._point(v, d))
        turned = frame.whiten @ jnp.einsum("gbk,gck->gbc", there.rows, frame.basis)
        slope = jnp.where(bends, turned, frame.gain[..., None] * one)
        slopes = _Slopes(
            frame.rest[..., None] * one + slope * frame.gain[:, None],
            jnp.where(bends, frame.whiten @ there.columns, frame.shared),
        )
        return self._residual(v, d, bent, there.prediction), slopes, there

    def _point(self, v: Array, d: Array) -> Mean:
        local = self.y.local + self.frame.unseen(self.frame.gain * v)
        return Mean(self.mean.shared + d, self.mean.local + local)

    def _residual(self, v: Array, d: Array, bent: Array, found: Array) -> Array:
        frame = self.frame
        change = jnp.einsum("gbc,gc->gb", frame.whiten, found - frame.there.prediction)
        if_straight = frame.shared @ d + frame.gain * (self.prior + frame.gain * v)
        return self.noise - frame.rest * v - jnp.where(bent[:, None], change, if_straight)


def _nearly_solved(equation: _Equation, now: _Search) -> Array:
    """Tell whether most members are solved, and what is shared is where they say."""
    lack = equation.y.shared + equation.frame.back(now.v).shared - now.d
    near = jnp.linalg.norm(equation.frame.root.T @ lack) < 0.5 * _SOLVED
    return near & (jnp.mean(_size(now.residual) < _SOLVED) > _MOST_SOLVED)


def _size(residual: Array) -> Array:
    return jnp.nan_to_num(jnp.linalg.norm(residual, axis=1), nan=jnp.inf)


def _step(equation: _Equation, now: _Search) -> _Search:
    """Levenberg and Marquardt's step of v and d; far from their curves members count as straight.

    Slopes are corrected by what the step shows of them (Broyden 1965, Math. Comp. 19, 577).
    """
    frame, slopes = equation.frame, now.slopes
    normal = jnp.einsum("gab,gac->gbc", slopes.own, slopes.own)
    normal += now.damping[:, None, None] * jnp.eye(now.v.shape[1])
    right = jnp.concatenate([now.residual[..., None], slopes.coupling], axis=-1)
    solved = jnp.linalg.solve(normal, jnp.einsum("gab,gac->gbc", slopes.own, right))
    first, across = solved[..., 0], solved[..., 1:]
    lack = equation.y.shared + frame.back(now.v + first).shared - now.d
    close = (_size(now.residual) < 1.0)[:, None, None]
    answer = jnp.where(close, across, frame.shared)
    matrix = jnp.eye(now.d.size) + jnp.einsum("gbh,gbi->hi", frame.shared, answer)
    d = jnp.nan_to_num(jnp.linalg.solve(matrix, lack))
    # no further than a width
    d = d / jnp.maximum(1.0, jnp.linalg.norm(frame.root.T @ d))
    move = jnp.nan_to_num(first - across @ d)
    stay = now.residual - slopes.coupling @ d
    tried = equation.residual(now.v + move, now.d + d, now.bent)
    better = _size(tried) < _size(stay)
    surprise = stay - tried - jnp.einsum("gab,gb->ga", slopes.own, move)
    square = jnp.maximum(jnp.sum(move**2, axis=1), 1e-20)[:, None, None]
    own = slopes.own + jnp.nan_to_num(surprise[..., None] * move[:, None] / square)
    damping = now.damping * jnp.where(better, _LESS, _MORE) + jnp.where(better, 0.0, 1e-3)
    return _Search(
        jnp.where(better[:, None], now.v + move, now.v),
        now.d + d,
        jnp.where(better[:, None], tried, stay),
        slopes._replace(own=own),
        now.there,
        damping,
        now.bent,
    )


def _log_density(frame: Frame, offset: Mean, noise: Array, now: _Search) -> Array:
    """Logarithm of the density of a draw: that of the normals, times the slope of the curve."""
    squared = frame.squared(offset, noise - frame.rest * now.v - now.residual)
    across = jnp.linalg.solve(now.slopes.own, now.slopes.coupling)
    matrix = jnp.eye(offset.shared.size) + jnp.einsum("gbh,gbi->hi", frame.shared, across)
    log_slope = jnp.sum(jnp.log1p(frame.singular**2)) + jnp.sum(
        jnp.linalg.slogdet(now.slopes.own)[1]
    )
    log_slope += jnp.linalg.slogdet(matrix)[1]
    n = offset.shared.size + offset.local.size
    return log_slope - 0.5 * (squared + frame.log_det + n * jnp.log(2.0 * jnp.pi))
