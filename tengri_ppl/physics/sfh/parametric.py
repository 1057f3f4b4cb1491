"""Parametric star formation histories.

Each family gives the logarithm of its *shape*, the star formation rate up to a factor, as a
function of lookback time; the composite population (:mod:`tengri_ppl.physics.composite`)
integrates it over the age intervals of the SSP grid and normalises it by the mass formed. The
shape of every family is scaled such that its maximum over all time is one, so that an amplitude
may also be given as the peak star formation rate.

All times are in Gyr. ``lookback`` counts back from the epoch at which the galaxy is observed and
``cosmic_age`` is the age of the universe at that epoch.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from tengri_ppl.errors import ParameterError
from tengri_ppl.physics.component import Component, Parameter, register

__all__ = [
    "SFH",
    "ConstantSFH",
    "DelayedSFH",
    "DoublePowerLawSFH",
    "ExponentialSFH",
    "LognormalSFH",
]

_TINY_GYR = 1e-9
_AMPLITUDES = {
    "log_mass": Parameter("log_mass", "dex(Msun)", "log10 of the stellar mass formed", (6.0, 13.0)),
    "log_peak_sfr": Parameter(
        "log_peak_sfr", "dex(Msun/yr)", "log10 of the star formation rate at its peak", (-3.0, 3.5)
    ),
}


@dataclass(frozen=True)
class SFH(Component):
    """A star formation history; subclasses define :meth:`log_shape` and their parameters.

    Attributes
    ----------
    amplitude : {"log_mass", "log_peak_sfr"}
        What normalises the history.
    """

    kind = "sfh"

    amplitude: str = "log_mass"

    def __post_init__(self) -> None:
        """Refuse an amplitude that does not exist."""
        if self.amplitude not in _AMPLITUDES:
            raise ParameterError(
                f"amplitude {self.amplitude!r} is unknown; choose one of {sorted(_AMPLITUDES)}"
            )

    @property
    def prefix(self) -> str:
        """Common beginning of this family's parameter names."""
        return f"sfh_{self.name}_"

    @property
    def amplitude_name(self) -> str:
        """Full name of the parameter that scales the whole history."""
        return self.prefix + self.amplitude

    @property
    def shape_parameters(self) -> tuple[Parameter, ...]:
        """Parameters of the shape, with names lacking the prefix."""
        raise NotImplementedError

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Amplitude first, then the parameters of the shape."""
        local = (_AMPLITUDES[self.amplitude], *self.shape_parameters)
        return tuple(
            Parameter(self.prefix + p.name, p.unit, p.description, p.default) for p in local
        )

    def log_shape(self, lookback: ArrayLike, cosmic_age: ArrayLike, **params: ArrayLike) -> Array:
        """Natural logarithm of the star formation rate, relative to its peak.

        Parameters
        ----------
        lookback : array_like, shape (...,)
            Lookback time [Gyr], inside :meth:`window`.
        cosmic_age : array_like, scalar
            Age of the universe at the epoch of observation [Gyr].
        **params
            The family's shape parameters, scalars.
        """
        raise NotImplementedError

    def window(self, cosmic_age: ArrayLike, **params: ArrayLike) -> tuple[ArrayLike, ArrayLike]:
        """Lookback times between which stars form [Gyr]: the end and the onset."""
        return 0.0, cosmic_age


@register("sfh", "dpl")
@dataclass(frozen=True)
class DoublePowerLawSFH(SFH):
    r"""Double power law in cosmic time (Carnall et al. 2018, MNRAS 480, 4379, eq. 10).

    .. math:: SFR(T) \propto \left[(T/\tau)^\alpha + (T/\tau)^{-\beta}\right]^{-1}

    with T the cosmic time: ``alpha`` is the falling, ``beta`` the rising slope.
    """

    reference = "Carnall et al. 2018, MNRAS 480, 4379"

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

    reference = "Gavazzi et al. 2002, ApJ 576, 135"

    def log_shape(self, lookback: ArrayLike, cosmic_age: ArrayLike, **params: ArrayLike) -> Array:
        """See :meth:`SFH.log_shape`."""
        time = jnp.maximum(jnp.asarray(params["age_gyr"]) - lookback, _TINY_GYR)
        x = time / params["tau_gyr"]
        return jnp.log(x) + 1.0 - x


@register("sfh", "exponential")
@dataclass(frozen=True)
class ExponentialSFH(_SinceOnsetSFH):
    r"""Exponential decline, :math:`SFR \propto e^{-T/\tau}`, T the time since the onset."""

    reference = "Bruzual A. 1983, ApJ 273, 105"

    def log_shape(self, lookback: ArrayLike, cosmic_age: ArrayLike, **params: ArrayLike) -> Array:
        """See :meth:`SFH.log_shape`."""
        return -(jnp.asarray(params["age_gyr"]) - lookback) / params["tau_gyr"]


@register("sfh", "constant")
@dataclass(frozen=True)
class ConstantSFH(SFH):
    """Constant star formation between two lookback times."""

    reference = "Carnall et al. 2018, MNRAS 480, 4379"

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

    reference = "Diemer et al. 2017, ApJ 839, 26"

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
