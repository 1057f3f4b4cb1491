r"""A stochastic field that multiplies the star formation rate of any smooth history.

:math:`\log_{10} SFR(t) = \log_{10} \psi(t) + s(t)`, with s a Gaussian process that is stationary
in linear time. It is constant in cells of lookback time, narrow recently and wide long ago, and is
computed from independent standard normals in one pass over the cells. Variations within a cell are
not resolved. Broad-band photometry of one galaxy hardly constrains the amplitude and the time
scale of the field; a population does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field as default
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from tengri_ppl.physics.component import (
    Component,
    LogUniformPrior,
    NormalPrior,
    Parameter,
    register,
)
from tengri_ppl.physics.sfh.base import SFH
from tengri_ppl.physics.sfh.history import FINE_FROM_GYR, History
from tengri_ppl.physics.sfh.parametric import DoublePowerLawSFH
from tengri_ppl.physics.sfh.processes import damped_random_walk, regulator_process

__all__ = [
    "DampedRandomWalk",
    "ExtendedRegulator",
    "Matern",
    "SFHField",
    "StochasticSFH",
    "cut_intervals",
]

_EXPONENT = 1.8
_OLDEST_GYR = 14.0


@dataclass(frozen=True)
class SFHField(Component):
    """A stochastic field; subclasses define its process and their parameters.

    Attributes
    ----------
    n_cells : int
        Number of cells between the epoch of observation and the Big Bang, and of latent normals.
    """

    kind = "sfh_field"

    n_cells: int = 128

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """sfh_field_psd_sigma, sfh_field_psd_tau_myr, psd_xi."""
        spread = "standard deviation of log10 SFR"
        return (
            Parameter("sfh_field_psd_sigma", "dex", spread, (0.01, 1.0)),
            Parameter("sfh_field_psd_tau_myr", "Myr", self._time, LogUniformPrior(10.0, 3000.0)),
            self._latent("psd_xi"),
        )

    @property
    def _time(self) -> str:
        """Meaning of the time scale."""
        return "correlation time"

    def _latent(self, name: str) -> Parameter:
        meaning = "standard normals from which the field is made, the most recent cell first"
        return Parameter(name, "1", meaning, NormalPrior(0.0, 1.0), (self.n_cells,))

    @property
    def grid(self) -> np.ndarray:
        """Edges of the cells over the age of the universe: 128 cells begin with 2 Myr today."""
        return np.linspace(0.0, 1.0, self.n_cells + 1) ** _EXPONENT

    def log_rate(self, params: Mapping[str, Any], step: Array) -> tuple[Array, Array]:
        """Field and its variance.

        Parameters
        ----------
        params : mapping
            Model parameters by full name.
        step : Array, shape (n_cells - 1,)
            Time between the centres of neighbouring cells [Myr].

        Returns
        -------
        field : Array, shape (n_cells,)
            Added to log10 SFR [dex].
        variance : Array, scalar
            Its variance in every cell [dex^2].
        """
        raise NotImplementedError


@register("sfh_field", "drw")
@dataclass(frozen=True)
class DampedRandomWalk(SFHField):
    r"""Damped random walk, :math:`Cov = \sigma^2 e^{-|t|/\tau}`.

    Its power spectral density is :math:`2 \sigma^2 \tau / (1 + (\omega \tau)^2)`.
    """

    citations = ("CaplarTacchella2019",)

    def log_rate(self, params: Mapping[str, Any], step: Array) -> tuple[Array, Array]:
        """See :meth:`SFHField.log_rate`."""
        sigma = jnp.asarray(params["sfh_field_psd_sigma"])
        walk = damped_random_walk(params["psd_xi"], step / params["sfh_field_psd_tau_myr"])
        return sigma * walk, sigma**2


@register("sfh_field", "matern")
@dataclass(frozen=True)
class Matern(SFHField):
    r"""Matern process of nu = 3/2, :math:`Cov = \sigma^2 (1 + x) e^{-x}, x = \sqrt{3} |t|/\tau`.

    Smoother than the damped random walk: its power spectral density falls as omega^-4.
    """

    citations = ("RasmussenWilliams2006",)

    def log_rate(self, params: Mapping[str, Any], step: Array) -> tuple[Array, Array]:
        """See :meth:`SFHField.log_rate`."""
        sigma = jnp.asarray(params["sfh_field_psd_sigma"])
        tau = jnp.asarray(params["sfh_field_psd_tau_myr"]) / np.sqrt(3.0)
        return sigma * regulator_process(params["psd_xi"], step, tau, tau), sigma**2


@register("sfh_field", "extended_regulator")
@dataclass(frozen=True)
class ExtendedRegulator(SFHField):
    r"""Extended regulator: gas inflow, equilibrium of the reservoir, and molecular clouds.

    .. math:: Cov(t) = \sigma^2 \frac{\tau_{in} e^{-|t|/\tau_{in}} - \tau_{eq} e^{-|t|/\tau_{eq}}}
                       {\tau_{in} - \tau_{eq}} + \sigma_{dyn}^2 e^{-|t|/\tau_{dyn}}

    (Tacchella et al. 2020, MNRAS 497, 698; Iyer et al. 2024). The clouds have latent
    normals of their own.
    """

    citations = ("Tacchella2020", "Iyer2024")

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Those of all fields, sfh_field_psd_{tau_eq_myr, sigma_dyn, tau_dyn_myr}, psd_xi_dyn."""
        spread, decay = LogUniformPrior(1e-3, 0.3), LogUniformPrior(5.0, 200.0)
        equilibrium = LogUniformPrior(10.0, 3000.0)
        return (
            *super().parameters,
            Parameter("sfh_field_psd_tau_eq_myr", "Myr", "equilibrium time", equilibrium),
            Parameter("sfh_field_psd_sigma_dyn", "dex", "standard deviation by clouds", spread),
            Parameter("sfh_field_psd_tau_dyn_myr", "Myr", "lifetime of the clouds", decay),
            self._latent("psd_xi_dyn"),
        )

    @property
    def _time(self) -> str:
        """Meaning of the time scale."""
        return "correlation time of the inflow"

    def log_rate(self, params: Mapping[str, Any], step: Array) -> tuple[Array, Array]:
        """See :meth:`SFHField.log_rate`."""
        sigma = jnp.asarray(params["sfh_field_psd_sigma"])
        sigma_dyn = jnp.asarray(params["sfh_field_psd_sigma_dyn"])
        times = params["sfh_field_psd_tau_myr"], params["sfh_field_psd_tau_eq_myr"]
        slow = regulator_process(params["psd_xi"], step, *times)
        clouds = damped_random_walk(
            params["psd_xi_dyn"], step / params["sfh_field_psd_tau_dyn_myr"]
        )
        return sigma * slow + sigma_dyn * clouds, sigma**2 + sigma_dyn**2


@dataclass(frozen=True)
class StochasticSFH(SFH):
    r"""A history times :math:`10^{s(t)}`, scaled such that the mean of the factor is one.

    An amplitude that is the mass formed is that of the galaxy, with its field; another amplitude
    is that of the smooth history.

    Attributes
    ----------
    base : SFH
        The smooth history; its amplitude and its parameters keep their names.
    field : SFHField
        The process.
    """

    name = "stochastic"

    base: SFH = default(default_factory=DoublePowerLawSFH)
    field: SFHField = default(default_factory=DampedRandomWalk)

    def __post_init__(self) -> None:
        """Take over the amplitude."""
        object.__setattr__(self, "amplitude", self.base.amplitude)

    @property
    def prefix(self) -> str:
        """See :attr:`SFH.prefix`; that of the smooth history."""
        return self.base.prefix

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Those of the smooth history and of the field."""
        return (*self.base.parameters, *self.field.parameters)

    def history(
        self,
        params: Mapping[str, Any],
        cosmic_age: ArrayLike,
        lower: Array,
        upper: Array,
        n_fine: int,
    ) -> History:
        """See :meth:`SFH.history`: the smooth one is integrated where intervals and cells cross."""
        edges = jnp.asarray(cosmic_age) * self.field.grid
        factor = self._factor(params, edges)

        def cell(lookback: Array) -> Array:
            index = jnp.searchsorted(edges, lookback, side="right") - 1
            return factor[jnp.clip(index, 0, factor.size - 1)]

        cuts, home, inside = cut_intervals(lower, upper, edges)
        n_old = int(np.sum(self.field.grid >= FINE_FROM_GYR / _OLDEST_GYR))
        base = self.base.history(params, cosmic_age, cuts[:-1], cuts[1:], n_fine + n_old)
        weight = factor[inside]
        moment = base.moment + base.mass * (cuts[:-1] - lower[home])

        def collect(x: Array) -> Array:
            return jax.ops.segment_sum(
                weight * x, home, lower.size, indices_are_sorted=True, mode="drop"
            )

        return base._replace(
            mass=collect(base.mass),
            moment=collect(moment),
            rate=lambda t: base.rate(t) * cell(t),
        )

    def _factor(self, params: Mapping[str, Any], edges: Array) -> Array:
        """Factor on the star formation rate in every cell."""
        centre = 0.5 * (edges[1:] + edges[:-1])
        field, variance = self.field.log_rate(params, 1e3 * jnp.diff(centre))
        return jnp.exp(np.log(10.0) * field - 0.5 * np.log(10.0) ** 2 * variance)


def cut_intervals(lower: Array, upper: Array, edges: Array) -> tuple[Array, Array, Array]:
    """Cut age intervals at the edges of cells.

    Both ends are sorted, so that counts of those before it are the place of each, which takes a
    third of the time of a sort; indices are counted along the cuts by a matrix product.

    Parameters
    ----------
    lower, upper : Array, shape (n_interval,)
        Age intervals [Gyr], adjoining and increasing, from 0 to beyond all cells.
    edges : Array, shape (n_cell + 1,)
        Edges of the cells [Gyr], increasing from 0.

    Returns
    -------
    cuts : Array, shape (n_interval + n_cell,)
        Ends of the pieces [Gyr]; some are of zero length where edges coincide.
    home, inside : Array, shape (n_interval + n_cell - 1,)
        For each piece the indices of its interval and of its cell.
    """
    inner, n_cut = edges[1:-1], lower.size + edges.size - 2
    earlier = inner < lower[:, None]
    rank = jnp.arange(lower.size) + jnp.sum(earlier, axis=1)
    rank_inner = jnp.arange(inner.size) + lower.size - jnp.sum(earlier, axis=0)
    place = jnp.concatenate([rank, rank_inner])
    cuts = jnp.concatenate([lower, inner])
    cuts = jnp.zeros_like(cuts).at[place].set(cuts, unique_indices=True)
    begins = jnp.zeros_like(cuts).at[rank].set(1.0, unique_indices=True)
    begun = (begins @ np.triu(np.ones((n_cut, n_cut), dtype=cuts.dtype))).astype(int)
    return jnp.append(cuts, upper[-1]), begun - 1, jnp.arange(1, n_cut + 1) - begun
