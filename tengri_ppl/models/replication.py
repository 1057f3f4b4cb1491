"""Galaxies that a population could have: those that were observed once more, and new ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpyro
from jax import Array
from numpyro import handlers

from tengri_ppl.models.likelihoods import effective_sigma
from tengri_ppl.models.parameters import Parameters
from tengri_ppl.models.population import (
    GALAXY,
    Population,
    calibrated_flux,
    sample_galaxies,
    sample_shared,
)
from tengri_ppl.observation.noise import GaussianNoise
from tengri_ppl.physics.constants import MICROJANSKY_CGS

if TYPE_CHECKING:
    from tengri_ppl.models.sed import SEDModel

__all__ = ["Replication", "draw_galaxies", "errors_at", "replicate", "shared_names"]


class Replication(NamedTuple):
    """Data that could have been.

    Attributes
    ----------
    flux : Array, shape (n_galaxy, n_band)
        Fluxes with errors [microjansky].
    chi2 : Array, shape (n_galaxy,)
        Of the data at the parameters, in all bands that are used.
    """

    flux: Array
    chi2: Array


def shared_names(spec: Parameters, population: Population, n_band: int) -> tuple[str, ...]:
    """Return the names of everything outside of the plate that galaxies depend on."""
    sample = handlers.seed(sample_shared, rng_seed=0)
    return tuple(jax.eval_shape(lambda: sample(spec, population, n_band)))


def draw_galaxies(
    key: Array,
    spec: Parameters,
    population: Population,
    shared: Mapping[str, Array],
    columns: Mapping[str, Array],
    n_galaxy: int,
) -> dict[str, Array]:
    """Draw new galaxies.

    Parameters
    ----------
    key : Array
        Random key.
    spec : Parameters
        Priors of a galaxy.
    population : Population
        What the galaxies share.
    shared : mapping of str to Array
        What is outside of the plate, by `shared_names`.
    columns : mapping of str to Array, shape (n_galaxy,)
        What is known of the galaxies.
    n_galaxy : int
        How many.

    Returns
    -------
    dict of str to Array, shape (n_galaxy, ...)
        Their free parameters, what all have in common without this axis.
    """

    def members() -> dict[str, Array]:
        with numpyro.plate(GALAXY, n_galaxy):
            return sample_galaxies(spec, population, shared, columns)

    drawn: dict[str, Array] = handlers.seed(members, rng_seed=key)()
    return drawn


def replicate(
    key: Array,
    sed: SEDModel,
    noise: GaussianNoise,
    data: Array,
    values: Mapping[str, Array],
    *,
    of_new: bool,
) -> Replication:
    """Observe galaxies.

    Parameters
    ----------
    key : Array
        Random key.
    sed : SEDModel
        The forward model.
    noise : GaussianNoise
        Errors (n_galaxy, n_band) [erg/s/cm^2/Hz], with a mask.
    data : Array, shape (n_galaxy, n_band)
        Observed fluxes [erg/s/cm^2/Hz].
    values : mapping of str to Array
        Parameters of the galaxies (n_galaxy, ...) or of all of them, and their calibration.
    of_new : bool
        Whether the galaxies are others than those of the data. Their errors then are those of data
        as bright as they are.
    """
    params = {name: values[name] for name in sed.spec.priors}
    flux = jnp.broadcast_to(calibrated_flux(sed, params, values), jnp.shape(data))
    if of_new:
        noise = replace(noise, sigma=errors_at(flux, noise, data) * MICROJANSKY_CGS)
    if "floor" in values:
        noise = replace(noise, floor=values["floor"])
    sigma = effective_sigma(flux, noise, None if of_new else data)
    residual = jnp.where(jnp.asarray(noise.mask), (data / MICROJANSKY_CGS - flux) / sigma, 0.0)
    replicated = flux + sigma * jax.random.normal(key, flux.shape)
    return Replication(replicated, jnp.sum(residual**2, axis=-1))


def errors_at(flux: Array, noise: GaussianNoise, data: Array) -> Array:
    """Interpolate the errors of the data in the flux of each band.

    Parameters
    ----------
    flux : Array, shape (n, n_band)
        Fluxes [microjansky].
    noise : GaussianNoise
        Errors (n_galaxy, n_band) [erg/s/cm^2/Hz], with a mask.
    data : Array, shape (n_galaxy, n_band)
        Observed fluxes [erg/s/cm^2/Hz].

    Returns
    -------
    Array, shape (n, n_band)
        1-sigma errors [microjansky]; beyond the faintest and the brightest data, those of them.
    """
    observed, sigma = data / MICROJANSKY_CGS, jnp.asarray(noise.sigma) / MICROJANSKY_CGS

    def one(flux: Array, observed: Array, sigma: Array, mask: Array) -> Array:
        brightest = jnp.argmax(jnp.where(mask, observed, -jnp.inf))
        x, y = (jnp.where(mask, values, values[brightest]) for values in (observed, sigma))
        order = jnp.argsort(x)
        return jnp.interp(flux, x[order], y[order])

    return jax.vmap(one, in_axes=1, out_axes=1)(flux, observed, sigma, jnp.asarray(noise.mask))
