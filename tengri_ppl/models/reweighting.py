r"""Populations of galaxies that were fitted one by one: each is integrated over its own draws.

With K draws of every galaxy g from its posterior under the priors :math:`\pi` of the SED model, the
posterior of the hyper-parameters is

.. math::

    p(\theta | d) \propto p(\theta) \prod_g \frac{1}{K}
    \sum_k \frac{p(\phi_{gk} | \theta)}{\pi(\phi_{gk})}

(Hogg, Myers & Bovy 2010, ApJ 725, 2166). The parameters are few, and the SED model is not
evaluated any more. The sums are only as good as their effective number of draws,
:func:`effective_draws`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpyro
from jax import Array
from jax.typing import ArrayLike
from numpyro import handlers

from tengri_ppl.errors import ParameterError
from tengri_ppl.models.parameters import Parameters
from tengri_ppl.models.population import Calibration, Population

__all__ = [
    "InterimDraws",
    "check_reweightable",
    "effective_draws",
    "log_weights",
    "make_interim_draws",
    "reweighting_model",
]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class InterimDraws:
    """Draws of galaxies that were fitted one by one.

    Attributes
    ----------
    values : dict of str to Array, shape (n_draw, n_galaxy)
        The parameters that depend on the population.
    log_prior : Array, shape (n_draw, n_galaxy)
        Logarithm of the density of the priors under which the galaxies were fitted.
    """

    values: dict[str, Array]
    log_prior: Array


def make_interim_draws(
    spec: Parameters, population: Population, draws: Mapping[str, ArrayLike]
) -> InterimDraws:
    """Select the parameters that depend on the population, and evaluate their priors.

    Parameters
    ----------
    spec : Parameters
        The priors under which the galaxies were fitted.
    population : Population
        What the galaxies share.
    draws : mapping of str to array_like, shape (n_draw, n_galaxy)
        Draws of all galaxies.
    """
    values = {name: jnp.asarray(draws[name], dtype=float) for name in population.names}
    log_prior = sum(spec.priors[name].log_prob(x) for name, x in values.items())
    return InterimDraws(values, log_prior)


def check_reweightable(population: Population) -> None:
    """Refuse what can't be learnt from galaxies that were fitted one by one.

    Raises
    ------
    ParameterError
        If there are no relations, or if galaxies have a parameter or a calibration in common.
    """
    shared = population.shared_parameters()
    if shared:
        raise ParameterError(
            f"{shared[0]} is the same for all galaxies, but galaxies that are fitted one by one "
            "have one each; fit them together, for example with run('mcmc_nuts')"
        )
    if population.calibration != Calibration():
        raise ParameterError(
            "a calibration changes the data of all galaxies; fit them together, for example with "
            "run('mcmc_nuts')"
        )
    if not population.relations:
        raise ParameterError("the population has no relations, so there is nothing to learn")


def reweighting_model(
    spec: Parameters,
    interim: InterimDraws,
    *,
    population: Population,
    columns: Mapping[str, Array],
) -> None:
    """Hyper-parameters of a population as a NumPyro model; the galaxies are integrated out.

    Parameters
    ----------
    spec : Parameters
        The SED model's priors, which bound the relations.
    interim : InterimDraws
        Draws of the galaxies.
    population : Population
        What the galaxies share.
    columns : mapping of str to Array, shape (n_galaxy,)
        What is known for each galaxy.
    """
    shared: dict[str, Array] = {}
    for relation in population.relations:
        shared |= relation.sample_shared(spec)
    weights = log_weights(spec, interim, population, shared, columns)
    log_n = jnp.log(len(interim.log_prior))
    numpyro.factor("galaxies", jnp.sum(jax.nn.logsumexp(weights, axis=0) - log_n))


def log_weights(
    spec: Parameters,
    interim: InterimDraws,
    population: Population,
    shared: Mapping[str, Array],
    columns: Mapping[str, Array],
) -> Array:
    """Logarithms of the densities of draws under a population over those of their priors.

    Parameters
    ----------
    spec, interim, population, columns
        As for :func:`reweighting_model`.
    shared : mapping of str to Array
        The hyper-parameters.

    Returns
    -------
    Array, shape (n_draw, n_galaxy)
    """

    def members() -> None:
        known: dict[str, Any] = {**columns, **interim.values}
        for relation in population.relations:
            relation.sample_galaxies(spec, shared, known)

    values: dict[str, Array] = {}
    for relation in population.relations:
        values |= relation.site_values(interim.values)
    with handlers.block():
        trace = handlers.trace(handlers.substitute(members, data=values)).get_trace()
    sites = [site for site in trace.values() if site["type"] == "sample"]
    log_density: Array = sum(
        (site["fn"].log_prob(site["value"]) for site in sites), start=jnp.zeros(())
    )
    return log_density - interim.log_prior


def effective_draws(log_weights: Array) -> Array:
    r"""Kish's effective number of weighted draws, :math:`(\sum w)^2 / \sum w^2`, (n_galaxy,).

    Parameters
    ----------
    log_weights : Array, shape (n_draw, n_galaxy)
        Logarithms of the weights w.
    """
    total, squares = (jax.nn.logsumexp(k * log_weights, axis=0) for k in (1.0, 2.0))
    return jnp.exp(2.0 * total - squares)
