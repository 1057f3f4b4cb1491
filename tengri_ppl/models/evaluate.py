"""Evaluate a forward model, which knows one galaxy, for batches of galaxies and of draws."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from tengri_ppl.errors import ParameterError
from tengri_ppl.models.forward import ForwardModel

__all__ = ["evaluate"]


@partial(jax.jit, static_argnums=(0, 1))
def evaluate(
    method: str,
    structure: Any,
    leaves: list[Any],
    free: dict[str, ArrayLike],
    mapped: Any,
    *args: Array,
) -> Any:
    """Call ``forward.method(parameters, mapped, *args)`` over the batch of the first two."""
    forward, fixed = jax.tree.unflatten(structure, leaves)

    params = {name: jnp.asarray(value, dtype=float) for name, value in {**fixed, **free}.items()}
    events = {name: _event_shape(name, value, forward) for name, value in params.items()}
    batch = {name: v.shape[: v.ndim - len(events[name])] for name, v in params.items()}
    galaxies = (len(forward.table.log1pz),) if forward.table.by_galaxy else ()
    shape = _common_shape(batch, galaxies)
    leading = shape[: len(shape) - len(galaxies)]
    flattened = (math.prod(leading), *galaxies) if leading else galaxies
    every = {
        k: jnp.broadcast_to(v, shape + events[k]).reshape(flattened + events[k])
        for k, v in params.items()
        if batch[k]
    }
    shared = {k: v for k, v in params.items() if not batch[k]}

    def one(table: Any, params: dict[str, Array], each: Any) -> Any:
        model = replace(forward, table=table)
        own = () if each is None else (each,)
        return getattr(model, method)({**shared, **params}, *own, *args)

    predict = partial(jax.vmap(one) if galaxies else one, forward.table)
    if leading:
        predict = jax.vmap(predict, axis_size=flattened[0])
    mapped = jax.tree.map(lambda x: jnp.broadcast_to(x, shape).reshape(flattened), mapped)
    out = predict(every, mapped)
    return jax.tree.map(lambda x: x.reshape(shape + x.shape[len(flattened) :]), out)


def _common_shape(batch: Mapping[str, tuple[int, ...]], n_galaxy: tuple[int, ...]) -> Any:
    """Return the shape of the batch, which ends in the galaxies of a model that is made for some.

    Raises
    ------
    ParameterError
        If the parameters don't fit to each other, or to the galaxies.
    """
    try:
        return jnp.broadcast_shapes(n_galaxy, *batch.values())
    except ValueError:
        shapes = ", ".join(f"{name} {shape}" for name, shape in batch.items() if shape)
        known = f" and the {n_galaxy[0]} galaxies of at_redshifts" if n_galaxy else ""
        raise ParameterError(
            f"the shapes of the parameters{known} don't broadcast against each other: {shapes}"
        ) from None


def _event_shape(name: str, value: Array, forward: ForwardModel) -> tuple[int, ...]:
    """Return the shape of a parameter in one galaxy; its other, leading axes are those of a batch.

    Raises
    ------
    ParameterError
        If the value does not end in this shape.
    """
    event = forward.structure.parameters[name].shape
    if event and value.shape[-len(event) :] != event:
        raise ParameterError(
            f"{name} has shape {value.shape}: expected {event}, with leading axes for a batch"
        )
    return event
