"""The mean of MGVI and geoVI where data come from the members of a plate."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from tengri_ppl.inference.arrow import Frame, Mean, predictions
from tengri_ppl.inference.arrow_draws import PlatedDraws
from tengri_ppl.inference.plated import Structure
from tengri_ppl.inference.target import Model
from tengri_ppl.runtime.compiled import Compiled

__all__ = ["IMPROVE_EVALUATIONS", "first_members", "improve"]

#: Lengths of a step that are tried, for what is shared and for every member.
_LENGTHS = (1.0, 0.5, 0.2, 0.05, 0.0)
#: Predictions of all members for each draw.
IMPROVE_EVALUATIONS = len(_LENGTHS) ** 2
#: What is shared moves no farther at once [widths of the prior].
_FARTHEST = 0.5
#: Share of the members that have to have converged; some move on along thin ridges for long.
_MOST = 0.5


@partial(Compiled, static_argnums=(0, 1, 3))
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
        found = predictions(model, structure, args, kwargs)(shared, x)[0]
        density = jnp.nan_to_num(found - 0.5 * jnp.sum(x**2, axis=1), nan=-jnp.inf)
        chosen = density > best[1]
        return jnp.where(chosen[:, None], x, best[0]), jnp.where(chosen, density, best[1])

    nowhere = jnp.zeros((structure.size, structure.n_local)), jnp.full(structure.size, -jnp.inf)
    return jax.lax.fori_loop(0, n, better, nowhere)[0]


@partial(Compiled, static_argnums=(0, 1))
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
    predict = predictions(model, structure, args, kwargs)
    weight, heard = _weights(draws.solved)
    each = draws.offset, weight

    def energies(point: Mean, draw: tuple[Mean, Array]) -> tuple[Array, Array]:
        """Parts of a draw in the energies of what is shared, and of each member (G,)."""
        offset, weight = draw
        # what does not count may be NaN
        local = point.local + jnp.where(weight[:, None] > 0, offset.local, 0.0)
        shared = point.shared + offset.shared
        found = predict(shared, local)[0]
        own = 0.5 * jnp.sum(local**2, axis=1) - found
        return 0.5 * jnp.sum(shared**2) / len(draws.log_q), weight * own

    def mean_energies(point: Mean) -> Array:
        """Those of the members, which have equal parts in the shared one (G,)."""
        common, own = jax.lax.map(partial(energies, point), each)
        energy = jnp.sum(own, axis=0) + jnp.sum(common) / structure.size
        return jnp.where(jnp.isfinite(energy), energy, jnp.inf)

    step = _natural_step(mean, draws, weight, heard)
    lengths = jnp.array(_LENGTHS)

    def moved(a: Array, b: Array) -> Mean:
        return Mean(mean.shared + a * step.shared, mean.local + b * step.local)

    def least(a: Array) -> tuple[Array, Array]:
        """Least mean energy of every member (G,) for a shared step, and the length for it."""
        found = jax.lax.map(lambda b: mean_energies(moved(a, b)), lengths)
        return jnp.min(found, axis=0), lengths[jnp.argmin(found, axis=0)]

    energy, members = jax.lax.map(least, lengths)
    known = heard & jnp.all(jnp.isfinite(energy), axis=0)
    best = jnp.argmin(jnp.sum(jnp.where(known, energy - energy[-1], 0.0), axis=1))
    a, b = lengths[best], members[best][:, None]
    new = Mean(mean.shared + a * step.shared, mean.local + b * step.local)
    change = Mean(new.shared - mean.shared, new.local - mean.local)
    return new, _shift(frame, change), jnp.sum(energy[best])


def _shift(frame: Frame, change: Mean) -> Array:
    """How far what is shared and most of the members moved [widths]."""
    far = jnp.maximum(
        jnp.max(jnp.abs(frame.singular * frame.seen(change.local)), axis=1, initial=0.0),
        jnp.max(jnp.abs(change.local), axis=1, initial=0.0),
    )
    width = jnp.max(jnp.abs(frame.root.T @ change.shared), initial=0.0)
    return jnp.maximum(width, jnp.quantile(far, _MOST))


def _weights(solved: Array) -> tuple[Array, Array]:
    """Weights (n, G) of mirrored pairs: both have to be solved, or all count if no pair is.

    In this case what is shared should not hear of the member (G,), whose draws say nothing yet.
    """
    pair = jnp.repeat(jnp.all(solved.reshape(-1, 2, solved.shape[1]), axis=1), 2, axis=0)
    heard = jnp.any(pair, axis=0)
    weight = jnp.where(heard, pair, True).astype(float)
    return weight / jnp.sum(weight, axis=0), heard


def _natural_step(mean: Mean, draws: PlatedDraws, weight: Array, heard: Array) -> Mean:
    """Newton's step with gradient and metric averaged over the draws.

    The metric of a member has the rows of all draws, so that it is solved in their space.
    """
    there, part = draws.there, weight[..., None]
    local = mean.local + draws.offset.local - jnp.nan_to_num(there.slope)
    slope = jnp.where(heard[:, None], part * jnp.nan_to_num(there.shared_slope), 0.0)
    common = mean.shared + jnp.mean(draws.offset.shared, axis=0)
    gradient = Mean(common - jnp.sum(slope, axis=(0, 1)), jnp.sum(part * local, axis=0))
    rows, columns = _stacked(weight, there.rows), _stacked(weight * heard, there.columns)
    gram = jnp.eye(rows.shape[1]) + jnp.einsum("gbk,gck->gbc", rows, rows)
    image = jnp.einsum("gbk,gk->gb", rows, gradient.local)
    right = jnp.concatenate([image[..., None], columns], axis=-1)
    solved = jnp.linalg.solve(gram, right)
    own, across = solved[..., 0], solved[..., 1:]
    # what is shared, with the members eliminated
    matrix = jnp.eye(mean.shared.size) + jnp.einsum("gbh,gbi->hi", columns, across)
    force = gradient.shared - jnp.einsum("gbh,gb->h", columns, own)
    shared = jnp.nan_to_num(jnp.linalg.solve(matrix, force))
    shared = shared / jnp.maximum(1.0, jnp.max(jnp.abs(shared), initial=0.0) / _FARTHEST)
    step = gradient.local - jnp.einsum("gbk,gb->gk", rows, own + across @ shared)
    return Mean(-shared, -jnp.nan_to_num(step))


def _stacked(weight: Array, x: Array) -> Array:
    """Weighted rows (G, n B, ...) of all draws (n, G, B, ...)."""
    rooted = jnp.sqrt(weight)[..., None, None] * jnp.nan_to_num(x)
    return jnp.moveaxis(rooted, 0, 1).reshape(x.shape[1], -1, x.shape[3])
