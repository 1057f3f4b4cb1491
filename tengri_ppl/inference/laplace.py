"""Gaussian approximations at the modes of a posterior."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from tengri_ppl.inference.flat import FlatTarget, Layout, flat_potential
from tengri_ppl.inference.target import Model

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


def curvature(flat: FlatTarget, x: Array) -> Curvature:
    """Hessian of the potential at points (n, D), by automatic differentiation."""
    return _curvature(flat.target.model, flat.layout, x, *flat.arguments)


@partial(jax.jit, static_argnums=(0, 1))
def _curvature(
    model: Model, layout: Layout, x: Array, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Curvature:
    def energy(point: Array) -> Array:
        return flat_potential(model, layout, point, args, kwargs)

    hessian = jax.lax.map(jax.hessian(energy), x)
    values, vectors = jnp.linalg.eigh(jnp.nan_to_num(hessian))
    variance = 1.0 / jnp.clip(values, _WIDEST**-2, _NARROWEST**-2)
    covariance = (vectors * variance[:, None, :]) @ jnp.swapaxes(vectors, 1, 2)
    return Curvature(values, covariance)
