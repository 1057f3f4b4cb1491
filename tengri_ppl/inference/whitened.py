"""Chains of small kernels in whitened coordinates, with one warm-up for all of them.

In coordinates u in which the posterior is about a standard normal (:class:`~.start.Start`), mass
matrices are the identity and step sizes are of order one. What remains to be adapted is the step
size, by dual averaging (Nesterov 2009; Hoffman & Gelman 2014, JMLR 15, 1593) to the acceptance
that suits the kernel, and, half-way through the warm-up, the whitening itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from blackjax.optimizers.dual_averaging import DualAveragingState, dual_averaging
from jax import Array

from tengri_ppl.distributions.layout import Layout, split
from tengri_ppl.inference.chains import (
    Chains,
    Progress,
    draw_samples,
    number_of_groups,
    run_block,
)
from tengri_ppl.inference.flat import FlatTarget, flat_potential
from tengri_ppl.inference.kernel import Kernel, LogDensity, Transition, WhitenedOptions
from tengri_ppl.inference.result import InferenceResult
from tengri_ppl.inference.start import Start, dispersed_points, start_at_mode, start_refined
from tengri_ppl.inference.target import Model, Target, site_values
from tengri_ppl.runtime.compiled import Compiled

__all__ = ["first_states", "run_whitened", "whitened_log_density"]

#: Adapts chains that stand at their start points; returns the whitening that they end with.
WarmUp = Callable[[Chains, Kernel, FlatTarget, Start, WhitenedOptions, Array], Start]

_update_step_size = dual_averaging()[1]


class _Chain(NamedTuple):
    """A chain, or an ensemble of walkers."""

    key: Array
    state: Any
    tuning: DualAveragingState
    last: Transition


def whitened_log_density(
    model: Model, layout: Layout, start: Start, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> LogDensity:
    """Return the log-density as a function of whitened coordinates, auxiliary ones included."""

    def log_density(u: Array) -> Array:
        u, auxiliary = _parts(start, u)
        energy = flat_potential(model, layout, start.points(u), args, kwargs)
        return jnp.where(jnp.isfinite(energy), -energy, -jnp.inf) - _energy(auxiliary)

    return log_density


def _parts(start: Start, u: Array) -> tuple[Array, Array]:
    """Cut coordinates (..., D or more) into those of the posterior and auxiliary ones."""
    dimension = start.mean.shape[0]
    return u[..., :dimension], u[..., dimension:]


def _energy(auxiliary: Array) -> Array:
    """Energy of auxiliary coordinates, 0 if there are none."""
    return 0.5 * jnp.sum(auxiliary**2, axis=-1)


def _first_transition(kernel: Kernel) -> Transition:
    shape = () if kernel.n_walkers == 1 else (kernel.n_walkers,)
    zero = jnp.zeros(shape)
    return Transition(zero, jnp.zeros(shape, bool), jnp.zeros(shape, int))


@partial(Compiled, static_argnums=(0, 1, 2))
def _begin(
    kernel: Kernel,
    model: Model,
    layout: Layout,
    u: Array,
    keys: Array,
    start: Start,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> _Chain:
    """States of a group of chains at u (n, D), or of ensembles at u (n, walker, D)."""
    log_density = whitened_log_density(model, layout, start, args, kwargs)
    first_step = jnp.asarray(kernel.initial_step_size(u.shape[-1]), dtype=u.dtype)
    # as dual_averaging()'s own init, with arrays in place of Python numbers
    log_step, zero = jnp.log(first_step), jnp.zeros_like(first_step)
    tuning = DualAveragingState(log_step, zero, jnp.ones((), int), zero, jnp.log(10.0) + log_step)

    def one(u: Array, key: Array) -> _Chain:
        key, key_state = jax.random.split(key)
        state = kernel.init(u, key_state, log_density)
        return _Chain(key, state, tuning, _first_transition(kernel))

    # without weak types, which would make the first advance another program than all others
    return jax.tree.map(lambda x: jax.lax.convert_element_type(x, x.dtype), jax.vmap(one)(u, keys))


@partial(Compiled, static_argnums=(0, 1, 2))
def _advance(
    kernel: Kernel,
    model: Model,
    layout: Layout,
    chains: _Chain,
    n: Array,
    thinning: Array,
    adapt: Array,
    start: Start,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> tuple[_Chain, Any]:
    """Advance a group of chains by ``n`` draws of ``thinning`` transitions each."""
    log_density = whitened_log_density(model, layout, start, args, kwargs)

    def step(chain: _Chain) -> _Chain:
        chain = chain._replace(last=_first_transition(kernel))
        once = partial(_transition, kernel, log_density, adapt)
        chain = jax.lax.fori_loop(0, thinning, lambda _, chain: once(chain), chain)
        rate = chain.last.acceptance_rate / thinning
        return chain._replace(last=chain.last._replace(acceptance_rate=rate))

    def record(chains: _Chain) -> dict[str, Any]:
        u, auxiliary = _parts(start, jax.vmap(kernel.position)(chains.state))
        x = start.points(u).reshape(-1, u.shape[-1])
        values = jax.vmap(lambda x: site_values(model, args, kwargs, split(layout, x)))(x)
        lp = jax.vmap(lambda state: kernel.log_density(state, log_density))(chains.state)
        stats = {"lp": lp + _energy(auxiliary), **_statistics(kernel, chains, adapt)}
        stats = {name: value.reshape(-1) for name, value in stats.items()}
        return {"samples": values, "stats": stats, "x": {"": x}}

    return run_block(jax.vmap(step), record, chains, n)


def _transition(kernel: Kernel, log_density: LogDensity, adapt: Array, chain: _Chain) -> _Chain:
    """Make one transition; adapt the step size where asked to."""
    key, key_step = jax.random.split(chain.key)
    state, info = kernel.step(
        key_step, chain.state, log_density, _step_size(chain.tuning, adapt), adapt
    )
    rate, tuning = jnp.nan_to_num(info.acceptance_rate), chain.tuning
    if kernel.target_acceptance is not None:
        error = kernel.target_acceptance - rate
        updated = _update_step_size(tuning, error)
        tuning = jax.tree.map(lambda new, old: jnp.where(adapt, new, old), updated, tuning)
    last = Transition(
        chain.last.acceptance_rate + rate,
        chain.last.diverging | info.diverging,
        chain.last.n_steps + info.n_steps,
    )
    return _Chain(key, state, tuning, last)


def _step_size(tuning: DualAveragingState, adapt: Array) -> Array:
    return jnp.exp(jnp.where(adapt, tuning.log_x, tuning.log_x_avg))


def _statistics(kernel: Kernel, chains: _Chain, adapt: Array) -> dict[str, Array]:
    last = chains.last
    stats = {
        "acceptance_rate": last.acceptance_rate,
        "diverging": last.diverging,
        "n_steps": last.n_steps,
    }
    if kernel.target_acceptance is not None:
        stats["step_size"] = _step_size(chains.tuning, adapt)
    return stats


def run_whitened(
    kernel: Kernel,
    target: Target,
    key: Array,
    options: WhitenedOptions,
    *,
    start: Start | None = None,
    progress: Progress | None = None,
    warm_up: WarmUp | None = None,
) -> InferenceResult:
    """Sample a target with chains of a kernel in whitened coordinates.

    Parameters
    ----------
    kernel : Kernel
        The transition.
    target : Target
        Posterior to sample.
    key : Array
        Random key.
    options : WhitenedOptions
        Lengths and numbers. Of a kernel of ensembles, ``num_chains`` is the number of ensembles;
        each walker is a chain of the result.
    start : Start, optional
        Approximation of the posterior from which whitening and chains start; by default the modes.
    progress : callable, optional
        Called after every block of iterations.
    warm_up : callable, optional
        (chains, kernel, posterior, whitening, options, key) -> whitening: adapts the chains; by
        default their step sizes, each by itself.
    """
    begin = time.perf_counter()
    flat = FlatTarget(target)
    key_start, key_points, key_first, key_second = jax.random.split(key, 4)
    if start is None:
        start = start_at_mode(flat, key_start)
    x = dispersed_points(flat, start, key_points, options.num_chains * kernel.n_walkers)
    start = Start(start.mean, start.factor)
    chains = Chains(first_states(kernel, flat, start, x, key_first), progress)
    start = (warm_up or _adapt_step_sizes)(chains, kernel, flat, start, options, key_second)
    draws = draw_samples(chains, _program(kernel, flat, start, options), options)
    return InferenceResult(
        method=kernel.name,
        samples=draws["samples"],
        sample_stats=draws["stats"],
        settings=asdict(options),
        wall_time_s=time.perf_counter() - begin,
        diagnostics={"n_evaluations": float(chains.n_evaluations)},
        notes=chains.notes,
    )


def _adapt_step_sizes(
    chains: Chains,
    kernel: Kernel,
    flat: FlatTarget,
    start: Start,
    options: WhitenedOptions,
    key: Array,
) -> Start:
    """Adapt step size, whitening and step size again; return the new whitening."""
    half, total = options.n_warmup // 2, options.n_warmup
    program = _program(kernel, flat, start, options, adapt=True)
    chains.compile(program)
    chains.advance(program, "warmup", 0, half // 2, total)
    x = chains.advance(program, "warmup", half // 2, half, total)["x"][""]
    start = start_refined(start, x)
    chains.states = first_states(kernel, flat, start, x[:, -1], key)
    program = _program(kernel, flat, start, options, adapt=True)
    chains.advance(program, "warmup", half, total, total)
    _share_step_size(chains)
    return start


def first_states(
    kernel: Kernel, flat: FlatTarget, start: Start, x: Any, key: Array
) -> list[_Chain]:
    """States of all groups of chains, or ensembles, at points x (n, D)."""
    key, key_auxiliary = jax.random.split(key)
    u = start.whitened(jnp.asarray(x))
    n_auxiliary = max(kernel.min_dimension - flat.dimension, 0)
    auxiliary = jax.random.normal(key_auxiliary, (len(u), n_auxiliary))
    u = jnp.concatenate([u, auxiliary], axis=1)
    if kernel.n_walkers > 1:
        u = u.reshape(-1, kernel.n_walkers, u.shape[1])
    n_groups = number_of_groups(len(u))
    keys = jax.random.split(key, len(u))
    return [
        _begin(kernel, flat.target.model, flat.layout, u_group, k, start, *flat.arguments)
        for u_group, k in zip(jnp.split(u, n_groups), jnp.split(keys, n_groups), strict=True)
    ]


def _program(
    kernel: Kernel,
    flat: FlatTarget,
    start: Start,
    options: WhitenedOptions,
    *,
    adapt: bool = False,
) -> Callable[[_Chain, int], tuple[_Chain, Any]]:
    def program(chains: _Chain, n: int) -> tuple[_Chain, Any]:
        return _advance(
            kernel,
            flat.target.model,
            flat.layout,
            chains,
            n,
            options.thinning,
            adapt,
            start,
            *flat.arguments,
        )

    return program


def _share_step_size(chains: Chains) -> None:
    """Give all chains the median of their step sizes."""
    sizes = np.concatenate([np.asarray(state.tuning.log_x_avg) for state in chains.states])
    for group, state in enumerate(chains.states):
        shared = jnp.full_like(state.tuning.log_x_avg, np.median(sizes))
        tuning = state.tuning._replace(log_x_avg=shared)
        chains.states[group] = state._replace(tuning=tuning)
