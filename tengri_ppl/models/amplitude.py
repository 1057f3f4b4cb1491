r"""The amplitude of a model is linear in it: use that to remove its degeneracies.

With predictions :math:`m = A f(\theta)` and Gaussian errors the likelihood is a Gaussian in A with
its peak at :math:`A^* = \sum f d \sigma^{-2} / \sum f^2 \sigma^{-2}`. Sampling the amplitude
relative to :math:`A^*(\theta)` leaves a coordinate that hardly depends on the other parameters.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from jax import Array
from jax.typing import ArrayLike
from numpyro.distributions import biject_to
from numpyro.distributions.transforms import AffineTransform

__all__ = [
    "DECENTRED",
    "best_log_amplitude",
    "decentred",
    "log_amplitude_error",
    "normal_equations",
    "sample_decentred",
]

#: Appended to the name of an amplitude for the site that is sampled in its place.
DECENTRED = "_decentred"
_MARGIN = 1e-3


def best_log_amplitude(unit_flux: ArrayLike, data: ArrayLike, sigma: ArrayLike) -> Array:
    """log10 of the amplitude that fits the data best, given the flux per unit amplitude.

    Parameters
    ----------
    unit_flux, data, sigma : array_like, shape (..., n_band)
        In one and the same unit; sigma is infinite for bands that are not used.

    Returns
    -------
    Array, shape (...)
        Finite even where the data are dominated by noise: the amplitude is kept above a tenth of
        its own standard error.
    """
    _, log_norm, signal, power = normal_equations(unit_flux, data, sigma)
    signal = jnp.maximum(signal, 0.1 * jnp.sqrt(power))
    return jnp.log10(signal / power) - log_norm


def normal_equations(
    unit_flux: ArrayLike, data: ArrayLike, sigma: ArrayLike
) -> tuple[Array, Array, Array, Array]:
    """Set up the least-squares problem of an amplitude, scaled so that 32 bits serve.

    Parameters
    ----------
    unit_flux, data, sigma : array_like, shape (..., n_band)
        In one and the same unit; sigma is infinite for bands that are not used.

    Returns
    -------
    template : Array, shape (..., n_band)
        Flux over error, divided by its largest value.
    log_norm : Array, shape (...)
        log10 of that value.
    signal, power : Array, shape (...)
        Products of the template with the data over their errors and with itself: the best
        amplitude is ``signal / power`` in units of ``10**-log_norm``.
    """
    template = jnp.asarray(unit_flux) / jnp.asarray(sigma)
    norm = jnp.max(jnp.abs(template), axis=-1, keepdims=True)
    # any unit serves, so that it needs no gradient
    norm = jax.lax.stop_gradient(jnp.maximum(norm, jnp.finfo(template.dtype).tiny))
    template = template / norm
    power = jnp.sum(template**2, axis=-1)
    signal = jnp.sum(template * data / sigma, axis=-1)
    return template, jnp.log10(norm[..., 0]), signal, power


def log_amplitude_error(data: ArrayLike, sigma: ArrayLike) -> Array:
    """Return the standard error of log10 of the amplitude of a model that fits, shape (...)."""
    signal_to_noise = jnp.sqrt(jnp.sum((data / jnp.asarray(sigma)) ** 2, axis=-1))
    return 1.0 / (jnp.log(10.0) * jnp.maximum(signal_to_noise, 1.0))


def sample_decentred(name: str, prior: Any, location: ArrayLike, scale: ArrayLike = 1.0) -> Array:
    r"""Sample a parameter relative to a location and a scale that depend on other parameters.

    The site ``name + "_decentred"`` holds
    :math:`u = [T^{-1}(x) - T^{-1}(x_0)] / (s\, dT^{-1}/dx(x_0))`, where T maps the real line to
    the support of the prior, so that x is about :math:`x_0 + s u`. Its distribution is the prior
    carried over exactly, so that prior draws, densities and NumPyro's handlers are right by
    construction. The parameter itself is recorded as a deterministic site.

    Parameters
    ----------
    name : str
        Name of the parameter.
    prior : numpyro.distributions.Distribution
        Its prior, continuous, with scalar event.
    location, scale : array_like, shape (...)
        Where the parameter is expected, given the others, and how far from there; the location is
        moved inside the support.

    Returns
    -------
    Array, shape (...)
        The parameter.
    """
    transform, shift, width = _coordinate(prior, location, scale)
    affine = AffineTransform(-shift / width, 1.0 / width)
    base = dist.TransformedDistribution(prior, [transform.inv, affine])
    u = numpyro.sample(name + DECENTRED, base)
    return numpyro.deterministic(name, transform(shift + width * u))


def decentred(prior: Any, value: ArrayLike, location: ArrayLike, scale: ArrayLike = 1.0) -> Array:
    """Return the coordinate of :func:`sample_decentred` at a value of the parameter."""
    transform, shift, width = _coordinate(prior, location, scale)
    return (transform.inv(value) - shift) / width


def _coordinate(prior: Any, location: ArrayLike, scale: ArrayLike) -> tuple[Any, Array, Array]:
    """Return T and the origin and unit of the coordinate, before T."""
    transform = biject_to(prior.support)
    location = _inside(prior.support, location)
    shift = transform.inv(location)
    slope = jnp.exp(transform.log_abs_det_jacobian(shift, location))
    return transform, shift, jnp.asarray(scale) / slope


def _inside(support: Any, location: ArrayLike) -> Array:
    """Move a location into the interior of an interval; other supports are left alone."""
    low, high = getattr(support, "lower_bound", None), getattr(support, "upper_bound", None)
    if low is not None and high is not None:
        margin = _MARGIN * (high - low)
        return jnp.clip(location, low + margin, high - margin)
    if low is not None:
        return jnp.maximum(location, low + _MARGIN)
    if high is not None:
        return jnp.minimum(location, high - _MARGIN)
    return jnp.asarray(location)
