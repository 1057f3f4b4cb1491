"""The NumPyro model function of one galaxy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax.numpy as jnp
import numpyro
from jax import Array
from jax.typing import ArrayLike
from numpyro import handlers

from tengri_ppl.models.amplitude import (
    best_log_amplitude,
    log_amplitude_error,
    sample_decentred,
)
from tengri_ppl.models.coordinates import standard_coordinates
from tengri_ppl.models.likelihoods import effective_sigma, flux_distribution
from tengri_ppl.observation.noise import GaussianNoise
from tengri_ppl.physics.constants import MICROJANSKY_CGS

if TYPE_CHECKING:
    from tengri_ppl.models.sed import SEDModel

__all__ = ["galaxy_model", "sampling_model"]


def galaxy_model(
    sed: SEDModel,
    noise: GaussianNoise | ArrayLike,
    data: ArrayLike | None = None,
    *,
    decentre: bool = False,
) -> Array:
    """Photometry of one galaxy as a NumPyro model.

    Sites: one per free parameter, named like it, and ``flux`` in the plate ``band``.

    Parameters
    ----------
    sed : SEDModel
        The forward model with its priors.
    noise : GaussianNoise or array_like, shape (n_band,)
        Noise model, or 1-sigma errors [erg/s/cm^2/Hz].
    data : array_like, shape (n_band,), optional
        Observed fluxes [erg/s/cm^2/Hz]; without them the model is the prior predictive.
    decentre : bool
        Sample the amplitude relative to its best value given all other parameters
        (:func:`tengri_ppl.models.amplitude.sample_decentred`). The posterior is the same; a
        gradient-based sampler needs several times fewer steps. Ignored without data.

    Returns
    -------
    Array, shape (n_band,)
        The predicted fluxes [erg/s/cm^2/Hz].
    """
    noise = noise if isinstance(noise, GaussianNoise) else GaussianNoise(sigma=noise)
    name = sed.spec.amplitude
    if decentre and data is not None and name in sed.spec.priors:
        params = sed.sample(skip=(name,))
        unit = sed.unit_host(params)
        location, scale = _expected_log_amplitude(unit.flux, noise, data)
        log_amplitude = sample_decentred(name, sed.spec[name], location, scale)
    else:
        params = sed.sample()
        unit = sed.unit_host(params)
        log_amplitude = {**sed.spec.fixed, **params}[name]
    host = unit.scaled(10.0**log_amplitude)
    flux = host.flux + sed.added_flux(params, host.galaxy)
    with numpyro.plate("band", sed.n_band):
        numpyro.sample("flux", flux_distribution(flux, noise, data), obs=data)
    return flux * MICROJANSKY_CGS


def sampling_model(
    sed: SEDModel, noise: GaussianNoise | ArrayLike, data: ArrayLike | None = None
) -> Array:
    """:func:`galaxy_model` in coordinates made for gradient-based samplers.

    The amplitude is decentred and flat priors are mapped to standard normals. All parameters are
    there as deterministic sites.
    """
    with handlers.reparam(config=standard_coordinates(sed.spec)):
        return galaxy_model(sed, noise, data, decentre=True)


def _expected_log_amplitude(
    unit_flux: Array, noise: GaussianNoise, data: ArrayLike
) -> tuple[Array, Array]:
    """Best amplitude given the other parameters, and its error; masked bands have no weight."""
    sigma = effective_sigma(unit_flux, noise, data)
    if noise.mask is not None:
        sigma = jnp.where(noise.mask, sigma, jnp.inf)
    flux = jnp.asarray(data) / MICROJANSKY_CGS
    return best_log_amplitude(unit_flux, flux, sigma), log_amplitude_error(flux, sigma)
