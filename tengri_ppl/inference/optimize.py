"""Modes of a posterior, by L-BFGS from many start points at once."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from tengri_ppl.distributions.layout import Layout
from tengri_ppl.inference.flat import FlatTarget, flat_potential
from tengri_ppl.inference.target import Model
from tengri_ppl.runtime.compiled import Compiled
from tengri_ppl.runtime.memory import release_memory

__all__ = ["Modes", "find_modes"]

#: A step has to reach this share of the decrease that the slope promises (Armijo's rule), give or
#: take the rounding of the potential; else it is shortened by a factor between these limits.
_DECREASE = 1e-4
_ROUNDING = 1e-6
_SHORTEN = (0.1, 0.5)
#: A search ends where not even a step of this length, relative to the first try, goes downhill.
_SHORTEST = 1e-6


class _Search(NamedTuple):
    """One search: the point reached, the potential and its gradient there, and what is next.

    The next point to try is ``x + length * direction``; ``state`` is that of the L-BFGS memory.
    """

    x: Array
    value: Array
    gradient: Array
    direction: Array
    length: Array
    state: Any
    n_steps: Array
    n_evaluations: Array


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

    L-BFGS (Nocedal & Wright 2006, chapter 7), from optax, with a backtracking line search.

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
    release_memory()
    return modes


@partial(Compiled, static_argnums=(0, 1, 2))
def _search(
    model: Model,
    layout: Layout,
    max_steps: int,
    start: Array,
    tolerance: float,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Modes:
    """Search from all points at once; return the best modes first.

    Every iteration evaluates one point of each search. The model occurs once in the program, which
    so compiles several times faster than one with a line search inside, and no search waits for the
    line search of another.
    """
    solver = optax.scale_by_lbfgs()
    value_and_gradient = jax.value_and_grad(
        lambda x: flat_potential(model, layout, x, args, kwargs)
    )

    def advance(at: _Search) -> _Search:
        x = at.x + at.length * at.direction
        value, gradient = value_and_gradient(x)
        sane = jnp.isfinite(value) & jnp.all(jnp.isfinite(gradient))
        slope = at.gradient @ at.direction
        bound = at.value + _DECREASE * at.length * slope + _ROUNDING * jnp.abs(value)
        direction, state = _redirect(solver, x, gradient, at.state)
        further = _Search(
            *(x, value, gradient, direction, jnp.ones(()), state, at.n_steps + 1),
            at.n_evaluations + 1,
        )
        curvature = 2.0 * (value - at.value - at.length * slope)
        shorter = jnp.clip(-at.length * slope / curvature, *_SHORTEN)
        length = at.length * jnp.where(sane, shorter, _SHORTEN[0])
        nearer = at._replace(length=length, n_evaluations=at.n_evaluations + 1)
        accept = sane & (value <= bound)
        return jax.tree.map(lambda a, b: jnp.where(accept, a, b), further, nearer)

    def unfinished(at: _Search) -> Array:
        far = jnp.linalg.norm(at.gradient) > tolerance
        begun = at.n_evaluations > 0
        able = (at.n_steps < max_steps) & (at.length > _SHORTEST)
        return ~begun | (far & able)

    def one(x: Array) -> Modes:
        none, zero = jnp.zeros((), int), jnp.zeros_like(x)
        infinite = jnp.full((), jnp.inf, x.dtype)
        first = _Search(x, infinite, zero, zero, jnp.ones(()), solver.init(x), none, none)
        end = jax.lax.while_loop(unfinished, advance, first)
        return Modes(end.x, -end.value, end.gradient, end.n_steps, end.n_evaluations)

    modes = jax.vmap(one)(start)
    order = jnp.argsort(-modes.log_density)
    return Modes(*(field[order] for field in modes))


def _redirect(
    solver: optax.GradientTransformation, x: Array, gradient: Array, state: Any
) -> tuple[Array, Any]:
    """Return the quasi-Newton direction at a point; memory of concave steps is dropped."""
    convex = jnp.vdot(gradient - state.updates, x - state.params) > 0.0
    fresh = solver.init(x)
    state = jax.tree.map(lambda a, b: jnp.where(convex, a, b), state, fresh)
    descent, state = solver.update(gradient, state, x)
    return -descent, state
