"""Evaluate many draws in chunks of one size, so that one program of bounded memory serves them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

__all__ = ["CHUNK", "largest_divisor", "map_chunks", "map_draws", "points_at_once"]

#: Draws per evaluation.
CHUNK = 500
#: Coordinates of all of them, if there are fewer.
_COORDINATES = 300_000


def points_at_once(dimension: int) -> int:
    """Return how many points with so many coordinates are evaluated at the same time."""
    return min(CHUNK, max(1, _COORDINATES // max(1, dimension)))


def largest_divisor(n: int, at_most: int | None = None) -> int:
    """Return the largest divisor of ``n`` that is not above a limit.

    Chunks of that size leave no remainder, which would be compiled as a second program.
    """
    limit = n if at_most is None else min(n, at_most)
    return next(k for k in range(limit, 0, -1) if n % k == 0)


def map_chunks(function: Callable[[Any], Any], points: Any, at_most: int) -> Any:
    """Map a function over the leading axis, some points at a time, inside a compiled function.

    As :func:`jax.lax.map` with ``batch_size``, which compiles the function a second time for a last
    chunk that is smaller. Here all chunks have one size; where no divisor of the number of points
    is about as large as the limit, the last chunk is filled up.

    Parameters
    ----------
    function : callable
        Function of a point.
    points : pytree of Array, shape (n, ...)
        The points.
    at_most : int
        Points at a time.

    Returns
    -------
    pytree of Array, shape (n, ...)
    """
    n = len(jax.tree.leaves(points)[0])
    if n <= at_most:
        return jax.vmap(function)(points)
    size = largest_divisor(n, at_most)
    if 2 * size <= at_most:
        size = -(-n // -(-n // at_most))
    n_chunk = -(-n // size)
    filled = points
    if n < n_chunk * size:
        every = jnp.arange(n_chunk * size) % n
        filled = jax.tree.map(lambda x: x[every], points)
    chunks = jax.tree.map(lambda x: x.reshape(n_chunk, size, *x.shape[1:]), filled)
    found = jax.lax.map(jax.vmap(function), chunks)
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[:n], found)


def map_draws(
    function: Callable[[dict[str, np.ndarray], Array], Any],
    draws: Mapping[str, np.ndarray],
    key: Array,
) -> Any:
    """Call a compiled function on chunks of draws; the last chunk is filled up and cut.

    Parameters
    ----------
    function : callable
        (draws of a leading length, random key) -> pytree of arrays of that leading length, which
        is the same for all chunks: `CHUNK`, or less where a draw has many coordinates.
    draws : mapping of str to ndarray, shape (chain, draw, ...)
        The draws.
    key : Array
        Random key.

    Returns
    -------
    pytree of ndarray, shape (chain, draw, ...)
    """
    shape = np.shape(next(iter(draws.values())))[:2]
    n = int(np.prod(shape))
    size = points_at_once(sum(int(np.prod(np.shape(v)[2:])) for v in draws.values()))
    n_chunk = -(-n // size)
    flat = {k: np.resize(v, (n_chunk * size, *np.shape(v)[2:])) for k, v in draws.items()}
    out: Any = None
    for i in range(n_chunk):
        rows = slice(i * size, (i + 1) * size)
        chunk = {k: v[rows] for k, v in flat.items()}
        found = jax.device_get(function(chunk, jax.random.fold_in(key, i)))
        if out is None:
            out = jax.tree.map(lambda x: np.empty((n_chunk * size, *x.shape[1:]), x.dtype), found)
        for filled, part in zip(jax.tree.leaves(out), jax.tree.leaves(found), strict=True):
            filled[rows] = part
    return jax.tree.map(lambda x: x[:n].reshape(*shape, *x.shape[1:]), out)
