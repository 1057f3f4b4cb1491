r"""Coordinates in which a posterior is easier to sample.

A uniform prior has hard walls. NumPyro's default map from the real line is the logistic function,
under which a flat posterior has exponential tails; under the quantile function of the normal
distribution it is a standard normal, the shape that a Hamiltonian sampler knows best.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from jax import Array
from jax.scipy.special import ndtr, ndtri
from numpyro.infer.reparam import Reparam

from tengri_ppl.distributions.standard import from_standard
from tengri_ppl.models.parameters import Parameters

__all__ = [
    "STANDARD",
    "NonCentredReparam",
    "StandardNormalReparam",
    "standard_coordinates",
    "standardized",
]

#: Appended to the name of a parameter for the standard normal site that is sampled in its place.
STANDARD = "_std"


class StandardNormalReparam(Reparam):
    """Sample a standard normal and map it to a uniform or log-uniform prior by its quantiles.

    To be used with ``numpyro.handlers.reparam``. The site ``name`` becomes deterministic and
    ``name + "_std"`` is sampled.
    """

    def __call__(self, name: str, fn: Any, obs: Any) -> tuple[None, Array]:
        """Replace the site; see :class:`numpyro.infer.reparam.Reparam`."""
        if obs is not None:
            raise ValueError(f"site {name!r} is observed, so it can't be reparametrised")
        prior, shape, _ = self._unwrap(fn)
        if not isinstance(prior, _MAPPED):
            raise ValueError(f"site {name!r}: a Uniform or LogUniform prior is expected")
        z = numpyro.sample(name + STANDARD, dist.Normal(0.0, 1.0).expand(shape))
        low, high = prior.low, prior.high
        if isinstance(prior, dist.LogUniform):
            return None, jnp.exp(jnp.log(low) + (jnp.log(high) - jnp.log(low)) * ndtr(z))
        return None, low + (high - low) * ndtr(z)


class NonCentredReparam(Reparam):
    """Sample standard normals in place of a site whose distribution depends on other sites.

    For normal, truncated normal and multivariate normal distributions. The site ``name`` becomes
    deterministic and ``name + "_std"`` is sampled.
    """

    def __call__(self, name: str, fn: Any, obs: Any) -> tuple[None, Array]:
        """Replace the site; see :class:`numpyro.infer.reparam.Reparam`."""
        if obs is not None:
            raise ValueError(f"site {name!r} is observed, so it can't be reparametrised")
        fn, expand, event_dim = self._unwrap(fn)
        standard = dist.Normal(0.0, 1.0).expand(fn.shape()).to_event(fn.event_dim)
        z = numpyro.sample(name + STANDARD, self._wrap(standard, expand, event_dim))
        return None, from_standard(name, fn, z)


def standardized(spec: Parameters, params: Mapping[str, Array]) -> dict[str, Array]:
    """Return the standard normal coordinates of parameters, by the names of their sites."""
    out = {}
    for name in standard_coordinates(spec):
        prior, x = spec[name], params[name]
        if isinstance(prior, dist.LogUniform):
            share = jnp.log(x / prior.low) / jnp.log(prior.high / prior.low)
        else:
            share = (x - prior.low) / (prior.high - prior.low)
        edge = jnp.finfo(share.dtype).eps
        out[name + STANDARD] = ndtri(jnp.clip(share, edge, 1.0 - edge))
    return out


_MAPPED = (dist.Uniform, dist.LogUniform)


def standard_coordinates(spec: Parameters) -> dict[str, StandardNormalReparam]:
    """Return the configuration of ``handlers.reparam`` that standardises a model's priors."""
    return {
        name: StandardNormalReparam()
        for name, prior in spec.priors.items()
        if isinstance(prior, _MAPPED)
    }
