"""One pass over a chunk of galaxies that are fitted at the same time: draws and their weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from tengri_ppl.inference.many import explore_many, sample_many
from tengri_ppl.inference.mixture import StudentTMixture
from tengri_ppl.inference.pareto import effective_draws, resample, smooth_weights
from tengri_ppl.models.galaxy_posteriors import galaxy_log_density, galaxy_start, galaxy_values
from tengri_ppl.models.prior_draws import weigh_prior

if TYPE_CHECKING:
    from tengri_ppl.workflows.population import PopulationFitter

__all__ = ["ChunkOptions", "Drawn", "draw_by_proposals", "draw_from_prior", "rows"]


@dataclass(frozen=True)
class ChunkOptions:
    """Options of :meth:`tengri_ppl.PopulationFitter.sample_galaxies`.

    Attributes
    ----------
    chunk_size : int
        Galaxies that one program samples at the same time, at most, and every core runs one;
        memory is proportional to it.
    n_prior : int, optional
        Draws of the priors, the same for all galaxies of a chunk, which are weighted by their data
        before anything else: enough for data with errors of some ten per cent. By default
        131,072 where predictions are the same for all galaxies, as they are without known
        redshifts, and where there are too many parameters for proposals; else none. Where proposals
        can follow, ``n_draws`` effective draws are enough, else ``min_ess``.
    n_starts : int
        Searches for the best fit of each.
    n_walkers : int
        Walkers of each galaxy, from which its proposal is learnt; an even number.
    n_steps : int, optional
        Steps of the walkers; by default 50 for each parameter.
    n_components : int
        Components of its proposal.
    n_batch : int, optional
        Proposals per round for each galaxy; by default 512 for each parameter.
    n_rounds : int
        Rounds of a pass.
    max_passes : int
        Passes at most: for galaxies that need more, each goes on with their last proposals.
    min_ess : float
        Effective draws that are enough.
    fallback : str
        Engine for galaxies whose weights are not good enough then, one by one.
    """

    chunk_size: int = 32
    n_prior: int | None = None
    n_starts: int = 4
    n_walkers: int = 128
    n_steps: int | None = None
    n_components: int = 9
    n_batch: int | None = None
    n_rounds: int = 3
    max_passes: int = 3
    min_ess: float = 200.0
    fallback: str = "auto"


class Drawn(NamedTuple):
    """What came of a chunk of N galaxies, with their numbers.

    ``values`` are name -> (N, n_draw, ...), all others (N,) or have a leading axis of that length.
    There are no proposals where the priors were drawn from.
    """

    galaxies: np.ndarray
    values: dict[str, np.ndarray]
    effective: np.ndarray
    pareto_k: np.ndarray
    proposal: StudentTMixture | None


def rows(tree: Any, chosen: np.ndarray) -> Any:
    """Take some along the leading axis of all arrays."""
    return jax.tree.map(lambda x: np.asarray(x)[chosen], tree)


def draw_from_prior(
    fitter: PopulationFitter,
    n_draws: int,
    options: ChunkOptions,
    chunk: np.ndarray,
    first: None,
    key: Array,
) -> Drawn:
    """Weigh draws of the priors.

    Errors that galaxies make because they have these draws in common don't average out: effective
    numbers are lower by as much as that adds to the variance of the sum of their log-likelihoods.
    """
    del first
    every = np.resize(chunk, options.chunk_size)
    key_weigh, key_pick = jax.random.split(key)
    found = weigh_prior(*fitter.galaxies_at(every), key_weigh, options.n_prior or 0)
    n = len(chunk)
    picked = _picked_by_galaxy(np.asarray(found.log_weight[:n]), key_pick, n_draws, True)
    weight = np.exp(picked.log_weight)
    shared = weight @ weight.sum(axis=0)
    values = {name: np.asarray(x)[picked.chosen] for name, x in found.values.items()}
    if found.log_amplitude is not None:
        own = np.take_along_axis(np.asarray(found.log_amplitude[:n]), picked.chosen, axis=1)
        values[fitter.model.spec.amplitude] = own
    return Drawn(chunk, values, 1.0 / shared, picked.pareto_k, None)


def draw_by_proposals(
    fitter: PopulationFitter,
    n_draws: int,
    options: ChunkOptions,
    chunk: np.ndarray,
    first: StudentTMixture | None,
    key: Array,
) -> Drawn:
    """Sample a chunk of galaxies once; programs always get as many as fit into one."""
    every = np.resize(chunk, options.chunk_size)
    problem = fitter.galaxies_at(every)
    key_start, key_walk, key_draw, key_pick = jax.random.split(key, 4)
    if first is None:
        x = galaxy_start(*problem, key_start, options.n_walkers, options.n_starts)
        sizes = options.n_steps, options.n_components
        first = explore_many(galaxy_log_density, x, key_walk, *sizes, *problem)
    else:
        first = rows(first, np.resize(np.arange(len(chunk)), options.chunk_size))
    size = options.n_batch, options.n_rounds
    draws = sample_many(galaxy_log_density, first, key_draw, *size, *problem)
    n = len(chunk)
    picked = _picked_by_galaxy(np.asarray(draws.log_weight[:n]), key_pick, n_draws)
    index = np.resize(picked.chosen, (options.chunk_size, n_draws))
    x = jnp.take_along_axis(draws.x, jnp.asarray(index)[..., None], axis=1)
    values = galaxy_values(x, problem[0], problem[-1])
    return Drawn(
        chunk,
        {name: np.asarray(value)[:n] for name, value in values.items()},
        np.array([effective_draws(row) for row in picked.log_weight]),
        picked.pareto_k,
        rows(draws.proposal, np.arange(n)),
    )


class _Picked(NamedTuple):
    """Indices of draws (N, n_draw), smoothed and normalised log-weights (N, n), and k-hat (N,)."""

    chosen: np.ndarray
    log_weight: np.ndarray
    pareto_k: np.ndarray


def _picked_by_galaxy(
    log_weight: np.ndarray, key: Array, n_draws: int, from_prior: bool = False
) -> _Picked:
    """Pick draws of N galaxies by their weights (N, n)."""
    found = []
    for row, own in zip(log_weight, jax.random.split(key, len(log_weight)), strict=True):
        smoothed, k = smooth_weights(row.astype(float), from_prior)
        found.append((_picked(smoothed, own, n_draws), smoothed, k))
    return _Picked(*map(np.stack, zip(*found, strict=True)))


def _picked(log_weight: np.ndarray, key: Array, n_draws: int) -> np.ndarray:
    """Pick draws by their normalised weights, each half of them from every other one."""
    halves = []
    for half, own in enumerate(jax.random.split(key)):
        weight = log_weight[half::2]
        total = np.logaddexp.reduce(weight)
        if not np.isfinite(total):
            return np.zeros(n_draws, int)
        halves.append(half + 2 * resample(own, weight - total, n_draws // 2))
    return np.concatenate(halves)
