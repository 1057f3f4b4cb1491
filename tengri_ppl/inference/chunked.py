"""A model of which only so many points are evaluated at a time.

Engines map their models over chains, particles or draws with :func:`jax.vmap`. Around a model that
is :class:`Chunked` every such map, derivatives included, becomes a loop over chunks, so that
temporary memory is that of one chunk whatever the engine does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax

from tengri_ppl.runtime.chunks import map_chunks

__all__ = ["Chunked", "differentiable_in_chunks", "in_chunks"]

Function = Callable[..., Any]


@dataclass(frozen=True)
class Chunked:
    """A NumPyro model with the number of points of it to be evaluated at a time.

    Attributes
    ----------
    model : callable
        The model.
    chunk_size : int
        Points at a time; rounded down to a divisor of the number of points.
    """

    model: Function
    chunk_size: int

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the model."""
        return self.model(*args, **kwargs)


def in_chunks(model: Function, function: Function) -> Function:
    """Return a function that is mapped in chunks, if the model wants that.

    Parameters
    ----------
    model : callable
        A model, :class:`Chunked` or not.
    function : callable
        Function of pytrees of arrays, which evaluates the model at one point. All arrays that it
        needs are its arguments: it may be mapped after those around it are gone.
    """
    if not isinstance(model, Chunked):
        return function
    limited = jax.custom_batching.custom_vmap(function)

    @limited.def_vmap
    def in_a_loop(n: int, is_mapped: Any, *args: Any) -> tuple[Any, Any]:
        leaves, structure = jax.tree.flatten(args)
        mapped = jax.tree.leaves(is_mapped)

        def one(points: list[Any]) -> Any:
            return function(*jax.tree.unflatten(structure, _merged(leaves, mapped, points)))

        points = [leaf for leaf, moves in zip(leaves, mapped, strict=True) if moves]
        out = _mapped(one, points, model.chunk_size)
        return out, jax.tree.map(lambda _: bool(points), out)

    return limited


def differentiable_in_chunks(model: Function, function: Function) -> Function:
    """Return a function of (point, others) that is mapped in chunks, and so is its derivative.

    The derivative, with respect to the point only, evaluates the function again instead of
    keeping what it computed.
    """
    if not isinstance(model, Chunked):
        return function

    def pulled_back(point: Any, others: Any, cotangent: Any) -> Any:
        return jax.vjp(lambda point: function(point, others), point)[1](cotangent)[0]

    value, derivative = in_chunks(model, function), in_chunks(model, pulled_back)
    differentiable = jax.custom_vjp(value)
    differentiable.defvjp(
        lambda point, others: (value(point, others), (point, others)),
        lambda kept, cotangent: (derivative(*kept, cotangent), None),
    )
    return differentiable


def _mapped(one: Function, points: list[Any], chunk_size: int) -> Any:
    """Map over the leading axis of all points; nothing may depend on it."""
    if not points:
        return one(points)
    return map_chunks(one, points, chunk_size)


def _merged(leaves: list[Any], mapped: list[bool], points: list[Any]) -> list[Any]:
    """Put the leaves of one point in place of those of all."""
    one: Iterator[Any] = iter(points)
    return [next(one) if moves else leaf for leaf, moves in zip(leaves, mapped, strict=True)]
