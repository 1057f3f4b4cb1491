r"""Histories through the times at which equal shares of the mass had formed.

The mass formed since a lookback time is a monotone cubic curve through these times
(Fritsch & Butland 1984, SIAM J. Sci. Stat. Comput. 5, 300); its derivative is the star formation
rate, continuous and never negative.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from tengri_ppl.physics.component import DirichletPrior, Parameter, register
from tengri_ppl.physics.sfh.base import SFH
from tengri_ppl.physics.sfh.history import History

__all__ = ["DenseBasisSFH", "monotone_curve", "monotone_slopes"]

_NARROWEST = 1e-4
_FAINTEST = 1e-10


def monotone_slopes(knots: Array, values: Array, first: ArrayLike, last: ArrayLike) -> Array:
    """Slopes at the knots of a monotone piecewise cubic curve.

    Inside, the weighted harmonic means of the slopes of the adjoining chords (Fritsch & Butland
    1984, as in SciPy's ``PchipInterpolator``); at the ends, what is given.

    Parameters
    ----------
    knots, values : Array, shape (n_knot,)
        Strictly increasing.
    first, last : array_like, scalars
        Slopes at the ends; the curve is monotone if each is between 0 and 3 times that of the
        adjoining chord.

    Returns
    -------
    Array, shape (n_knot,)
    """
    width, rise = jnp.diff(knots), jnp.diff(values)
    before, after = 2.0 * width[1:] + width[:-1], width[1:] + 2.0 * width[:-1]
    mean = (before + after) / (before * width[:-1] / rise[:-1] + after * width[1:] / rise[1:])
    return jnp.concatenate([jnp.stack([first]), mean, jnp.stack([last])])


def monotone_curve(x: Array, knots: Array, values: Array, slopes: Array) -> tuple[Array, Array]:
    """Piecewise cubic Hermite curve with given values and slopes at its knots.

    Parameters
    ----------
    x : Array, shape (...,)
        Between the first and the last knot.
    knots, values, slopes : Array, shape (n_knot,)
        Strictly increasing knots, the values and the slopes there.

    Returns
    -------
    curve, derivative : Array, shape (...,)
    """
    left = jnp.clip(jnp.searchsorted(knots, x, side="right") - 1, 0, knots.size - 2)
    width, rise = knots[left + 1] - knots[left], values[left + 1] - values[left]
    before, after = slopes[left], slopes[left + 1]
    s = (x - knots[left]) / width
    bend = before * (1.0 - s) - after * s
    curve = values[left] + rise * s**2 * (3.0 - 2.0 * s) + width * s * (1.0 - s) * bend
    derivative = (
        6.0 * rise / width * s * (1.0 - s)
        + before * (1.0 - s) * (1.0 - 3.0 * s)
        + after * s * (3.0 * s - 2.0)
    )
    return curve, derivative


@register("sfh", "dense_basis")
@dataclass(frozen=True)
class DenseBasisSFH(SFH):
    """The times :math:`t_x` at which equal shares of the mass had formed, and a smooth curve.

    The fractions of the age of the universe between these times have a Dirichlet prior with the
    concentration 5 (Iyer et al. 2019). The curve starts with no star formation at the Big Bang
    and ends with a given rate. Where the paper draws it by a Gaussian process, this is a monotone
    cubic, one of the interpolators of the ``dense_basis`` package.

    Attributes
    ----------
    n_quantiles : int
        Number of times between the Big Bang and the epoch of observation: 3 for quartiles.
    """

    citations = ("Iyer2019",)
    amplitudes = ("log_mass",)

    n_quantiles: int = 3

    @property
    def shape_parameters(self) -> tuple[Parameter, ...]:
        """time_fractions, recent_sfr_ratio."""
        fractions = "fraction of cosmic time in which each share of the mass forms, oldest first"
        ratio = "final SFR over its mean since the last quantile; at most 3"
        shape = (self.n_quantiles + 1,)
        return (
            Parameter("time_fractions", "1", fractions, DirichletPrior(5.0), shape),
            Parameter("recent_sfr_ratio", "1", ratio, (0.0, 3.0)),
        )

    def log_shape(self, lookback: ArrayLike, cosmic_age: ArrayLike, **params: ArrayLike) -> Array:
        """See :meth:`SFH.log_shape`; relative to the mean rate over all time."""
        _, rate = self._curve(lookback, cosmic_age, **params)
        return jnp.log(jnp.maximum(rate, _FAINTEST))

    def history(
        self,
        params: Mapping[str, Any],
        cosmic_age: ArrayLike,
        lower: Array,
        upper: Array,
        n_fine: int,
    ) -> History:
        """See :meth:`SFH.history`; masses are differences of the curve, and thus exact."""
        smooth = super().history(params, cosmic_age, lower, upper, n_fine)
        edges = jnp.minimum(jnp.concatenate([lower, upper[-1:]]), cosmic_age)
        share, _ = self._curve(edges, cosmic_age, **self._local(params))
        mass = jnp.maximum(jnp.diff(share), 0.0) * cosmic_age * jnp.exp(-smooth.log_unit)
        position = smooth.moment / jnp.where(smooth.mass > 0, smooth.mass, 1.0)
        return smooth._replace(mass=mass, moment=mass * position)

    def _curve(
        self, lookback: ArrayLike, cosmic_age: ArrayLike, **params: ArrayLike
    ) -> tuple[Array, Array]:
        """Share of the mass formed since ``lookback``, and the rate over its mean."""
        fractions = jnp.asarray(params["time_fractions"])[::-1]
        width = _NARROWEST + (1.0 - _NARROWEST * fractions.size) * fractions / fractions.sum()
        knots = jnp.concatenate([jnp.zeros_like(width[:1]), jnp.cumsum(width)])
        knots = knots / knots[-1]
        values = jnp.arange(knots.size) / (knots.size - 1.0)
        ratio = jnp.clip(params["recent_sfr_ratio"], 0.0, 3.0)
        slopes = monotone_slopes(knots, values, ratio * values[1] / knots[1], jnp.zeros_like(ratio))
        return monotone_curve(jnp.asarray(lookback) / cosmic_age, knots, values, slopes)
