"""What a model says of its data at draws of the posterior: log-likelihoods and replications."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpyro import handlers
from numpyro.distributions import Unit

from tengri_ppl.inference.chunked import in_chunks
from tengri_ppl.inference.target import Model, Target, site_values
from tengri_ppl.runtime.chunks import CHUNK, map_chunks, map_draws, points_at_once
from tengri_ppl.runtime.compiled import Compiled

__all__ = [
    "evaluate_data",
    "observed_size",
    "observed_values",
    "prior_draws",
    "site_dimensions",
]

Trace = dict[str, Any]

#: Values of all draws from the prior, and the fewest draws.
_PRIOR_VALUES, _LEAST_PRIOR = 10_000_000, 20


def _is_data(site: Mapping[str, Any]) -> bool:
    """Tell data from latent sites and from ``numpyro.factor``."""
    observed = site["type"] == "sample" and site["is_observed"]
    return bool(observed and not isinstance(site["fn"], Unit))


def _traced(
    model: Model, args: tuple[Any, ...], kwargs: Mapping[str, Any], latent: Mapping[str, Array]
) -> Trace:
    with handlers.seed(rng_seed=jax.random.key(0)), handlers.substitute(data=dict(latent)):
        trace: Trace = handlers.trace(model).get_trace(*args, **kwargs)
    return trace


@partial(Compiled, static_argnums=0)
def _evaluate_chunk(
    model: Model,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    latent: dict[str, Array],
    key: Array,
) -> dict[str, dict[str, Array]]:
    def one(latent: dict[str, Array], key: Array, arguments: Any) -> dict[str, dict[str, Array]]:
        args, kwargs = arguments
        trace = _traced(model, args, kwargs, latent)
        sites = {name: site for name, site in trace.items() if _is_data(site)}
        subkeys = dict(zip(sites, jax.random.split(key, max(1, len(sites))), strict=False))
        return {
            "log_likelihood": {n: s["fn"].log_prob(s["value"]) for n, s in sites.items()},
            "predictive": {n: s["fn"].sample(subkeys[n]) for n, s in sites.items()},
        }

    keys = jax.random.split(key, len(next(iter(latent.values()))))
    return jax.vmap(in_chunks(model, one), (0, 0, None))(latent, keys, (args, kwargs))


def evaluate_data(
    target: Target, latent: Mapping[str, np.ndarray], key: Array
) -> dict[str, dict[str, np.ndarray]]:
    """Pointwise log-likelihood and replicated data at draws of the latent sites.

    Parameters
    ----------
    target : Target
        Posterior.
    latent : mapping of str to ndarray, shape (chain, draw, ...)
        Constrained values of all latent sites.
    key : Array
        Random key of the replications.

    Returns
    -------
    dict
        ``"log_likelihood"`` and ``"predictive"``: each observed site, (chain, draw, ...). Factors
        are left out.
    """
    evaluate = partial(_evaluate_chunk, target.model, target.args, dict(target.kwargs))
    values: dict[str, dict[str, np.ndarray]] = map_draws(evaluate, latent, key)
    return values


def prior_draws(target: Target, key: Array, n: int = CHUNK) -> dict[str, np.ndarray] | None:
    """Draw all latent and deterministic sites from the prior, each (n, ...).

    Of models with very many coordinates there are fewer draws. Returns None where a prior is
    improper, so that there is nothing to draw from.
    """
    dimension = sum(int(np.prod(site.shape)) for site in target.sites.values())
    n = min(n, max(_LEAST_PRIOR, _PRIOR_VALUES // max(1, dimension)))
    static = target.model, n, points_at_once(dimension)
    try:
        drawn = _prior_batch(*static, key, target.args, dict(target.kwargs))
    except NotImplementedError:
        return None
    return {name: np.asarray(value) for name, value in drawn.items()}


@partial(Compiled, static_argnums=(0, 1, 2))
def _prior_batch(
    model: Model,
    n: int,
    at_once: int,
    key: Array,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> dict[str, Array]:
    def one(key: Array, arguments: Any) -> dict[str, Array]:
        args, kwargs = arguments
        with handlers.seed(rng_seed=key):
            trace = handlers.trace(model).get_trace(*args, **kwargs)
        return {n: site["value"] for n, site in trace.items() if _is_parameter(site)}

    keys, draw = jax.random.split(key, n), in_chunks(model, one)
    return map_chunks(lambda own: draw(own, (args, kwargs)), keys, at_once)


def _is_parameter(site: Mapping[str, Any]) -> bool:
    latent = site["type"] == "sample" and not site["is_observed"]
    return latent or site["type"] == "deterministic"


def _abstract_trace(target: Target) -> Trace:
    """Trace the model without computing; values are shapes."""
    kept: Trace = {}

    def run(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        kept.update(_traced(target.model, args, kwargs, {}))

    jax.eval_shape(run, target.args, dict(target.kwargs))
    return kept


def observed_size(target: Target) -> int:
    """Return the number of observed values of the model, those of factors left out."""
    return sum(int(np.size(s["value"])) for s in _abstract_trace(target).values() if _is_data(s))


def observed_values(target: Target) -> dict[str, np.ndarray]:
    """Return the data of the model, by the names of their sites."""
    values = _observed(target.model, target.args, dict(target.kwargs), _any_point(target))
    return {name: np.asarray(value) for name, value in values.items()}


def _any_point(target: Target) -> dict[str, Array]:
    return {name: jnp.zeros(site.unconstrained_shape) for name, site in target.sites.items()}


@partial(Compiled, static_argnums=0)
def _observed(
    model: Model, args: tuple[Any, ...], kwargs: dict[str, Any], z: dict[str, Array]
) -> dict[str, Array]:
    values = site_values(model, args, kwargs, z)
    trace = _traced(model, args, kwargs, {name: values[name] for name in z})
    return {name: site["value"] for name, site in trace.items() if _is_data(site)}


def site_dimensions(target: Target) -> dict[str, list[str]]:
    """Name the axes of every site: by their plates, and ``site_dim_i`` where there is none.

    Returns
    -------
    dict
        Site -> names of all its axes. A site in a plate whose value has another length there, as
        deterministic sites may, is given no plate.
    """
    out = {}
    for name, site in _abstract_trace(target).items():
        if not (_is_data(site) or _is_parameter(site)):
            continue
        shape = np.shape(site["value"])
        event = site["fn"].event_dim if site["type"] == "sample" else 0
        dims = [f"{name}_dim_{i}" for i in range(len(shape))]
        for frame in site["cond_indep_stack"]:
            axis = len(shape) - event + frame.dim
            if 0 <= axis < len(shape) and shape[axis] == frame.size:
                dims[axis] = frame.name
        out[name] = dims
    return out
