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

from tengri_ppl.inference.flat import FlatTarget, Layout, flat_potential
from tengri_ppl.inference.target import Model

__all__ = ["walk"]

#: Share of steps that go the whole way, from one mode to another.
_JUMPS = 0.1
_JITTER = 1e-4


def walk(flat: FlatTarget, key: Array, x: Array, n_steps: int, n_kept: int) -> Array:
    """Move walkers.

    Parameters
    ----------
    flat : FlatTarget
        The posterior.
    key : Array
        Random key.
    x : Array, shape (n, D)
        Where they stand; n is even.
    n_steps : int
        Steps of every walker.
    n_kept : int
        The last so many of them are returned.

    Returns
    -------
    Array, shape (n_kept * n, D)
        Where they stood.
    """
    halves = x.reshape(2, -1, x.shape[1])
    path = _walk(flat.target.model, flat.layout, n_steps, n_kept, key, halves, *flat.arguments)
    return path.reshape(-1, x.shape[1])


@partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _walk(
    model: Model,
    layout: Layout,
    n_steps: int,
    n_kept: int,
    key: Array,
    halves: Array,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Array:
    def log_density(x: Array) -> Array:
        energy = jax.vmap(lambda point: flat_potential(model, layout, point, args, kwargs))(x)
        return jnp.where(jnp.isfinite(energy), -energy, -jnp.inf)

    def step(carry: tuple[Array, Array], key: Array) -> tuple[tuple[Array, Array], Array]:
        """Move the first half and exchange the halves; densities start unknown, as NaN."""
        (moving, others), (before, resting) = carry
        key_move, key_accept = jax.random.split(key)
        proposed = moving + _difference(key_move, moving, others)
        after = log_density(proposed)
        threshold = before + jnp.log(jax.random.uniform(key_accept, before.shape))
        accepted = ~(after <= threshold) & jnp.isfinite(after)
        moved = jnp.where(accepted[:, None], proposed, moving)
        known = jnp.where(accepted, after, before)
        return (jnp.stack([others, moved]), jnp.stack([resting, known])), moved

    keys = jax.random.split(key, 2 * n_steps)
    unknown = jnp.full(halves.shape[:2], jnp.nan)
    _, path = jax.lax.scan(step, (halves, unknown), keys)
    return path[-2 * n_kept :]


def _difference(key: Array, moving: Array, others: Array) -> Array:
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
