r"""A NumPyro model in standard coordinates: all latent sites are functions of standard normals.

In these coordinates :math:`\xi` the prior is :math:`N(0, 1)`, whatever it is in the model, so that
the posterior has the energy :math:`H(\xi) = -\ln L(\xi) + |\xi|^2 / 2`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from jax import Array
from numpyro import handlers

from tengri_ppl.distributions.layout import Layout, length, split
from tengri_ppl.distributions.standard import (
    check_latent,
    from_standard,
    standard_shape,
    to_standard,
)
from tengri_ppl.inference.target import Model, Target, _total, starting_values
from tengri_ppl.inference.whitening import Likelihood, depending, whitened
from tengri_ppl.runtime.chunks import map_chunks, points_at_once
from tengri_ppl.runtime.compiled import Compiled

__all__ = [
    "StandardTarget",
    "likelihoods",
    "log_likelihood",
    "standard_values",
    "whitened_prediction",
]


class StandardTarget:
    """A target in standard coordinates, as a vector.

    Parameters
    ----------
    target : Target
        The posterior.

    Attributes
    ----------
    layout : tuple
        Names and shapes of the sites, in the order of the vector.
    dimension : int
        Length D of the vector.
    model : callable
        The same posterior as a NumPyro model with one site ``xi``, of the same arguments.

    Raises
    ------
    ParameterError
        If a prior is not a function of standard normals that is known here, or a likelihood has no
        whitened prediction.
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        shapes: dict[str, tuple[int, ...]] = {}

        def inspect(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            with starting_values(), handlers.seed(rng_seed=jax.random.key(0)):
                trace = handlers.trace(target.model).get_trace(*args, **kwargs)
            for name, site in trace.items():
                if site["type"] == "sample" and site["is_observed"]:
                    whitened(name, site)
                elif site["type"] == "sample":
                    check_latent(name, site)
                    shapes[name] = standard_shape(name, site["fn"])

        jax.eval_shape(inspect, target.args, dict(target.kwargs))
        self.layout: Layout = tuple((name, shapes[name]) for name in sorted(shapes))
        self.dimension = length(self.layout)
        self.model = _one_site(target.model, self.layout)

    @property
    def arguments(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Arguments of the model, which compiled functions take."""
        return self.target.args, dict(self.target.kwargs)

    def values(self, xi: Array) -> dict[str, Array]:
        """Latent and deterministic sites at points (n, D), each (n, ...)."""
        return _values(self.target.model, self.layout, xi, *self.arguments)

    def log_density(self, xi: Array) -> Array:
        """Log-posterior up to the evidence at points (n, D); -inf where it is not finite; (n,)."""
        return _log_density(self.target.model, self.layout, xi, *self.arguments)

    def coordinates(self, params: Mapping[str, Array]) -> Array:
        """Return the vector (D,) of constrained values of all latent sites."""
        return _coordinates(self.target.model, self.layout, dict(params), *self.arguments)


@partial(Compiled, static_argnums=(0, 1))
def _log_density(
    model: Model, layout: Layout, xi: Array, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Array:
    def one(point: Array) -> Array:
        prior = -0.5 * jnp.sum(point**2) - 0.5 * point.size * jnp.log(2.0 * jnp.pi)
        return prior + log_likelihood(model, layout, point, args, kwargs)

    density = map_chunks(one, xi, points_at_once(length(layout)))
    return jnp.where(jnp.isfinite(density), density, -jnp.inf)


@partial(Compiled, static_argnums=(0, 1))
def _coordinates(
    model: Model,
    layout: Layout,
    params: dict[str, Array],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Array:
    with handlers.seed(rng_seed=jax.random.key(0)), handlers.substitute(data=params):
        trace = handlers.trace(model).get_trace(*args, **kwargs)
    parts = [to_standard(trace[name]["fn"], trace[name]["value"]) for name, _ in layout]
    return jnp.concatenate([jnp.ravel(part) for part in parts])


@partial(Compiled, static_argnums=(0, 1))
def _values(
    model: Model, layout: Layout, xi: Array, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, Array]:
    def one(point: Array) -> dict[str, Array]:
        return standard_values(model, layout, point, args, kwargs)

    return map_chunks(one, xi, points_at_once(length(layout)))


@lru_cache(maxsize=64)
def _one_site(model: Model, layout: Layout) -> Model:
    """Write the model with one standard normal site and its likelihood as a factor."""
    dimension = length(layout)

    def standardised(*args: Any, **kwargs: Any) -> None:
        xi = numpyro.sample("xi", dist.Normal(0.0, 1.0).expand([dimension]).to_event(1))
        with handlers.block():
            value = log_likelihood(model, layout, xi, args, kwargs)
        numpyro.factor("likelihood", value)

    return standardised


# -- running the model -----------------------------------------------------------------------------


def _trace(
    model: Model, layout: Layout, xi: Array, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """Run the model at a vector of standard coordinates (D,)."""
    parts = split(layout, xi)

    def substitute(site: dict[str, Any]) -> Array | None:
        name = site["name"]
        return from_standard(name, site["fn"], parts[name]) if name in parts else None

    with handlers.seed(rng_seed=jax.random.key(0)), handlers.substitute(substitute_fn=substitute):
        return dict(handlers.trace(model).get_trace(*args, **kwargs))


def standard_values(
    model: Model, layout: Layout, xi: Array, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> dict[str, Array]:
    """Return the latent and the deterministic sites at one point (D,)."""
    names = dict(layout)
    return {
        name: site["value"]
        for name, site in _trace(model, layout, xi, args, kwargs).items()
        if site["type"] == "deterministic" or name in names
    }


def log_likelihood(
    model: Model, layout: Layout, xi: Array, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Array:
    """Return the log-likelihood at one point (D,)."""
    return sum(
        (
            _total(site["fn"].log_prob(site["value"]), site["scale"])
            for site in _trace(model, layout, xi, args, kwargs).values()
            if site["type"] == "sample" and site["is_observed"]
        ),
        start=jnp.zeros(()),
    )


def whitened_prediction(
    model: Model, layout: Layout, xi: Array, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[Array, Array]:
    """Return log-likelihood and whitened prediction (N,) at one point (D,).

    What does not depend on the point, as the logarithms of known errors, is left out.
    """
    parts = likelihoods(model, layout, xi, args, kwargs).values()
    total = sum((jnp.sum(part.log_density) for part in parts), start=jnp.zeros(()))
    pieces = [jnp.ravel(piece) for part in parts for piece in part.predictions]
    return total, jnp.concatenate([*pieces, jnp.zeros(0)])


def likelihoods(
    model: Model, layout: Layout, xi: Array, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> dict[str, Likelihood]:
    """Return log-likelihoods and whitened predictions of all observed sites at one point (D,).

    What does not depend on the point, as the logarithms of known errors, is left out.
    """

    def found(xi: Array) -> dict[str, Likelihood]:
        return {
            name: whitened(name, site)
            for name, site in _trace(model, layout, xi, args, kwargs).items()
            if site["type"] == "sample" and site["is_observed"]
        }

    parts = found(xi)
    pieces = [(name, piece) for name, part in parts.items() for piece in part.predictions]
    varying = depending(
        lambda xi: tuple(piece for part in found(xi).values() for piece in part.predictions), xi
    )
    chosen: dict[str, list[Array]] = {name: [] for name in parts}
    for (name, piece), varies in zip(pieces, varying, strict=True):
        if varies:
            chosen[name].append(piece)
    return {name: part._replace(predictions=tuple(chosen[name])) for name, part in parts.items()}
