"""Posterior predictive checks of populations: data that their galaxies, or new ones, could have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING

import jax
import numpy as np
from jax import Array

from tengri_ppl.errors import ParameterError
from tengri_ppl.models.population import GALAXY, Population
from tengri_ppl.models.replication import Replication, draw_galaxies, replicate, shared_names
from tengri_ppl.models.sed import SEDModel
from tengri_ppl.observation.noise import GaussianNoise
from tengri_ppl.physics.constants import MICROJANSKY_CGS
from tengri_ppl.results.population import PopulationPosterior
from tengri_ppl.results.predictive import PopulationCheck, build_check
from tengri_ppl.runtime.chunks import CHUNK, map_chunks, map_draws
from tengri_ppl.runtime.compiled import Compiled

if TYPE_CHECKING:
    from tengri_ppl.workflows.population import PopulationFitter

__all__ = ["check_population"]

_LANES = 20


def check_population(
    fitter: PopulationFitter,
    posterior: PopulationPosterior,
    key: Array | None = None,
    *,
    new_galaxies: bool = False,
    n_draws: int = CHUNK,
) -> PopulationCheck:
    """Replicate the data of a population under its posterior.

    Parameters
    ----------
    fitter : PopulationFitter
        The galaxies.
    posterior : PopulationPosterior
        Result of a fit of them, of all together or in two steps.
    key : Array, optional
        Random key.
    new_galaxies : bool
        Replications of the same galaxies say whether the model of each is like its data; those
        of new ones, as many, drawn from the population, whether the population is. For these,
        known columns and missing bands stay the same, and errors are those of data as bright.
    n_draws : int
        Draws to use, spread evenly over those of the posterior.

    Raises
    ------
    ParameterError
        If the posterior is of other galaxies, or new galaxies would have to be selected.
    """
    population, ids = fitter.population, fitter.ids
    if list(posterior.galaxies) != list(ids):
        raise ParameterError("the posterior is of other galaxies than the PopulationFitter")
    if new_galaxies and population.selection is not None:
        raise ParameterError(
            "new galaxies of a selected sample can't be drawn; replicate those observed, with "
            "new_galaxies=False"
        )
    draws = _parameters(fitter, posterior, n_draws, of_galaxies=not new_galaxies)
    observe = partial(
        _replicate,
        *(fitter.located, fitter.noise, fitter.data, population, fitter.columns),
        of_new=new_galaxies,
    )
    found = map_draws(observe, draws, jax.random.key(42) if key is None else key)
    n = len(ids)
    observed = (fitter.data, fitter.noise.sigma, fitter.noise.mask)
    data, sigma, mask = (np.asarray(x)[:n] for x in observed)
    return build_check(
        found.flux[:, :, :n].astype(float) * MICROJANSKY_CGS,
        *(data, sigma, mask),
        {GALAXY: list(ids), "band": list(fitter.model.bands)},
        chi2=None if new_galaxies else found.chi2[:, :, :n],
    )


def _parameters(
    fitter: PopulationFitter, posterior: PopulationPosterior, n_draws: int, *, of_galaxies: bool
) -> dict[str, np.ndarray]:
    """Take draws (chain, draw, ...) of what is shared and, if wanted, of the galaxies."""
    spec = fitter.model.spec
    names = shared_names(spec, fitter.population, fitter.model.n_band)
    draws = _spread_draws(posterior, names, n_draws)
    if of_galaxies:
        own = [name for name in spec.priors if name not in (*names, *fitter.columns)]
        draws |= _spread_draws(posterior, own, n_draws, len(fitter.present))
    return draws


def _spread_draws(
    posterior: PopulationPosterior,
    names: Iterable[str],
    n_draws: int,
    n_galaxy: int | None = None,
) -> dict[str, np.ndarray]:
    """Take evenly spread draws: name -> (chain, draw, ...).

    With ``n_galaxy`` the axis of galaxies is filled up with the last one.
    """
    data = posterior.inference_data
    others = getattr(data, "unconstrained_posterior", {})
    sizes = data.posterior.sizes
    n = min(max(1, n_draws // sizes["chain"]), sizes["draw"])
    index = np.linspace(0, sizes["draw"] - 1, n).round().astype(int)
    groups = [(data.posterior if name in data.posterior else others)[name] for name in names]
    draws = {str(x.name): x.values[:, index] for x in groups}
    if n_galaxy is None:
        return draws
    galaxy = np.minimum(np.arange(n_galaxy), sizes[GALAXY] - 1)
    return {name: x[:, :, galaxy] for name, x in draws.items()}


@partial(Compiled, static_argnames="of_new")
def _replicate(
    sed: SEDModel,
    noise: GaussianNoise,
    data: Array,
    population: Population,
    columns: Mapping[str, Array],
    draws: dict[str, Array],
    key: Array,
    *,
    of_new: bool,
) -> Replication:
    """Replicate the data for draws (n, ...)."""

    def one(each: tuple[Array, dict[str, Array]]) -> Replication:
        key, values = each
        key_draw, key_observe = jax.random.split(key)
        values = {**columns, **values}
        if of_new:
            values |= draw_galaxies(key_draw, sed.spec, population, values, columns, len(data))
        return replicate(key_observe, sed, noise, data, values, of_new=of_new)

    keys = jax.random.split(key, len(next(iter(draws.values()))))
    return map_chunks(one, (keys, draws), _LANES)
