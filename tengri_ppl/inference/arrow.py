r"""Geometric variational inference where data come from members of a plate: its compiled steps.

With standard coordinates :math:`\xi = (s, x_1, ..., x_G)` of what is shared and of the members, the
Jacobian J of the whitened prediction t has the blocks :math:`S_g` and, on its diagonal,
:math:`L_g = U_g \Sigma_g V_g` with as many rows B as a member has data. So all that geometric
inference does with the metric :math:`M = 1 + J^T J` needs, with
:math:`H_g^2 = 1 + \Sigma_g^2`, only B x B matrices of every member and
:math:`\Lambda = 1 + \sum_g S_g^T U_g H_g^{-2} U_g^T S_g`: time and memory are proportional to G,
however many coordinates a member has.

Draws of geoVI, :math:`\xi - m + J^T [t(\xi) - t(m)] = y + J^T n` with standard normals y and n, are
:math:`\xi = m + y + J^T U H^{-1} v` with B unknowns :math:`v_g` of each member, for which
Levenberg's and Marquardt's method solves in units of the posterior's widths.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from tengri_ppl.inference.plated import Structure, member_likelihoods
from tengri_ppl.inference.target import Model

__all__ = [
    "Frame",
    "Mean",
    "Normals",
    "PlatedDraws",
    "draw_plated",
    "first_members",
    "frame_at",
    "improve",
]

#: (shared, local) -> log-likelihoods (G,), predictions (G, B)
Members = Callable[[Array, Array], tuple[Array, Array]]

#: Residual at which a draw counts as solved [widths].
_SOLVED = 0.05
#: Rounds of steps to get there, each with slopes of its own.
_N_ROUNDS, _N_STEPS = 3, 5
#: Before the last round, members whose residual is above this take the straight draw.
_HOPELESS = 0.3
_FIRST_DAMPING, _LESS, _MORE = 0.05, 0.2, 4.0
#: Lengths of a step that are tried, for what is shared and for every member.
_LENGTHS = (1.0, 0.5, 0.2, 0.05, 0.0)
#: Share of the members that have to have converged; some move on along thin ridges for long.
_MOST = 0.5


class Mean(NamedTuple):
    """A point in standard coordinates: shared (h,), local (G, K)."""

    shared: Array
    local: Array


class Normals(NamedTuple):
    """Standard normals from which a draw is made: shared (h,), local (G, K), data (G, B)."""

    shared: Array
    local: Array
    data: Array


class Linear(NamedTuple):
    """A model's members at a point, and derivatives.

    Log-likelihoods (G,) and predictions (G, B); derivatives of both in local coordinates, (G, K)
    and (G, B, K), and in shared ones, (G, h) and (G, B, h).
    """

    log_likelihood: Array
    prediction: Array
    slope: Array
    rows: Array
    shared_slope: Array
    columns: Array


class PlatedDraws(NamedTuple):
    """n draws around a mean.

    Offsets from it, shared (n, h) and local (n, G, K); log_q (n,); solved (n, G); and the members
    there, with leading axes of length n.
    """

    offset: Mean
    log_q: Array
    solved: Array
    there: Linear


class Frame(NamedTuple):
    """Linearised predictions at a mean.

    Attributes
    ----------
    there : Linear
        The members.
    whiten : Array, shape (G, B, B)
        H^-1 U^T.
    shared : Array, shape (G, B, h)
        H^-1 U^T S.
    singular : Array, shape (G, B)
        Sigma.
    basis : Array, shape (G, B, K)
        V; its rows are orthonormal where Sigma is not zero.
    root : Array, shape (h, h)
        Cholesky factor of Lambda.
    """

    there: Linear
    whiten: Array
    shared: Array
    singular: Array
    basis: Array
    root: Array

    @property
    def gain(self) -> Array:
        """Sigma / H, (G, B)."""
        return self.singular / jnp.hypot(1.0, self.singular)

    @property
    def rest(self) -> Array:
        """1 / H^2, (G, B)."""
        return 1.0 / (1.0 + self.singular**2)

    @property
    def log_det(self) -> Array:
        """Logarithm of the determinant of M."""
        diagonal = jnp.log(jnp.diagonal(self.root))
        return jnp.sum(jnp.log1p(self.singular**2)) + 2.0 * jnp.sum(diagonal)

    def seen(self, local: Array) -> Array:
        """V x, (G, B)."""
        return jnp.einsum("gbk,gk->gb", self.basis, local)

    def unseen(self, v: Array) -> Array:
        """V^T v, (G, K)."""
        return jnp.einsum("gbk,gb->gk", self.basis, v)

    def back(self, v: Array) -> Mean:
        """J^T U H^-1 v."""
        return Mean(jnp.einsum("gbh,gb->h", self.shared, v), self.unseen(self.gain * v))

    def straight(self, v: Array, shared: Array) -> tuple[Array, Array]:
        """Solve v' + H^-1 U^T S d = v and d - S^T U H^-1 v' = ``shared`` for v' and d."""
        d = jax.scipy.linalg.cho_solve((self.root, True), shared + self.back(v).shared)
        return v - self.shared @ d, d

    def squared(self, x: Mean, change: Array) -> Array:
        """w^T M^-1 w of w = x + J^T U H ``change``; large numbers that cancel are left out."""
        seen = self.seen(x.local)
        unseen = jnp.sum(x.local**2) - jnp.sum(seen**2)
        own = seen / jnp.hypot(1.0, self.singular) + self.singular * change
        lack = x.shared + jnp.einsum("gbh,gb->h", self.shared, change - self.gain * seen)
        common = jax.scipy.linalg.solve_triangular(self.root, lack, lower=True)
        return unseen + jnp.sum(own**2) + jnp.sum(common**2)


@partial(jax.jit, static_argnums=(0, 1, 3))
def first_members(
    model: Model,
    structure: Structure,
    key: Array,
    n: int,
    shared: Array,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Array:
    """Take the most probable of n draws of each member's prior, given what they share (h,).

    Returns
    -------
    Array, shape (G, K)
    """

    def better(i: Array, best: tuple[Array, Array]) -> tuple[Array, Array]:
        x = jax.random.normal(jax.random.fold_in(key, i), best[0].shape)
        found = member_likelihoods(model, structure, shared, x, args, kwargs)[0]
        density = jnp.nan_to_num(found - 0.5 * jnp.sum(x**2, axis=1), nan=-jnp.inf)
        chosen = density > best[1]
        return jnp.where(chosen[:, None], x, best[0]), jnp.where(chosen, density, best[1])

    nowhere = jnp.zeros((structure.size, structure.n_local)), jnp.full(structure.size, -jnp.inf)
    return jax.lax.fori_loop(0, n, better, nowhere)[0]


@partial(jax.jit, static_argnums=(0, 1))
def frame_at(
    model: Model, structure: Structure, mean: Mean, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Frame:
    """Linearise the predictions of a model's members at a mean."""

    def members(shared: Array, local: Array) -> tuple[Array, Array]:
        return member_likelihoods(model, structure, shared, local, args, kwargs)

    there = _linearised(members, mean)
    n_data, n_local = there.rows.shape[1:]
    padded = jnp.pad(there.rows, ((0, 0), (0, 0), (0, max(0, n_data - n_local))))
    left, singular, basis = jnp.linalg.svd(padded, full_matrices=False)
    whiten = jnp.swapaxes(left, 1, 2) / jnp.hypot(1.0, singular)[..., None]
    shared = whiten @ there.columns
    precision = jnp.eye(mean.shared.size) + jnp.einsum("gbh,gbi->hi", shared, shared)
    root = jnp.linalg.cholesky(precision)
    return Frame(there, whiten, shared, singular, basis[:, :, :n_local], root)


def _linearised(members: Members, point: Mean) -> Linear:
    """Take all derivatives: those of what is shared forwards, those of the members backwards."""
    (log_likelihood, prediction), tangent = jax.linearize(members, *point)
    transposed = jax.linear_transpose(tangent, *point)
    n, n_data = prediction.shape

    def row(i: Array) -> Array:
        """Differentiate datum i of all members, or, for the last i, their likelihoods."""
        data = jnp.broadcast_to(jax.nn.one_hot(i, n_data), prediction.shape)
        likelihood = jnp.full(n, i == n_data)
        return transposed((likelihood.astype(prediction.dtype), data))[1]

    rows = jnp.moveaxis(jax.lax.map(row, jnp.arange(n_data + 1)), 0, 1)
    h = point.shared.size
    if h:
        none = jnp.zeros_like(point.local)
        slopes, columns = jax.lax.map(lambda s: tangent(s, none), jnp.eye(h))
        slopes, columns = (jnp.moveaxis(x, 0, -1) for x in (slopes, columns))
    else:
        slopes, columns = jnp.zeros((n, 0)), jnp.zeros((n, n_data, 0))
    return Linear(log_likelihood, prediction, rows[:, -1], rows[:, :-1], slopes, columns)


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


@partial(jax.jit, static_argnums=(0, 1))
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

    def members(shared: Array, local: Array) -> tuple[Array, Array]:
        return member_likelihoods(model, structure, shared, local, args, kwargs)

    return jax.lax.map(partial(_draw, members, frame, mean, curved), y)


def _draw(members: Members, frame: Frame, mean: Mean, curved: Array, y: Normals) -> PlatedDraws:
    equation = _Equation(members, frame, mean, y)
    first, d = frame.straight(equation.noise - frame.gain * equation.prior, y.shared)
    n = len(first)
    every, last = jnp.full(n, curved), jnp.where(curved, _N_ROUNDS, 0)
    # begin where the curve leads if it is straight; if it bends away there, close to the mean
    away = ~(_size(equation.residual(first, d, every)) <= jnp.linalg.norm(first, axis=1))
    v = jnp.where((away & curved)[:, None], -frame.gain * equation.prior, first)

    def round_(i: Array, state: _Search) -> _Search:
        hopeless = (i == last - 1) & (i > 0) & (_size(state.residual) > _HOPELESS)
        bent = state.bent & ~hopeless
        d = jnp.where(i == last, y.shared + frame.back(state.v).shared, state.d)
        found = equation.linearised(state.v, d, bent)
        now = _Search(state.v, d, *found, jnp.where(bent, state.damping, 0.0), bent)
        n_steps = jnp.where(i == last, 0, _N_STEPS)
        return jax.lax.fori_loop(0, n_steps, lambda _, now: _step(equation, now), now)

    residual, slopes, there = jax.tree.map(
        lambda x: jnp.zeros(x.shape, x.dtype),
        jax.eval_shape(lambda: equation.linearised(v, d, every)),
    )
    start = _Search(v, d, residual, slopes, there, jnp.full(n, _FIRST_DAMPING), every)
    found = jax.lax.fori_loop(0, last + 1, round_, start)
    back = frame.back(found.v)
    offset = Mean(y.shared + back.shared, y.local + back.local)
    solved = jnp.logical_not(curved) | (found.bent & (_size(found.residual) < _SOLVED))
    log_q = _log_density(frame, offset, equation.noise, found)
    return PlatedDraws(offset, log_q, solved, found.there)


class _Equation:
    """The equation of a draw for v (G, B) and the shared step d (h,)."""

    def __init__(self, members: Members, frame: Frame, mean: Mean, y: Normals) -> None:
        self.members, self.frame, self.mean, self.y = members, frame, mean, y
        self.noise = jnp.einsum("gbc,gc->gb", frame.whiten, y.data)
        self.prior = frame.seen(y.local)

    def residual(self, v: Array, d: Array, bent: Array) -> Array:
        """Residuals (G, B) [widths]."""
        _, found = self.members(*self._point(v, d))
        return self._residual(v, d, bent, found)

    def linearised(self, v: Array, d: Array, bent: Array) -> tuple[Array, _Slopes, Linear]:
        """Residuals, all slopes, and the members there."""
        frame, one, bends = self.frame, jnp.eye(v.shape[1]), bent[:, None, None]
        there = _linearised(self.members, self._point(v, d))
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


def _size(residual: Array) -> Array:
    return jnp.nan_to_num(jnp.linalg.norm(residual, axis=1), nan=jnp.inf)


def _step(equation: _Equation, now: _Search) -> _Search:
    """Levenberg and Marquardt's step of v; that of d is as if the members were linear.

    Slopes are corrected by what the step shows of them (Broyden 1965, Math. Comp. 19, 577).
    """
    frame, slopes = equation.frame, now.slopes
    normal = jnp.einsum("gab,gac->gbc", slopes.own, slopes.own)
    normal += now.damping[:, None, None] * jnp.eye(now.v.shape[1])
    right = jnp.concatenate([now.residual[..., None], slopes.coupling], axis=-1)
    solved = jnp.linalg.solve(normal, jnp.einsum("gab,gac->gbc", slopes.own, right))
    first, across = solved[..., 0], solved[..., 1:]
    lack = equation.y.shared + frame.back(now.v + first).shared - now.d
    d = jax.scipy.linalg.cho_solve((frame.root, True), jnp.nan_to_num(lack))
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


@partial(jax.jit, static_argnums=(0, 1))
def improve(
    model: Model,
    structure: Structure,
    frame: Frame,
    mean: Mean,
    draws: PlatedDraws,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> tuple[Mean, Array, Array]:
    """Move the mean, and draws with it, to where their mean energy is less.

    For parameters see :func:`draw_plated`.

    Returns
    -------
    mean : Mean
    shift : Array
        How far what is shared and most of the members moved [widths].
    energy : Array
        Averaged over the draws.
    """
    weight = _weights(draws.solved)
    each = draws.offset, weight

    def energies(point: Mean, draw: tuple[Mean, Array]) -> tuple[Array, Array]:
        """Parts of a draw in the energies of what is shared, and of each member (G,)."""
        offset, weight = draw
        # gradients of what does not count may be NaN
        local = point.local + jnp.where(weight[:, None] > 0, offset.local, 0.0)
        shared = point.shared + offset.shared
        found = member_likelihoods(model, structure, shared, local, args, kwargs)[0]
        own = 0.5 * jnp.sum(local**2, axis=1) - found
        return 0.5 * jnp.sum(shared**2) / len(draws.log_q), weight * own

    def mean_energies(point: Mean) -> Array:
        """Those of the members, which have equal parts in the shared one (G,)."""
        common, own = jax.lax.map(partial(energies, point), each)
        energy = jnp.sum(own, axis=0) + jnp.sum(common) / structure.size
        return jnp.where(jnp.isfinite(energy), energy, jnp.inf)

    step = _natural_step(mean, draws, weight)
    lengths = jnp.array(_LENGTHS)

    def moved(a: Array, b: Array) -> Mean:
        return Mean(mean.shared + a * step.shared, mean.local + b * step.local)

    def least(a: Array) -> tuple[Array, Array]:
        """Least mean energy of every member (G,) for a shared step, and the length for it."""
        found = jax.lax.map(lambda b: mean_energies(moved(a, b)), lengths)
        return jnp.min(found, axis=0), lengths[jnp.argmin(found, axis=0)]

    energy, members = jax.lax.map(least, lengths)
    # members of which no energy is known don't vote
    known = jnp.all(jnp.isfinite(energy), axis=0)
    best = jnp.argmin(jnp.sum(jnp.where(known, energy - energy[-1], 0.0), axis=1))
    a, b = lengths[best], members[best][:, None]
    new = Mean(mean.shared + a * step.shared, mean.local + b * step.local)
    change = Mean(new.shared - mean.shared, new.local - mean.local)
    far = jnp.maximum(
        jnp.max(jnp.abs(frame.singular * frame.seen(change.local)), axis=1, initial=0.0),
        jnp.max(jnp.abs(change.local), axis=1, initial=0.0),
    )
    width = jnp.max(jnp.abs(frame.root.T @ change.shared), initial=0.0)
    return new, jnp.maximum(width, jnp.quantile(far, _MOST)), jnp.sum(energy[best])


def _weights(solved: Array) -> Array:
    """Weights (n, G) of mirrored pairs: both have to be solved, or all count if no pair is."""
    pair = jnp.repeat(jnp.all(solved.reshape(-1, 2, solved.shape[1]), axis=1), 2, axis=0)
    weight = jnp.where(jnp.any(pair, axis=0), pair, True).astype(float)
    return weight / jnp.sum(weight, axis=0)


def _natural_step(mean: Mean, draws: PlatedDraws, weight: Array) -> Mean:
    """Newton's step with gradient and metric averaged over the draws.

    The metric of a member has the rows of all draws, so that it is solved in their space.
    """
    there, part = draws.there, weight[..., None]
    local = mean.local + draws.offset.local - jnp.nan_to_num(there.slope)
    gradient = Mean(
        mean.shared - jnp.sum(part * jnp.nan_to_num(there.shared_slope), axis=(0, 1)),
        jnp.sum(part * local, axis=0),
    )
    rows, columns = (_stacked(weight, x) for x in (there.rows, there.columns))
    gram = jnp.eye(rows.shape[1]) + jnp.einsum("gbk,gck->gbc", rows, rows)
    image = jnp.einsum("gbk,gk->gb", rows, gradient.local)
    right = jnp.concatenate([image[..., None], columns], axis=-1)
    solved = jnp.linalg.solve(gram, right)
    own, across = solved[..., 0], solved[..., 1:]
    # what is shared, with the members eliminated
    matrix = jnp.eye(mean.shared.size) + jnp.einsum("gbh,gbi->hi", columns, across)
    force = gradient.shared - jnp.einsum("gbh,gb->h", columns, own)
    shared = jnp.linalg.solve(matrix, force)
    step = gradient.local - jnp.einsum("gbk,gb->gk", rows, own + across @ shared)
    return Mean(-jnp.nan_to_num(shared), -jnp.nan_to_num(step))


def _stacked(weight: Array, x: Array) -> Array:
    """Weighted rows (G, n B, ...) of all draws (n, G, B, ...)."""
    rooted = jnp.sqrt(weight)[..., None, None] * jnp.nan_to_num(x)
    return jnp.moveaxis(rooted, 0, 1).reshape(x.shape[1], -1, x.shape[3])
