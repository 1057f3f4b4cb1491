"""Adaptive importance sampling of many independent posteriors at the same time.

What :mod:`~tengri_ppl.inference.importance` does for one, in one program for all of them: walkers
find the shape of each, a mixture of Student-t distributions is fitted to where they have been and
refitted to its weighted draws round by round, and all draws count with the weights of the mixture
of all proposals.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.special import logsumexp

from tengri_ppl.inference.mixture import StudentTMixture, flatten_weights
from tengri_ppl.inference.walkers import difference
from tengri_ppl.runtime.compiled import Compiled

__all__ = ["ManyDraws", "explore_many", "sample_many"]

#: Effective draws that a refit should have, for each coordinate.
_FIT_PER_COORDINATE = 8
#: Share of the steps of walkers after which they are where the posterior is, and how many of the
#: points since then a mixture is fitted to.
_BURN_IN, _N_FIT = 0.5, 1024


class ManyDraws(NamedTuple):
    """Weighted draws of N posteriors.

    Attributes
    ----------
    x : Array, shape (N, n, D)
        Points.
    log_weight : Array, shape (N, n)
        Logarithm of posterior over proposals; its mean is an estimate of the evidence.
    proposal : StudentTMixture
        The last one of each, with a leading axis of length N.
    """

    x: Array
    log_weight: Array
    proposal: StudentTMixture


class _State(NamedTuple):
    """Proposals of all rounds, and what is known of the points so far; -inf for those to come."""

    proposal: StudentTMixture
    earlier: StudentTMixture
    x: Array
    log_density: Array
    log_proposed: Array


@partial(Compiled, static_argnums=(0, 3, 4))
def explore_many(
    log_density: Callable[..., Array],
    x: Array,
    key: Array,
    n_steps: int,
    n_components: int,
    *arguments: Any,
) -> StudentTMixture:
    """Let walkers find the shape of N posteriors, and fit a mixture to the later of their steps.

    Walkers as in :mod:`~tengri_ppl.inference.walkers`, some for each posterior.

    Parameters
    ----------
    log_density : callable
        As in :func:`sample_many`.
    x : Array, shape (n_walker, N, D)
        Where they start; an even number of walkers.
    key : Array
        Random key.
    n_steps : int
        Steps of every walker.
    n_components : int
        K of each mixture.
    *arguments
        Of ``log_density``.

    Returns
    -------
    StudentTMixture
        With a leading axis of length N.
    """
    key_walk, key_fit = jax.random.split(key)
    n_posterior = x.shape[1]
    step_of = jax.vmap(difference, in_axes=(0, 1, 1), out_axes=1)

    def density(at: Array) -> Array:
        return _or_nothing(log_density(at, *arguments))

    def step(carry: tuple[Array, Array], own: Array) -> tuple[tuple[Array, Array], Array]:
        """Move the first half and exchange the halves."""
        (moving, others), (before, resting) = carry
        key_move, key_accept = jax.random.split(own)
        proposed = moving + step_of(jax.random.split(key_move, n_posterior), moving, others)
        after = density(proposed)
        accepted = jnp.log(jax.random.uniform(key_accept, before.shape)) < after - before
        moved = jnp.where(accepted[..., None], proposed, moving)
        known = jnp.where(accepted, after, before)
        return (jnp.stack([others, moved]), jnp.stack([resting, known])), moved

    halves = x.reshape(2, -1, *x.shape[1:])
    first = halves, jax.lax.map(density, halves)
    _, path = jax.lax.scan(step, first, jax.random.split(key_walk, 2 * n_steps))
    later = path[int(2 * n_steps * _BURN_IN) :: max(1, path.shape[1] * n_steps // _N_FIT)]
    points = jnp.moveaxis(later, 2, 0).reshape(n_posterior, -1, x.shape[-1])
    keys = jax.random.split(key_fit, n_posterior)
    return jax.vmap(partial(StudentTMixture.fitted, size=n_components))(keys, points)


@partial(Compiled, static_argnums=(0, 3, 4))
def sample_many(
    log_density: Callable[..., Array],
    proposal: StudentTMixture,
    key: Array,
    n_batch: int,
    n_rounds: int,
    *arguments: Any,
) -> ManyDraws:
    """Sample N posteriors.

    Parameters
    ----------
    log_density : callable
        (points (n, N, D), ``*arguments``) -> logarithms of the densities (n, N). The programs are
        compiled for this function and for the shapes of its arguments.
    proposal : StudentTMixture
        First proposals, with a leading axis of length N; of :func:`explore_many` or of earlier
        draws.
    key : Array
        Random key.
    n_batch : int
        Proposals per round, of each posterior.
    n_rounds : int
        Rounds.
    *arguments
        Of ``log_density``.
    """
    n_posterior, _, dimension = proposal.mean.shape
    n = n_batch * n_rounds

    def round_(state: _State, each: tuple[Array, Array]) -> tuple[_State, None]:
        i, own = each
        keys = jax.random.split(own, n_posterior)
        x = jax.vmap(partial(StudentTMixture.sample, n=n_batch))(state.proposal, keys)
        found = log_density(jnp.swapaxes(x, 0, 1), *arguments).T
        return _after(state, i, x, _or_nothing(found)), None

    first = _State(
        proposal,
        jax.tree.map(lambda a: jnp.broadcast_to(a, (n_rounds, *a.shape)), proposal),
        jnp.zeros((n_posterior, n, dimension)),
        jnp.full((n_posterior, n), -jnp.inf),
        jnp.zeros((n_posterior, n)),
    )
    rounds = jnp.arange(n_rounds), jax.random.split(key, n_rounds)
    last, _ = jax.lax.scan(round_, first, rounds)
    return ManyDraws(
        last.x, last.log_density - last.log_proposed + jnp.log(n_rounds), last.proposal
    )


def _after(state: _State, i: Array, x: Array, log_density: Array) -> _State:
    """Add the points (N, n, D) of round i, and refit the proposals."""
    earlier = jax.tree.map(lambda a, b: a.at[i].set(b), state.earlier, state.proposal)
    proposed = jnp.logaddexp(state.log_proposed, _density(state.proposal, state.x))
    by_round = jax.vmap(lambda mixtures: _density(mixtures, x))(earlier)
    begun = (jnp.arange(len(by_round)) <= i)[:, None, None]
    state = _State(
        state.proposal,
        earlier,
        _filled(state.x, x, i),
        _filled(state.log_density, log_density, i),
        _filled(proposed, logsumexp(jnp.where(begun, by_round, -jnp.inf), axis=0), i),
    )
    log_weight = state.log_density - state.log_proposed
    return state._replace(proposal=_adapted(state.proposal, state.x, log_weight))


def _or_nothing(log_density: Array) -> Array:
    """Where a density is not finite, it is nothing."""
    return jnp.where(jnp.isfinite(log_density), log_density, -jnp.inf)


def _density(mixtures: StudentTMixture, x: Array) -> Array:
    """Log-densities (N, n) of N mixtures at points (N, n, D)."""
    return jax.vmap(StudentTMixture.log_density)(mixtures, x)


def _filled(values: Array, new: Array, i: Array) -> Array:
    """Put the points of round i into the buffer of all."""
    return jax.lax.dynamic_update_slice_in_dim(values, new, i * new.shape[1], axis=1)


@jax.vmap
def _adapted(proposal: StudentTMixture, x: Array, log_weight: Array) -> StudentTMixture:
    """Refit a proposal to flattened weights."""
    adapted = proposal.adapted(x, flatten_weights(log_weight, _FIT_PER_COORDINATE * x.shape[1]))
    sane = jnp.all(jnp.isfinite(adapted.mean)) & jnp.all(jnp.isfinite(adapted.factor))
    return jax.tree.map(lambda new, old: jnp.where(sane, new, old), adapted, proposal)
