"""Linear interpolation on a grid, as weights on its points."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

__all__ = ["linear_weights"]


def linear_weights(x: ArrayLike, nodes: ArrayLike) -> Array:
    """Return the weights of linear interpolation between grid points, constant outside of them.

    Parameters
    ----------
    x : array_like, scalar
        Where to interpolate.
    nodes : array_like, shape (n_node,)
        Grid points, increasing.

    Returns
    -------
    Array, shape (n_node,)
        Weights that sum to one; ``weights @ values`` interpolates the values at the grid points.
    """
    nodes = jnp.asarray(nodes)
    passed = jnp.clip((x - nodes[:-1]) / jnp.diff(nodes), 0.0, 1.0)
    # By a matrix product, which is computed once, where differences of neighbours would be
    # computed anew for every element of what the weights are multiplied with.
    n = nodes.size
    return jnp.eye(n)[0] + passed @ (jnp.eye(n - 1, n, 1) - jnp.eye(n - 1, n))
