"""Stellar metallicity: how the mass is shared among the metallicities of the SSP grid.

It is the same for all stars, or depends on the time of their formation (two steps, linear in time,
closed box, a table). In the latter case each age interval has one metallicity, that in the middle
of the times at which stars form in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from tengri_ppl.errors import ParameterError
from tengri_ppl.physics.component import Component, Parameter, register
from tengri_ppl.physics.composite import FormedMass
from tengri_ppl.physics.interpolation import linear_weights

__all__ = [
    "ClosedBoxMetallicity",
    "InterpolatedMetallicity",
    "LinearMetallicity",
    "LognormalMetallicity",
    "Metallicity",
    "TabulatedMetallicity",
    "TwoStepMetallicity",
]

_LOGZSOL = Parameter(
    "met_logzsol", "dex", "log10 of the stellar metallicity over solar", (-2.0, 0.4)
)


def _logz_weights(logz: ArrayLike, lgmet: ArrayLike, zsun: float) -> Array:
    """Weights linear in log Z at each of (n,) metallicities over solar; shape (n_met, n)."""
    nodes = jnp.asarray(lgmet) - jnp.log10(zsun)
    return jax.vmap(linear_weights, in_axes=(0, None), out_axes=1)(jnp.asarray(logz), nodes)


@dataclass(frozen=True)
class Metallicity(Component):
    """A metallicity model: weights over the metallicities of the SSP grid, summing to one."""

    kind = "metallicity"

    def weights(
        self,
        lgmet: ArrayLike,
        zsun: float,
        params: Mapping[str, Any],
        formed: FormedMass,
    ) -> Array:
        """Return the share of the mass at each metallicity of the grid.

        Parameters
        ----------
        lgmet : array_like, shape (n_met,)
            log10 of the absolute metallicities of the grid.
        zsun : float
            Solar metallicity of the grid.
        params : mapping
            The model's parameters.
        formed : FormedMass
            Mass formed per age interval; needed where the metallicity depends on the time of
            formation.

        Returns
        -------
        Array, shape (n_met,) or (n_met, n_interval)
            The same for all stars, or for those formed in each age interval.
        """
        raise NotImplementedError


@register("metallicity", "interp")
@dataclass(frozen=True)
class InterpolatedMetallicity(Metallicity):
    """One metallicity for all stars, interpolated between the two bracketing grid points.

    Attributes
    ----------
    space : {"log", "linear"}
        Whether the weights are linear in log Z (the default) or in Z (as in BAGPIPES).
    """

    citations = ()
    space: str = "log"

    def __post_init__(self) -> None:
        """Check the choice."""
        if self.space not in ("log", "linear"):
            raise ParameterError(f"space={self.space!r}: expected 'log' or 'linear'")

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """met_logzsol."""
        return (_LOGZSOL,)

    def weights(
        self,
        lgmet: ArrayLike,
        zsun: float,
        params: Mapping[str, Any],
        formed: FormedMass | None = None,
    ) -> Array:
        """See :meth:`Metallicity.weights`."""
        lgmet = jnp.asarray(lgmet) - jnp.log10(zsun)
        lgz = params["met_logzsol"]
        if self.space == "log":
            return linear_weights(lgz, lgmet)
        return linear_weights(10.0 ** jnp.asarray(lgz), 10.0**lgmet)


@register("metallicity", "lognormal")
@dataclass(frozen=True)
class LognormalMetallicity(Metallicity):
    """Lognormal distribution of metallicities (Hearin et al. 2023, MNRAS 521, 1741).

    Each grid point takes the probability between the midpoints (in log Z) to its neighbours; the
    outer ones take the tails.
    """

    citations = ("Hearin2023",)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """met_logzsol, met_scatter."""
        return (_LOGZSOL, Parameter("met_scatter", "dex", "scatter of log10 metallicity", 0.2))

    def weights(
        self,
        lgmet: ArrayLike,
        zsun: float,
        params: Mapping[str, Any],
        formed: FormedMass | None = None,
    ) -> Array:
        """See :meth:`Metallicity.weights`."""
        lgmet = jnp.asarray(lgmet) - jnp.log10(zsun)
        edges = 0.5 * (lgmet[1:] + lgmet[:-1])
        below = jax.scipy.stats.norm.cdf((edges - params["met_logzsol"]) / params["met_scatter"])
        one, zero = jnp.ones_like(below[:1]), jnp.zeros_like(below[:1])
        return jnp.concatenate([below, one]) - jnp.concatenate([zero, below])


@register("metallicity", "two_step")
@dataclass(frozen=True)
class TwoStepMetallicity(Metallicity):
    """One metallicity before, and another after a given lookback time.

    As for post-starburst galaxies, whose burst formed from enriched gas (Leung et al. 2024). The
    age interval that holds the step is split. Weights are linear in log Z.
    """

    citations = ("Leung2024",)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """met_logzsol, met_logzsol_old, met_step_gyr."""
        old = "log10 of the metallicity over solar of the stars that formed before the step"
        return (
            _LOGZSOL,
            Parameter("met_logzsol_old", "dex", old, (-2.0, 0.4)),
            Parameter("met_step_gyr", "Gyr", "lookback time of the step", (0.01, 2.0)),
        )

    def weights(
        self,
        lgmet: ArrayLike,
        zsun: float,
        params: Mapping[str, Any],
        formed: FormedMass,
    ) -> Array:
        """See :meth:`Metallicity.weights`."""
        logz = jnp.stack([jnp.asarray(params[n]) for n in ("met_logzsol", "met_logzsol_old")])
        young, old = _logz_weights(logz, lgmet, zsun).T
        share = formed.fraction_younger(params["met_step_gyr"])
        return young[:, None] * share + old[:, None] * (1.0 - share)


@dataclass(frozen=True)
class _EnrichmentHistory(Metallicity):
    """Metallicities that change gradually; subclasses define :meth:`logz`."""

    def logz(self, params: Mapping[str, Any], zsun: float, formed: FormedMass) -> Array:
        """log10 of the metallicity over solar in each age interval, shape (n_interval,)."""
        raise NotImplementedError

    def weights(
        self,
        lgmet: ArrayLike,
        zsun: float,
        params: Mapping[str, Any],
        formed: FormedMass,
    ) -> Array:
        """See :meth:`Metallicity.weights`."""
        return _logz_weights(self.logz(params, zsun, formed), lgmet, zsun)


_FINAL = Parameter(
    "met_logzsol", "dex", "log10 of the final stellar metallicity over solar", (-2.0, 0.4)
)
_START = Parameter(
    "met_logzsol_start", "dex", "log10 of the initial stellar metallicity over solar", -2.0
)


@register("metallicity", "linear")
@dataclass(frozen=True)
class LinearMetallicity(_EnrichmentHistory):
    r"""Metallicity linear in cosmic time T, :math:`Z = Z_0 + (Z_1 - Z_0)\, T / t_U`.

    From the Big Bang to the epoch of observation, when the universe has the age :math:`t_U`.
    """

    citations = ("Robotham2020",)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """met_logzsol, met_logzsol_start."""
        return (_FINAL, _START)

    def logz(self, params: Mapping[str, Any], zsun: float, formed: FormedMass) -> Array:
        """See :meth:`_EnrichmentHistory.logz`."""
        final, start = 10.0 ** jnp.asarray(params["met_logzsol"]), 10.0 ** params[_START.name]
        return jnp.log10(final + (start - final) * formed.middle() / formed.cosmic_age)


@register("metallicity", "closed_box")
@dataclass(frozen=True)
class ClosedBoxMetallicity(_EnrichmentHistory):
    r"""Closed box: gas of initial metallicity :math:`Z_0` turns into stars and is enriched.

    .. math:: Z = Z_0 - y \ln \mu, \quad \mu = 1 - (1 - e^{-(Z_1 - Z_0)/y})\, M(<T) / M

    with the gas fraction :math:`\mu`, the share of the stars formed before the cosmic time T, the
    final metallicity :math:`Z_1` and the yield y (Talbot & Arnett 1971; Robotham et al. 2020).
    With outflows in proportion to the star formation rate (gas regulator in
    which inflow is negligible) the same holds for an effective yield, :math:`y/(1 + \eta)`.
    """

    citations = ("TalbotArnett1971", "Robotham2020")

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """met_logzsol, met_logzsol_start, met_yield."""
        meaning = "mass of metals returned per mass locked up in stars"
        return (_FINAL, _START, Parameter("met_yield", "1", meaning, 0.03))

    def logz(self, params: Mapping[str, Any], zsun: float, formed: FormedMass) -> Array:
        """See :meth:`_EnrichmentHistory.logz`."""
        yields = jnp.asarray(params["met_yield"]) / zsun
        final, start = 10.0 ** jnp.asarray(params["met_logzsol"]), 10.0 ** params[_START.name]
        total = formed.mass.sum()
        later = (jnp.cumsum(formed.mass) - 0.5 * formed.mass) / jnp.where(total > 0, total, 1.0)
        later = jnp.clip(later, 0.0, 1.0)
        gas = later + (1.0 - later) * jnp.exp(-jnp.minimum((final - start) / yields, _DEPLETED))
        return jnp.log10(start - yields * jnp.log(gas))


_DEPLETED = 60.0


@register("metallicity", "tabulated")
@dataclass(frozen=True)
class TabulatedMetallicity(_EnrichmentHistory):
    """A table of metallicities, for example from a simulation.

    log Z is linear in cosmic time between two rows, and constant outside.

    Attributes
    ----------
    n_time : int
        Number of rows; ``Parameters(metallicity="tabulated", ...)`` finds it in the values given.
    """

    citations = ()
    n_time: int = 2

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """met_tabulated_time_gyr, met_tabulated_logzsol."""
        time = "cosmic time of the table's rows, increasing"
        nothing, shape = float("nan"), (self.n_time,)
        meaning = "log10 of the stellar metallicity over solar there"
        return (
            Parameter("met_tabulated_time_gyr", "Gyr", time, nothing, shape),
            Parameter("met_tabulated_logzsol", "dex", meaning, nothing, shape),
        )

    def logz(self, params: Mapping[str, Any], zsun: float, formed: FormedMass) -> Array:
        """See :meth:`_EnrichmentHistory.logz`."""
        time = formed.cosmic_age - formed.middle()
        return jnp.interp(time, params["met_tabulated_time_gyr"], params["met_tabulated_logzsol"])
