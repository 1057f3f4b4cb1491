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

#: Position, state of the solver, iterations, gradients evaluated, length of the last gradient.
_Carry = tuple[Array, Any, Array, Array, Array]


class Modes(NamedTuple):
    """End points of all searches, the best first.

    Attributes
    ----------
    x : Array, shape (n_start, D)
        Unconstrained coordinates.
    log_density : Array, shape (n_start,)
        Log-posterior up to a constant.
    gradient : Array, shape (n_start, D)
        Of the negative log-density.
    n_steps, n_evaluations : Array, shape (n_start,)
        Iterations taken, and gradients evaluated for them.
    """

    x: Array
    log_density: Array
    gradient: Array
    n_steps: Array
    n_evaluations: Array

    @property
    def gradient_norm(self) -> Array:
        """Length of the gradient (n_start,): small at a mode.

        In coordinates in which the prior has a scale of about one, so does the posterior's
        gradient at a distance of one posterior width.
        """
        return jnp.linalg.norm(self.gradient, axis=-1)


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

    def advance(carry: _Carry) -> _Carry:
        x, state, i, n, _ = carry
        value, gradient = value_and_grad(x, state=state)
        updates, state = solver.update(
            gradient, state, x, value=value, grad=gradient, value_fn=energy
        )
        moved = optax.apply_updates(x, updates)
        n += optax.tree.get(state, "num_linesearch_steps")
        return moved, state, i + 1, n, jnp.linalg.norm(optax.tree.get(state, "grad"))

    def unfinished(carry: _Carry) -> Array:
        _, _, i, _, norm = carry
        return (i < max_steps) & (norm > tolerance)

    def one(x: Array) -> Modes:
        none = jnp.zeros((), int)
        begin = (x, solver.init(x), none, none, jnp.full((), jnp.inf))
        end, _, i, n, _ = jax.lax.while_loop(unfinished, advance, begin)
        # where the density has no mode a search may run away; then its start point has to do
        sane = jnp.isfinite(energy(end)) & jnp.all(jnp.isfinite(end))
        end = jnp.where(sane, end, x)
        value, gradient = jax.value_and_grad(energy)(end)
        return Modes(end, -value, gradient, i, n + 2)

    return jax.vmap(one)(start)
