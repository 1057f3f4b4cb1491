"""Populations of so many galaxies that a fit looks at some of them at a time."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from tengri_ppl.errors import DataError, ParameterError
from tengri_ppl.inference.flat import FlatTarget
from tengri_ppl.inference.registry import from_keywords
from tengri_ppl.inference.start import Start
from tengri_ppl.inference.subsampled import (
    Batches,
    SubsampledOptions,
    run_subsampled_vi,
    whole_gradient,
)
from tengri_ppl.inference.target import Target
from tengri_ppl.models.mixture import CLASS
from tengri_ppl.models.population import GALAXY
from tengri_ppl.models.reweighting import (
    InterimDraws,
    batch_reweighting_model,
    effective_draws,
)
from tengri_ppl.results.interim import InterimSample
from tengri_ppl.results.model_data import build_model_data
from tengri_ppl.results.population import PopulationPosterior
from tengri_ppl.runtime.compiled import Compiled
from tengri_ppl.runtime.memory import peak_rss_bytes

if TYPE_CHECKING:
    from tengri_ppl.workflows.population import PopulationFitter

__all__ = ["MAX_DRAWS_ERROR", "fit_in_batches"]

#: Largest noise of the hyper-parameters from the draws of the galaxies [widths of the posterior].
MAX_DRAWS_ERROR = 0.5
#: Hyper-parameters over which galaxies are averaged.
_N_SUMMARY = 20


class GalaxyBatches(Batches):
    """Draws of galaxies, read in batches.

    Parameters
    ----------
    fitter : PopulationFitter
        The population.
    sample : InterimSample
        Draws of its galaxies.
    names : sequence of str
        Parameters to read.
    batch_size : int
        Galaxies per batch; the last batch is filled up.
    part : slice
        Which of the draws.
    """

    def __init__(
        self,
        fitter: PopulationFitter,
        sample: InterimSample,
        names: Sequence[str],
        batch_size: int,
        part: slice = slice(None),
    ) -> None:
        self.fitter, self.sample, self.names, self.part = fitter, sample, list(names), part
        self.size = min(batch_size, len(sample))
        self.begins = np.arange(0, len(sample), self.size)

    @property
    def shares(self) -> np.ndarray:
        """Share of each batch in all galaxies."""
        return np.diff(np.append(self.begins, len(self.sample))) / len(self.sample)

    def __len__(self) -> int:
        """Return the number of batches."""
        return len(self.begins)

    def __getitem__(self, i: Any) -> tuple[Any, ...]:
        """Return arguments of :func:`~.reweighting.batch_reweighting_model`."""
        draws, rows = self.draws(i)
        known = {name: x[rows] for name, x in self.fitter.known.items()}
        interim = InterimDraws.from_draws(
            self.fitter.model.spec, self.fitter.population, known, draws
        )
        present = jnp.arange(self.size) < len(np.unique(rows))
        return interim, jnp.asarray(self.shares[i], dtype=float), present

    def draws(self, i: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Read a batch: name -> (n_draw, batch_size, ...), and the numbers of its galaxies."""
        begin = self.begins[i]
        last = min(begin + self.size, len(self.sample)) - 1
        rows = np.minimum(np.arange(begin, begin + self.size), last)
        read = slice(begin, last + 1)
        return {
            name: np.swapaxes(self.sample.values[name][read, self.part][rows - begin], 0, 1)
            for name in self.names
        }, rows


def fit_in_batches(
    fitter: PopulationFitter,
    key: Array,
    sample: InterimSample,
    batch_size: int,
    progress: Any = None,
    **options: Any,
) -> PopulationPosterior:
    """Infer what galaxies share from draws of them that are read in batches.

    Parameters
    ----------
    fitter : PopulationFitter
        The population, one of those that :func:`~.reweighting.check_reweightable` lets pass.
    key : Array
        Random key.
    sample : InterimSample
        Draws of all galaxies.
    batch_size : int
        Galaxies of a batch: memory is proportional to it.
    progress : callable, optional
        Called after every step.
    **options
        Of :class:`~tengri_ppl.inference.subsampled.SubsampledOptions`.

    Raises
    ------
    ParameterError
        If the sample was selected, or an option is unknown.
    DataError
        If the draws of the galaxies are too few; see :data:`MAX_DRAWS_ERROR`.
    """
    population = fitter.population
    if population.selection is not None:
        raise ParameterError("a selected sample is not supported in batches; leave batch_size out")
    key_run, key_data = jax.random.split(key)
    chosen = from_keywords(SubsampledOptions, "vi with batch_size", options)
    batches = GalaxyBatches(fitter, sample, population.names, batch_size)
    model = batch_reweighting_model
    result, start = run_subsampled_vi(model, batches, key_run, chosen, progress=progress)
    result.diagnostics["draws_error"] = _draws_error(batches, start)
    coords = {CLASS: list(population.classes)}
    attrs = {"peak_rss_bytes": peak_rss_bytes()}
    target = Target(model, GalaxyBatches(fitter, sample, population.names, 1)[0])
    found = build_model_data(result, target, key=key_data, coords=coords, attrs=attrs)
    shared = [name for r in population.relations for name in r.shared_sites()]
    found.attrs["model_free"] = json.dumps(shared)
    own = GalaxyBatches(fitter, sample, list(sample.values), batch_size)
    found.add_groups(constant_data=_summary(own, result.samples))
    return PopulationPosterior(found)


def _draws_error(batches: GalaxyBatches, start: Start) -> float:
    """Error of the hyper-parameters from the number of draws [widths of the posterior].

    Half the distance between what both halves of the draws say.

    Raises
    ------
    DataError
        If it is too large.
    """
    middle = batches.sample.n_draws // 2
    gradients = []
    for part in (slice(middle), slice(middle, None)):
        half = GalaxyBatches(batches.fitter, batches.sample, batches.names, batches.size, part)
        flat = FlatTarget(Target(batch_reweighting_model, half[0]))
        gradients.append(whole_gradient(flat, half, start))
    error = float(np.max(np.abs(gradients[0] - gradients[1]))) / 2.0
    if error > MAX_DRAWS_ERROR:
        raise DataError(
            f"{batches.sample.n_draws} draws of each galaxy leave an error of {error:.2f} widths "
            f"of the posterior; expected at most {MAX_DRAWS_ERROR:g}: use sample_galaxies with "
            "more n_draws and n_batch"
        )
    return error


def _summary(batches: GalaxyBatches, samples: Mapping[str, np.ndarray]) -> Any:
    """Means and standard deviations of the galaxies under the population, an ``xarray.Dataset``."""
    import xarray as xr

    n = len(next(iter(samples.values()))[0])
    index = np.linspace(0, n - 1, min(n, _N_SUMMARY)).astype(int)
    names = {s for r in batches.fitter.population.relations for s in r.shared_sites()}
    shared = {name: jnp.asarray(x[0][index]) for name, x in samples.items() if name in names}
    rows = []
    for i in range(len(batches)):
        interim, _, present = batches[i]
        draws, _ = batches.draws(i)
        n_present = int(present.sum())
        found = _moments(interim, shared, {k: jnp.asarray(v) for k, v in draws.items()})
        rows.append({name: np.asarray(x)[:n_present] for name, x in found.items()})
    columns = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
    axes = {
        name: (GALAXY, *(f"{name}_{d}" for d in range(x.ndim - 1))) for name, x in columns.items()
    }
    return xr.Dataset(
        {name: (axes[name], x) for name, x in columns.items()},
        coords={GALAXY: list(batches.fitter.ids)},
    )


@Compiled
def _moments(
    interim: InterimDraws, shared: dict[str, Array], draws: dict[str, Array]
) -> dict[str, Array]:
    """Effective draws of galaxies, and moments of their parameters, for hyper-parameters (n,)."""
    log_weight = jax.lax.map(interim.log_weights, shared)
    weight = jnp.mean(jax.nn.softmax(log_weight, axis=1), axis=0)
    kish = jax.vmap(effective_draws)(log_weight)
    out = {"effective_draws": 1.0 / jnp.mean(1.0 / kish, axis=0)}
    for name, x in draws.items():
        mean = jnp.einsum("ng,ng...->g...", weight, x)
        variance = jnp.einsum("ng,ng...->g...", weight, (x - mean) ** 2)
        out |= {f"{name}_mean": mean, f"{name}_sd": jnp.sqrt(variance)}
    return out
