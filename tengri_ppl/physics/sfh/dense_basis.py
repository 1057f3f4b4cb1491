r"""Histories through the times at which equal shares of the mass had formed.

The mass formed since a lookback time is a monotone cubic curve through these times
(Fritsch & Butland 1984, SIAM J. Sci. Stat. Comput. 5, 300); its derivative is the star formation
rate, continuous and never negative.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from tengri_ppl.physics.component import DirichletPrior, Parameter, register
from tengri_ppl.physics.sfh.base import SFH

__all__ = ["DenseBasisSFH", "monotone_derivative", "monotone_slopes"]

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


def monotone_derivative(x: Array, knots: Array, values: Array, slopes: Array) -> Array:
    """Differentiate the piecewise cubic Hermite curve with given values and slopes at its knots.

    Parameters
    ----------
    x : Array, shape (...,)
        Between the first and the last knot.
    knots, values, slopes : Array, shape (n_knot,)
        Strictly increasing knots, the values and the slopes there.
    """
    left = jnp.clip(jnp.searchsorted(knots, x, side="right") - 1, 0, knots.size - 2)
    width = knots[left + 1] - knots[left]
    s = (x - knots[left]) / width
    chord = (values[left + 1] - values[left]) / width
    return (
        6.0 * chord * s * (1.0 - s)
        + slopes[left] * (1.0 - s) * (1.0 - 3.0 * s)
        + slopes[left + 1] * s * (3.0 * s - 2.0)
    )


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

    reference = "Iyer et al. 2019, ApJ 879, 116"
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
        fractions = jnp.asarray(params["time_fractions"])[::-1]
        width = _NARROWEST + (1.0 - _NARROWEST * fractions.size) * fractions / fractions.sum()
        knots = jnp.concatenate([jnp.zeros_like(width[:1]), jnp.cumsum(width)])
        knots = knots / knots[-1]
        values = jnp.arange(knots.size) / (knots.size - 1.0)
        ratio = jnp.clip(params["recent_sfr_ratio"], 0.0, 3.0)
        slopes = monotone_slopes(knots, values, ratio * values[1] / knots[1], jnp.zeros_like(ratio))
        since = jnp.asarray(lookback) / cosmic_age
        rate = monotone_derivative(since, knots, values, slopes)
        return jnp.log(jnp.maximum(rate, _FAINTEST))
