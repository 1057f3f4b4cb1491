r"""Histories of constant star formation in bins of lookback time.

The bins follow the age :math:`t_U` of the universe at the epoch of observation, or lie at fixed
lookback times that the user gives. Ratios of star formation rates are in dex, and the first bin is
the most recent one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

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
from tengri_ppl.physics.sfh.base import BinnedSFH

__all__ = [
    "BurstyContinuitySFH",
    "ContinuitySFH",
    "DirichletSFH",
    "log_spaced",
    "share_from_ratios",
]

_RECENT_GYR = (0.03, 0.1)
_OLDEST = 0.85
_YOUNG_UNIVERSE_GYR = 0.2


def log_spaced(low: ArrayLike, high: ArrayLike, n: int) -> Array:
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
    middle = log_spaced(recent[1], _OLDEST * cosmic_age, n_bins - 2)
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

    citations: ClassVar[tuple[str, ...]] = ("Leja2019",)
    scale: ClassVar[float] = 0.3

    @property
    def shape_parameters(self) -> tuple[Parameter, ...]:
        """logsfr_ratios."""
        meaning = "log10 of the SFR in a bin over that in the next older one"
        prior = StudentTPrior(2.0, 0.0, self.scale)
        return (Parameter("logsfr_ratios", "dex", meaning, prior, (self.n_bins - 1,)),)

    def bins(self, cosmic_age: ArrayLike, **params: ArrayLike) -> tuple[ArrayLike, ArrayLike]:
        """See :meth:`BinnedSFH.bins`."""
        edges = self.edges(cosmic_age)
        return edges, share_from_ratios(params["logsfr_ratios"], jnp.diff(edges))


@register("sfh", "continuity_bursty")
@dataclass(frozen=True)
class BurstyContinuitySFH(ContinuitySFH):
    """:class:`ContinuitySFH` with the scale 1 dex, which allows for bursts."""

    citations = ("Leja2019", "Tacchella2022")
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

    citations = ("Leja2017",)

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
