"""A target as blackjax's nested slice sampler, whose particles are updated in chunks.

The chunks enter through the hook ``update_strategy``. blackjax's own update makes one particle;
:func:`jax.lax.map` makes the others, so many at a time that the temporary memory of the likelihood
is used for that many only. Every particle has a random key of its own: the results don't depend on
the chunks beyond rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from blackjax.ns.adaptive import AdaptiveNSState
from blackjax.ns.adaptive import init as init_adaptive
from blackjax.ns.base import StateWithLogLikelihood
from blackjax.ns.from_mcmc import update_with_mcmc_take_last
from blackjax.ns.nss import build_kernel, live_covariance_factor
from jax import Array

from tengri_ppl.inference.flat import Layout, split
from tengri_ppl.inference.target import Model, log_parts

__all__ = ["Settings", "chunk", "first_state", "make_kernel"]

#: Position (D,) -> particle.
Particle = Callable[..., StateWithLogLikelihood]


class Settings(NamedTuple):
    """What a program is compiled for.

    Attributes
    ----------
    num_delete, num_inner_steps : int
        Particles replaced in a step, and slices by which each is moved.
    chunk_size : int
        Particles updated at a time, a divisor of ``num_delete``.
    max_steps, max_shrinkage : int
        Limits of a slice: steps out, and points tried inside.
    """

    num_delete: int
    num_inner_steps: int
    chunk_size: int
    max_steps: int
    max_shrinkage: int


def chunk(n: int, at_most: int | None) -> int:
    """Return the largest divisor of ``n`` that is not above a limit.

    A remainder would be compiled as a second program.
    """
    limit = n if at_most is None else min(n, at_most)
    return next(k for k in range(limit, 0, -1) if n % k == 0)


def make_kernel(
    model: Model,
    layout: Layout,
    settings: Settings,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Callable[[Array, AdaptiveNSState], tuple[AdaptiveNSState, Any]]:
    """Return blackjax's step, (key, state) -> (state, info)."""
    kernel: Callable[[Array, AdaptiveNSState], tuple[AdaptiveNSState, Any]] = build_kernel(
        _particle(model, layout, args, kwargs),
        settings.num_inner_steps,
        settings.num_delete,
        max_steps=settings.max_steps,
        max_shrinkage=settings.max_shrinkage,
        update_strategy=partial(_in_chunks, chunk_size=settings.chunk_size),
    )
    return kernel


@partial(jax.jit, static_argnums=(0, 1, 2))
def first_state(
    model: Model,
    layout: Layout,
    chunk_size: int,
    x: Array,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> AdaptiveNSState:
    """Evaluate draws of the prior x (num_live, D), ``chunk_size`` at a time."""
    particle = _particle(model, layout, args, kwargs)
    return init_adaptive(
        x,
        lambda x: jax.lax.map(particle, x, batch_size=chunk_size),
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
    step: Callable[..., Any], num_inner_steps: int, num_delete: int, *, chunk_size: int
) -> Callable[..., Any]:
    """Update particles by blackjax's own strategy, ``chunk_size`` at a time."""
    update_one = update_with_mcmc_take_last(step, num_inner_steps, 1)

    def update(key: Array, state: Any, loglikelihood_0: Array, **parameters: Any) -> Any:
        def one(key: Array) -> Any:
            made = update_one(key, state, loglikelihood_0, **parameters)
            return jax.tree.map(lambda x: x[0], made)

        return jax.lax.map(one, jax.random.split(key, num_delete), batch_size=chunk_size)

    return update
