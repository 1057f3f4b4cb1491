"""Star formation rates from a table, for example of a simulation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from tengri_ppl.physics.component import Parameter, register
from tengri_ppl.physics.sfh.base import BinnedSFH
from tengri_ppl.physics.sfh.history import History

__all__ = ["TabulatedSFH"]


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

    citations = ()
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
