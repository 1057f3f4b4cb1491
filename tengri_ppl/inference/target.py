"""Target: the posterior of any NumPyro model, split into prior and likelihood.

Latent sample sites are the prior, observed ones (``numpyro.factor`` included) the likelihood.
Discrete latent sites of finite support are summed out (:mod:`~tengri_ppl.inference.enumeration`).
Engines work on unconstrained coordinates z, one real array per latent site; the Jacobian of the
map to the constrained parameters belongs to the prior.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from numpyro import handlers
from numpyro.distributions import ImproperUniform, biject_to
from numpyro.infer import init_to_uniform

from tengri_ppl.errors import ParameterError
from tengri_ppl.inference.chunked import differentiable_in_chunks, in_chunks
from tengri_ppl.inference.enumeration import (
    check_enumerable,
    draw_discrete,
    is_discrete,
    summed_log_parts,
)
from tengri_ppl.runtime.background import wait_for_background
from tengri_ppl.runtime.compiled import Compiled
from tengri_ppl.runtime.memory import release_memory

__all__ = [
    "Site",
    "Target",
    "log_parts",
    "potential",
    "prior_draw",
    "site_values",
    "starting_values",
]

Model = Callable[..., Any]
#: Positional and keyword arguments of a model.
_Arguments = tuple[tuple[Any, ...], Mapping[str, Any]]
_CANDIDATES = 64


class Site(NamedTuple):
    """A latent site: its shape in unconstrained and in constrained coordinates."""

    unconstrained_shape: tuple[int, ...]
    shape: tuple[int, ...]


def _trace(
    model: Model, args: tuple[Any, ...], kwargs: Mapping[str, Any], z: Mapping[str, Array]
) -> tuple[dict[str, Any], Array]:
    """Run the model at z; return its trace and the log-determinant of the Jacobian."""
    jacobians = []

    def substitute(site: dict[str, Any]) -> Array | None:
        if site["name"] not in z:
            return None
        transform = biject_to(site["fn"].support)
        unconstrained = z[site["name"]]
        value = transform(unconstrained)
        log_det = transform.log_abs_det_jacobian(unconstrained, value)
        jacobians.append(_total(log_det, site["scale"]))
        return value

    with handlers.seed(rng_seed=jax.random.key(0)), handlers.substitute(substitute_fn=substitute):
        trace = handlers.trace(model).get_trace(*args, **kwargs)
    return trace, sum(jacobians, start=jnp.zeros(()))


def _total(log_prob: Array, scale: Any) -> Array:
    return jnp.sum(log_prob if scale is None else scale * log_prob)


def log_parts(
    model: Model, args: tuple[Any, ...], kwargs: Mapping[str, Any], z: Mapping[str, Array]
) -> tuple[Array, Array]:
    """Return (log-prior with Jacobian, log-likelihood) of a model at unconstrained z."""

    def parts(z: Mapping[str, Array], arguments: _Arguments) -> tuple[Array, Array]:
        return _log_parts(model, *arguments, z)

    both: tuple[Array, Array] = differentiable_in_chunks(model, parts)(z, (args, kwargs))
    return both


def _log_parts(
    model: Model, args: tuple[Any, ...], kwargs: Mapping[str, Any], z: Mapping[str, Array]
) -> tuple[Array, Array]:
    trace, prior = _trace(model, args, kwargs, z)
    if any(map(is_discrete, trace.values())):
        density, likelihood = summed_log_parts(model, args, kwargs, trace)
        return density + prior, likelihood
    likelihood = jnp.zeros(())
    for site in trace.values():
        if site["type"] != "sample":
            continue
        log_prob = _total(site["fn"].log_prob(site["value"]), site["scale"])
        if site["is_observed"]:
            likelihood += log_prob
        else:
            prior += log_prob
    return prior, likelihood


def potential(
    model: Model, args: tuple[Any, ...], kwargs: Mapping[str, Any], z: Mapping[str, Array]
) -> Array:
    """Negative log of the unnormalised posterior density at unconstrained z."""
    prior, likelihood = log_parts(model, args, kwargs, z)
    return -(prior + likelihood)


def site_values(
    model: Model, args: tuple[Any, ...], kwargs: Mapping[str, Any], z: Mapping[str, Array]
) -> dict[str, Array]:
    """Return the constrained latent sites and the deterministic ones at unconstrained z.

    Discrete sites are drawn from their distribution given z and the data.
    """

    def values(z: Mapping[str, Array], arguments: _Arguments) -> dict[str, Array]:
        trace, _ = _trace(model, *arguments, z)
        if any(map(is_discrete, trace.values())):
            trace = draw_discrete(model, *arguments, trace)
        return {
            name: site["value"]
            for name, site in trace.items()
            if site["type"] == "deterministic" or name in z or is_discrete(site)
        }

    found: dict[str, Array] = in_chunks(model, values)(z, (args, kwargs))
    return found


@dataclass(frozen=True)
class Target:
    """A NumPyro model with its arguments.

    Parameters
    ----------
    model : callable
        NumPyro model function.
    args, kwargs
        Its arguments: pytrees of arrays. They stay arguments of every compiled program, so that
        other data of the same shape reuse it.

    Raises
    ------
    ParameterError
        If the model has a latent site that the engines can't treat, or none at all.
    """

    model: Model
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    sites: dict[str, Site] = field(init=False)
    discrete: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        """Trace the model once, abstractly, and check its sites; no other thread traces then."""
        wait_for_background()
        sites, discrete = _latent_sites(self.model, self.args, self.kwargs)
        object.__setattr__(self, "sites", sites)
        object.__setattr__(self, "discrete", discrete)

    @property
    def dimension(self) -> int:
        """Number of unconstrained coordinates."""
        return sum(int(jnp.prod(jnp.array(s.unconstrained_shape))) for s in self.sites.values())

    def log_prior(self, z: Mapping[str, Array]) -> Array:
        """Log-density of the prior over z, Jacobian included."""
        return log_parts(self.model, self.args, self.kwargs, z)[0]

    def log_likelihood(self, z: Mapping[str, Array]) -> Array:
        """Log-likelihood at z."""
        return log_parts(self.model, self.args, self.kwargs, z)[1]

    def potential(self, z: Mapping[str, Array]) -> Array:
        """Negative log-posterior at z, up to a constant."""
        return potential(self.model, self.args, self.kwargs, z)

    def constrain(self, z: Mapping[str, Array]) -> dict[str, Array]:
        """Return the latent sites in constrained coordinates, and the deterministic sites."""
        return site_values(self.model, self.args, self.kwargs, z)

    def unconstrain(self, params: Mapping[str, Array]) -> dict[str, Array]:
        """Return z for constrained values of all latent sites."""
        missing = [name for name in self.sites if name not in params]
        if missing:
            raise ParameterError(
                f"unconstrain needs a value for every latent site; missing: {', '.join(missing)}"
            )
        return _unconstrain(self.model, self.args, self.kwargs, params)

    def initial(self, key: Array, n: int) -> dict[str, Array]:
        """Draw ``n`` dispersed start points z; each site gets a leading axis of length n.

        Each is the most probable of 64 prior draws of its own. Improper priors count as uniform
        between -2 and 2 in unconstrained coordinates.

        Raises
        ------
        ParameterError
            If the posterior density is zero or NaN at every draw for a start point.
        """
        z, energy = _best_of_prior(self.model, key, n, self.args, dict(self.kwargs))
        release_memory()
        if not bool(jnp.all(jnp.isfinite(energy))):
            raise ParameterError(
                f"no start point found: the log-density is NaN or -inf at all {_CANDIDATES} prior "
                "draws tried for a chain; check the data for NaN and the model for invalid values"
            )
        return z


def _latent_sites(
    model: Model, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[dict[str, Site], tuple[str, ...]]:
    """Trace abstractly; return continuous latent sites, and the names of discrete ones.

    Raises
    ------
    ParameterError
        If engines can't treat a site.
    """
    sites: dict[str, Site] = {}
    discrete: list[str] = []

    def run(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        with starting_values(), handlers.seed(rng_seed=jax.random.key(0)):
            trace = handlers.trace(model).get_trace(*args, **kwargs)
        for name, site in trace.items():
            if site["type"] == "plate" and site["args"][1] not in (None, site["args"][0]):
                raise ParameterError(
                    f"plate {name!r} is subsampled, which needs an engine with subsampling; "
                    "drop subsample_size to use all of its elements"
                )
            if site["type"] != "sample" or site["is_observed"]:
                continue
            if is_discrete(site):
                check_enumerable(name, site)
                discrete.append(name)
                continue
            transform = biject_to(site["fn"].support)
            shape = jnp.shape(site["value"])
            sites[name] = Site(transform.inverse_shape(shape), shape)

    jax.eval_shape(run, args, dict(kwargs))
    if not sites:
        raise ParameterError(
            "the model has no latent sample site that is continuous, so there is nothing to infer"
        )
    return sites, tuple(discrete)


def starting_values() -> handlers.substitute:
    """Give sites with an improper prior values about the origin; to be entered before ``seed``."""

    def value(site: dict[str, Any]) -> Array | None:
        if site["type"] != "sample" or site["is_observed"] or not _is_improper(site["fn"]):
            return None
        drawn: Array = init_to_uniform(site)
        return drawn

    return handlers.substitute(substitute_fn=value)


def _is_improper(prior: Any) -> bool:
    """Tell whether a prior is improper, also inside a mask or an expansion."""
    while hasattr(prior, "base_dist"):
        prior = prior.base_dist
    return isinstance(prior, ImproperUniform)


def _unconstrain(
    model: Model, args: tuple[Any, ...], kwargs: Mapping[str, Any], params: Mapping[str, Array]
) -> dict[str, Array]:
    with handlers.seed(rng_seed=jax.random.key(0)), handlers.substitute(data=dict(params)):
        trace = handlers.trace(model).get_trace(*args, **kwargs)
    return _coordinates(trace)


def _coordinates(trace: Mapping[str, Any]) -> dict[str, Array]:
    """Unconstrained values of the latent sites of a trace."""
    return {
        name: biject_to(site["fn"].support).inv(site["value"])
        for name, site in trace.items()
        if site["type"] == "sample" and not site["is_observed"] and not is_discrete(site)
    }


def prior_draw(
    model: Model, args: tuple[Any, ...], kwargs: Mapping[str, Any], key: Array
) -> dict[str, Array]:
    """One draw of the latent sites from the prior, in unconstrained coordinates.

    Raises
    ------
    NotImplementedError
        If a prior is improper.
    """
    with handlers.seed(rng_seed=key):
        trace = handlers.trace(model).get_trace(*args, **kwargs)
    return _coordinates(trace)


@partial(Compiled, static_argnums=(0, 2))
def _best_of_prior(
    model: Model, key: Array, n: int, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[dict[str, Array], Array]:
    def best(key: Array) -> tuple[dict[str, Array], Array]:
        keys = jax.random.split(key, _CANDIDATES)
        with starting_values():
            z = jax.vmap(lambda k: prior_draw(model, args, kwargs, k))(keys)
        energy = jax.vmap(lambda z: potential(model, args, kwargs, z))(z)
        energy = jnp.where(jnp.isfinite(energy), energy, jnp.inf)
        index = jnp.argmin(energy)
        return jax.tree.map(lambda x: x[index], z), energy[index]

    return jax.lax.map(best, jax.random.split(key, n))
