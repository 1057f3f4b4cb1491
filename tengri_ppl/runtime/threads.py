"""Several programs at once: XLA's CPU programs of small arrays use one core each."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import jax
import jax.numpy as jnp

__all__ = ["available_cores", "map_in_threads"]

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def map_in_threads(function: Callable[[_Item], _Result], items: Sequence[_Item]) -> list[_Result]:
    """Call a function on every item, in as many threads as there are cores.

    What the function runs should have been compiled before: threads that find nothing compiled
    would all compile the same.

    Parameters
    ----------
    function : callable
        Item -> result.
    items : sequence
        Items; a thread that is done with one takes the next.

    Returns
    -------
    list
        Results in the order of the items.
    """
    # `with jax.enable_x64()` holds for one thread only
    x64 = jnp.result_type(float) == jnp.float64

    def call(item: _Item) -> _Result:
        with jax.enable_x64(x64):
            return jax.block_until_ready(function(item))

    with ThreadPoolExecutor(min(len(items), available_cores())) as pool:
        return list(pool.map(call, items))
