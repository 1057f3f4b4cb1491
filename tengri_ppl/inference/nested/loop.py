"""Steps of nested sampling on the device, a block at a time."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from blackjax.ns.adaptive import AdaptiveNSState
from blackjax.ns.base import StateWithLogLikelihood, delete_fn
from jax import Array

from tengri_ppl.distributions.layout import Layout
from tengri_ppl.inference.nested.kernel import Settings, make_kernel
from tengri_ppl.inference.target import Model
from tengri_ppl.runtime.compiled import Compiled

__all__ = ["BLOCK", "Block", "advance", "insertion_ranks", "is_finished"]

#: Steps between two looks of the host.
BLOCK = 64


class Block(NamedTuple):
    """What a block of steps has done; of the records the first ``n_steps`` are filled.

    Attributes
    ----------
    state : AdaptiveNSState
        Live points and evidence after it.
    n_steps : Array, scalar int
        Steps taken.
    dead : StateWithLogLikelihood
        Points replaced, (BLOCK, num_delete, ...).
    insertion : Array, shape (BLOCK, num_delete)
        Share of the live points below each new one: uniform between 0 and 1 if the new points are
        independent draws.
    n_evaluations : Array, shape (BLOCK,)
        Likelihoods evaluated.
    n_stuck : Array, shape (BLOCK,)
        Slices in which no point was found.
    """

    state: AdaptiveNSState
    n_steps: Array
    dead: StateWithLogLikelihood
    insertion: Array
    n_evaluations: Array
    n_stuck: Array


def is_finished(state: AdaptiveNSState, num_delete: int, live_fraction: Array) -> Array:
    """Tell whether little evidence is left, or the live points are on a plateau.

    On a plateau no new point can be better than those that would be replaced.
    """
    total = jnp.logaddexp(state.integrator.logZ, state.integrator.logZ_live)
    little = state.integrator.logZ_live - total < jnp.log(live_fraction)
    likelihood = state.particles.loglikelihood
    threshold = -jax.lax.top_k(-likelihood, num_delete)[0][-1]
    return little | (threshold >= likelihood.max())


@partial(Compiled, static_argnums=(0, 1, 2))
def advance(
    model: Model,
    layout: Layout,
    settings: Settings,
    state: AdaptiveNSState,
    key: Array,
    first: Array,
    live_fraction: Array,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Block:
    """Take at most :data:`BLOCK` steps, and fewer if the end is reached.

    Parameters
    ----------
    model, layout, settings
        What the program is compiled for.
    state : AdaptiveNSState
        Live points.
    key : Array
        Random key of the whole run.
    first : Array, scalar int
        Number of the first step, from which its random key follows.
    live_fraction : Array, scalar
        Share of the evidence that may be left in the live points.
    args, kwargs
        The model's arguments.
    """
    kernel = make_kernel(model, layout, settings, args, kwargs)

    def going_on(block: Block) -> Array:
        ended = is_finished(block.state, settings.num_delete, live_fraction)
        return (block.n_steps < BLOCK) & ~ended

    def step(block: Block) -> Block:
        n, before = block.n_steps, block.state.particles.loglikelihood
        index, _ = delete_fn(block.state, settings.num_delete)
        state, info = kernel(jax.random.fold_in(key, first + n), block.state)
        slices = info.update_info
        evaluations = slices.num_expansions + slices.num_shrink
        insertion = insertion_ranks(before, index, state.particles.loglikelihood[index])
        return Block(
            state,
            n + 1,
            jax.tree.map(lambda b, x: b.at[n].set(x), block.dead, info.particles),
            block.insertion.at[n].set(insertion),
            block.n_evaluations.at[n].set(evaluations.sum()),
            block.n_stuck.at[n].set(jnp.sum(~slices.is_accepted)),
        )

    return jax.lax.while_loop(going_on, step, _empty(state, settings.num_delete))


def _empty(state: AdaptiveNSState, num_delete: int) -> Block:
    dead = jax.tree.map(
        lambda x: jnp.zeros((BLOCK, num_delete, *x.shape[1:]), x.dtype), state.particles
    )
    counts = jnp.zeros(BLOCK, int)
    share = jnp.zeros((BLOCK, num_delete), state.particles.loglikelihood.dtype)
    return Block(state, jnp.zeros((), int), dead, share, counts, counts)


def insertion_ranks(before: Array, deleted: Array, new: Array) -> Array:
    """Return the share of the points above the contour that are below each new one.

    These are the survivors, and the new points before it: as if they came one by one, which makes
    the ranks independent.

    Parameters
    ----------
    before : Array, shape (num_live,)
        Log-likelihoods before the step.
    deleted : Array, shape (num_delete,)
        Indices of the points replaced.
    new : Array, shape (num_delete,)
        Log-likelihoods of those that replace them.
    """
    survives = (before > before[deleted].max()).at[deleted].set(False)
    below = jnp.sum(survives & (before < new[:, None]), axis=1)
    earlier = jnp.sum(jnp.tril(new < new[:, None], -1), axis=1)
    return (below + earlier + 0.5) / (survives.sum() + jnp.arange(new.size) + 1.0)
