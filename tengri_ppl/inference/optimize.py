"""Modes of a posterior, by L-BFGS from many start points at once."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from tengri_ppl.inference.flat import FlatTarget, Layout, flat_potential
from tengri_ppl.inference.target import Model

__all__ = ["Modes", "find_modes"]


class Modes(NamedTuple):
    """End points of all searches, the best first.

    Attributes
    ----------
    x : Array, shape (n_start, D)
        Unconstrained coordinates.
    log_density : Array, shape (n_start,)
        Log-posterior up to a constant.
    gradient_norm : Array, shape (n_start,)
        Length of the gradient: small at a mode. In coordinates in which the prior has a scale of
        about one, so does the posterior's gradient at a distance of one posterior width.
    n_steps : Array, shape (n_start,)
        Iterations taken.
    """

    x: Array
    log_density: Array
    gradient_norm: Array
    n_steps: Array


def find_modes(
    flat: FlatTarget, start: Array, *, max_steps: int = 200, tolerance: float = 1e-2
) -> Modes:
    """Maximise the posterior density over unconstrained coordinates.

    L-BFGS with a zoom line search (Nocedal & Wright 2006, chapters 3 and 7), from optax.

    Parameters
    ----------
    flat : FlatTarget
        The posterior.
    start : Array, shape (n_start, D)
        Where to start.
    max_steps : int
        Iterations of each search.
    tolerance : float
        Gradient norm at which a search ends.
    """
    modes = _search(flat.target.model, flat.layout, max_steps, start, tolerance, *flat.arguments)
    order = jnp.argsort(-modes.log_density)
    return Modes(*(field[order] for field in modes))


@partial(jax.jit, static_argnums=(0, 1, 2))
def _search(
    model: Model,
    layout: Layout,
    max_steps: int,
    start: Array,
    tolerance: float,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Modes:
    def energy(x: Array) -> Array:
        return flat_potential(model, layout, x, args, kwargs)

    solver = optax.lbfgs()
    value_and_grad = optax.value_and_grad_from_state(energy)

    def advance(carry: tuple[Array, Any, Array, Array]) -> tuple[Array, Any, Array, Array]:
        x, state, i, _ = carry
        value, gradient = value_and_grad(x, state=state)
        updates, state = solver.update(
            gradient, state, x, value=value, grad=gradient, value_fn=energy
        )
        moved = optax.apply_updates(x, updates)
        return moved, state, i + 1, jnp.linalg.norm(optax.tree.get(state, "grad"))

    def unfinished(carry: tuple[Array, Any, Array, Array]) -> Array:
        _, _, i, norm = carry
        return (i < max_steps) & (norm > tolerance)

    def one(x: Array) -> Modes:
        begin = (x, solver.init(x), jnp.zeros((), int), jnp.full((), jnp.inf))
        end, _, i, _ = jax.lax.while_loop(unfinished, advance, begin)
        # where the density has no mode a search may run away; then its start point has to do
        sane = jnp.isfinite(energy(end)) & jnp.all(jnp.isfinite(end))
        end = jnp.where(sane, end, x)
        value, gradient = jax.value_and_grad(energy)(end)
        return Modes(end, -value, jnp.linalg.norm(gradient), i)

    return jax.vmap(one)(start)
