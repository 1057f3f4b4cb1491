"""Fit many galaxies one by one, but at the same time: importance sampling in chunks of galaxies."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax import Array

from tengri_ppl.errors import ParameterError
from tengri_ppl.inference.mixture import StudentTMixture
from tengri_ppl.inference.pareto import MAX_PARETO_K
from tengri_ppl.models.population import Population, own_names
from tengri_ppl.results.interim import InterimSample
from tengri_ppl.runtime.files import check_directory
from tengri_ppl.runtime.threads import available_cores, map_in_threads
from tengri_ppl.workflows.galaxy_draws import (
    ChunkOptions,
    Drawn,
    draw_by_proposals,
    draw_from_prior,
    rows,
)

if TYPE_CHECKING:
    from tengri_ppl.workflows.population import PopulationFitter

__all__ = ["sample_galaxies"]

#: With more parameters there are no proposals for the weights.
_MOST_PARAMETERS = 20
#: Draws of the priors: of galaxies with the same predictions, and of those without proposals.
_PRIOR_DRAWS = 2**17
#: Steps of walkers and proposals per round, for each parameter.
_STEPS, _PROPOSALS = 50, 512


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
        HDF5 file for the draws, in place of memory; it is there as a whole or not at all. Until
        then they are in a file with ".partial" behind its name; after an interruption another call
        goes on with it.
    options : ChunkOptions, optional
        Defaults are documented there.
    progress : callable, optional
        Called after every chunk.

    Raises
    ------
    ParameterError
        If ``n_draws`` is not even.
    DataError
        If there are draws of something else in the partial file.
    """
    if n_draws < 2 or n_draws % 2:
        raise ParameterError(f"n_draws={n_draws}: expected an even number, of two halves")
    options = options or ChunkOptions()
    spec = fitter.model.spec
    shapes = {n: tuple(spec[n].shape()) for n in own_names(spec, Population(), fitter.columns)}
    options = _completed(options, fitter, sum(int(np.prod(shape)) for shape in shapes.values()))
    fill = partial(_fill, fitter, key, options, progress)
    if path is None:
        sample = InterimSample.create(fitter.ids, shapes, n_draws)
        fill(sample)
        return sample
    path = Path(path).expanduser()
    check_directory(path)
    unfinished = path.with_name(f"{path.name}.partial")
    sample = InterimSample.begin(fitter.ids, shapes, n_draws, unfinished, _problem(fitter, n_draws))
    try:
        fill(sample)
    finally:
        sample.close()
    unfinished.replace(path)
    return InterimSample.open(path)


def _problem(fitter: PopulationFitter, n_draws: int) -> str:
    """Fingerprint of what is sampled."""
    spec = fitter.model.spec
    priors = [(name, type(spec[name]).__name__) for name in spec]
    known = n_draws, fitter.ids, fitter.model.bands, spec.structure, priors, list(fitter.columns)
    digest = hashlib.sha256(repr(known).encode())
    for leaf in jax.tree.leaves((fitter.data, fitter.noise, fitter.columns, spec)):
        digest.update(np.asarray(leaf).tobytes())
    return digest.hexdigest()


def _completed(options: ChunkOptions, fitter: PopulationFitter, n_parameters: int) -> ChunkOptions:
    """Choose what depends on the number of parameters and of galaxies."""
    few = n_parameters <= _MOST_PARAMETERS
    same = fitter.columns.keys().isdisjoint(fitter.model.spec.priors)
    n_prior = _PRIOR_DRAWS if same or not few else 0
    n = len(fitter.ids)
    return replace(
        options,
        n_prior=n_prior if options.n_prior is None else options.n_prior,
        n_steps=options.n_steps or _STEPS * n_parameters,
        n_batch=options.n_batch or _PROPOSALS * n_parameters,
        max_passes=options.max_passes if few else 0,
        chunk_size=-(-n // -(-n // options.chunk_size)),
    )


def _fill(
    fitter: PopulationFitter,
    key: Array,
    options: ChunkOptions,
    progress: Any,
    sample: InterimSample,
) -> None:
    key_prior, key_passes, key_rest = jax.random.split(key, 3)
    pending, proposals = sample.pending, None
    through = partial(_pass, options, progress, sample)
    if options.n_prior and len(pending):
        # where proposals can follow, what is picked should be as good as independent draws
        enough = max(options.min_ess, sample.n_draws if options.max_passes else 0.0)
        strict = partial(_pass, replace(options, min_ess=enough), progress, sample)
        pending, _ = strict(partial(draw_from_prior, fitter), key_prior, pending, None)
    for i in range(options.max_passes):
        if not len(pending):
            return
        own = jax.random.fold_in(key_passes, i)
        pending, proposals = through(partial(draw_by_proposals, fitter), own, pending, proposals)
    _fall_back(fitter, key_rest, options, sample, pending)


def _pass(
    options: ChunkOptions,
    progress: Any,
    sample: InterimSample,
    draw: Callable[..., Drawn],
    key: Array,
    pending: np.ndarray,
    proposals: StudentTMixture | None,
) -> tuple[np.ndarray, Any]:
    """Draw for galaxies once; return those whose draws are not good enough, with proposals."""
    n = len(sample)
    left, last = [], []
    draw = partial(draw, sample.n_draws, options)
    for drawn in _drawn_in_chunks(draw, pending, proposals, key, options.chunk_size):
        chunk = drawn.galaxies
        good = (drawn.pareto_k < MAX_PARETO_K) & (drawn.effective >= options.min_ess)
        sample.put(chunk[good], *rows((drawn.values, drawn.effective, drawn.pareto_k), good))
        left.append(chunk[~good])
        last.append(rows(drawn.proposal, ~good))
        if progress is not None:
            done = n - len(pending) + int(np.searchsorted(pending, chunk[-1])) + 1
            progress("galaxies", done, n, 0)
    return np.concatenate(left), jax.tree.map(lambda *x: np.concatenate(x), *last)


def _drawn_in_chunks(
    draw: Callable[..., Drawn],
    pending: np.ndarray,
    proposals: StudentTMixture | None,
    key: Array,
    size: int,
) -> Iterator[Drawn]:
    """Sample galaxies in chunks, one on every core; the first chunk compiles the programs."""

    def one(at: np.ndarray) -> Drawn:
        first = proposals and rows(proposals, at)
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
        effective = np.nan_to_num([posterior.convergence().min_ess_bulk])
        sample.put(np.array([galaxy]), values, effective, np.array([np.nan]))
