r"""Draws of the priors of an SED model, weighted by the data of many galaxies.

Where data leave room for much of a prior, this is the cheapest posterior of galaxies, however many
parameters there are: predictions serve all of them. Only the amplitude is known too well for that.
It is linear, and every galaxy has its own, from a mixture q of its prior and a Gaussian around the
value that fits the data best, so that the weights are

.. math:: w = p(d | A f(\theta))\, p(A) / q(A | \theta, d),

which the prior in q keeps bounded (Owen & Zhou 2000, JASA 95, 135).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax import Array

from tengri_ppl.models.amplitude import best_log_amplitude, log_amplitude_error
from tengri_ppl.models.galaxy import can_marginalize
from tengri_ppl.models.likelihoods import used_sigma
from tengri_ppl.observation.noise import GaussianNoise
from tengri_ppl.physics.constants import MICROJANSKY_CGS
from tengri_ppl.runtime.chunks import map_chunks
from tengri_ppl.runtime.compiled import Compiled

if TYPE_CHECKING:
    from tengri_ppl.models.sed import SEDModel

__all__ = ["WeightedPrior", "weigh_prior"]

#: Predictions at the same time.
_LANES = 512
#: Share of the amplitudes that are drawn from their prior, and the width of the Gaussian of the
#: others, in standard errors.
_FROM_PRIOR, _WIDER = 0.1, 1.3
_LOG_SHARES = float(np.log(_FROM_PRIOR)), float(np.log1p(-_FROM_PRIOR))


class WeightedPrior(NamedTuple):
    """Draws of the priors, weighted for each of N galaxies.

    Attributes
    ----------
    values : dict of str to Array, shape (n, ...)
        Parameters, the same draws for all galaxies.
    log_amplitude : Array, shape (N, n)
        What a galaxy has in place of the amplitude in these, where that is linear; else nothing.
    log_weight : Array, shape (N, n)
        Logarithm of the weights, without a constant of each galaxy.
    """

    values: dict[str, Array]
    log_amplitude: Array | None
    log_weight: Array


@partial(Compiled, static_argnums=5)
def weigh_prior(
    sed: SEDModel,
    noise: GaussianNoise,
    data: Array,
    columns: Mapping[str, Array],
    key: Array,
    n: int,
) -> WeightedPrior:
    """Draw n times from the priors, and weigh the draws by the data of every galaxy.

    Parameters
    ----------
    sed : SEDModel
        The forward model of the galaxies.
    noise : GaussianNoise
        Errors, shape (N, n_band).
    data : Array, shape (N, n_band)
        Observed fluxes [erg/s/cm^2/Hz].
    columns : mapping of str to Array, shape (N,)
        Known for each galaxy. Where parameters are among them, predictions are each galaxy's own.
    key : Array
        Random key.
    n : int
        Draws.
    """
    key_values, key_choice, key_normal = jax.random.split(key, 3)
    known = {name: columns[name] for name in sed.spec.priors if name in columns}
    values = {k: x for k, x in sed.spec.sample_batch(key_values, n).items() if k not in known}
    amplitude = sed.spec.amplitude if can_marginalize(sed) else None
    n_predicted = len(data) if known else 1
    flux_obs, sigma = data / MICROJANSKY_CGS, used_sigma(0.0, noise, data)
    scale = _WIDER * log_amplitude_error(flux_obs, sigma)

    def weighed(each: tuple[dict[str, Array], Array, Array]) -> tuple[Array | None, Array]:
        """Amplitudes and log-weights of a draw for all galaxies, (N,) each."""
        draw, normal, chosen = each
        params = {k: jnp.broadcast_to(x, (n_predicted, *x.shape)) for k, x in draw.items()} | known
        if not amplitude:
            flux = sed.predict_photometry(params) / MICROJANSKY_CGS
            return None, _log_likelihood(flux, flux_obs, sigma)
        unit = sed.unit_host(params).flux
        location = best_log_amplitude(unit, flux_obs, sigma)
        x = jnp.where(chosen, draw[amplitude], location + scale * normal)
        log_prior = _log_prior(sed.spec[amplitude], x, draw[amplitude])
        near = dist.Normal(location, scale).log_prob(x)
        log_proposal = jnp.logaddexp(log_prior + _LOG_SHARES[0], near + _LOG_SHARES[1])
        found = _log_likelihood(10.0 ** x[:, None] * unit, flux_obs, sigma)
        return x, found + log_prior - log_proposal

    normal = jax.random.normal(key_normal, (n,))
    chosen = jax.random.uniform(key_choice, (n,)) < _FROM_PRIOR
    lanes = max(1, _LANES // n_predicted)
    x, log_weight = map_chunks(weighed, (values, normal, chosen), lanes)
    return WeightedPrior(values, None if x is None else x.T, log_weight.T)


def _log_likelihood(flux: Array, data: Array, sigma: Array) -> Array:
    """Without a constant of each galaxy; (N,)."""
    return -0.5 * jnp.sum(((flux - data) / sigma) ** 2, axis=-1)


def _log_prior(prior: Any, x: Array, other: Array) -> Array:
    """Logarithm of the density at x; ``other`` is any point inside of the support."""
    inside = prior.support(x)
    return jnp.where(inside, prior.log_prob(jnp.where(inside, x, other)), -jnp.inf)
