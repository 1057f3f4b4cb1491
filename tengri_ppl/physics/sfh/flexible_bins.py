"""Bins of constant star formation whose edges are free, because they form equal masses.

Ratios of star formation rates are in dex, and the first bin is the most recent one.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from tengri_ppl.errors import ParameterError
from tengri_ppl.physics.component import Parameter, StudentTPrior, register
from tengri_ppl.physics.sfh.base import BinnedSFH

__all__ = ["FlexibleContinuitySFH", "PostStarburstContinuitySFH"]

_RECENT_GYR = 0.03
_OLDEST = 0.85
_YOUNG_UNIVERSE_GYR = 0.2
_NARROWEST = 1e-5
_PRIOR = StudentTPrior(2.0, 0.0, 0.3)


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

    citations = ("Leja2019",)

    n_bins: int = 7

    def __post_init__(self) -> None:
        """Check the number of bins."""
        super().__post_init__()
        if self.n_bins < 4:
            raise ParameterError(f"n_bins={self.n_bins}: expected 4 or more")

    @property
    def shape_parameters(self) -> tuple[Parameter, ...]:
        """logsfr_ratios, logsfr_ratio_young, logsfr_ratio_old."""
        inner = "log10 of the SFR in a flexible bin over that in the next older one"
        young = "log10 of the SFR in the recent bin over that in the first flexible one"
        old = "log10 of the SFR in the oldest bin over that in the last flexible one"
        return (
            Parameter("logsfr_ratios", "dex", inner, _PRIOR, (self.n_bins - 3,)),
            Parameter("logsfr_ratio_young", "dex", young, _PRIOR),
            Parameter("logsfr_ratio_old", "dex", old, _PRIOR),
        )

    def bins(self, cosmic_age: ArrayLike, **params: ArrayLike) -> tuple[ArrayLike, ArrayLike]:
        """See :meth:`BinnedSFH.bins`."""
        cosmic_age = jnp.asarray(cosmic_age)
        recent = jnp.minimum(cosmic_age / _YOUNG_UNIVERSE_GYR, 1.0) * _RECENT_GYR
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

    citations = ("Suess2022",)

    n_flex: int = 5
    n_fixed: int = 3
    flex_gyr: float = 2.0

    def __post_init__(self) -> None:
        """Check the number of bins."""
        super().__post_init__()
        if self.n_flex < 2 or self.n_fixed < 1:
            raise ParameterError(
                f"n_flex={self.n_flex}, n_fixed={self.n_fixed}: expected at least 2 and 1"
            )

    @property
    def shape_parameters(self) -> tuple[Parameter, ...]:
        """tlast_gyr, logsfr_ratios, logsfr_ratio_young, logsfr_ratio_old."""
        inner = "log10 of the SFR in a flexible bin over that in the next older one"
        young = "log10 of the SFR in the recent bin over that in the first flexible one"
        old = "log10 of the SFR in a bin over that in the next older one, for the old bins"
        return (
            Parameter("tlast_gyr", "Gyr", "length of the recent bin", (0.01, 1.5)),
            Parameter("logsfr_ratios", "dex", inner, _PRIOR, (self.n_flex - 1,)),
            Parameter("logsfr_ratio_young", "dex", young, _PRIOR),
            Parameter("logsfr_ratio_old", "dex", old, _PRIOR, (self.n_fixed,)),
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
