r"""The amplitude integrated out of a Gaussian likelihood.

With predictions :math:`m = A f(\theta)` the likelihood is, in A, a Gaussian around
:math:`A^*(\theta)`, so that

.. math:: p(d | \theta) = \int p(d | A f(\theta))\, p(\log_{10} A)\, d\log_{10} A

is one smooth integral over a known range, for any prior. Afterwards A is drawn from what is left
of it, given theta and the data. All numbers stay of order one in 32 bits: fluxes are scaled, and
differences of chi-squared are taken from the best amplitude inside the prior.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax import Array
from jax.typing import ArrayLike
from numpyro.distributions import constraints

from tengri_ppl.models.amplitude import normal_equations
from tengri_ppl.physics.constants import MICROJANSKY_CGS

__all__ = ["AmplitudeMarginal", "amplitude_range", "draw_log_amplitude"]

_LN10 = float(np.log(10.0))
#: ln of sqrt(2 pi) microjanskys in cgs units.
_LOG_UNIT = float(np.log(MICROJANSKY_CGS * np.sqrt(2.0 * np.pi)))
#: The integral covers amplitudes whose chi-squared is up to _REACH**2 above the best one's.
_REACH = 8.0
_NODES, _WEIGHTS = (x.tolist() for x in np.polynomial.legendre.leggauss(48))
_N_TABLE = 512
#: Unbounded priors are cut where they are _FAR times as far from the median as this quantile.
_TAIL, _FAR = 1e-6, 4.0


def amplitude_range(prior: Any) -> tuple[Array, Array] | None:
    """Range of log10 A on which a prior has to be integrated.

    Returns
    -------
    tuple of Array, or None
        Lower and upper limit; None if the prior has no scalar event, or an unbounded support and
        no quantile function.
    """
    if prior.batch_shape or prior.event_shape:
        return None
    support = prior.support
    low, high = (getattr(support, name, None) for name in ("lower_bound", "upper_bound"))
    try:
        median = None if low is not None and high is not None else prior.icdf(0.5)
        low = median + _FAR * (prior.icdf(_TAIL) - median) if low is None else low
        high = median + _FAR * (prior.icdf(1.0 - _TAIL) - median) if high is None else high
    except (NotImplementedError, AttributeError):
        return None
    return jnp.asarray(low, dtype=float), jnp.asarray(high, dtype=float)


class _Profile(NamedTuple):
    """Likelihood of the amplitude: a Gaussian, seen from an anchor inside the prior.

    Attributes
    ----------
    anchor : Array
        log10 of the best amplitude inside the prior.
    low, high : Array
        Range of the integral, as ln(A / anchor).
    limits : tuple of Array
        Range of the prior, in log10 A.
    signal_to_noise : Array
        Anchor over the standard error of A.
    pull : Array
        Best amplitude of all over the anchor.
    chi2 : Array
        At the anchor.
    """

    anchor: Array
    low: Array
    high: Array
    limits: tuple[Array, Array]
    signal_to_noise: Array
    pull: Array
    chi2: Array

    def log_amplitude(self, offset: Array) -> Array:
        """Return log10 A at ln(A / anchor); rounding does not leave the prior."""
        return jnp.clip(self.anchor + offset / _LN10, *self.limits)

    def excess(self, offset: Array) -> Array:
        """Chi-squared at ln(A / anchor), minus that at the anchor."""
        step = jnp.expm1(offset)
        return self.signal_to_noise**2 * step * (step + 2.0 - 2.0 * self.pull)


def _profile(unit_flux: Array, data: Array, sigma: Array, prior: Any) -> _Profile:
    """Compute the profile of the likelihood; arguments have the shape (n_band,)."""
    limits = amplitude_range(prior)
    if limits is None:
        raise ValueError(f"an amplitude with the prior {prior!r} can't be integrated out")
    template, log_norm, signal, power = normal_equations(unit_flux, data, sigma)
    least, most = (limit + log_norm for limit in limits)
    best = signal / power
    tiny = jnp.finfo(best.dtype).tiny
    # the integral does not depend on where its nodes are, so that they need no gradient
    anchor = jax.lax.stop_gradient(jnp.clip(jnp.log10(jnp.maximum(best, tiny)), least, most))
    amplitude = 10.0**anchor
    pull = best / amplitude
    signal_to_noise = amplitude * jnp.sqrt(power)
    distance = jnp.abs(1.0 - pull) * signal_to_noise
    reach = _REACH**2 / (jnp.hypot(distance, _REACH) + distance) / signal_to_noise
    low = jnp.maximum(jnp.log1p(-jnp.minimum(reach, 1.0)), _LN10 * (least - anchor))
    high = jnp.minimum(jnp.log1p(reach), _LN10 * (most - anchor))
    chi2 = jnp.sum((amplitude * template - data / sigma) ** 2)
    low, high = (jax.lax.stop_gradient(x) for x in (low, high))
    return _Profile(anchor - log_norm, low, high, limits, signal_to_noise, pull, chi2)


def draw_log_amplitude(
    key: Array, unit_flux: ArrayLike, data: ArrayLike, sigma: ArrayLike, prior: Any
) -> Array:
    """Draw log10 of the amplitude given everything else, by inverting its distribution function.

    Parameters
    ----------
    key : Array
        Random key.
    unit_flux, data, sigma : array_like, shape (n_band,)
        Flux per unit amplitude, data and errors in one and the same unit; sigma is infinite for
        bands that are not used.
    prior : numpyro.distributions.Distribution
        Of log10 of the amplitude.

    Returns
    -------
    Array, scalar
    """
    profile = _profile(jnp.asarray(unit_flux), jnp.asarray(data), jnp.asarray(sigma), prior)
    offset = jnp.linspace(profile.low, profile.high, _N_TABLE)
    log_density = prior.log_prob(profile.log_amplitude(offset)) - 0.5 * profile.excess(offset)
    density = jnp.exp(log_density - jnp.max(log_density))
    steps = 0.5 * (density[1:] + density[:-1])
    share = jnp.concatenate([jnp.zeros(1, steps.dtype), jnp.cumsum(steps) / jnp.sum(steps)])
    drawn = jnp.interp(jax.random.uniform(key, dtype=share.dtype), share, offset)
    return profile.log_amplitude(drawn)


class AmplitudeMarginal(dist.Distribution):
    """Fluxes of a galaxy whose amplitude has been integrated out.

    Parameters
    ----------
    unit_flux : Array, shape (n_band,)
        Flux per unit amplitude [microjansky].
    sigma : Array, shape (n_band,)
        1-sigma errors [microjansky]; infinite for bands that are not used.
    prior : numpyro.distributions.Distribution
        Of log10 of the amplitude, with an :func:`amplitude_range`.
    """

    support = constraints.real_vector
    pytree_data_fields = ("unit_flux", "sigma", "prior")

    def __init__(
        self, unit_flux: Array, sigma: Array, prior: Any, *, validate_args: bool | None = None
    ) -> None:
        self.unit_flux, self.sigma, self.prior = unit_flux, sigma, prior
        super().__init__((), jnp.shape(unit_flux), validate_args=validate_args)

    def sample(self, key: Array, sample_shape: tuple[int, ...] = ()) -> Array:
        """Draw fluxes [erg/s/cm^2/Hz], without noise in bands that are not used."""
        key_amplitude, key_noise = jax.random.split(key)
        amplitude = 10.0 ** self.prior.sample(key_amplitude, sample_shape)
        flux = amplitude[..., None] * self.unit_flux
        scatter = jnp.where(jnp.isfinite(self.sigma), self.sigma, 0.0)
        return (flux + scatter * jax.random.normal(key_noise, flux.shape)) * MICROJANSKY_CGS

    def log_prob(self, value: ArrayLike) -> Array:
        """Log-density of fluxes [erg/s/cm^2/Hz], shape (n_band,), in the bands that are used."""
        data = jnp.asarray(value) / MICROJANSKY_CGS
        profile = _profile(self.unit_flux, data, self.sigma, self.prior)
        middle, half = 0.5 * (profile.high + profile.low), 0.5 * (profile.high - profile.low)
        offset = middle + half * jnp.asarray(_NODES)
        log_prior = self.prior.log_prob(profile.log_amplitude(offset))
        terms = log_prior - 0.5 * profile.excess(offset) + jnp.log(jnp.asarray(_WEIGHTS))
        integral = jax.nn.logsumexp(terms) + jnp.log(half / _LN10)
        used = jnp.isfinite(self.sigma)
        norm = jnp.log(jnp.where(used, self.sigma, 1.0)) + np.log(
            MICROJANSKY_CGS * np.sqrt(2 * np.pi)
        )
        return integral - 0.5 * profile.chi2 - jnp.sum(jnp.where(used, norm, 0.0))

    def whitened_prediction(self, value: ArrayLike) -> Array:
        """Residuals [standard errors] of fluxes (n_band,) at the best amplitude inside the prior.

        Their squares are the chi-squared of the likelihood's maximum over amplitudes, from which
        the integral differs by a factor that hardly varies (variable projection: Golub & Pereyra
        1973, SIAM J. Numer. Anal. 10, 413).
        """
        data = jnp.asarray(value) / MICROJANSKY_CGS
        template, log_norm, signal, power = normal_equations(self.unit_flux, data, self.sigma)
        limits = amplitude_range(self.prior)
        assert limits is not None
        least, most = (10.0 ** (limit + log_norm) for limit in limits)
        return jnp.clip(signal / power, least, most) * template - data / self.sigma
