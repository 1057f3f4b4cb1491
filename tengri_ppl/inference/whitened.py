"""Chains of small kernels in whitened coordinates, with one warm-up for all of them.

In coordinates u in which the posterior is about a standard normal (:class:`~.start.Start`), mass
matrices are the identity and step sizes are of order one. What remains to be adapted is the step
size, by dual averaging (Nesterov 2009; Hoffman & Gelman 2014, JMLR 15, 1593) to the acceptance
that suits the kernel, and, half-way through the warm-up, the whitening itself.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from blackjax.optimizers.dual_averaging import DualAveragingState, dual_averaging
from jax import Array

from tengri_ppl.inference.chains import (
    ChainOptions,
    Chains,
    Progress,
    draw_samples,
    number_of_groups,
    run_block,
)
from tengri_ppl.inference.convergence import worst_rhat_and_ess
from tengri_ppl.inference.flat import FlatTarget, Layout, flat_potential, split
from tengri_ppl.inference.result import InferenceResult
from tengri_ppl.inference.start import Start, dispersed_points, start_at_mode
from tengri_ppl.inference.target import Model, Target, site_values

__all__ = ["Kernel", "LogDensity", "Transition", "WhitenedOptions", "run_whitened"]

#: Log-density at one point u (D,), -inf where it is not finite.
LogDensity = Callable[[Array], Array]

_update_step_size = dual_averaging()[1]


@dataclass(frozen=True)
class WhitenedOptions(ChainOptions):
    """Options of the kernels in whitened coordinates, beside those of :class:`ChainOptions`.

    Attributes
    ----------
    n_warmup : int
        Adaptation steps per chain: one half each before and after the coordinates are whitened
        anew.
    thinning : int
        Transitions of the kernel per draw.
    """

    n_warmup: int = 400
    thinning: int = 1

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        self._expect_at_least(1, "thinning")


class Transition(NamedTuple):
    """What a kernel says of one transition of a chain, or of each walker of an ensemble.

    Attributes
    ----------
    log_density : Array
        At the new point.
    acceptance_rate : Array
        Probability of acceptance, which the step size is adapted to.
    diverging : Array
        Whether the trajectory left what the integrator can follow.
    n_steps : Array
        Evaluations of the density or its gradient.
    """

    log_density: Array
    acceptance_rate: Array
    diverging: Array
    n_steps: Array


class Kernel(ABC):
    """A transition that leaves the posterior invariant; hashable, for it is compiled in.

    Attributes
    ----------
    name : str
        Registered name of the engine.
    n_walkers : int
        Points that move together: 1, or the size of an ensemble, whose points have a leading axis.
    min_dimension : int
        Fewer coordinates are made up by independent standard normal ones, which are not recorded.
    target_acceptance : float or None
        Acceptance to adapt the step size to; None for kernels without one.
    """

    name: ClassVar[str]
    n_walkers: int = 1
    min_dimension: int = 1
    target_acceptance: float | None

    def initial_step_size(self, dimension: int) -> float:
        """Return where the adaptation begins."""
        return 1.0

    def position(self, state: Any) -> Array:
        """Return u."""
        return state.position

    @abstractmethod
    def init(self, u: Array, key: Array, log_density: LogDensity) -> Any:
        """Return the state at u."""

    @abstractmethod
    def step(
        self, key: Array, state: Any, log_density: LogDensity, step_size: Array, adapt: Array
    ) -> tuple[Any, Transition]:
        """Make one transition; ``adapt`` says whether this is warm-up."""


class _Chain(NamedTuple):
    """A chain, or an ensemble of walkers."""

    key: Array
    state: Any
    tuning: DualAveragingState
    last: Transition


def _log_density(
    model: Model, layout: Layout, start: Start, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> LogDensity:
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
    return Transition(zero, zero, jnp.zeros(shape, bool), jnp.zeros(shape, int))


@partial(jax.jit, static_argnums=(0, 1, 2))
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
    log_density = _log_density(model, layout, start, args, kwargs)
    first_step = jnp.asarray(kernel.initial_step_size(u.shape[-1]), dtype=u.dtype)
    # as dual_averaging()'s own init, with arrays in place of Python numbers
    log_step, zero = jnp.log(first_step), jnp.zeros_like(first_step)
    tuning = DualAveragingState(log_step, zero, jnp.ones((), int), zero, jnp.log(10.0) + log_step)

    def one(u: Array, key: Array) -> _Chain:
        key, key_state = jax.random.split(key)
        state = kernel.init(u, key_state, log_density)
        return _Chain(key, state, tuning, _first_transition(kernel))

    return jax.vmap(one)(u, keys)


@partial(jax.jit, static_argnums=(0, 1, 2))
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
    log_density = _log_density(model, layout, start, args, kwargs)

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
        stats = _statistics(kernel, chains, adapt, _energy(auxiliary))
        return {"samples": values, "stats": stats, "x": {"": x}}

    return run_block(jax.vmap(step), record, chains, n)


def _transition(kernel: Kernel, log_density: LogDensity, adapt: Array, chain: _Chain) -> _Chain:
    """Make one transition; adapt the step size where asked to."""
    key, key_step = jax.random.split(chain.key)
    state, info = kernel.step(
        key_step, chain.state, log_density, _step_size(chain.tuning, adapt), adapt
    )
    tuning = chain.tuning
    if kernel.target_acceptance is not None:
        error = kernel.target_acceptance - jnp.nan_to_num(jnp.mean(info.acceptance_rate))
        updated = _update_step_size(tuning, error)
        tuning = jax.tree.map(lambda new, old: jnp.where(adapt, new, old), updated, tuning)
    last = Transition(
        info.log_density,
        chain.last.acceptance_rate + info.acceptance_rate,
        chain.last.diverging | info.diverging,
        chain.last.n_steps + info.n_steps,
    )
    return _Chain(key, state, tuning, last)


def _step_size(tuning: DualAveragingState, adapt: Array) -> Array:
    return jnp.exp(jnp.where(adapt, tuning.log_x, tuning.log_x_avg))


def _statistics(kernel: Kernel, chains: _Chain, adapt: Array, auxiliary: Array) -> dict[str, Array]:
    last = chains.last
    stats = {
        "lp": last.log_density + auxiliary,
        "acceptance_rate": last.acceptance_rate,
        "diverging": last.diverging,
        "n_steps": last.n_steps,
    }
    if kernel.target_acceptance is not None:
        stats["step_size"] = _step_size(chains.tuning, adapt)
    return {name: value.reshape(-1) for name, value in stats.items()}


def run_whitened(
    kernel: Kernel,
    target: Target,
    key: Array,
    options: WhitenedOptions,
    *,
    start: Start | None = None,
    progress: Progress | None = None,
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
        Lengths and numbers. Kernels of ensembles have ``num_chains / n_walkers`` ensembles.
    start : Start, optional
        Approximation of the posterior from which whitening and chains start; by default the modes.
    progress : callable, optional
        Called after every block of iterations.
    """
    begin = time.perf_counter()
    flat = FlatTarget(target)
    key_start, key_points, key_first, key_second = jax.random.split(key, 4)
    if start is None:
        start = start_at_mode(flat, key_start)
    x = dispersed_points(flat, start, key_points, options.num_chains)
    start = Start(start.mean, start.factor)
    states = _states(kernel, flat, start, x, key_first)
    with Chains(states, progress) as chains:
        half = options.n_warmup // 2
        warmup = _program(kernel, flat, start, options, adapt=True)
        chains.compile(warmup)
        chains.advance(warmup, "warmup", 0, half // 2, options.n_warmup)
        window = chains.advance(warmup, "warmup", half // 2, half, options.n_warmup)
        start = _whitened_anew(start, window["x"][""])
        chains.states = _states(kernel, flat, start, window["x"][""][:, -1], key_second)
        warmup = _program(kernel, flat, start, options, adapt=True)
        chains.advance(warmup, "warmup", half, options.n_warmup, options.n_warmup)
        _share_step_size(chains)
        draws = draw_samples(chains, _program(kernel, flat, start, options, adapt=False), options)
    return InferenceResult(
        method=kernel.name,
        samples=draws["samples"],
        sample_stats=draws["stats"],
        settings=asdict(options),
        wall_time_s=time.perf_counter() - begin,
        diagnostics={"n_evaluations": float(chains.n_evaluations)},
    )


def _states(kernel: Kernel, flat: FlatTarget, start: Start, x: Any, key: Array) -> list[_Chain]:
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
    kernel: Kernel, flat: FlatTarget, start: Start, options: WhitenedOptions, *, adapt: bool
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


def _whitened_anew(start: Start, x: np.ndarray) -> Start:
    """Take mean and covariance of pooled draws x (chain, draw, D), as far as they are known.

    In the old coordinates, the covariance is shrunk towards the identity by as many draws as there
    are coordinates, two at least, against the effective number of draws.
    """
    dimension = x.shape[-1]
    flattened = jnp.asarray(x.reshape(-1, dimension))
    u = np.asarray(start.whitened(flattened), dtype=float).reshape(x.shape)
    _, ess = worst_rhat_and_ess({"": u})
    ess = max(ess, 1.0) if np.isfinite(ess) else 1.0
    pooled = u.reshape(-1, dimension)
    known, assumed = ess, dimension + 2.0
    covariance = np.cov(pooled, rowvar=False).reshape(dimension, dimension)
    covariance = (known * covariance + assumed * np.eye(dimension)) / (known + assumed)
    mean = known / (known + assumed) * pooled.mean(axis=0)
    factor = start.factor @ np.linalg.cholesky(covariance)
    return Start(start.points(jnp.asarray(mean, start.mean.dtype)), factor.astype(start.mean.dtype))


def _share_step_size(chains: Chains) -> None:
    """Give all chains the median of their step sizes."""
    sizes = np.concatenate([np.asarray(state.tuning.log_x_avg) for state in chains.states])
    for group, state in enumerate(chains.states):
        shared = jnp.full_like(state.tuning.log_x_avg, np.median(sizes))
        tuning = state.tuning._replace(log_x_avg=shared)
        chains.states[group] = state._replace(tuning=tuning)
