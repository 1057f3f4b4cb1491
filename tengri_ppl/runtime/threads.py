"""Several programs at once: XLA's CPU programs of small arrays use one core each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import jax
import jax.numpy as jnp

__all__ = ["map_in_threads"]

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def map_in_threads(function: Callable[[_Item], _Result], items: Sequence[_Item]) -> list[_Result]:
    """Call a function on every item, each in a thread of its own.

    What the function runs should have been compiled before: threads that find nothing compiled
    would all compile the same.

    Parameters
    ----------
    function : callable
        Item -> result.
    items : sequence
        A few items.

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

    with ThreadPoolExecutor(len(items)) as pool:
        return list(pool.map(call, items))
