"""Gaussian approximations at the modes of a posterior."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from tengri_ppl.distributions.layout import Layout
from tengri_ppl.inference.flat import FlatTarget, flat_potential
from tengri_ppl.inference.target import Model
from tengri_ppl.runtime.compiled import Compiled
from tengri_ppl.runtime.memory import release_memory

__all__ = ["Curvature", "curvature", "log_volume"]

#: Widths beyond these are cut [units of the coordinates]: flat directions have no curvature.
_WIDEST, _NARROWEST = 3.0, 1e-6


class Curvature(NamedTuple):
    """Curvature of the potential at points.

    Attributes
    ----------
    eigenvalues : Array, shape (n, D)
        Of the Hessian, increasing.
    covariance : Array, shape (n, D, D)
        Inverse of the Hessian, where directions of little, no or negative curvature have a
        standard deviation of 3.
    """

    eigenvalues: Array
    covariance: Array

    @property
    def factor(self) -> Array:
        """Lower Cholesky factors of the covariance, (n, D, D)."""
        return jnp.linalg.cholesky(self.covariance)

    @property
    def n_flat(self) -> Array:
        """Number of directions whose curvature is not positive, (n,)."""
        return jnp.sum(self.eigenvalues <= 0.0, axis=-1)


def log_volume(factor: Array) -> Array:
    """Logarithm of the determinants of triangular matrices (..., D, D)."""
    return jnp.sum(jnp.log(jnp.diagonal(factor, axis1=-2, axis2=-1)), axis=-1)


def curvature(flat: FlatTarget, x: Array, *, exact: bool = True) -> Curvature:
    """Curvature of the potential at points (n, D).

    Parameters
    ----------
    flat : FlatTarget
        The posterior.
    x : Array, shape (n, D)
        Points.
    exact : bool
        Differentiate twice; else take central differences of the gradient, whose program is
        compiled in half the time and memory, and which is enough to place start points.
    """
    bend = _curvature(flat.target.model, flat.layout, exact, x, *flat.arguments)
    release_memory()
    return bend


@partial(Compiled, static_argnums=(0, 1, 2))
def _curvature(
    model: Model,
    layout: Layout,
    exact: bool,
    x: Array,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Curvature:
    def energy(point: Array) -> Array:
        return flat_potential(model, layout, point, args, kwargs)

    hessian = jax.lax.map(jax.hessian(energy) if exact else partial(_differences, energy), x)
    values, vectors = jnp.linalg.eigh(jnp.nan_to_num(hessian))
    variance = 1.0 / jnp.clip(values, _WIDEST**-2, _NARROWEST**-2)
    covariance = (vectors * variance[:, None, :]) @ jnp.swapaxes(vectors, 1, 2)
    return Curvature(values, covariance)


def _differences(energy: Callable[[Array], Array], x: Array) -> Array:
    """Hessian at one point (D,) by central differences of the gradient."""
    # rounding and the third derivative err about equally for coordinates of order one
    step = jnp.finfo(x.dtype).eps ** (1.0 / 3.0)
    offsets = step * jnp.eye(x.size, dtype=x.dtype)
    gradient = jax.vmap(jax.grad(energy))(jnp.concatenate([x + offsets, x - offsets]))
    hessian = (gradient[: x.size] - gradient[x.size :]) / (2.0 * step)
    return 0.5 * (hessian + hessian.T)
