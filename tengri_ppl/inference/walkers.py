"""An ensemble of walkers that learns the shape of a posterior in large batches of densities.

Differential evolution (ter Braak 2006, Statistics and Computing 16, 239): a walker moves along the
difference of two others, so that steps have the posterior's own scales and directions. The walkers
move in two halves, each along differences of the other, all of a half at once (as in Foreman-Mackey
et al. 2013, PASP 125, 306). No gradients are needed.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from tengri_ppl.distributions.layout import Layout
from tengri_ppl.inference.flat import FlatTarget, flat_log_density
from tengri_ppl.inference.target import Model
from tengri_ppl.runtime.compiled import Compiled
from tengri_ppl.runtime.memory import release_memory
from tengri_ppl.runtime.threads import map_in_threads

__all__ = ["difference", "walk"]

#: Share of steps that go the whole way, from one mode to another.
_JUMPS = 0.1
_JITTER = 1e-4
_N_GROUPS = 2


def walk(flat: FlatTarget, key: Array, x: Array, n_steps: int, n_kept: int) -> Array:
    """Move walkers, in two groups that know nothing of each other and run at the same time.

    Parameters
    ----------
    flat : FlatTarget
        The posterior.
    key : Array
        Random key.
    x : Array, shape (n, D)
        Where they stand; n is a multiple of four.
    n_steps : int
        Steps of every walker, at least ``n_kept``.
    n_kept : int
        The last so many of them are returned.

    Returns
    -------
    Array, shape (n_kept * n, D)
        Where they stood.
    """
    groups = x.reshape(_N_GROUPS, 2, -1, x.shape[1])
    keys = jax.random.split(key, _N_GROUPS)
    fixed = flat.target.model, flat.layout, n_kept

    def move(group: int, n: int = n_steps) -> Array:
        return _walk(*fixed, n, keys[group], groups[group], *flat.arguments)

    move(0, 0)  # compiles
    release_memory()
    paths = map_in_threads(move, range(_N_GROUPS))
    return jnp.concatenate([path.reshape(-1, x.shape[1]) for path in paths])


@partial(Compiled, static_argnums=(0, 1, 2))
def _walk(
    model: Model,
    layout: Layout,
    n_kept: int,
    n_steps: Array,
    key: Array,
    halves: Array,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Array:
    """Move one group; return the last positions of its halves, in any order."""

    def step(i: Array, carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        """Move the first half and exchange the halves; densities start unknown, as NaN."""
        (moving, others), (before, resting), path = carry
        key_move, key_accept = jax.random.split(jax.random.fold_in(key, i))
        proposed = moving + difference(key_move, moving, others)
        after = flat_log_density(model, layout, proposed, args, kwargs)
        threshold = before + jnp.log(jax.random.uniform(key_accept, before.shape))
        accepted = ~(after <= threshold) & jnp.isfinite(after)
        moved = jnp.where(accepted[:, None], proposed, moving)
        known = jnp.where(accepted, after, before)
        path = path.at[i % len(path)].set(moved)
        return jnp.stack([others, moved]), jnp.stack([resting, known]), path

    unknown = jnp.full(halves.shape[:2], jnp.nan)
    path = jnp.zeros((2 * n_kept, *halves.shape[1:]))
    return jax.lax.fori_loop(0, 2 * n_steps, step, (halves, unknown, path))[2]


def difference(key: Array, moving: Array, others: Array) -> Array:
    """Scaled differences of pairs of the other half, (n, D)."""
    n, dimension = moving.shape
    key_first, key_second, key_jump, key_jitter = jax.random.split(key, 4)
    first = jax.random.randint(key_first, (n,), 0, n)
    second = (first + jax.random.randint(key_second, (n,), 1, n)) % n
    scale = jnp.where(
        jax.random.uniform(key_jump, (n, 1)) < _JUMPS, 1.0, 2.38 / jnp.sqrt(2.0 * dimension)
    )
    jitter = _JITTER * jax.random.normal(key_jitter, moving.shape)
    return scale * (others[first] - others[second]) + jitter
