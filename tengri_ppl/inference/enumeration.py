"""Discrete sites of finite support: summed out of densities, drawn given everything else.

NumPyro's enumeration does both (``numpyro.contrib.funsor``; Obermeyer et al. 2019, ICML,
arXiv:1902.03210): inside of a plate the cost grows with the number of values, not with its power.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from numpyro import handlers

from tengri_ppl.errors import ParameterError

__all__ = ["check_enumerable", "draw_discrete", "is_discrete", "summed_log_parts"]

Model = Callable[..., Any]
Trace = Mapping[str, Any]


def is_discrete(site: Mapping[str, Any]) -> bool:
    """Tell whether a site is latent and takes integers."""
    latent = site["type"] == "sample" and not site["is_observed"]
    return bool(latent and site["fn"].support.is_discrete)


def check_enumerable(name: str, site: Mapping[str, Any]) -> None:
    """Refuse a discrete site whose values can't be listed.

    Raises
    ------
    ParameterError
        If its support is not finite, or its values are vectors.
    """
    try:
        site["fn"].enumerate_support(expand=False)
    except NotImplementedError as error:
        raise ParameterError(
            f"site {name!r} is discrete, and its values can't be listed: it has "
            f"{type(site['fn']).__name__} as its distribution; marginalise it by hand, or use "
            "Bernoulli, Categorical or Binomial, with a plate in place of to_event"
        ) from error


def summed_log_parts(
    model: Model,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    trace: Trace,
) -> tuple[Array, Array]:
    """Log-prior and log-likelihood of the other latent sites, discrete ones summed out of both.

    Parameters
    ----------
    model, args, kwargs
        The model.
    trace : mapping of str to dict
        A run of it with the values of the other sites.
    """
    from numpyro.contrib.funsor import enum, log_density

    enumerated = enum(_given(model, trace), first_available_dim=-1 - _depth(trace))
    unobserved = handlers.block(enumerated, hide_fn=_is_observed)
    joint, prior = (log_density(m, args, kwargs, {})[0] for m in (enumerated, unobserved))
    return prior, joint - prior


def draw_discrete(
    model: Model,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    trace: Trace,
) -> dict[str, Any]:
    """Run the model again with discrete sites drawn from their distribution given all others.

    The random key is a function of the values of the other sites, so that the same draw always
    has the same discrete values.
    """
    from numpyro.contrib.funsor import infer_discrete

    drawn = infer_discrete(
        _given(model, trace),
        first_available_dim=-1 - _depth(trace),
        temperature=1,
        rng_key=_key_of(_continuous(trace)),
    )
    return dict(handlers.trace(drawn).get_trace(*args, **kwargs))


def _given(model: Model, trace: Trace) -> Model:
    """Return the model with the values of a trace, and its discrete sites to enumerate."""
    from numpyro.contrib.funsor import config_enumerate

    seeded = handlers.seed(model, rng_seed=jax.random.key(0))
    return config_enumerate(handlers.substitute(seeded, data=_continuous(trace)))


def _continuous(trace: Trace) -> dict[str, Array]:
    return {
        name: site["value"]
        for name, site in trace.items()
        if site["type"] == "sample" and not site["is_observed"] and not is_discrete(site)
    }


def _is_observed(site: Mapping[str, Any]) -> bool:
    return site["type"] == "sample" and bool(site["is_observed"])


def _depth(trace: Trace) -> int:
    """Return the number of axes that batches of sites have."""
    samples = [site for site in trace.values() if site["type"] == "sample"]
    frames = [-frame.dim for site in samples for frame in site["cond_indep_stack"]]
    return max([0, *frames, *(len(site["fn"].batch_shape) for site in samples)])


def _key_of(values: Mapping[str, Array]) -> Array:
    """Make a random key of the bits of all values."""
    key = jax.random.key(0)
    for value in values.values():
        single = jnp.ravel(jnp.asarray(value, jnp.float32))
        bits = jax.lax.bitcast_convert_type(single, jnp.uint32)
        odd = 2 * jnp.arange(bits.size, dtype=jnp.uint32) + 1
        key = jax.random.fold_in(key, jnp.sum(bits * odd, dtype=jnp.uint32))
    return key
