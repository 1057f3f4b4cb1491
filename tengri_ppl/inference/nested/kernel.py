"""A target as blackjax's nested slice sampler, whose particles are updated in chunks.

The chunks enter through the hook ``update_strategy``. blackjax's own update makes one particle;
:func:`jax.lax.map` makes the others, so many at a time that the temporary memory of the likelihood
is used for that many only. Where there are several devices each takes its share of the particles.
Every particle has a random key of its own: the results depend on neither beyond rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from blackjax.mcmc.slice import build_kernel as build_slice_kernel
from blackjax.mcmc.slice import stepping_out
from blackjax.ns.adaptive import AdaptiveNSState
from blackjax.ns.adaptive import init as init_adaptive
from blackjax.ns.base import StateWithLogLikelihood
from blackjax.ns.from_mcmc import build_kernel, update_with_mcmc_take_last
from blackjax.ns.nss import covariance_proposal, live_covariance_factor, slice_constrained_step
from jax import Array
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from tengri_ppl.distributions.layout import Layout, split
from tengri_ppl.inference.target import Model, log_parts
from tengri_ppl.runtime.compiled import Compiled

__all__ = ["Settings", "first_state", "make_kernel"]

#: blackjax's directions are so many standard deviations of the live points long.
_UNIT = 2.0

#: Position (D,) -> particle.
Particle = Callable[..., StateWithLogLikelihood]


class Settings(NamedTuple):
    """What a program is compiled for.

    Attributes
    ----------
    num_delete, num_inner_steps : int
        Particles replaced in a step, and slices by which each is moved.
    n_devices : int
        Devices that share the particles, a divisor of ``num_delete``.
    chunk_size : int
        Particles updated at a time on each device, a divisor of its share.
    width : float
        Width of a slice's first interval, in standard deviations of the live points.
    max_steps, max_shrinkage : int
        Limits of a slice: steps out, and points tried inside.
    """

    num_delete: int
    num_inner_steps: int
    n_devices: int
    chunk_size: int
    width: float
    max_steps: int
    max_shrinkage: int


def make_kernel(
    model: Model,
    layout: Layout,
    settings: Settings,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Callable[[Array, AdaptiveNSState], tuple[AdaptiveNSState, Any]]:
    """Return blackjax's step, (key, state) -> (state, info)."""
    slices = build_slice_kernel(
        interval=_interval(settings),
        max_expansions=settings.max_steps + 1,
        max_shrinkage=settings.max_shrinkage,
    )
    kernel: Callable[[Array, AdaptiveNSState], tuple[AdaptiveNSState, Any]] = build_kernel(
        slice_constrained_step(_particle(model, layout, args, kwargs), slices, covariance_proposal),
        settings.num_inner_steps,
        live_covariance_factor,
        settings.num_delete,
        update_strategy=partial(_in_chunks, settings),
    )
    return kernel


def _interval(settings: Settings) -> Callable[..., Any]:
    """Place the first interval of a slice at random around its point, and step out if told to.

    Slices that are not stepped out are exact at any width (Neal 2003, figure 3 with m = 1). What
    is counted as expansions are the likelihoods evaluated, those of the first ends included.
    """
    width = settings.width / _UNIT

    def interval(
        key: Array, in_slice: Callable[[Array], Array], unit: float, max_expansions: int
    ) -> tuple[Array, Array, Array, Callable[[Array], Array]]:
        if settings.max_steps:
            left, right, n, accept = stepping_out(key, in_slice, width, max_expansions)
            return left, right, n + 2, accept
        left = -width * jax.random.uniform(key)
        return left, left + width, jnp.zeros((), int), lambda t: jnp.asarray(True)

    return interval


@partial(Compiled, static_argnums=(0, 1, 2, 3))
def first_state(
    model: Model,
    layout: Layout,
    n_devices: int,
    chunk_size: int,
    x: Array,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> AdaptiveNSState:
    """Evaluate draws of the prior x (num_live, D), ``chunk_size`` at a time on each device."""
    particle = _particle(model, layout, args, kwargs)
    return init_adaptive(
        x,
        _map(particle, n_devices, chunk_size),
        update_inner_kernel_params_fn=live_covariance_factor,
    )


def _particle(
    model: Model, layout: Layout, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Particle:
    """Build particles; both densities come from one pass through the model.

    A point whose likelihood or prior is NaN has none.
    """

    def particle(x: Array, loglikelihood_birth: Any = jnp.nan) -> StateWithLogLikelihood:
        prior, likelihood = log_parts(model, args, kwargs, split(layout, x))
        nowhere = jnp.isnan(prior) | jnp.isnan(likelihood)
        likelihood = jnp.where(nowhere, -jnp.inf, likelihood)
        prior = jnp.where(nowhere, -jnp.inf, prior)
        birth = loglikelihood_birth * jnp.ones_like(likelihood)
        return StateWithLogLikelihood(x, prior, likelihood, birth)

    return particle


def _in_chunks(
    settings: Settings, step: Callable[..., Any], num_inner_steps: int, num_delete: int
) -> Callable[..., Any]:
    """Update particles by blackjax's own strategy, some at a time."""
    update_one = update_with_mcmc_take_last(step, num_inner_steps, 1)

    def update(key: Array, state: Any, loglikelihood_0: Array, **parameters: Any) -> Any:
        def one(key: Array) -> Any:
            made = update_one(key, state, loglikelihood_0, **parameters)
            return jax.tree.map(lambda x: x[0], made)

        several = _map(one, settings.n_devices, settings.chunk_size)
        return several(jax.random.split(key, num_delete))

    return update


def _map(
    function: Callable[[Array], Any], n_devices: int, chunk_size: int
) -> Callable[[Array], Any]:
    """Map over a leading axis, ``chunk_size`` at a time on each of several devices."""

    def mapped(x: Array) -> Any:
        if n_devices == 1:
            return jax.lax.map(function, x, batch_size=chunk_size)
        chunks = x.reshape(-1, n_devices * chunk_size, *x.shape[1:])
        chunks = jax.lax.with_sharding_constraint(chunks, _shares(n_devices))
        out = jax.lax.map(jax.vmap(function), chunks)
        return jax.tree.map(lambda y: y.reshape(len(x), *y.shape[2:]), out)

    return mapped


def _shares(n_devices: int) -> NamedSharding:
    """Cut the second axis into equal shares."""
    devices, axes = jax.local_devices()[:n_devices], (AxisType.Auto,)
    mesh = jax.make_mesh((n_devices,), ("particle",), axes, devices=devices)
    return NamedSharding(mesh, PartitionSpec(None, "particle"))
