"""What a run of nested sampling has left behind so far, on the host."""

from __future__ import annotations

from dataclasses import dataclass, field

import jax
import numpy as np
from blackjax.ns.base import StateWithLogLikelihood

from tengri_ppl.inference.nested.loop import Block

__all__ = ["Record"]


@dataclass
class Record:
    """Dead points and counts, block by block.

    Attributes
    ----------
    dead : list of StateWithLogLikelihood
        Points that were replaced.
    insertion : list of ndarray
        Insertion ranks of those that replaced them.
    n_steps, n_evaluations, n_stuck : int
        Steps, likelihoods evaluated, and slices in which no point was found.
    """

    dead: list[StateWithLogLikelihood] = field(default_factory=list)
    insertion: list[np.ndarray] = field(default_factory=list)
    n_steps: int = 0
    n_evaluations: int = 0
    n_stuck: int = 0

    def add(self, block: Block) -> None:
        """Fetch the steps of a block from the device."""
        n = int(block.n_steps)
        dead, insertion, n_evaluations, n_stuck = jax.tree.map(
            lambda x: np.asarray(x)[:n],
            (block.dead, block.insertion, block.n_evaluations, block.n_stuck),
        )
        self.dead.append(jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), dead))
        self.insertion.append(insertion.ravel())
        self.n_steps += n
        self.n_evaluations += int(n_evaluations.sum(dtype=np.int64))
        self.n_stuck += int(n_stuck.sum(dtype=np.int64))

    def ranks(self) -> np.ndarray:
        """All insertion ranks."""
        return np.concatenate([np.zeros(0), *self.insertion])
