"""The NumPyro model function of one galaxy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpyro
from jax import Array
from jax.typing import ArrayLike
from numpyro import handlers

from tengri_ppl.models.amplitude import (
    DECENTRED,
    best_log_amplitude,
    decentred,
    log_amplitude_error,
    sample_decentred,
)
from tengri_ppl.models.coordinates import standard_coordinates, standardized
from tengri_ppl.models.likelihoods import flux_distribution, used_sigma
from tengri_ppl.models.marginal import AmplitudeMarginal, amplitude_range, draw_log_amplitude
from tengri_ppl.observation.noise import GaussianNoise
from tengri_ppl.physics.constants import MICROJANSKY_CGS
from tengri_ppl.runtime.compiled import Compiled

if TYPE_CHECKING:
    from tengri_ppl.models.sed import SEDModel

__all__ = [
    "can_marginalize",
    "draw_amplitude",
    "galaxy_model",
    "marginal_model",
    "marginal_sampling_model",
    "sampling_coordinates",
    "sampling_model",
]


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


def marginal_model(sed: SEDModel, noise: GaussianNoise, data: ArrayLike) -> None:
    """:func:`galaxy_model` with the amplitude integrated out: it is no site of the model.

    For models for which :func:`can_marginalize` holds; :func:`draw_amplitude` draws the amplitude
    afterwards.
    """
    params = sed.sample(skip=(sed.spec.amplitude,))
    unit = sed.unit_host(params)
    prior = sed.spec[sed.spec.amplitude]
    fluxes = AmplitudeMarginal(unit.flux, used_sigma(unit.flux, noise, data), prior)
    numpyro.sample("flux", fluxes, obs=data)


def marginal_sampling_model(sed: SEDModel, noise: GaussianNoise, data: ArrayLike) -> None:
    """:func:`marginal_model` with flat priors mapped to standard normals."""
    with handlers.reparam(config=standard_coordinates(sed.spec)):
        marginal_model(sed, noise, data)


def can_marginalize(sed: SEDModel) -> bool:
    """Whether all light is in proportion to a free amplitude whose prior can be integrated.

    There has to be another free parameter as well.
    """
    prior = sed.spec.priors.get(sed.spec.amplitude)
    if prior is None or len(sed.spec.priors) == 1 or sed.spec.structure.additions:
        return False
    return amplitude_range(prior) is not None


@Compiled
def draw_amplitude(
    sed: SEDModel,
    noise: GaussianNoise,
    data: Array,
    params: Mapping[str, Array],
    key: Array,
) -> Array:
    """Draw the amplitude given the data and n draws of all other free parameters.

    Parameters
    ----------
    sed, noise, data
        As in :func:`galaxy_model`.
    params : mapping of str to Array, shape (n, ...)
        The other free parameters.
    key : Array
        Random key.

    Returns
    -------
    Array, shape (n,)
        log10 of the amplitude.
    """
    unit_flux = sed.unit_host(params).flux
    sigma = used_sigma(unit_flux, noise, data)
    flux, prior = jnp.asarray(data) / MICROJANSKY_CGS, sed.spec[sed.spec.amplitude]

    def one(key: Array, unit_flux: Array) -> Array:
        return draw_log_amplitude(key, unit_flux, flux, sigma, prior)

    return jax.vmap(one)(jax.random.split(key, len(unit_flux)), unit_flux)


@Compiled
def sampling_coordinates(
    sed: SEDModel, noise: GaussianNoise, data: Array, params: Mapping[str, Array]
) -> dict[str, Array]:
    """Return parameters (n, ...) together with the coordinates of :func:`sampling_model`."""
    out = {**params, **standardized(sed.spec, params)}
    name = sed.spec.amplitude
    if name in sed.spec.priors:
        location, scale = _expected_log_amplitude(sed.unit_host(params).flux, noise, data)
        out[name + DECENTRED] = decentred(sed.spec[name], params[name], location, scale)
    return out


def _expected_log_amplitude(
    unit_flux: Array, noise: GaussianNoise, data: ArrayLike
) -> tuple[Array, Array]:
    """Best amplitude given the other parameters, and its error."""
    sigma = used_sigma(unit_flux, noise, data)
    flux = jnp.asarray(data) / MICROJANSKY_CGS
    return best_log_amplitude(unit_flux, flux, sigma), log_amplitude_error(flux, sigma)
