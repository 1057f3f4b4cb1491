r"""Populations of galaxies that were fitted one by one: each is integrated over its own draws.

With K draws of every galaxy g from its posterior under the priors :math:`\pi` of the SED model, the
posterior of the hyper-parameters is

.. math::

    p(\theta | d) \propto p(\theta) \prod_g \frac{1}{K}
    \sum_k \frac{p(\phi_{gk} | \theta)}{\pi(\phi_{gk})}

(Hogg, Myers & Bovy 2010, ApJ 725, 2166). The parameters are few, and the SED model is not
evaluated any more, except for what is the same for all galaxies
(:mod:`~tengri_ppl.models.shared_likelihood`). The sums are only as good as their effective number
of draws, :func:`effective_draws`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpyro
from jax import Array
from jax.typing import ArrayLike
from numpyro import handlers

from tengri_ppl.errors import ParameterError
from tengri_ppl.models.mixture import GALAXY_CLASS
from tengri_ppl.models.parameters import Parameters
from tengri_ppl.models.population import Calibration, Population
from tengri_ppl.models.shared_likelihood import MOST_SHARED, SharedLikelihood
from tengri_ppl.runtime.chunks import largest_divisor

__all__ = [
    "InterimDraws",
    "batch_reweighting_model",
    "check_reweightable",
    "effective_draws",
    "reweighting_model",
]

#: Draws of all galaxies whose densities are evaluated at the same time, by each lane of an engine.
_AT_ONCE = 50_000


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class InterimDraws:
    """Draws of galaxies that were fitted one by one, and the population that they may be of.

    Attributes
    ----------
    spec : Parameters
        The priors under which the galaxies were fitted, which also bound the relations.
    population : Population
        What the galaxies share.
    columns : mapping of str to Array, shape (n_galaxy,)
        What is known for each galaxy.
    values : dict of str to Array, shape (n_draw, n_galaxy)
        The parameters that depend on the population.
    log_prior : Array, shape (n_draw, n_galaxy)
        Logarithm of the density of their priors.
    likelihood : SharedLikelihood, optional
        What the draws say of parameters that all galaxies have in common.
    """

    spec: Parameters
    population: Population
    columns: Mapping[str, Array]
    values: dict[str, Array]
    log_prior: Array
    likelihood: SharedLikelihood | None = None

    @classmethod
    def from_draws(
        cls,
        spec: Parameters,
        population: Population,
        columns: Mapping[str, Array],
        draws: Mapping[str, ArrayLike],
    ) -> InterimDraws:
        """Select what depends on the population of draws (n_draw, n_galaxy) of all parameters."""
        common = population.shared_parameters()
        names = [name for name in population.names if name not in common]
        values = {name: jnp.asarray(draws[name], dtype=float) for name in names}
        log_prior = sum(
            (spec.priors[name].log_prob(x) for name, x in values.items()), start=jnp.zeros((1, 1))
        )
        return cls(spec, population, columns, values, log_prior)

    def selected(self, log_probability: Array) -> InterimDraws:
        """Return draws that count as much as is probable that they are kept in the sample.

        Parameters
        ----------
        log_probability : Array, shape (n_draw, n_galaxy)
            Logarithm of the probability.
        """
        return replace(self, log_prior=self.log_prior - log_probability)

    def log_weights(self, shared: Mapping[str, Array]) -> Array:
        """Logarithms of the densities under the population over those of the priors.

        Parameters
        ----------
        shared : mapping of str to Array
            The hyper-parameters.

        Returns
        -------
        Array, shape (n_draw, n_galaxy)
        """
        return jax.nn.logsumexp(self.log_weights_by_class(shared), axis=0)

    def log_means(self, shared: Mapping[str, Array]) -> Array:
        """Logarithms of the means of the weights, (n_galaxy,), in memory that doesn't grow with K.

        Parameters
        ----------
        shared : mapping of str to Array
            The hyper-parameters.
        """
        log_prior = self.log_prior
        if self.likelihood is not None:
            log_prior = log_prior - self.likelihood(self.spec.priors, shared)
        n, n_galaxy = log_prior.shape
        size = largest_divisor(n, max(1, _AT_ONCE // n_galaxy))

        def part(each: tuple[dict[str, Array], Array]) -> Array:
            values, log_prior = each
            some = replace(self, values=values, log_prior=log_prior, likelihood=None)
            return jax.nn.logsumexp(some.log_weights(shared), axis=0)

        parts = jax.tree.map(lambda x: x.reshape(-1, size, n_galaxy), (self.values, log_prior))
        return jax.nn.logsumexp(jax.lax.map(part, parts), axis=0) - jnp.log(n)

    def log_weights_by_class(self, shared: Mapping[str, Array]) -> Array:
        """Return the parts that the classes of galaxies have in the weights.

        Parameters
        ----------
        shared : mapping of str to Array
            The hyper-parameters.

        Returns
        -------
        Array, shape (n_class, n_draw, n_galaxy)
            Logarithms. There is one class if the population tells none apart.
        """
        relations = self.population.relations
        common = {name: shared[name] for name in self.population.shared_parameters()}
        known = {**self.columns, **self.values, **common}

        def members() -> None:
            for relation in relations:
                relation.sample_galaxies(self.spec, shared, known)

        n_class = max(1, len(self.population.classes))
        values: dict[str, Array] = {GALAXY_CLASS: jnp.arange(n_class)[:, None, None]}
        for relation in relations:
            values |= relation.site_values(self.values)
        with handlers.block():
            trace = handlers.trace(handlers.substitute(members, data=values)).get_trace()
        sites = [site for site in trace.values() if site["type"] == "sample"]
        log_density: Array = sum(
            (site["fn"].log_prob(site["value"]) for site in sites), start=jnp.zeros((1, 1, 1))
        )
        if self.likelihood is not None:
            log_density += self.likelihood(self.spec.priors, common)
        return log_density - self.log_prior


def check_reweightable(population: Population, in_batches: bool = False) -> None:
    """Refuse what can't be learnt from galaxies that were fitted one by one.

    Parameters
    ----------
    population : Population
        What the galaxies share.
    in_batches : bool
        Whether galaxies are read in batches.

    Raises
    ------
    ParameterError
        If there are no relations, or if galaxies have a calibration in common, or parameters that
        are too many or in a fit that can't have them.
    """
    together = "fit them together, for example with run('mcmc_nuts')"
    shared = population.shared_parameters()
    if shared and (in_batches or population.selection is not None):
        raise ParameterError(
            f"{shared[0]} is the same for all galaxies, which fits in batches and of selected "
            "samples can't learn; leave out batch_size and the selection"
        )
    if len(shared) > MOST_SHARED:
        raise ParameterError(
            f"{', '.join(shared)} are the same for all galaxies; of galaxies that are fitted one "
            f"by one at most {MOST_SHARED} such parameters can be learnt; {together}"
        )
    if population.calibration != Calibration():
        raise ParameterError(f"a calibration changes the data of all galaxies; {together}")
    if not population.relations:
        raise ParameterError("the population has no relations, so there is nothing to learn")


def reweighting_model(interim: InterimDraws, kept: InterimDraws | None = None) -> None:
    """Hyper-parameters of a population as a NumPyro model; the galaxies are integrated out.

    Parameters
    ----------
    interim : InterimDraws
        Draws of the galaxies.
    kept : InterimDraws, optional
        Draws of the priors with the probability to be kept, of :meth:`InterimDraws.selected`,
        as many for each galaxy, if the galaxies are a selected sample.
    """
    shared = _sampled(interim)
    numpyro.factor("galaxies", jnp.sum(interim.log_means(shared)))
    if kept is not None:
        numpyro.factor("selection", -jnp.sum(kept.log_means(shared)))


def batch_reweighting_model(interim: InterimDraws, share: Array, present: Array) -> None:
    r""":func:`reweighting_model` of a batch that stands for all galaxies.

    The logarithm of a mean over K draws is too low by a term of the order 1/K, which counts where
    galaxies are many. Of the means :math:`m_1, m_2` over both halves of the draws and m over all
    it cancels in :math:`2 \ln m - (\ln m_1 + \ln m_2) / 2`.

    Parameters
    ----------
    interim : InterimDraws
        Draws of the galaxies of the batch; both halves of them from samples of their own.
    share : Array, scalar
        Share of the batch in all galaxies.
    present : Array of bool, shape (n_galaxy,)
        False for galaxies that only fill up the batch.
    """
    shared = _sampled(interim)
    weights = interim.log_weights(shared)
    middle = len(weights) // 2
    halves = _log_mean(weights[:middle]) + _log_mean(weights[middle:])
    log_mean = 2.0 * _log_mean(weights) - 0.5 * halves
    with handlers.scale(scale=1.0 / share):
        numpyro.factor("galaxies", jnp.sum(jnp.where(present, log_mean, 0.0)))


def _sampled(interim: InterimDraws) -> dict[str, Array]:
    """Sample the hyper-parameters."""
    shared: dict[str, Array] = {}
    for relation in interim.population.relations:
        shared |= relation.sample_shared(interim.spec)
    return shared


def _log_mean(log_weights: Array) -> Array:
    return jax.nn.logsumexp(log_weights, axis=0) - jnp.log(len(log_weights))


def effective_draws(log_weights: Array) -> Array:
    r"""Kish's effective number of weighted draws, :math:`(\sum w)^2 / \sum w^2`, (n_galaxy,).

    Parameters
    ----------
    log_weights : Array, shape (n_draw, n_galaxy)
        Logarithms of the weights w.
    """
    total, squares = (jax.nn.logsumexp(k * log_weights, axis=0) for k in (1.0, 2.0))
    return jnp.exp(2.0 * total - squares)
