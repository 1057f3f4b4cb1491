"""What galaxies have in common, in two steps and again where it is found to be.

Draws of galaxies under wide priors of what they have in common are of little use at its one value:
few of them are near. So the galaxies are sampled again under the same priors restricted to where
the first posterior is, until the sums over their draws are good enough. That is the posterior under
the whole priors, because there is next to nothing of it outside.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from tengri_ppl.distributions.restricted import Restricted
from tengri_ppl.distributions.standard import to_standard
from tengri_ppl.errors import DataError
from tengri_ppl.results.population import PopulationPosterior
from tengri_ppl.workflows.two_step import MIN_EFFECTIVE, check_effective, fit_in_two_steps

if TYPE_CHECKING:
    from tengri_ppl.workflows.population import PopulationFitter

__all__ = ["fit_by_narrowing"]

_MOST_ROUNDS = 4
#: A variance of the log-likelihood of the population that needs no other round.
_GOOD_VARIANCE = 0.6
#: Restricted priors reach so many widths of the posterior from its mean, and a posterior at an end
#: of one has this share of its draws in a twentieth of it.
_REACH, _EDGE, _AT_EDGE = 4.0, 0.05, 0.02


def fit_by_narrowing(
    fitter: PopulationFitter,
    key: Array,
    n_draws: int,
    sampling: Mapping[str, Any],
    **options: Any,
) -> PopulationPosterior:
    """Sample galaxies and infer what they share, in rounds.

    Parameters
    ----------
    fitter : PopulationFitter
        A population with shared parameters.
    key : Array
        Random key.
    n_draws : int
        Draws of each galaxy in each round.
    sampling : mapping
        Options of :meth:`~tengri_ppl.PopulationFitter.sample_galaxies`.
    **options
        As for :func:`~.two_step.fit_in_two_steps`.

    Raises
    ------
    DataError
        If the draws of a galaxy are too few in the last round, too; it names the galaxy. If the
        posterior moves so far from round to round that the last one does not hold it.
    """
    names = fitter.population.shared_parameters()
    priors = {name: fitter.model.spec[name] for name in names}
    now = fitter
    for i, own in enumerate(jax.random.split(key, _MOST_ROUNDS)):
        key_sample, key_fit = jax.random.split(own)
        sample = now.sample_galaxies(key_sample, n_draws + n_draws % 2, **sampling)
        found = fit_in_two_steps(now, key_fit, sample, n_draws=n_draws, strict=False, **options)
        effective = found.inference_data.constant_data["effective_draws"].values
        good = np.sum(1.0 / effective) < _GOOD_VARIANCE and effective.min() >= MIN_EFFECTIVE
        z = {
            name: np.ravel(to_standard(prior, jnp.asarray(found.shared_samples[name])))
            for name, prior in priors.items()
        }
        cut = _at_an_end(now, z)
        if i + 1 == _MOST_ROUNDS or (good and not cut):
            break
        now = _narrowed(fitter, z)
    check_effective(effective, None, fitter.ids)
    if cut:
        raise DataError(
            f"the posterior of {', '.join(names)} is not the same in {_MOST_ROUNDS} rounds; "
            "raise n_draws, or fit all galaxies together, for example with run('mcmc_nuts')"
        )
    found.inference_data.attrs["n_rounds"] = i + 1
    return found


def _narrowed(fitter: PopulationFitter, z: Mapping[str, np.ndarray]) -> PopulationFitter:
    """Restrict the priors of shared parameters to where draws are, in standard normals."""
    restricted = {}
    for name, x in z.items():
        low, high = np.mean(x) + _REACH * np.std(x) * np.array([-1.0, 1.0])
        restricted[name] = Restricted(fitter.model.spec[name], low, high)
    new = copy(fitter)
    for name in ("located", "_likelihoods"):
        new.__dict__.pop(name, None)
    new.model = fitter.model.with_parameters(**restricted)
    return new


def _at_an_end(fitter: PopulationFitter, z: Mapping[str, np.ndarray]) -> bool:
    """Whether a restriction cuts off a part of the posterior that counts."""
    for name, x in z.items():
        prior = fitter.model.spec[name]
        if isinstance(prior, Restricted):
            low, high = float(prior.low), float(prior.high)
            place = (x - low) / (high - low)
            if max(np.mean(place < _EDGE), np.mean(place > 1.0 - _EDGE)) > _AT_EDGE:
                return True
    return False
