"""Vectors that hold the values of several sites."""

from __future__ import annotations

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
from jax import Array

__all__ = ["Layout", "join", "length", "split"]

#: Names of sites with the shapes of their coordinates, in the order of a vector.
Layout = tuple[tuple[str, tuple[int, ...]], ...]


def length(layout: Layout) -> int:
    """Length of the vector."""
    return sum(int(np.prod(shape)) for _, shape in layout)


def split(layout: Layout, x: Array) -> dict[str, Array]:
    """Cut vectors (..., D) into the values of sites, with the same leading axes."""
    ends = np.cumsum([int(np.prod(shape)) for _, shape in layout], dtype=int)
    *parts, _ = jnp.split(x, ends, axis=-1)
    return {
        name: part.reshape(*x.shape[:-1], *shape)
        for (name, shape), part in zip(layout, parts, strict=True)
    }


def join(layout: Layout, values: Mapping[str, Array]) -> Array:
    """Invert :func:`split` for one vector, (D,)."""
    return jnp.concatenate([jnp.ravel(values[name]) for name, _ in layout])
