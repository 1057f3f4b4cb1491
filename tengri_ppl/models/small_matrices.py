"""Cholesky factors of many small matrices, written out as operations on all of them at once.

Libraries treat one matrix after the other, which for a handful of rows takes longer than the
arithmetic, and so does the compilation of their derivatives.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

__all__ = ["cholesky", "solve_lower", "solve_upper"]


def cholesky(matrix: Array) -> Array:
    """Lower Cholesky factors of symmetric positive matrices (..., D, D)."""
    dimension = matrix.shape[-1]
    columns: list[Array] = []
    for j in range(dimension):
        column = matrix[..., j]
        for earlier in columns:
            column = column - earlier * earlier[..., j : j + 1]
        column = column / jnp.sqrt(column[..., j : j + 1])
        columns.append(jnp.where(jnp.arange(dimension) >= j, column, 0.0))
    return jnp.stack(columns, axis=-1) if columns else matrix


def solve_lower(factor: Array, b: Array) -> Array:
    """Solve L x = b for lower triangular L (..., D, D) and b (..., D)."""
    x: list[Array] = []
    for i in range(b.shape[-1]):
        rest = sum((factor[..., i, j] * x[j] for j in range(i)), start=jnp.zeros(()))
        x.append((b[..., i] - rest) / factor[..., i, i])
    return jnp.stack(x, axis=-1) if x else b


def solve_upper(factor: Array, b: Array) -> Array:
    """Solve L^T x = b for lower triangular L (..., D, D) and b (..., D)."""
    flipped = jnp.swapaxes(factor, -1, -2)[..., ::-1, ::-1]
    return solve_lower(flipped, b[..., ::-1])[..., ::-1]
