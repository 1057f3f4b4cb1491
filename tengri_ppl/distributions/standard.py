r"""Priors as functions of standard normals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax import Array
from jax.scipy.special import ndtr, ndtri
from numpyro.distributions.truncated import (
    LeftTruncatedDistribution,
    RightTruncatedDistribution,
    TwoSidedTruncatedDistribution,
)

from tengri_ppl.distributions import quantiles
from tengri_ppl.errors import ParameterError

__all__ = ["check_latent", "from_standard", "standard_shape", "to_standard"]

_TINY = 1e-37
_ALMOST_ONE = 1.0 - 6e-8

_TRUNCATED = (
    LeftTruncatedDistribution,
    RightTruncatedDistribution,
    TwoSidedTruncatedDistribution,
)
_UNBOUNDED = (("low", -np.inf), ("high", np.inf))
#: Families with quantiles of our own, which can be differentiated everywhere.
_OWN_QUANTILES = (dist.Normal, dist.HalfNormal, dist.StudentT, dist.Gamma, dist.Beta)


def check_latent(name: str, site: Mapping[str, Any]) -> None:
    """Refuse a latent site of a trace whose prior is scaled."""
    scale = site["scale"]
    if scale is not None and not (np.ndim(scale) == 0 and scale == 1.0):
        raise ParameterError(
            f"the prior of site {name!r} is scaled (handlers.scale), so it is no function of "
            "standard normals; use method='mcmc_nuts'"
        )


def standard_shape(name: str, fn: Any) -> tuple[int, ...]:
    """Return the shape of the standard normals that a prior is a function of.

    Raises
    ------
    ParameterError
        If it is not known as one.
    """
    kernel = _kernel(fn)
    outer = tuple(fn.shape())
    batch = outer[: len(outer) - kernel.event_dim]
    if isinstance(kernel, dist.Dirichlet):
        return (*batch, outer[-1] - 1)
    if isinstance(kernel, dist.TransformedDistribution):
        inner = standard_shape(name, kernel.base_dist)
        return batch + inner[len(kernel.batch_shape) :]
    own = (*_OWN_QUANTILES, dist.MultivariateNormal)
    if isinstance(kernel, own) or _has_quantiles(kernel):
        return outer
    raise ParameterError(
        f"the prior of site {name!r} ({type(kernel).__name__}) is not known as a function of "
        "standard normals; reparametrise it as one, or use method='mcmc_nuts'"
    )


def _has_quantiles(kernel: Any) -> bool:
    """Tell whether a scalar distribution has a cdf and its inverse, a user's own ones too."""
    methods = (getattr(type(kernel), name) for name in ("cdf", "icdf"))
    bases = (dist.Distribution.cdf, dist.Distribution.icdf)
    own = all(method is not base for method, base in zip(methods, bases, strict=True))
    return own and kernel.event_dim == 0 and not kernel.is_discrete


def _kernel(fn: Any) -> Any:
    """Unwrap expanded and independent distributions."""
    while isinstance(fn, dist.ExpandedDistribution | dist.Independent):
        fn = fn.base_dist
    return fn


def from_standard(name: str, fn: Any, xi: Array) -> Array:
    """Turn standard normals into a variable with the distribution ``fn``."""
    kernel = _kernel(fn)
    if isinstance(kernel, dist.Normal):
        return kernel.loc + kernel.scale * xi
    if isinstance(kernel, dist.HalfNormal):
        upper = -ndtri(0.5 * ndtr(-jnp.where(xi > 0.0, xi, 1.0)))
        lower = ndtri(0.5 + 0.5 * ndtr(jnp.where(xi > 0.0, -1.0, xi)))
        return kernel.scale * jnp.where(xi > 0.0, upper, lower)
    if isinstance(kernel, dist.StudentT):
        return kernel.loc + kernel.scale * quantiles.student_t(xi, kernel.df)
    if isinstance(kernel, dist.Gamma):
        return quantiles.gamma(xi, kernel.concentration) / kernel.rate
    if isinstance(kernel, dist.Beta):
        return quantiles.beta(xi, kernel.concentration1, kernel.concentration0)
    if isinstance(kernel, _TRUNCATED) and isinstance(kernel.base_dist, dist.Normal):
        base, low, high = kernel.base_dist, *(getattr(kernel, k, f) for k, f in _UNBOUNDED)
        return quantiles.truncated_normal(xi, base.loc, base.scale, low, high)
    if isinstance(kernel, dist.MultivariateNormal):
        return kernel.loc + jnp.einsum("...ij,...j->...i", kernel.scale_tril, xi)
    if isinstance(kernel, dist.Dirichlet):
        return _dirichlet(kernel.concentration, xi)
    if isinstance(kernel, dist.TransformedDistribution):
        value = from_standard(name, kernel.base_dist, xi)
        for transform in kernel.transforms:
            value = transform(value)
        return value
    return kernel.icdf(jnp.clip(ndtr(xi), _TINY, _ALMOST_ONE))


def _dirichlet(concentration: Array, xi: Array) -> Array:
    """Break a stick: piece k takes a Beta(a_k, a_k+1 + a_k+2 + ...) part of what is left."""
    rest = jnp.cumsum(concentration[..., ::-1], axis=-1)[..., ::-1]
    part = quantiles.beta(xi, concentration[..., :-1], rest[..., 1:])
    left = jnp.cumprod(1.0 - part, axis=-1)
    one = jnp.ones_like(left[..., :1])
    return jnp.concatenate([part, one], axis=-1) * jnp.concatenate([one, left], axis=-1)


def to_standard(fn: Any, value: Array) -> Array:
    """Invert :func:`from_standard`."""
    kernel = _kernel(fn)
    if isinstance(kernel, dist.Normal):
        return (value - kernel.loc) / kernel.scale
    if isinstance(kernel, dist.MultivariateNormal):
        return jnp.linalg.solve(kernel.scale_tril, (value - kernel.loc)[..., None])[..., 0]
    if isinstance(kernel, dist.Dirichlet):
        left = jnp.cumsum(value[..., ::-1], axis=-1)[..., ::-1]
        rest = jnp.cumsum(kernel.concentration[..., ::-1], axis=-1)[..., ::-1]
        piece = dist.Beta(kernel.concentration[..., :-1], rest[..., 1:])
        return to_standard(piece, value[..., :-1] / left[..., :-1])
    if isinstance(kernel, dist.TransformedDistribution):
        for transform in reversed(kernel.transforms):
            value = transform.inv(value)
        return to_standard(kernel.base_dist, value)
    return ndtri(jnp.clip(kernel.cdf(value), _TINY, _ALMOST_ONE))
