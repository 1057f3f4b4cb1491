"""Likelihoods as NumPyro distributions."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpyro.distributions as dist
from jax import Array
from jax.typing import ArrayLike
from numpyro.distributions.transforms import AffineTransform

from tengri_ppl.observation.noise import GaussianNoise
from tengri_ppl.physics.constants import MICROJANSKY_CGS

__all__ = ["effective_sigma", "flux_distribution", "used_sigma"]


def effective_sigma(flux: ArrayLike, noise: GaussianNoise, data: ArrayLike | None = None) -> Array:
    """1-sigma errors [microjansky], the systematic floor included.

    The floor is a fraction of the observed flux, as usual, or of the model where there are no
    data; ``flux`` is the model [microjansky], ``data`` are observed fluxes [erg/s/cm^2/Hz].
    """
    reference = jnp.asarray(flux) * MICROJANSKY_CGS if data is None else data
    return noise.scale(reference) / MICROJANSKY_CGS


def used_sigma(flux: ArrayLike, noise: GaussianNoise, data: ArrayLike | None = None) -> Array:
    """:func:`effective_sigma`, infinite in masked bands, which then have no weight."""
    sigma = effective_sigma(flux, noise, data)
    return sigma if noise.mask is None else jnp.where(noise.mask, sigma, jnp.inf)


def flux_distribution(flux: ArrayLike, noise: GaussianNoise, data: ArrayLike | None = None) -> Any:
    """Distribution of observed fluxes [erg/s/cm^2/Hz] around predicted ones [microjansky].

    A Gaussian whose arithmetic runs in microjansky, because the square of a flux in cgs units
    underflows in 32 bits. Bands that the noise model masks have a log-density of zero.
    """
    gaussian = dist.Normal(flux, effective_sigma(flux, noise, data))
    scaled = dist.TransformedDistribution(gaussian, AffineTransform(0.0, MICROJANSKY_CGS))
    return scaled if noise.mask is None else scaled.mask(noise.mask)
