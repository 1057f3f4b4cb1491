r"""Whitened predictions: functions t of a likelihood's parameters with Fisher metric J_t^T J_t.

For a Gaussian that is the residual in units of the errors; for others the coordinates in which
their errors are constant (Frank, Leike & Ensslin 2021, Entropy 23, 853). Distributions of one's own
may have a method ``whitened_prediction(value)`` that returns t, of any shape.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.extend
import jax.numpy as jnp
import numpyro.distributions as dist
from jax import Array

from tengri_ppl.errors import ParameterError

__all__ = ["Likelihood", "depending", "whitened"]


class Likelihood(NamedTuple):
    """Log-likelihoods, and the pieces of the whitened prediction t, of any shapes."""

    log_density: Array
    predictions: tuple[Array, ...]


def whitened(name: str, site: Mapping[str, Any]) -> Likelihood:
    """Return log-likelihoods and whitened prediction of an observed site of a trace.

    Raises
    ------
    ParameterError
        If its distribution has none that is known here.
    """
    scale = 1.0 if site["scale"] is None else site["scale"]
    log_density = scale * site["fn"].log_prob(site["value"])
    parts = _prediction(name, site["fn"], jnp.asarray(site["value"]), True)
    root = jnp.sqrt(jnp.asarray(scale, dtype=float))
    return Likelihood(log_density, tuple(root * part for part in parts))


def depending(function: Callable[[Array], tuple[Array, ...]], x: Array) -> list[bool]:
    """Tell for each output of a function whether it may depend on x, from its operations alone."""
    jaxpr = jax.make_jaxpr(function)(x).jaxpr
    moving = set(jaxpr.invars)
    for equation in jaxpr.eqns:
        if any(isinstance(v, jax.extend.core.Var) and v in moving for v in equation.invars):
            moving.update(equation.outvars)
    return [isinstance(v, jax.extend.core.Var) and v in moving for v in jaxpr.outvars]


def _prediction(name: str, fn: Any, value: Array, mask: Any) -> tuple[Array, ...]:
    """Whitened predictions of a distribution; zero where they are masked."""
    if isinstance(fn, dist.MaskedDistribution):
        # what is masked may be anything, NaN included, and must not enter arithmetic
        shape = (*jnp.shape(fn._mask), *(1 for _ in fn.event_shape))
        mask = jnp.logical_and(mask, jnp.reshape(fn._mask, shape))
        return _prediction(name, fn.base_dist, jnp.where(mask, value, jnp.ones_like(value)), mask)
    if isinstance(fn, dist.ExpandedDistribution | dist.Independent):
        return _prediction(name, fn.base_dist, value, mask)
    if isinstance(fn, dist.TransformedDistribution):
        return _transformed(name, fn, value, mask)
    return tuple(jnp.where(mask, part, 0.0) for part in _kernel(name, fn, value))


def _transformed(name: str, fn: Any, value: Array, mask: Any) -> tuple[Array, ...]:
    """Go back to the base distribution; a scale that depends on parameters counts as one of its."""
    log_det = jnp.zeros(())
    for transform in reversed(fn.transforms):
        before = transform.inv(value)
        log_det += transform.log_abs_det_jacobian(before, value)
        value = before
    first, *others = _prediction(name, fn.base_dist, value, mask)
    if others:
        others[0] = others[0] + jnp.where(mask, log_det, 0.0)
    return first, *others


def _kernel(name: str, fn: Any, value: Array) -> tuple[Array, ...]:
    if hasattr(fn, "whitened_prediction"):
        return (fn.whitened_prediction(value),)
    if isinstance(fn, dist.Normal):
        return (fn.loc - value) / fn.scale, _like(jnp.log(fn.scale), value)
    if isinstance(fn, dist.StudentT):
        # Fisher information of the location: (nu + 1) / (nu + 3) / sigma^2
        weight = jnp.sqrt((fn.df + 1.0) / (fn.df + 3.0))
        return weight * (fn.loc - value) / fn.scale, _like(jnp.log(fn.scale), value)
    if isinstance(fn, dist.MultivariateNormal):
        residual = jnp.linalg.solve(fn.scale_tril, (fn.loc - value)[..., None])[..., 0]
        log_scale = jnp.log(jnp.diagonal(fn.scale_tril, axis1=-2, axis2=-1))
        return residual, _like(log_scale, value)
    if isinstance(fn, dist.Poisson):
        return (2.0 * jnp.sqrt(_like(fn.rate, value)),)
    if isinstance(fn, dist.BernoulliLogits | dist.BernoulliProbs):
        return (_like(_angle(fn.logits), value),)
    if isinstance(fn, dist.BinomialLogits | dist.BinomialProbs):
        return (_like(jnp.sqrt(fn.total_count) * _angle(fn.logits), value),)
    raise ParameterError(
        f"geometric inference needs a whitened prediction, and that of site {name!r} "
        f"({'a factor' if isinstance(fn, dist.Unit) else type(fn).__name__}) is not known; write "
        "the likelihood as Normal, LogNormal, StudentT, MultivariateNormal, Poisson, Bernoulli or "
        "Binomial, give the distribution a method whitened_prediction(value), or use "
        "method='mcmc_nuts' or 'vi'"
    )


def _angle(logits: Array) -> Array:
    """2 arcsin(sqrt(p)), smooth in the logits."""
    return 2.0 * jnp.arctan(jnp.exp(0.5 * logits))


def _like(x: Array, value: Array) -> Array:
    return jnp.broadcast_to(
        jnp.asarray(x, dtype=float), jnp.broadcast_shapes(jnp.shape(x), value.shape)
    )
