"""Fit a population of galaxies: join model, engine and results."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpyro.distributions import Uniform

from tengri_ppl.errors import DataError, ParameterError
from tengri_ppl.inference.registry import from_keywords, get_method
from tengri_ppl.inference.start import Start
from tengri_ppl.inference.target import Target
from tengri_ppl.models.decentred import (
    GalaxyLikelihoods,
    can_decentre,
    collapsed_model,
    decentred_population_model,
)
from tengri_ppl.models.galaxy_likelihoods import approximate_likelihoods
from tengri_ppl.models.mixture import CLASS
from tengri_ppl.models.population import (
    GALAXY,
    Population,
    check_names,
    population_model,
    population_sampling_model,
)
from tengri_ppl.models.relations import Shared
from tengri_ppl.models.reweighting import check_reweightable
from tengri_ppl.models.sed import SEDModel
from tengri_ppl.observation.noise import GaussianNoise
from tengri_ppl.results.interim import InterimSample
from tengri_ppl.results.population import PopulationPosterior, with_population
from tengri_ppl.results.posterior import Posterior
from tengri_ppl.results.predictive import PopulationCheck
from tengri_ppl.workflows.decentring import decentred_start
from tengri_ppl.workflows.fitter import Fitter
from tengri_ppl.workflows.galaxies import sample_galaxies
from tengri_ppl.workflows.galaxy_data import check_columns, read_galaxies
from tengri_ppl.workflows.galaxy_draws import ChunkOptions
from tengri_ppl.workflows.infer import infer
from tengri_ppl.workflows.many_galaxies import fit_in_batches
from tengri_ppl.workflows.narrowing import fit_by_narrowing
from tengri_ppl.workflows.population_predictive import check_population
from tengri_ppl.workflows.two_step import as_interim, fit_in_two_steps

__all__ = ["PopulationFitter"]

#: Tables of all galaxies may take so much memory; of more galaxies they are interpolated.
_TABLES_BYTES = 5e8
_FIELD = ("sfh_field_psd_sigma", "sfh_field_psd_tau_myr")


class PopulationFitter:
    """Fit galaxies together with what they share.

    Parameters
    ----------
    model : SEDModel or callable
        The forward model of every galaxy, with all bands that occur; or a function
        (prior of ``sfh_field_psd_sigma``, prior of ``sfh_field_psd_tau_myr``) -> SEDModel.
    galaxies : sequence of mapping
        For each galaxy ``flux_obs`` and ``noise`` (n_band,) [erg/s/cm^2/Hz]; optionally ``mask``
        (n_band,), true for the bands to use, and ``id``. All other entries are numbers that are
        known: parameters, as the ``redshift``, and what relations depend on.
    psd_sigma_prior, psd_tau_prior : tuple of float, optional
        Limits of flat priors of ``sfh_field_psd_sigma`` [dex] and ``sfh_field_psd_tau_myr`` [Myr],
        shared by all galaxies, where ``model`` is a function.
    population : Population, optional
        What the galaxies share; by default the two parameters of the stochastic field.
    n_pad : int, optional
        Fill the population up to so many galaxies, which have no influence: populations of other
        sizes then reuse the compiled programs.

    Raises
    ------
    DataError
        If the data of a galaxy are not usable; it names the galaxy.
    ParameterError
        If the relations don't belong to the model.
    """

    def __init__(
        self,
        model: SEDModel | Callable[[Any, Any], SEDModel],
        galaxies: Sequence[Mapping[str, Any]],
        psd_sigma_prior: tuple[float, float] = (0.01, 1.0),
        psd_tau_prior: tuple[float, float] = (10.0, 3000.0),
        *,
        population: Population | None = None,
        n_pad: int | None = None,
    ) -> None:
        if not isinstance(model, SEDModel):
            model = model(Uniform(*psd_sigma_prior), Uniform(*psd_tau_prior))
        self.model = model
        self.population = population or Population(*map(Shared, _FIELD))
        read = read_galaxies(galaxies, model)
        check_names(model.spec, self.population.relations, set(read.columns))
        check_columns(read, model)
        self.ids = read.ids
        n = len(read.ids) if n_pad is None else n_pad
        if n < len(read.ids):
            raise ParameterError(f"n_pad={n_pad} is less than the {len(read.ids)} galaxies")
        padded = read.padded(n - len(read.ids))
        self.data, self.columns = jnp.asarray(padded.flux, dtype=float), padded.columns
        sigma = jnp.asarray(padded.sigma, dtype=float)
        self.noise = GaussianNoise(sigma=sigma, mask=jnp.asarray(padded.mask))
        self.present = jnp.arange(n) < len(read.ids)

    @cached_property
    def located(self) -> SEDModel:
        """The model with tables of all galaxies, fillers too, where their redshifts are known."""
        return _at_known_redshifts(self.model, self.columns)

    @property
    def known(self) -> dict[str, Array]:
        """What is known of the galaxies, without fillers."""
        return {name: x[: len(self.ids)] for name, x in self.columns.items()}

    def __repr__(self) -> str:
        """Return the number of galaxies and what they share."""
        return f"PopulationFitter({len(self.ids)} galaxies, {self.population!r})"

    def run(
        self,
        method: str = "mcmc_nuts",
        key: Array | None = None,
        *,
        init_from: Posterior | None = None,
        **options: Any,
    ) -> PopulationPosterior:
        """Sample the posterior of all galaxies together with what they share.

        Parameters
        ----------
        method : str
            Name of an engine; see :func:`tengri_ppl.list_methods`.
        key : Array, optional
            Random key.
        init_from : Posterior, optional
            An earlier result for the same population, from which the engine starts; one of
            :meth:`run_two_step`, too.
        **options
            ``lean``, ``max_memory_gb`` and ``progress`` as for :func:`tengri_ppl.infer`, and
            options of the engine.
        """
        n = len(self.present)
        fillers = [f"filler {i}" for i in range(n - len(self.ids))]
        model, arguments, start = self._in_coordinates(method, init_from)
        posterior = infer(
            model,
            arguments,
            self._shared_options,
            method,
            key,
            init_from=start,
            coords={
                GALAXY: [*self.ids, *fillers],
                "band": list(self.model.bands),
                CLASS: list(self.population.classes),
            },
            **options,
        )
        found = _first_galaxies(posterior.inference_data, len(self.ids))
        described = with_population(found, self.model.spec, self.population, self.known)
        return PopulationPosterior(described, rerun=partial(_rerun, self))

    @property
    def _shared_options(self) -> dict[str, Any]:
        """Keyword arguments of all model functions of populations."""
        return {"population": self.population, "columns": self.columns, "present": self.present}

    def _in_coordinates(
        self, method: str, init_from: Posterior | None
    ) -> tuple[Callable[..., Any], tuple[Any, ...], Posterior | Start | None]:
        """Return the model function that an engine likes best, its arguments, and a start."""
        problem = (self.located, self.noise, self.data)
        standard = get_method(method).coordinates == "standard"
        if standard or not can_decentre(self.model.spec, self.population, self.columns):
            model = population_model if standard else population_sampling_model
            return model, problem, init_from and _as_many(init_from, len(self.present))
        likelihoods, options = self._likelihoods, self._shared_options
        arguments = (*problem, likelihoods)
        start = decentred_start(
            Target(decentred_population_model, arguments, options),
            Target(collapsed_model, (self.model.spec, self.noise, likelihoods), options),
            jax.random.key(0),
            init_from,
        )
        return decentred_population_model, arguments, start

    @cached_property
    def _likelihoods(self) -> GalaxyLikelihoods:
        """Approximate likelihoods of the galaxies, which only coordinates depend on."""
        return approximate_likelihoods(
            self.located, self.noise, self.data, self.population, self.columns, jax.random.key(0)
        )

    def fit_galaxies(
        self, method: str = "auto", key: Array | None = None, **options: Any
    ) -> list[Posterior]:
        """Fit the galaxies one by one, under the priors of the SED model.

        Parameters
        ----------
        method : str
            Name of an engine; see :func:`tengri_ppl.list_methods`.
        key : Array, optional
            Random key.
        **options
            As for :meth:`tengri_ppl.Fitter.run`.
        """
        keys = jax.random.split(jax.random.key(42) if key is None else key, len(self.ids))
        return [self.fit_galaxy(i, method, own, **options) for i, own in enumerate(keys)]

    def fit_galaxy(
        self, index: int, method: str = "auto", key: Array | None = None, **options: Any
    ) -> Posterior:
        """Fit one galaxy, by its number; all else is as for :meth:`fit_galaxies`."""
        priors = self.model.spec.priors
        sed, noise, data, columns = self.galaxies_at(np.array([index]))
        known = {name: float(x[0]) for name, x in columns.items() if name in priors}
        sigma, mask = jnp.asarray(noise.sigma)[0], jnp.asarray(noise.mask)[0]
        try:
            fitter = Fitter(sed.of_galaxy(0, **known), data[0], sigma, mask)
        except DataError as error:
            raise DataError(f"galaxy {self.ids[index]}: {error}") from error
        return fitter.run(method, key, **options)

    def galaxies_at(
        self, index: np.ndarray
    ) -> tuple[SEDModel, GaussianNoise, Array, dict[str, Array]]:
        """Model, errors, data and known columns of some galaxies, by their numbers (n,)."""
        columns = {name: x[index] for name, x in self.columns.items()}
        noise = jax.tree.map(lambda x: jnp.asarray(x)[index] if jnp.ndim(x) else x, self.noise)
        every = self.located
        sed = (
            _at_known_redshifts(self.model, columns)
            if every is self.model
            else every.of_galaxies(index)
        )
        return sed, noise, self.data[index], columns

    def sample_galaxies(
        self,
        key: Array | None = None,
        n_draws: int = 1000,
        path: str | Path | None = None,
        *,
        progress: Callable[[str, int, int, int], None] | None = None,
        **options: Any,
    ) -> InterimSample:
        """Fit the galaxies one by one, but many at the same time, by importance sampling.

        Parameters
        ----------
        key : Array, optional
            Random key.
        n_draws : int
            Draws of each galaxy, an even number.
        path : str or Path, optional
            HDF5 file for the draws, in place of memory: for populations whose draws don't fit.
        progress : callable, optional
            Called after every chunk of galaxies.
        **options
            Of :class:`~tengri_ppl.workflows.galaxy_draws.ChunkOptions`.
        """
        key = jax.random.key(42) if key is None else key
        chosen = from_keywords(ChunkOptions, "sample_galaxies", options)
        return sample_galaxies(self, key, n_draws, path, chosen, progress)

    def run_two_step(
        self,
        key: Array | None = None,
        *,
        posteriors: Sequence[Posterior] | InterimSample | None = None,
        n_draws: int = 1000,
        method: str = "mcmc_nuts",
        batch_size: int | None = None,
        sampling: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> PopulationPosterior:
        """Infer what galaxies share from their own posteriors, without evaluating the SED model.

        See :mod:`tengri_ppl.models.reweighting`. The result is exact for many draws; how many of
        them count is in its ``constant_data.effective_draws``, and too few are refused.

        Parameters
        ----------
        key : Array, optional
            Random key.
        posteriors : InterimSample or sequence of Posterior, optional
            Of the galaxies, from :meth:`sample_galaxies`, which is called without them, or from
            :meth:`fit_galaxies`. Without them a population with shared parameters is fitted in
            rounds (:mod:`tengri_ppl.workflows.narrowing`), for draws of galaxies that don't know
            each other are of little use for what all have in common.
        n_draws : int
            Draws of each galaxy to use; of a selected sample also draws of its priors, from which
            the fraction that is kept is found.
        method : str
            Engine for the hyper-parameters.
        batch_size : int, optional
            With ``method="vi"``: read so many galaxies at a time, for populations of which not
            even the draws fit into memory. The result has no draws of the
            galaxies, but their means and standard deviations in its ``constant_data``.
        sampling : mapping, optional
            Options of :meth:`sample_galaxies` where that is called.
        **options
            As for :func:`tengri_ppl.infer`; with a ``batch_size`` those of
            :class:`~tengri_ppl.inference.subsampled.SubsampledOptions`.

        Raises
        ------
        ParameterError
            If the galaxies have a calibration in common, or more than two parameters.
        DataError
            If the draws of a galaxy are too few under the population; it names the galaxy.
        """
        check_reweightable(self.population, batch_size is not None)
        if batch_size is not None and method != "vi":
            raise ParameterError(f"batch_size needs method='vi'; it is {method!r}")
        key = jax.random.key(42) if key is None else key
        key_fit, key_run = jax.random.split(key)
        sampling = sampling or {}
        if posteriors is None and self.population.shared_parameters():
            return fit_by_narrowing(self, key, n_draws, sampling, method=method, **options)
        if posteriors is None:
            sample = self.sample_galaxies(key_fit, n_draws + n_draws % 2, **sampling)
        elif isinstance(posteriors, InterimSample):
            sample = posteriors
        else:
            sample = as_interim(posteriors, self.ids, self.population.names, n_draws, key_fit)
        if list(sample.ids) != list(self.ids):
            raise DataError("the draws are those of other galaxies, or in another order")
        if batch_size is not None:
            return fit_in_batches(self, key_run, sample, batch_size, **options)
        return fit_in_two_steps(self, key_run, sample, n_draws=n_draws, method=method, **options)

    def check(
        self, posterior: PopulationPosterior, key: Array | None = None, **options: Any
    ) -> PopulationCheck:
        """Replicate the data: see :func:`~.population_predictive.check_population`."""
        return check_population(self, posterior, key, **options)


def _at_known_redshifts(model: SEDModel, columns: Mapping[str, Array]) -> SEDModel:
    """Give the galaxies tables of their own if their redshifts are known and there is room."""
    redshifts = columns.get("redshift")
    if redshifts is None:
        return model
    table = model.forward.table
    one = sum(x.nbytes for x in jax.tree.leaves(table)) / np.size(table.log1pz)
    return model.at_redshifts(redshifts) if one * len(redshifts) < _TABLES_BYTES else model


def _first_galaxies(found: Any, n: int) -> Any:
    """Leave out what fills up the population."""
    return found.map(lambda x: x.isel({GALAXY: slice(n)}) if GALAXY in x.dims else x)


def _as_many(posterior: Posterior, n: int) -> Posterior:
    """Add draws for what fills up the population to n galaxies.

    They are draws of the first galaxy in another order for every filler: equal ones would make the
    covariance singular.
    """
    import xarray as xr

    def filled(group: Any) -> Any:
        names = [name for name in group.data_vars if GALAXY in group[name].dims]
        if not names or "draw" not in group.dims or group.sizes[GALAXY] == n:
            return group
        n_galaxy, n_draw = group.sizes[GALAXY], group.sizes["draw"]
        filler = np.arange(n) - n_galaxy
        shift = np.where(filler < 0, 0, (filler + 1) * n_draw // (n - n_galaxy + 1))
        draw = (np.arange(n_draw) + shift[:, None]) % n_draw
        galaxies = group[names].isel(
            {
                GALAXY: xr.DataArray(np.where(filler < 0, np.arange(n), 0), dims=GALAXY),
                "draw": xr.DataArray(draw, dims=(GALAXY, "draw")),
            }
        )
        galaxies = galaxies.drop_vars(["draw", GALAXY]).transpose("chain", "draw", GALAXY, ...)
        return group.drop_dims(GALAXY).merge(galaxies)

    return Posterior(posterior.inference_data.map(filled))


def _rerun(fitter: PopulationFitter, **options: Any) -> PopulationPosterior:
    return fitter.run(**options)
