"""Parametric star formation histories.

Each family gives the logarithm of its *shape*, the star formation rate up to a factor, as a
function of lookback time; see :mod:`tengri_ppl.physics.sfh.base`.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from tengri_ppl.physics.component import Parameter, register
from tengri_ppl.physics.sfh.base import SFH

__all__ = [
    "SFH",
    "ConstantSFH",
    "DelayedSFH",
    "DoublePowerLawSFH",
    "ExponentialSFH",
    "LognormalSFH",
    "SkewNormalSFH",
]

_TINY_GYR = 1e-9


@register("sfh", "dpl")
@dataclass(frozen=True)
class DoublePowerLawSFH(SFH):
    r"""Double power law in cosmic time (Carnall et al. 2018, MNRAS 480, 4379, eq. 10).

    .. math:: SFR(T) \propto \left[(T/\tau)^\alpha + (T/\tau)^{-\beta}\right]^{-1}

    with T the cosmic time: ``alpha`` is the falling, ``beta`` the rising slope.
    """

    citations = ("Carnall2018",)

    @property
    def shape_parameters(self) -> tuple[Parameter, ...]:
        """tau_gyr, alpha, beta."""
        return (
            Parameter("tau_gyr", "Gyr", "cosmic time of the turnover", (0.1, 15.0)),
            Parameter("alpha", "1", "falling slope", (0.1, 10.0)),
            Parameter("beta", "1", "rising slope", (0.1, 10.0)),
        )

    def log_shape(self, lookback: ArrayLike, cosmic_age: ArrayLike, **params: ArrayLike) -> Array:
        """See :meth:`SFH.log_shape`."""
        alpha, beta = jnp.asarray(params["alpha"]), jnp.asarray(params["beta"])
        time = jnp.maximum(jnp.asarray(cosmic_age) - lookback, _TINY_GYR)
        log_x_peak = jnp.log(beta / alpha) / (alpha + beta)
        log_x = jnp.log(time / params["tau_gyr"])
        return self._log_rate(log_x, alpha, beta) - self._log_rate(log_x_peak, alpha, beta)

    @staticmethod
    def _log_rate(log_x: Array, alpha: Array, beta: Array) -> Array:
        """Return -ln(x^alpha + x^-beta); spelled out because logaddexp is costly to derive."""
        steepness = (alpha + beta) * log_x
        softplus = jnp.maximum(steepness, 0.0) + jnp.log1p(jnp.exp(-jnp.abs(steepness)))
        return beta * log_x - softplus


@dataclass(frozen=True)
class _SinceOnsetSFH(SFH):
    """Families that start ``age_gyr`` before the epoch of observation."""

    @property
    def shape_parameters(self) -> tuple[Parameter, ...]:
        """tau_gyr, age_gyr."""
        return (
            Parameter("tau_gyr", "Gyr", "e-folding time", (0.1, 10.0)),
            Parameter("age_gyr", "Gyr", "time since the onset of star formation", (0.1, 13.0)),
        )

    def window(self, cosmic_age: ArrayLike, **params: ArrayLike) -> tuple[ArrayLike, ArrayLike]:
        """See :meth:`SFH.window`."""
        return 0.0, params["age_gyr"]


@register("sfh", "delayed")
@dataclass(frozen=True)
class DelayedSFH(_SinceOnsetSFH):
    r"""Delayed exponential, :math:`SFR \propto T e^{-T/\tau}`, T the time since the onset."""

    citations = ("Gavazzi2002",)

    def log_shape(self, lookback: ArrayLike, cosmic_age: ArrayLike, **params: ArrayLike) -> Array:
        """See :meth:`SFH.log_shape`."""
        time = jnp.maximum(jnp.asarray(params["age_gyr"]) - lookback, _TINY_GYR)
        x = time / params["tau_gyr"]
        return jnp.log(x) + 1.0 - x


@register("sfh", "exponential")
@dataclass(frozen=True)
class ExponentialSFH(_SinceOnsetSFH):
    r"""Exponential decline, :math:`SFR \propto e^{-T/\tau}`, T the time since the onset."""

    citations = ("Bruzual1983",)

    def log_shape(self, lookback: ArrayLike, cosmic_age: ArrayLike, **params: ArrayLike) -> Array:
        """See :meth:`SFH.log_shape`."""
        return -(jnp.asarray(params["age_gyr"]) - lookback) / params["tau_gyr"]


@register("sfh", "constant")
@dataclass(frozen=True)
class ConstantSFH(SFH):
    """Constant star formation between two lookback times."""

    citations = ()

    @property
    def shape_parameters(self) -> tuple[Parameter, ...]:
        """age_max_gyr, age_min_gyr."""
        return (
            Parameter("age_max_gyr", "Gyr", "lookback time of the onset", (0.1, 13.0)),
            Parameter("age_min_gyr", "Gyr", "lookback time of the end", 0.0),
        )

    def log_shape(self, lookback: ArrayLike, cosmic_age: ArrayLike, **params: ArrayLike) -> Array:
        """See :meth:`SFH.log_shape`."""
        return jnp.zeros_like(jnp.asarray(lookback))

    def window(self, cosmic_age: ArrayLike, **params: ArrayLike) -> tuple[ArrayLike, ArrayLike]:
        """See :meth:`SFH.window`."""
        return params["age_min_gyr"], params["age_max_gyr"]


@register("sfh", "lognormal")
@dataclass(frozen=True)
class LognormalSFH(SFH):
    r"""Lognormal in cosmic time, given by the time of its peak and its full width at half maximum.

    .. math:: SFR(T) \propto \frac{1}{T}
              \exp\left[-\frac{(\ln T - T_0)^2}{2 s^2}\right], \quad
              s = \frac{\sinh^{-1}(\mathrm{fwhm}/2 t_{max})}{\sqrt{2 \ln 2}}, \quad
              T_0 = \ln t_{max} + s^2
    """

    citations = ("Diemer2017",)

    @property
    def shape_parameters(self) -> tuple[Parameter, ...]:
        """tmax_gyr, fwhm_gyr."""
        return (
            Parameter("tmax_gyr", "Gyr", "cosmic time of the peak", (0.1, 15.0)),
            Parameter("fwhm_gyr", "Gyr", "full width at half maximum", (0.1, 20.0)),
        )

    def log_shape(self, lookback: ArrayLike, cosmic_age: ArrayLike, **params: ArrayLike) -> Array:
        """See :meth:`SFH.log_shape`."""
        tmax, fwhm = jnp.asarray(params["tmax_gyr"]), jnp.asarray(params["fwhm_gyr"])
        log_x = jnp.log(jnp.maximum(jnp.asarray(cosmic_age) - lookback, _TINY_GYR) / tmax)
        width = jnp.arcsinh(fwhm / (2.0 * tmax)) / jnp.sqrt(2.0 * jnp.log(2.0))
        return -0.5 * (log_x / width) ** 2


@register("sfh", "skewnormal")
@dataclass(frozen=True)
class SkewNormalSFH(SFH):
    r"""Skewed normal in lookback time t, brought to zero towards the Big Bang.

    .. math:: SFR(t) \propto e^{-Y^2/2} \left[1 - \Phi\left(\frac{t - t_p - d/2}{d/4}\right)\right],
              \quad Y = X e^{s \sinh^{-1} X}, \quad X = \frac{t - t_p}{p}, \quad d = |t_U - t_p|

    with the time of the peak :math:`t_p`, the width p, the skewness s, the age of the universe
    :math:`t_U` and the cumulative normal distribution :math:`\Phi`: the truncated skewed normal
    of Robotham et al. 2020 (eqs. 1-5 of Bellstedt et al. 2020, MNRAS 498, 5581) with their
    truncation of 2. A peak star formation rate is that of the untruncated form.
    """

    citations = ("Robotham2020", "Bellstedt2020")

    @property
    def shape_parameters(self) -> tuple[Parameter, ...]:
        """peak_gyr, period_gyr, skew."""
        return (
            Parameter(
                "peak_gyr", "Gyr", "lookback time of the peak; may be negative", (-2.0, 13.0)
            ),
            Parameter("period_gyr", "Gyr", "width, one standard deviation", (0.3, 10.0)),
            Parameter("skew", "1", "skewness; positive for a slow decline", (-0.5, 1.0)),
        )

    def log_shape(self, lookback: ArrayLike, cosmic_age: ArrayLike, **params: ArrayLike) -> Array:
        """See :meth:`SFH.log_shape`."""
        since_peak = jnp.asarray(lookback) - params["peak_gyr"]
        x = since_peak / params["period_gyr"]
        y = x * jnp.exp(params["skew"] * jnp.arcsinh(x))
        distance = jnp.abs(jnp.asarray(cosmic_age) - params["peak_gyr"])
        cut = (since_peak - 0.5 * distance) / (0.25 * jnp.maximum(distance, 1e-3))
        return -0.5 * y**2 + jax.scipy.special.log_ndtr(-cut)
