"""Populations in two steps: galaxies one by one, then what they share, from their draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from tengri_ppl.errors import DataError, ParameterError
from tengri_ppl.models.mixture import CLASS, GALAXY_CLASS
from tengri_ppl.models.population import GALAXY
from tengri_ppl.models.reweighting import InterimDraws, effective_draws, reweighting_model
from tengri_ppl.models.sed import SEDModel
from tengri_ppl.models.selection import Selection
from tengri_ppl.models.shared_likelihood import SharedLikelihood, tabulate_shared
from tengri_ppl.results.interim import InterimSample
from tengri_ppl.results.population import PopulationPosterior, with_population
from tengri_ppl.results.posterior import Posterior
from tengri_ppl.runtime.chunks import map_chunks, map_draws
from tengri_ppl.runtime.compiled import Compiled
from tengri_ppl.workflows.infer import infer

if TYPE_CHECKING:
    from tengri_ppl.workflows.population import PopulationFitter

__all__ = ["MAX_VARIANCE", "MIN_EFFECTIVE", "as_interim", "check_effective", "fit_in_two_steps"]

#: Fewest effective draws of a galaxy under the population.
MIN_EFFECTIVE = 10.0
#: Largest variance of the estimated log-likelihood of the population: above 1, its noise decides
#: where the hyper-parameters are (Talbot & Golomb 2023, MNRAS 526, 3495).
MAX_VARIANCE = 1.0
_N_CHECKED = 100
#: Galaxies of which likelihoods are tabulated at a time.
_GALAXIES = 50
_LANES = 20
#: A handful of hyper-parameters has a simpler posterior than a galaxy, and its gradients cost more.
_OPTIONS: dict[str, dict[str, Any]] = {"mcmc_nuts": {"target_accept_rate": 0.9}}


def fit_in_two_steps(
    fitter: PopulationFitter,
    key: Array,
    sample: InterimSample,
    *,
    n_draws: int,
    method: str = "mcmc_nuts",
    strict: bool = True,
    **options: Any,
) -> PopulationPosterior:
    """Infer what galaxies share from draws of the galaxies.

    Parameters
    ----------
    fitter : PopulationFitter
        The population, one of those that :func:`~.reweighting.check_reweightable` lets pass.
    key : Array
        Random key.
    sample : InterimSample
        Draws of the galaxies under the priors of the SED model.
    n_draws : int
        Draws of each galaxy that its integral is taken over.
    method : str
        Engine for the hyper-parameters.
    strict : bool
        Whether to refuse a result from too few draws.
    **options
        As for :func:`tengri_ppl.infer`; NUTS has a ``target_accept_rate`` of 0.9 by default.

    Raises
    ------
    DataError
        If the draws of a galaxy are too few under the population; it names the galaxy.
    """
    spec, population, ids = fitter.model.spec, fitter.population, fitter.ids
    key_run, key_pick, key_kept = jax.random.split(key, 3)
    draws = sample.first(n_draws, list(sample.values))
    interim = InterimDraws.from_draws(spec, population, fitter.known, draws)
    common = population.shared_parameters()
    if common:
        interim = replace(interim, likelihood=_shared_likelihood(fitter, draws, common))
    options = _OPTIONS.get(method, {}) | options
    rule = population.selection
    kept = None if rule is None else _kept_draws(fitter, rule, key_kept, n_draws)
    coords = {CLASS: list(population.classes)}
    posterior = infer(
        reweighting_model, (interim, kept), None, method, key_run, coords=coords, **options
    )
    found = posterior.inference_data
    shared = {str(name): x.values for name, x in found.posterior.items()}
    independent = np.minimum(sample.effective[:] / n_draws, 1.0)
    effective = _effective(interim, shared) * independent
    if strict:
        check_effective(effective, None if kept is None else _effective(kept, shared), ids)
    picks, classes = map_draws(partial(_pick, interim), shared, key_pick)
    own = [name for name in spec.priors if name not in {*fitter.known, *common}]
    picked = {name: draws[name][picks, np.arange(len(ids))] for name in own}
    if population.classes:
        picked[GALAXY_CLASS] = classes
    joined = _joined(found, picked, effective, ids)
    return PopulationPosterior(with_population(joined, spec, population, fitter.known))


def _shared_likelihood(
    fitter: PopulationFitter, draws: Mapping[str, np.ndarray], names: Sequence[str]
) -> SharedLikelihood:
    """Tabulate what the galaxies say of what they have in common, some of them at a time."""
    for name in names:
        if fitter.model.spec[name].shape():
            raise ParameterError(
                f"{name} has the shape {fitter.model.spec[name].shape()}; of galaxies that are "
                "fitted one by one only numbers can be learnt that all have in common; fit them "
                "together, for example with run('mcmc_nuts')"
            )
    n = len(fitter.ids)
    tables = []
    for begin in range(0, n, _GALAXIES):
        index = np.resize(np.arange(begin, min(begin + _GALAXIES, n)), min(_GALAXIES, n))
        sed, noise, data, columns = fitter.galaxies_at(index)
        missing = [name for name in sed.spec.priors if name not in {*draws, *columns}]
        if missing:
            raise DataError(f"there are no draws of {missing[0]!r}; of {', '.join(draws)}")
        own = {name: jnp.asarray(x[:, index], dtype=float) for name, x in draws.items()}
        known = {name: columns[name] for name in sed.spec.priors if name in columns}
        shape = next(iter(own.values())).shape[:2]
        own |= {name: jnp.broadcast_to(x, shape) for name, x in known.items()}
        table = tabulate_shared(sed, noise, data, own, names)
        tables.append(table.log_ratio[..., : len(np.unique(index))])
    return SharedLikelihood(jnp.concatenate(tables, axis=-1), tuple(names))


def _joined(
    found: Any, picked: Mapping[str, np.ndarray], effective: np.ndarray, ids: Sequence[Any]
) -> Any:
    """Add the galaxies to what they share, in place."""
    import xarray as xr

    labels = {GALAXY: list(ids)}
    columns = {}
    for name, x in picked.items():
        own = (f"{name}_dim_{i + 1}" for i in range(x.ndim - 3))
        columns[name] = (("chain", "draw", GALAXY, *own), x)
    joined = found.posterior.assign(columns)
    found.posterior = joined.assign_coords(labels)
    known = xr.Dataset({"effective_draws": (GALAXY, effective)}, coords=labels)
    found.add_groups(constant_data=known)
    return found


def as_interim(
    posteriors: Sequence[Posterior], ids: Sequence[Any], names: Sequence[str], n: int, key: Array
) -> InterimSample:
    """Take n draws of the posterior of every galaxy.

    Parameters
    ----------
    posteriors : sequence of Posterior
        Of the galaxies.
    ids : sequence
        Their labels.
    names : sequence of str
        Parameters that are needed.
    n : int
        Draws of each.
    key : Array
        Random key.

    Raises
    ------
    DataError
        If there is not a posterior for each galaxy, with enough draws of the named parameters.
    """
    if len(posteriors) != len(ids):
        raise DataError(f"{len(posteriors)} posteriors for {len(ids)} galaxies; expected as many")
    columns = []
    for posterior, label, own in zip(posteriors, ids, jax.random.split(key, len(ids)), strict=True):
        for name in names:
            if name not in posterior.samples:
                raise DataError(f"galaxy {label}: its posterior has no draws of {name!r}")
        size = len(next(iter(posterior.samples.values())))
        if size < n:
            raise DataError(f"galaxy {label}: {size} draws; expected at least n_draws={n}")
        index = np.asarray(jax.random.permutation(own, size)[:n])
        columns.append({name: x[index] for name, x in posterior.samples.items()})
    values = {name: np.stack([c[name] for c in columns]) for name in columns[0]}
    effective = np.array([posterior.convergence().min_ess_bulk for posterior in posteriors])
    return InterimSample(list(ids), values, effective, np.full(len(ids), np.nan))


def _kept_draws(fitter: PopulationFitter, selection: Selection, key: Array, n: int) -> InterimDraws:
    """Draw galaxies from the priors of the SED model, with the probabilities that they are kept."""
    spec, n_every, n_galaxy = fitter.model.spec, len(fitter.present), len(fitter.ids)
    drawn = spec.sample_batch(key, n * n_every)
    draws = {name: x.reshape(n, n_every, *x.shape[1:]) for name, x in drawn.items()}
    known = {name: x for name, x in fitter.columns.items() if name in draws}
    draws |= {name: jnp.broadcast_to(x, (n, n_every)) for name, x in known.items()}
    flux = _photometry(fitter.located, draws)
    log_probability = selection.log_probability(flux, fitter.model.bands)
    draws = {name: x[:, :n_galaxy] for name, x in draws.items()}
    interim = InterimDraws.from_draws(spec, fitter.population, fitter.known, draws)
    return interim.selected(log_probability[:, :n_galaxy])


@Compiled
def _photometry(sed: SEDModel, draws: dict[str, Array]) -> Array:
    """Fluxes of draws (n, n_galaxy), shape (n, n_galaxy, n_band)."""
    return map_chunks(sed.predict_photometry, draws, _LANES)


def _effective(interim: InterimDraws, shared: Mapping[str, np.ndarray]) -> np.ndarray:
    """Effective draws of each galaxy, the harmonic mean over the posterior of the population."""
    flat = {name: x.reshape(-1, *x.shape[2:]) for name, x in shared.items()}
    index = np.linspace(0, len(next(iter(flat.values()))) - 1, _N_CHECKED).astype(int)
    kish = np.asarray(_kish(interim, {name: x[index] for name, x in flat.items()}), dtype=float)
    return 1.0 / np.mean(1.0 / kish, axis=0)


def check_effective(effective: np.ndarray, kept: np.ndarray | None, ids: Sequence[Any]) -> None:
    """Refuse sums over too few draws.

    Parameters
    ----------
    effective : ndarray, shape (n_galaxy,)
        Effective draws of the galaxies.
    kept : ndarray, shape (n_galaxy,), optional
        Those of the fractions that are kept in a selected sample.

    Raises
    ------
    DataError
        If a galaxy has too few, or all of them together.
    """
    advice = "raise n_draws"
    if kept is None:
        advice += ", or fit all galaxies together, for example with run('mcmc_nuts')"
    variance = 0.0
    for found, what in ((effective, ""), (kept, " of the fraction that is kept")):
        if found is None:
            continue
        worst = int(np.argmin(found))
        if not found[worst] >= MIN_EFFECTIVE:
            few = [str(label) for label, n in zip(ids, found, strict=True) if n < MIN_EFFECTIVE]
            raise DataError(
                f"galaxy {ids[worst]} has {found[worst]:.1f} effective draws{what} under the "
                f"population; expected at least {MIN_EFFECTIVE:g} (too few: "
                f"{', '.join(few[:10])}); {advice}"
            )
        variance += float(np.sum(1.0 / found))
    if variance > MAX_VARIANCE:
        raise DataError(
            f"the estimated log-likelihood of the population has a variance of {variance:.2f}; "
            f"expected at most {MAX_VARIANCE:g}; {advice}"
        )


@Compiled
def _kish(interim: InterimDraws, shared: dict[str, Array]) -> Array:
    """Kish's effective number of draws for hyper-parameters (n,), shape (n, n_galaxy)."""
    return map_chunks(lambda own: effective_draws(interim.log_weights(own)), shared, _LANES)


@Compiled
def _pick(interim: InterimDraws, shared: dict[str, Array], key: Array) -> tuple[Array, Array]:
    """Pick a draw and a class of every galaxy by their weights; each (n, n_galaxy).

    ``shared`` are n values of the hyper-parameters.
    """

    def one(each: tuple[Array, dict[str, Array]]) -> tuple[Array, Array]:
        own, values = each
        weights = interim.log_weights_by_class(values)
        _, n_draw, n_galaxy = weights.shape
        picked = jax.random.categorical(own, weights.reshape(-1, n_galaxy), axis=0)
        return picked % n_draw, picked // n_draw

    n = len(next(iter(shared.values())))
    return map_chunks(one, (jax.random.split(key, n), shared), _LANES)
