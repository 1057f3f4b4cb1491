"""Populations in two steps: galaxies one by one, then what they share, from their draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax import Array

from tengri_ppl.errors import DataError
from tengri_ppl.models.mixture import CLASS, GALAXY_CLASS
from tengri_ppl.models.reweighting import InterimDraws, effective_draws, reweighting_model
from tengri_ppl.results.population import GALAXY, PopulationPosterior, with_population
from tengri_ppl.results.posterior import Posterior
from tengri_ppl.runtime.chunks import map_draws
from tengri_ppl.workflows.infer import infer

if TYPE_CHECKING:
    from tengri_ppl.workflows.population import PopulationFitter

__all__ = ["MAX_VARIANCE", "MIN_EFFECTIVE", "fit_in_two_steps"]

#: Fewest effective draws of a galaxy under the population.
MIN_EFFECTIVE = 10.0
#: Largest variance of the estimated log-likelihood of the population: above 1, its noise decides
#: where the hyper-parameters are (Talbot & Golomb 2023, MNRAS 526, 3495).
MAX_VARIANCE = 1.0
_N_CHECKED = 100
_LANES = 20
#: A handful of hyper-parameters has a simpler posterior than a galaxy, and its gradients cost more.
_OPTIONS: dict[str, dict[str, Any]] = {"mcmc_nuts": {"target_accept_rate": 0.9}}


def fit_in_two_steps(
    fitter: PopulationFitter,
    key: Array,
    posteriors: Sequence[Posterior],
    *,
    n_draws: int,
    method: str = "mcmc_nuts",
    **options: Any,
) -> PopulationPosterior:
    """Infer what galaxies share from posteriors of the galaxies.

    Parameters
    ----------
    fitter : PopulationFitter
        The population, one of those that :func:`~.reweighting.check_reweightable` lets pass.
    key : Array
        Random key.
    posteriors : sequence of Posterior
        Of the galaxies, under the priors of the SED model.
    n_draws : int
        Draws of each galaxy that its integral is taken over.
    method : str
        Engine for the hyper-parameters.
    **options
        As for :func:`tengri_ppl.infer`; NUTS has a ``target_accept_rate`` of 0.9 by default.

    Raises
    ------
    DataError
        If the draws of a galaxy are too few under the population; it names the galaxy.
    """
    spec, population, ids = fitter.model.spec, fitter.population, fitter.ids
    key_thin, key_run, key_pick = jax.random.split(key, 3)
    draws = _thinned(posteriors, ids, population.names, n_draws, key_thin)
    interim = InterimDraws.from_draws(spec, population, fitter.known, draws)
    options = _OPTIONS.get(method, {}) | options
    coords = {CLASS: list(population.classes)}
    posterior = infer(
        reweighting_model, (interim,), None, method, key_run, coords=coords, **options
    )
    found = posterior.inference_data
    shared = {str(name): x.values for name, x in found.posterior.items()}
    effective = _effective(interim, shared, posteriors)
    _check_effective(effective, ids)
    picks, classes = map_draws(partial(_pick, interim), shared, key_pick)
    own = [name for name in spec.priors if name not in fitter.known]
    picked = {name: draws[name][picks, np.arange(len(ids))] for name in own}
    if population.classes:
        picked[GALAXY_CLASS] = classes
    joined = _joined(found, picked, effective, ids)
    return PopulationPosterior(with_population(joined, spec, population, fitter.known))


def _joined(
    found: Any, picked: Mapping[str, np.ndarray], effective: np.ndarray, ids: Sequence[Any]
) -> Any:
    """Add the galaxies to what they share, in place."""
    import xarray as xr

    labels, axes = {GALAXY: list(ids)}, ("chain", "draw", GALAXY)
    joined = found.posterior.assign({name: (axes, x) for name, x in picked.items()})
    found.posterior = joined.assign_coords(labels)
    known = xr.Dataset({"effective_draws": (GALAXY, effective)}, coords=labels)
    found.add_groups(constant_data=known)
    return found


def _thinned(
    posteriors: Sequence[Posterior],
    ids: Sequence[Any],
    names: Sequence[str],
    n: int,
    key: Array,
) -> dict[str, np.ndarray]:
    """Take n draws of every galaxy: name -> (n, n_galaxy, ...).

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
    return {name: np.stack([c[name] for c in columns], axis=1) for name in columns[0]}


def _effective(
    interim: InterimDraws, shared: Mapping[str, np.ndarray], posteriors: Sequence[Posterior]
) -> np.ndarray:
    """Effective draws of each galaxy, the harmonic mean over the posterior of the population."""
    flat = {name: x.reshape(-1, *x.shape[2:]) for name, x in shared.items()}
    index = np.linspace(0, len(next(iter(flat.values()))) - 1, _N_CHECKED).astype(int)
    kish = np.asarray(_kish(interim, {name: x[index] for name, x in flat.items()}), dtype=float)
    n_draws = len(interim.log_prior)
    independent = np.array([p.convergence().min_ess_bulk / n_draws for p in posteriors])
    return np.minimum(independent, 1.0) / np.mean(1.0 / kish, axis=0)


def _check_effective(effective: np.ndarray, ids: Sequence[Any]) -> None:
    """Refuse sums over too few draws.

    Raises
    ------
    DataError
        If a galaxy has too few, or all of them together.
    """
    worst = int(np.argmin(effective))
    advice = "raise n_draws, or fit all galaxies together, for example with run('mcmc_nuts')"
    if not effective[worst] >= MIN_EFFECTIVE:
        few = [str(label) for label, n in zip(ids, effective, strict=True) if n < MIN_EFFECTIVE]
        raise DataError(
            f"galaxy {ids[worst]} has {effective[worst]:.1f} effective draws under the population; "
            f"expected at least {MIN_EFFECTIVE:g} (too few: {', '.join(few[:10])}); {advice}"
        )
    variance = float(np.sum(1.0 / effective))
    if variance > MAX_VARIANCE:
        raise DataError(
            f"the estimated log-likelihood of the population has a variance of {variance:.2f}; "
            f"expected at most {MAX_VARIANCE:g}; {advice}"
        )


@jax.jit
def _kish(interim: InterimDraws, shared: dict[str, Array]) -> Array:
    """Kish's effective number of draws for hyper-parameters (n,), shape (n, n_galaxy)."""
    return jax.lax.map(
        lambda own: effective_draws(interim.log_weights(own)), shared, batch_size=_LANES
    )


@jax.jit
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
    return jax.lax.map(one, (jax.random.split(key, n), shared), batch_size=_LANES)
