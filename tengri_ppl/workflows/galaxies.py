"""Fit many galaxies one by one, but at the same time: importance sampling in chunks of galaxies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from tengri_ppl.errors import ParameterError
from tengri_ppl.inference.many import explore_many, sample_many
from tengri_ppl.inference.mixture import StudentTMixture
from tengri_ppl.inference.pareto import MAX_PARETO_K, effective_draws, resample, smooth_weights
from tengri_ppl.models.galaxy_posteriors import galaxy_log_density, galaxy_start, galaxy_values
from tengri_ppl.models.population import Population, own_names
from tengri_ppl.results.interim import InterimSample
from tengri_ppl.runtime.files import replacing
from tengri_ppl.runtime.threads import available_cores, map_in_threads

if TYPE_CHECKING:
    from tengri_ppl.workflows.population import PopulationFitter

__all__ = ["ChunkOptions", "sample_galaxies"]

#: With more parameters weights are hopeless, and all galaxies are fitted one by one.
_MOST_PARAMETERS = 20
#: Steps of walkers and proposals per round, for each parameter.
_STEPS, _PROPOSALS = 50, 512


@dataclass(frozen=True)
class ChunkOptions:
    """Options of :func:`sample_galaxies`.

    Attributes
    ----------
    chunk_size : int
        Galaxies that one program samples at the same time, at most, and every core runs one;
        memory is proportional to it.
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
    n_starts: int = 4
    n_walkers: int = 128
    n_steps: int | None = None
    n_components: int = 9
    n_batch: int | None = None
    n_rounds: int = 3
    max_passes: int = 3
    min_ess: float = 200.0
    fallback: str = "auto"


class _Drawn(NamedTuple):
    """What came of a chunk of N galaxies, with their numbers.

    ``values`` are name -> (N, n_draw, ...), all others (N,) or have a leading axis of that length.
    """

    galaxies: np.ndarray
    values: dict[str, np.ndarray]
    effective: np.ndarray
    pareto_k: np.ndarray
    proposal: StudentTMixture


def sample_galaxies(
    fitter: PopulationFitter,
    key: Array,
    n_draws: int,
    path: str | Path | None = None,
    options: ChunkOptions | None = None,
    progress: Callable[[str, int, int, int], None] | None = None,
) -> InterimSample:
    """Draw from the posterior of every galaxy by itself, under the priors of the SED model.

    Parameters
    ----------
    fitter : PopulationFitter
        The galaxies.
    key : Array
        Random key.
    n_draws : int
        Draws of each galaxy, an even number.
    path : str or Path, optional
        HDF5 file for the draws, in place of memory; it is there as a whole or not at all.
    options : ChunkOptions, optional
        Defaults are documented there.
    progress : callable, optional
        Called after every chunk.

    Raises
    ------
    ParameterError
        If ``n_draws`` is not even.
    """
    if n_draws < 2 or n_draws % 2:
        raise ParameterError(f"n_draws={n_draws}: expected an even number, of two halves")
    options = options or ChunkOptions()
    spec = fitter.model.spec
    shapes = {n: tuple(spec[n].shape()) for n in own_names(spec, Population(), fitter.columns)}
    n_parameters = sum(int(np.prod(shape)) for shape in shapes.values())
    options = replace(
        options,
        n_steps=options.n_steps or _STEPS * n_parameters,
        n_batch=options.n_batch or _PROPOSALS * n_parameters,
        max_passes=options.max_passes if n_parameters <= _MOST_PARAMETERS else 0,
        chunk_size=-(-len(fitter.ids) // -(-len(fitter.ids) // options.chunk_size)),
    )
    fill = partial(_fill, fitter, key, options, progress)
    if path is None:
        sample = InterimSample.create(fitter.ids, shapes, n_draws)
        fill(sample)
        return sample
    with replacing(Path(path).expanduser()) as temporary:
        sample = InterimSample.create(fitter.ids, shapes, n_draws, temporary)
        fill(sample)
        sample.close()
    return InterimSample.open(path)


def _fill(
    fitter: PopulationFitter,
    key: Array,
    options: ChunkOptions,
    progress: Any,
    sample: InterimSample,
) -> None:
    n = len(sample)
    pending = np.arange(n)
    proposals: StudentTMixture | None = None
    for i in range(options.max_passes):
        draw = partial(_draw, fitter, sample.n_draws, options)
        own = jax.random.fold_in(key, i)
        left, last = [], []
        for drawn in _drawn_in_chunks(draw, pending, proposals, own, options.chunk_size):
            chunk = drawn.galaxies
            good = (drawn.pareto_k < MAX_PARETO_K) & (drawn.effective >= options.min_ess)
            sample.put(chunk[good], *_rows((drawn.values, drawn.effective, drawn.pareto_k), good))
            left.append(chunk[~good])
            last.append(_rows(drawn.proposal, ~good))
            if progress is not None:
                done = n - len(pending) + int(np.searchsorted(pending, chunk[-1])) + 1
                progress("galaxies", done, n, 0)
        pending = np.concatenate(left)
        proposals = jax.tree.map(lambda *x: np.concatenate(x), *last)
        if not len(pending):
            return
    _fall_back(fitter, jax.random.fold_in(key, options.max_passes), options, sample, pending)


def _drawn_in_chunks(
    draw: Callable[..., _Drawn],
    pending: np.ndarray,
    proposals: StudentTMixture | None,
    key: Array,
    size: int,
) -> Iterator[_Drawn]:
    """Sample galaxies in chunks, one on every core; the first chunk compiles the programs."""

    def one(at: np.ndarray) -> _Drawn:
        first = proposals and _rows(proposals, at)
        return draw(pending[at], first, jax.random.fold_in(key, int(pending[at[0]])))

    n, n_cores = len(pending), available_cores()
    chunks = np.split(np.arange(n), np.arange(size, n, size))
    yield one(chunks[0])
    for i in range(1, len(chunks), n_cores):
        yield from map_in_threads(one, chunks[i : i + n_cores])


def _fall_back(
    fitter: PopulationFitter,
    key: Array,
    options: ChunkOptions,
    sample: InterimSample,
    pending: np.ndarray,
) -> None:
    """Fit galaxies by another engine."""
    for galaxy in pending:
        own = jax.random.fold_in(key, int(galaxy))
        posterior = fitter.fit_galaxy(int(galaxy), options.fallback, own)
        draws, n = posterior.samples, sample.n_draws
        size = len(next(iter(draws.values())))
        index = np.asarray(jax.random.choice(own, size, (n,), replace=n > size))
        values = {name: np.asarray(draws[name])[index][None] for name in sample.values}
        effective = np.array([posterior.convergence().min_ess_bulk])
        sample.put(np.array([galaxy]), values, effective, np.array([np.nan]))


def _rows(tree: Any, chosen: np.ndarray) -> Any:
    return jax.tree.map(lambda x: np.asarray(x)[chosen], tree)


def _draw(
    fitter: PopulationFitter,
    n_draws: int,
    options: ChunkOptions,
    chunk: np.ndarray,
    first: StudentTMixture | None,
    key: Array,
) -> _Drawn:
    """Sample a chunk of galaxies once; programs always get as many as fit into one."""
    every = np.resize(chunk, options.chunk_size)
    problem = fitter.galaxies_at(every)
    key_start, key_walk, key_draw, key_pick = jax.random.split(key, 4)
    if first is None:
        x = galaxy_start(*problem, key_start, options.n_walkers, options.n_starts)
        sizes = options.n_steps, options.n_components
        first = explore_many(galaxy_log_density, x, key_walk, *sizes, *problem)
    else:
        first = _rows(first, np.resize(np.arange(len(chunk)), options.chunk_size))
    size = options.n_batch, options.n_rounds
    draws = sample_many(galaxy_log_density, first, key_draw, *size, *problem)
    log_weight = np.asarray(draws.log_weight[: len(chunk)], float)
    keys = jax.random.split(key_pick, len(chunk))
    picked = [_picked(row, own, n_draws) for row, own in zip(log_weight, keys, strict=True)]
    index = np.zeros((options.chunk_size, n_draws), int)
    index[: len(chunk)] = [index for index, _, _ in picked]
    x = jnp.take_along_axis(draws.x, jnp.asarray(index)[..., None], axis=1)
    n = len(chunk)
    return _Drawn(
        chunk,
        {
            name: np.asarray(value)[:n]
            for name, value in galaxy_values(x, problem[0], problem[-1]).items()
        },
        np.array([effective for _, effective, _ in picked]),
        np.array([k for _, _, k in picked]),
        _rows(draws.proposal, np.arange(n)),
    )


def _picked(log_weight: np.ndarray, key: Array, n_draws: int) -> tuple[np.ndarray, float, float]:
    """Pick draws by their weights, each half of them from every other one; with ESS and k-hat."""
    smoothed, k = smooth_weights(log_weight)
    halves = []
    for half, own in enumerate(jax.random.split(key)):
        weight = smoothed[half::2]
        total = np.logaddexp.reduce(weight)
        if not np.isfinite(total):
            return np.zeros(n_draws, int), 0.0, np.inf
        halves.append(half + 2 * resample(own, weight - total, n_draws // 2))
    return np.concatenate(halves), effective_draws(smoothed), k
