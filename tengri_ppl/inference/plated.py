r"""Models with a plate around their data, whose members are independent given what they share.

The standard coordinates of such a model are those of what is shared, s, and the local ones of each
member, and the data of a member depend on s and on its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from numpyro import handlers

from tengri_ppl.distributions.layout import Layout, join, length, split
from tengri_ppl.inference.standard import StandardTarget, likelihoods
from tengri_ppl.inference.target import Model

__all__ = ["Structure", "member_likelihoods", "plate_structure"]


class Structure(NamedTuple):
    """Where the members of a plate are in the sites of a model.

    Attributes
    ----------
    layout : tuple
        Names and shapes of all latent sites, in the order of the vector of coordinates.
    axes : tuple of int or None
        For each of them the axis of the plate, or None if it is shared.
    observed : tuple
        Names of observed sites, each with the axis of the plate.
    size : int
        Number of members G.
    """

    layout: Layout
    axes: tuple[int | None, ...]
    observed: tuple[tuple[str, Any], ...]
    size: int

    @property
    def shared(self) -> Layout:
        """Sites outside of the plate."""
        return tuple(e for e, axis in zip(self.layout, self.axes, strict=True) if axis is None)

    @property
    def local(self) -> Layout:
        """Sites inside of the plate, with the shapes of one member."""
        return tuple(
            (name, (*shape[:axis], *shape[axis + 1 :]))
            for (name, shape), axis in zip(self.layout, self.axes, strict=True)
            if axis is not None
        )

    @property
    def n_local(self) -> int:
        """Local coordinates K of a member."""
        return length(self.local)

    def join(self, shared: Array, local: Array) -> Array:
        """Turn coordinates (h,) and (G, K) into a vector (D,)."""
        parts = split(self.shared, shared)
        members = split(self.local, local)
        for (name, _), axis in zip(self.layout, self.axes, strict=True):
            if axis is not None:
                parts[name] = jnp.moveaxis(members[name], 0, axis)
        return join(self.layout, parts)

    def cut(self, xi: Array) -> tuple[Array, Array]:
        """Invert :meth:`join`."""
        parts = split(self.layout, xi)
        shared, local = [jnp.zeros(0)], [jnp.zeros((self.size, 0))]
        for (name, _), axis in zip(self.layout, self.axes, strict=True):
            if axis is None:
                shared.append(jnp.ravel(parts[name]))
            else:
                local.append(jnp.moveaxis(parts[name], axis, 0).reshape(self.size, -1))
        return jnp.concatenate(shared), jnp.concatenate(local, axis=1)


def plate_structure(view: StandardTarget) -> Structure | None:
    """Find the outermost plate around all data of a model; None if there is none."""
    found: dict[str, Any] = {}

    def inspect(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        with handlers.seed(rng_seed=jax.random.key(0)):
            trace = handlers.trace(view.target.model).get_trace(*args, **kwargs)
        found.update({name: site for name, site in trace.items() if site["type"] == "sample"})

    jax.eval_shape(inspect, *view.arguments)
    observed = {name: site for name, site in found.items() if site["is_observed"]}
    around = [{frame.name for frame in site["cond_indep_stack"]} for site in observed.values()]
    first, *_ = observed.values()
    plates = [f for f in first["cond_indep_stack"] if all(f.name in names for names in around)]
    if not plates:
        return None
    plate = min(plates, key=lambda frame: frame.dim)

    def axis(site: Mapping[str, Any]) -> int | None:
        inside = plate.name in {frame.name for frame in site["cond_indep_stack"]}
        return len(site["fn"].batch_shape) + plate.dim if inside else None

    axes = tuple(axis(found[name]) for name, _ in view.layout)
    data = tuple((name, axis(site)) for name, site in observed.items())
    return Structure(view.layout, axes, data, plate.size)


def member_likelihoods(
    model: Model,
    structure: Structure,
    shared: Array,
    local: Array,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> tuple[Array, Array]:
    """Return log-likelihoods (G,) and whitened predictions (G, B) of the members.

    Parameters
    ----------
    model : callable
        NumPyro model function.
    structure : Structure
        Its plate.
    shared : Array, shape (h,)
        Standard coordinates of what is shared.
    local : Array, shape (G, K)
        Those of the members.
    args, kwargs
        Of the model.
    """
    found = likelihoods(model, structure.layout, structure.join(shared, local), args, kwargs)
    total, pieces = jnp.zeros(structure.size), [jnp.zeros((structure.size, 0))]
    for name, axis in structure.observed:
        log_density = jnp.moveaxis(found[name].log_density, axis, 0)
        total += jnp.sum(log_density.reshape(structure.size, -1), axis=1)
        for piece in found[name].predictions:
            pieces.append(jnp.moveaxis(piece, axis, 0).reshape(structure.size, -1))
    return total, jnp.concatenate(pieces, axis=1)
