"""A target as a density over one vector, in compiled functions that take the data as arguments."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from tengri_ppl.distributions.layout import Layout, length, split
from tengri_ppl.errors import ParameterError
from tengri_ppl.inference.target import Model, Target, potential, prior_draw, site_values
from tengri_ppl.runtime.compiled import Compiled

__all__ = ["FlatTarget", "flat_log_density", "flat_potential"]


class FlatTarget:
    """Unconstrained coordinates of all sites in one vector x.

    Programs are compiled once per model, layout and shapes of the data.

    Parameters
    ----------
    target : Target
        The posterior.

    Attributes
    ----------
    layout : tuple
        Names and shapes of the sites, in the order of x.
    dimension : int
        Length D of x.
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        self.layout: Layout = tuple(
            (name, target.sites[name].unconstrained_shape) for name in sorted(target.sites)
        )
        self.dimension = length(self.layout)

    @property
    def arguments(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Arguments of the model, which the compiled functions take."""
        return self.target.args, dict(self.target.kwargs)

    def log_density(self, x: ArrayLike) -> Array:
        """Log-posterior up to a constant at points (n, D); -inf where it is not finite; (n,)."""
        return flat_log_density(self.target.model, self.layout, x, *self.arguments)

    def values(self, x: Array) -> dict[str, Array]:
        """Constrained latent sites and deterministic ones at points (n, D), each (n, ...)."""
        return _values(self.target.model, self.layout, x, *self.arguments)

    def prior(self, key: Array, n: int) -> Array:
        """Draw points (n, D) from the prior.

        Raises
        ------
        ParameterError
            If a prior is improper.
        """
        try:
            z = _prior_draws(self.target.model, n, key, *self.arguments)
        except NotImplementedError as error:
            raise ParameterError(
                "this method starts from draws of the prior, and a prior of this model is "
                "improper; give it a proper one, for example Normal(0, 100)"
            ) from error
        return self.flatten(z)

    def flatten(self, z: Mapping[str, Array]) -> Array:
        """Turn sites with one leading axis of length n into (n, D)."""
        parts = [jnp.reshape(z[name], (jnp.shape(z[name])[0], -1)) for name, _ in self.layout]
        return jnp.concatenate(parts, axis=1)

    def unflatten(self, x: Array) -> dict[str, Array]:
        """Turn (n, D) into sites with one leading axis of length n."""
        return jax.vmap(partial(split, self.layout))(x)


def flat_potential(
    model: Model, layout: Layout, x: Array, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Array:
    """Negative log-posterior at one point (D,)."""
    return potential(model, args, kwargs, split(layout, x))


@partial(Compiled, static_argnums=(0, 1))
def flat_log_density(
    model: Model, layout: Layout, x: Array, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Array:
    """Log-posterior up to a constant at points (n, D); -inf where it is not finite; (n,)."""
    energy = jax.vmap(lambda point: flat_potential(model, layout, point, args, kwargs))(x)
    return jnp.where(jnp.isfinite(energy), -energy, -jnp.inf)


@partial(Compiled, static_argnums=(0, 1))
def _values(
    model: Model, layout: Layout, x: Array, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, Array]:
    return jax.vmap(lambda point: site_values(model, args, kwargs, split(layout, point)))(x)


@partial(Compiled, static_argnums=(0, 1))
def _prior_draws(
    model: Model, n: int, key: Array, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, Array]:
    return jax.vmap(lambda k: prior_draw(model, args, kwargs, k))(jax.random.split(key, n))
