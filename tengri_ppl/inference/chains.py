"""Markov chains of any kernel: blocks of iterations, groups in threads, rounds until converged.

A kernel's module compiles a *program* that advances a group of chains by up to :data:`BLOCK`
iterations and returns their records; everything here works on programs and knows no kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from tengri_ppl.errors import MemoryBudgetError, ParameterError
from tengri_ppl.inference.convergence import chains_converged
from tengri_ppl.runtime.memory import release_memory
from tengri_ppl.runtime.threads import available_cores, map_in_threads

__all__ = [
    "BLOCK",
    "ChainOptions",
    "Chains",
    "Progress",
    "draw_samples",
    "number_of_groups",
    "run_block",
]

#: Called with (phase, iterations done, iterations in total, divergences so far).
Progress = Callable[[str, int, int, int], None]

#: Advances one group: (state, number of iterations) -> (state, records (BLOCK, chain, ...)).
Program = Callable[[Any, int], tuple[Any, Any]]

BLOCK = 50
#: Up to so many chains run in a program each.
_MAX_LONE_CHAINS = 8
_FIRST_ROUND = 500
_ROUND = 250


@dataclass(frozen=True)
class ChainOptions:
    """Options that all Markov chain engines have.

    Attributes
    ----------
    n_warmup : int
        Adaptation steps per chain.
    n_samples : int, optional
        Draws per chain. Without it, chains run until they have converged
        (:func:`~tengri_ppl.inference.convergence.chains_converged` on all coordinates and all
        scalar deterministic sites), at least 500 and at most ``max_samples`` draws.
    max_samples : int
        See ``n_samples``.
    num_chains : int
        Chains, run together.
    """

    n_warmup: int = 400
    n_samples: int | None = None
    max_samples: int = 8000
    num_chains: int = 4

    def __post_init__(self) -> None:
        """Check ranges."""
        self._expect_at_least(1, "n_samples", "max_samples", "num_chains")
        if self.n_warmup < 20:
            raise ParameterError(f"n_warmup={self.n_warmup}: expected at least 20 to adapt")

    def _expect_at_least(self, least: int, *names: str) -> None:
        for name in names:
            value = getattr(self, name)
            if value is not None and value < least:
                raise ParameterError(f"{name}={value}: expected at least {least}")

    def _expect_fraction(self, *names: str) -> None:
        for name in names:
            value = getattr(self, name)
            if not 0.0 < value < 1.0:
                raise ParameterError(f"{name}={value}: expected between 0 and 1")

    def _expect_positive(self, *names: str) -> None:
        for name in names:
            value = getattr(self, name)
            if not value > 0.0:
                raise ParameterError(f"{name}={value}: expected a positive number")


def run_block(
    step: Callable[[Any], Any], record: Callable[[Any], Any], state: Any, n: Array
) -> tuple[Any, Any]:
    """Take ``n`` steps, at most :data:`BLOCK`, inside a compiled program.

    Parameters
    ----------
    step : callable
        State -> next state.
    record : callable
        State -> pytree of arrays to keep of it.
    state : pytree
        Where to begin.
    n : Array, scalar int
        Steps; may be traced.

    Returns
    -------
    state, records
        The records have a leading axis of length :data:`BLOCK`, of which the first n are filled.
    """

    def body(i: Array, carry: tuple[Any, Any]) -> tuple[Any, Any]:
        state, buffer = carry
        state = step(state)
        return state, jax.tree.map(lambda b, r: b.at[i].set(r), buffer, record(state))

    shapes = jax.eval_shape(record, state)
    buffer = jax.tree.map(lambda s: jnp.zeros((BLOCK, *s.shape), s.dtype), shapes)
    return jax.lax.fori_loop(0, n, body, (state, buffer))


class Chains:
    """Chains in groups, advanced together block by block.

    On a CPU, chains that are batched into one program wait for the longest trajectory among them
    and use one core; groups keep all cores busy.

    Parameters
    ----------
    states : sequence
        State of each group.
    progress : callable, optional
        Called after every block.

    Attributes
    ----------
    states : list
        State of each group; may be replaced between runs.
    n_evaluations : int
        Evaluations of the density or its gradient so far, from the records' ``n_steps``.
    notes : tuple of str
        Why sampling ended early, if it did.
    """

    def __init__(self, states: Sequence[Any], progress: Progress | None = None) -> None:
        self.states = list(states)
        self.n_evaluations = 0
        self.notes: tuple[str, ...] = ()
        self._progress = progress

    def compile(self, program: Program) -> None:
        """Compile once, by no iterations, what all threads would compile at the same time."""
        program(self.states[0], 0)
        release_memory()

    def advance(self, program: Program, phase: str, start: int, stop: int, total: int) -> Any:
        """Run the iterations from ``start`` to ``stop``; return their records, (chain, draw).

        Where memory runs short while sampling, what there is by then is returned.
        """
        blocks, diverged = [], 0
        for done in range(start, stop, BLOCK):
            n = min(BLOCK, stop - done)
            advance = partial(self._advance_group, program, n)
            parts = map_in_threads(advance, range(len(self.states)))
            blocks.append(jax.tree.map(lambda *x: np.concatenate(x, axis=1), *parts))
            stats = blocks[-1]["stats"]
            diverged += int(stats["diverging"].sum())
            self.n_evaluations += int(stats["n_steps"].sum(dtype=np.int64))
            if self._progress is not None:
                try:
                    self._progress(phase, done + n, total, diverged)
                except MemoryBudgetError as error:
                    if phase != "sample":
                        raise
                    self.notes = (str(error),)
                    break
        return jax.tree.map(lambda *x: np.swapaxes(np.concatenate(x), 0, 1), *blocks)

    def _advance_group(self, program: Program, n: int, group: int) -> Any:
        """Advance one group by a block; return its records, (iteration, chain)."""
        self.states[group], buffer = program(self.states[group], n)
        return jax.tree.map(lambda b: np.asarray(b)[:n], buffer)


def draw_samples(chains: Chains, program: Program, options: ChainOptions) -> Any:
    """Draw the number of samples asked for, or until the chains have converged.

    The records' ``x`` (a mapping of coordinates) and scalar ``samples`` are monitored.
    """
    if options.n_samples is not None:
        return chains.advance(program, "sample", 0, options.n_samples, options.n_samples)
    done = min(_FIRST_ROUND, options.max_samples)
    draws = chains.advance(program, "sample", 0, done, done)
    while not chains.notes and done < options.max_samples and not _has_converged(draws):
        stop = min(done + _ROUND, options.max_samples)
        more = chains.advance(program, "sample", done, stop, stop)
        draws = jax.tree.map(lambda a, b: np.concatenate([a, b], axis=1), draws, more)
        done = stop
    return draws


def _has_converged(draws: Mapping[str, Any]) -> bool:
    """Judge by the coordinates and the scalar sites."""
    scalars = {name: value for name, value in draws["samples"].items() if value.ndim == 2}
    return chains_converged({**draws["x"], **scalars})


def number_of_groups(n: int) -> int:
    """Return the number of groups of equal size in which n chains run fastest.

    On a CPU a program for a handful of chains is no faster than one program after the other for
    each, and its chains would wait for each other; many chains share their programs' overhead.
    """
    if jax.default_backend() != "cpu":
        return 1
    if n <= _MAX_LONE_CHAINS:
        return n
    return max(k for k in range(1, min(available_cores(), n) + 1) if n % k == 0)
