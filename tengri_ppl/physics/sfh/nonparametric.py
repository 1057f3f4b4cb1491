r"""Histories of constant star formation in bins of lookback time.

The bins follow the age :math:`t_U` of the universe at the epoch of observation, or lie at fixed
lookback times that the user gives. Ratios of star formation rates are in dex, and the first bin is
the most recent one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from tengri_ppl.errors import ParameterError
from tengri_ppl.physics.component import (
    DirichletPrior,
    Parameter,
    StudentTPrior,
    register,
)
from tengri_ppl.physics.sfh.base import BinnedSFH, History

__all__ = [
    "BurstyContinuitySFH",
    "ContinuitySFH",
    "DirichletSFH",
    "FlexibleContinuitySFH",
    "PostStarburstContinuitySFH",
    "TabulatedSFH",
    "share_from_ratios",
]

_RECENT_GYR = (0.03, 0.1)
_OLDEST = 0.85
_YOUNG_UNIVERSE_GYR = 0.2
_NARROWEST = 1e-5


def _ratios(name: str, n: int, description: str, scale: float) -> Parameter:
    """Log ratios of star formation rates with the prior of Leja et al. (2019)."""
    return Parameter(name, "dex", description, StudentTPrior(2.0, 0.0, scale), (n,))


def _log_spaced(low: ArrayLike, high: ArrayLike, n: int) -> Array:
    """Return ``n`` times from ``low`` to ``high``, evenly in the logarithm."""
    fraction = jnp.asarray(np.linspace(0.0, 1.0, n))
    low = jnp.asarray(low)
    return low * (jnp.asarray(high) / low) ** fraction


def _leja_edges(cosmic_age: ArrayLike, n_bins: int) -> Array:
    """Edges of Leja et al. (2019): 30 and 100 Myr, log-spaced, and the first 15 % of all time.

    In a universe younger than 0.2 Gyr the recent two shrink in proportion to its age.
    """
    cosmic_age = jnp.asarray(cosmic_age)
    recent = jnp.minimum(cosmic_age / _YOUNG_UNIVERSE_GYR, 1.0) * np.array(_RECENT_GYR)
    middle = _log_spaced(recent[1], _OLDEST * cosmic_age, n_bins - 2)
    zero = jnp.zeros_like(recent[:1])
    return jnp.concatenate([zero, recent[:1], middle, cosmic_age[None]])


def share_from_ratios(log_ratios: ArrayLike, width: ArrayLike) -> Array:
    """Share of the mass in bins, from the ratios of adjacent star formation rates.

    Parameters
    ----------
    log_ratios : array_like, shape (n_bin - 1,)
        log10 SFR_j / SFR_(j+1), the most recent bin first [dex].
    width : array_like, shape (n_bin,)
        Widths of the bins, above 0 [Gyr].

    Returns
    -------
    Array, shape (n_bin,)
        Sums to one.
    """
    log_width = jnp.log(jnp.asarray(width))
    steps = jnp.log(10.0) * jnp.cumsum(jnp.asarray(log_ratios))
    return jax.nn.softmax(log_width - jnp.concatenate([jnp.zeros_like(steps[:1]), steps]))


@dataclass(frozen=True)
class _FixedBinsSFH(BinnedSFH):
    """Families whose bins do not depend on their parameters.

    Attributes
    ----------
    n_bins : int
        Number of bins; the edges are 0, 30 and 100 Myr, evenly log-spaced times, 85 % of the age
        of the universe and all of it (Leja et al. 2019).
    edges_gyr : tuple of float
        Lookback times of the edges [Gyr] instead, increasing, one more than there are bins.
    """

    n_bins: int = 7
    edges_gyr: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Check the bins."""
        super().__post_init__()
        if self.edges_gyr:
            if len(self.edges_gyr) < 2 or not np.all(np.diff(self.edges_gyr) > 0):
                raise ParameterError(
                    f"edges_gyr={self.edges_gyr}: expected two or more increasing lookback times"
                )
            object.__setattr__(self, "n_bins", len(self.edges_gyr) - 1)
        elif self.n_bins < 4:
            raise ParameterError(
                f"n_bins={self.n_bins}: expected 4 or more; give edges_gyr for other bins"
            )

    def edges(self, cosmic_age: ArrayLike) -> Array:
        """Edges of the bins, lookback times [Gyr], shape (n_bins + 1,)."""
        if self.edges_gyr:
            return jnp.asarray(np.array(self.edges_gyr), dtype=float)
        return _leja_edges(cosmic_age, self.n_bins)


@register("sfh", "continuity")
@dataclass(frozen=True)
class ContinuitySFH(_FixedBinsSFH):
    """Bins whose star formation rates are tied to their neighbours' by a Student-t prior.

    The log ratios of adjacent rates have nu = 2 and the scale 0.3 dex.
    """

    reference = "Leja et al. 2019, ApJ 876, 3"
    scale: ClassVar[float] = 0.3

    @property
    def shape_parameters(self) -> tuple[Parameter, ...]:
        """logsfr_ratios."""
        meaning = "log10 of the SFR in a bin over that in the next older one"
        return (_ratios("logsfr_ratios", self.n_bins - 1, meaning, self.scale),)

    def bins(self, cosmic_age: ArrayLike, **params: ArrayLike) -> tuple[ArrayLike, ArrayLike]:
        """See :meth:`BinnedSFH.bins`."""
        edges = self.edges(cosmic_age)
        return edges, share_from_ratios(params["logsfr_ratios"], jnp.diff(edges))


@register("sfh", "continuity_bursty")
@dataclass(frozen=True)
class BurstyContinuitySFH(ContinuitySFH):
    """:class:`ContinuitySFH` with the scale 1 dex, which allows for bursts."""

    reference = "Tacchella et al. 2022, ApJ 927, 170"
    scale = 1.0


@register("sfh", "dirichlet")
@dataclass(frozen=True)
class DirichletSFH(_FixedBinsSFH):
    """Bins whose star formation rates, over their sum, have a Dirichlet prior.

    Attributes
    ----------
    concentration : float
        Of the default prior; 1 is flat on the simplex, less makes histories burstier.
    """

    reference = "Leja et al. 2017, ApJ 837, 170"

    concentration: float = 1.0

    @property
    def shape_parameters(self) -> tuple[Parameter, ...]:
        """sfr_fraction."""
        meaning = "SFR in each bin over the sum of all"
        prior = DirichletPrior(self.concentration)
        return (Parameter("sfr_fraction", "1", meaning, prior, (self.n_bins,)),)

    def bins(self, cosmic_age: ArrayLike, **params: ArrayLike) -> tuple[ArrayLike, ArrayLike]:
        """See :meth:`BinnedSFH.bins`."""
        edges = self.edges(cosmic_age)
        return edges, params["sfr_fraction"] * jnp.diff(edges)


def _equal_mass_widths(log_ratios: ArrayLike, total: ArrayLike) -> Array:
    """Widths of adjoining bins that form equal masses, given the ratios of their rates.

    None is narrower than 1e-5 of the ``total`` width.
    """
    steps = jnp.log(10.0) * jnp.cumsum(jnp.asarray(log_ratios))
    relative = jax.nn.softmax(jnp.concatenate([jnp.zeros_like(steps[:1]), steps]))
    floored = _NARROWEST + (1.0 - _NARROWEST * relative.size) * relative
    return jnp.asarray(total) * floored


@register("sfh", "continuity_flex")
@dataclass(frozen=True)
class FlexibleContinuitySFH(BinnedSFH):
    """Equal-mass bins with free edges, between a recent and an oldest bin with fixed edges.

    The recent bin is 30 Myr long, the oldest the first 15 % of all time. Between them the widths
    follow from the ratios of the star formation rates, because the masses are equal.

    Attributes
    ----------
    n_bins : int
        Number of bins, the two fixed ones included.
    """

    reference = "Leja et al. 2019, ApJ 876, 3"

    n_bins: int = 7

    @property
    def shape_parameters(self) -> tuple[Parameter, ...]:
        """logsfr_ratios, logsfr_ratio_young, logsfr_ratio_old."""
        prior = StudentTPrior(2.0, 0.0, 0.3)
        inner = "log10 of the SFR in a flexible bin over that in the next older one"
        young = "log10 of the SFR in the recent bin over that in the first flexible one"
        old = "log10 of the SFR in the oldest bin over that in the last flexible one"
        return (
            _ratios("logsfr_ratios", self.n_bins - 3, inner, 0.3),
            Parameter("logsfr_ratio_young", "dex", young, prior),
            Parameter("logsfr_ratio_old", "dex", old, prior),
        )

    def bins(self, cosmic_age: ArrayLike, **params: ArrayLike) -> tuple[ArrayLike, ArrayLike]:
        """See :meth:`BinnedSFH.bins`."""
        cosmic_age = jnp.asarray(cosmic_age)
        recent = jnp.minimum(cosmic_age / _YOUNG_UNIVERSE_GYR, 1.0) * _RECENT_GYR[0]
        old = _OLDEST * cosmic_age
        width = _equal_mass_widths(params["logsfr_ratios"], old - recent)
        inner = recent + jnp.cumsum(width[:-1])
        edges = jnp.concatenate(
            [jnp.stack([0.0 * old, recent]), inner, jnp.stack([old, cosmic_age])]
        )
        logs = jnp.zeros(self.n_bins)
        logs = logs.at[0].set(
            jnp.log(10.0) * params["logsfr_ratio_young"] + jnp.log(recent / width[0])
        )
        logs = logs.at[-1].set(
            jnp.log(10.0) * params["logsfr_ratio_old"] + jnp.log((cosmic_age - old) / width[-1])
        )
        return edges, jax.nn.softmax(logs)


@register("sfh", "continuity_psb")
@dataclass(frozen=True)
class PostStarburstContinuitySFH(BinnedSFH):
    """A recent bin of free length, equal-mass flexible bins, and fixed old bins.

    The recent and the flexible bins fill the last 2 Gyr (or half the age of the universe, where
    that is less); the fixed ones divide the rest evenly.

    Attributes
    ----------
    n_flex, n_fixed : int
        Number of flexible and of old bins.
    flex_gyr : float
        Lookback time at which the flexible bins begin [Gyr].
    """

    reference = "Suess et al. 2022, ApJ 935, 146"

    n_flex: int = 5
    n_fixed: int = 3
    flex_gyr: float = 2.0

    @property
    def shape_parameters(self) -> tuple[Parameter, ...]:
        """tlast_gyr, logsfr_ratios, logsfr_ratio_young, logsfr_ratio_old."""
        inner = "log10 of the SFR in a flexible bin over that in the next older one"
        young = "log10 of the SFR in the recent bin over that in the first flexible one"
        old = "log10 of the SFR in a bin over that in the next older one, for the old bins"
        prior = StudentTPrior(2.0, 0.0, 0.3)
        return (
            Parameter("tlast_gyr", "Gyr", "length of the recent bin", (0.01, 1.5)),
            _ratios("logsfr_ratios", self.n_flex - 1, inner, 0.3),
            Parameter("logsfr_ratio_young", "dex", young, prior),
            _ratios("logsfr_ratio_old", self.n_fixed, old, 0.3),
        )

    def bins(self, cosmic_age: ArrayLike, **params: ArrayLike) -> tuple[ArrayLike, ArrayLike]:
        """See :meth:`BinnedSFH.bins`."""
        cosmic_age = jnp.asarray(cosmic_age)
        flex = jnp.minimum(self.flex_gyr, 0.5 * cosmic_age)
        last = jnp.minimum(params["tlast_gyr"], 0.9 * flex)
        width = _equal_mass_widths(params["logsfr_ratios"], flex - last)
        inner = last + jnp.cumsum(width[:-1])
        old = flex + (cosmic_age - flex) * np.linspace(0.0, 1.0, self.n_fixed + 1)
        edges = jnp.concatenate([jnp.stack([0.0 * last, last]), inner, old])
        young = jnp.log(10.0) * params["logsfr_ratio_young"] + jnp.log(last / width[0])
        falls = jnp.log(10.0) * jnp.cumsum(jnp.asarray(params["logsfr_ratio_old"]))
        logs = [young[None], jnp.zeros(self.n_flex), jnp.log(jnp.diff(old) / width[-1]) - falls]
        return edges, jax.nn.softmax(jnp.concatenate(logs))


@register("sfh", "tabulated")
@dataclass(frozen=True)
class TabulatedSFH(BinnedSFH):
    """A table of star formation rates, for example from a simulation.

    The rate is constant between two times, at the mean of the two values; so masses are those of
    the trapezoidal rule. Rates below zero count as zero. By default the rates are absolute; with
    the amplitude ``"log_mass"`` only their ratios count.

    Attributes
    ----------
    n_time : int
        Number of times; ``Parameters(sfh="tabulated", ...)`` finds it in the values given.
    """

    amplitudes = ("log_scale", "log_mass")

    amplitude: str = "log_scale"
    n_time: int = 2

    @property
    def shape_parameters(self) -> tuple[Parameter, ...]:
        """time_gyr, sfr."""
        time, rate = "cosmic time of the table's rows, increasing", "star formation rate there"
        nothing = float("nan")
        return (
            Parameter("time_gyr", "Gyr", time, nothing, (self.n_time,)),
            Parameter("sfr", "Msun/yr", rate, nothing, (self.n_time,)),
        )

    def bins(self, cosmic_age: ArrayLike, **params: ArrayLike) -> tuple[ArrayLike, ArrayLike]:
        """See :meth:`BinnedSFH.bins`; rows after the epoch of observation are left out."""
        time = jnp.minimum(jnp.asarray(params["time_gyr"]), cosmic_age)
        rate = jnp.maximum(jnp.asarray(params["sfr"]), 0.0)
        mass = 0.5 * (rate[1:] + rate[:-1]) * jnp.diff(time)
        return (cosmic_age - time)[::-1], mass[::-1]

    def history(
        self,
        params: Mapping[str, Any],
        cosmic_age: ArrayLike,
        lower: Array,
        upper: Array,
        n_fine: int,
    ) -> History:
        """See :meth:`SFH.history`; the unit of the rates is 1 Msun/yr."""
        history = super().history(params, cosmic_age, lower, upper, n_fine)
        return history._replace(log_unit=jnp.zeros_like(history.log_unit))
