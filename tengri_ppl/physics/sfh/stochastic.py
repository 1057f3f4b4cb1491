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
from typing import Any, NamedTuple

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
from tengri_ppl.physics.sfh.base import FINE_FROM_GYR, SFH, History
from tengri_ppl.physics.sfh.parametric import DoublePowerLawSFH

__all__ = [
    "DampedRandomWalk",
    "ExtendedRegulator",
    "Matern",
    "SFHField",
    "StochasticSFH",
    "damped_random_walk",
    "regulator_process",
]

_EXPONENT = 1.8
_OLDEST_GYR = 14.0
_N_NODES = 6


def damped_random_walk(xi: ArrayLike, steps: ArrayLike) -> Array:
    """Ornstein-Uhlenbeck process of unit variance, covariance exp(-|dt| / tau).

    Parameters
    ----------
    xi : array_like, shape (n,)
        Independent standard normals.
    steps : array_like, shape (n - 1,)
        Time between neighbouring points over tau, above 0.

    Returns
    -------
    Array, shape (n,)
    """
    xi, steps = jnp.asarray(xi), jnp.asarray(steps)
    decay = jnp.concatenate([jnp.zeros_like(xi[:1]), jnp.exp(-steps)])
    kick = jnp.concatenate([xi[:1], jnp.sqrt(-jnp.expm1(-2.0 * steps)) * xi[1:]])

    def join(left: tuple[Array, Array], right: tuple[Array, Array]) -> tuple[Array, Array]:
        return left[0] * right[0], right[0] * left[1] + right[1]

    return jax.lax.associative_scan(join, (decay, kick))[1]


class _Transition(NamedTuple):
    """Step of a process (s, w) of unit variances: its matrix and the covariance of the noise."""

    ss: Array
    sw: Array
    ws: Array
    ww: Array
    noise_ss: Array
    noise_sw: Array
    noise_ww: Array


def _relaxation(time: Array, fast: Array, slow: Array) -> tuple[Array, Array]:
    """Mean of two exponential decays, and their difference over that of the rates.

    ``fast`` >= ``slow`` are the rates. Without cancellation, where they are equal as well.
    """
    difference = (fast - slow) * time
    small = difference < 1e-3
    safe = jnp.where(small, 1.0, difference)
    series = 1.0 - difference / 2.0 + difference**2 / 6.0
    ratio = jnp.where(small, series, -jnp.expm1(-safe) / safe)
    decay = jnp.exp(-slow * time)
    return decay * (1.0 - 0.5 * difference * ratio), time * decay * ratio


def _regulator_transition(step: Array, tau_in: ArrayLike, tau_eq: ArrayLike) -> _Transition:
    """Transition of the regulator over times ``step``, (n,).

    In units of their standard deviations, with w the deviation from equilibrium:
    ds/dt = omega w, dw/dt = -omega s - 2 gamma w + noise.
    """
    rates = 1.0 / jnp.asarray(tau_in), 1.0 / jnp.asarray(tau_eq)
    slow, fast = jnp.minimum(*rates), jnp.maximum(*rates)
    omega, gamma = jnp.sqrt(slow * fast), 0.5 * (slow + fast)

    def matrix(time: Array) -> tuple[Array, Array, Array, Array]:
        mean, sine = _relaxation(time, fast, slow)
        return mean + gamma * sine, omega * sine, -omega * sine, mean - gamma * sine

    ss, sw, ws, ww = matrix(step)
    nodes, weights = np.polynomial.legendre.leggauss(_N_NODES)
    _, sw_inside, _, ww_inside = matrix(step[:, None] * (0.5 + 0.5 * nodes))
    share = 2.0 * gamma * step[:, None] * weights
    short = gamma * step < 1.0
    return _Transition(
        *(ss, sw, ws, ww),
        jnp.where(short, (share * sw_inside**2).sum(axis=1), 1.0 - ss**2 - sw**2),
        jnp.where(short, (share * sw_inside * ww_inside).sum(axis=1), -ss * ws - sw * ww),
        jnp.where(short, (share * ww_inside**2).sum(axis=1), 1.0 - ws**2 - ww**2),
    )


def regulator_process(
    xi: ArrayLike, step: ArrayLike, tau_in: ArrayLike, tau_eq: ArrayLike
) -> Array:
    r"""Gas regulator of unit variance: a damped random walk that relaxes to another one.

    .. math:: C(t) = \frac{\tau_{in} e^{-|t|/\tau_{in}} - \tau_{eq} e^{-|t|/\tau_{eq}}}
                          {\tau_{in} - \tau_{eq}},

    the Matern-3/2 covariance where both times are equal. It is Markovian together with its
    deviation from equilibrium, which is carried along by its mean and variance given all earlier
    points: so one normal per point suffices, and the result is that of a Cholesky factor of C.

    Parameters
    ----------
    xi : array_like, shape (n,)
        Independent standard normals.
    step : array_like, shape (n - 1,)
        Time between neighbouring points, above 0.
    tau_in, tau_eq : array_like, scalars
        Correlation time of the inflow and equilibrium time of the gas, in the unit of ``step``.

    Returns
    -------
    Array, shape (n,)
    """
    xi = jnp.asarray(xi)
    transition = _regulator_transition(jnp.asarray(step), tau_in, tau_eq)

    def advance(
        state: tuple[Array, Array, Array], given: tuple[_Transition, Array]
    ) -> tuple[tuple[Array, Array, Array], Array]:
        (s, w, variance), (t, kick) = state, given
        cov_ss = t.noise_ss + t.sw**2 * variance
        cov_sw = t.noise_sw + t.sw * t.ww * variance
        spread = jnp.sqrt(cov_ss)
        s, w = t.ss * s + t.sw * w + spread * kick, t.ws * s + t.ww * w + cov_sw / spread * kick
        noise = t.noise_ss * t.noise_ww - t.noise_sw**2
        carried = t.noise_ss * t.ww**2 + t.noise_ww * t.sw**2 - 2.0 * t.noise_sw * t.sw * t.ww
        variance = jnp.maximum(noise + variance * carried, 0.0) / cov_ss
        return (s, w, variance), s

    start = (xi[0], jnp.zeros_like(xi[0]), jnp.ones_like(xi[0]))
    _, rest = jax.lax.scan(advance, start, (transition, xi[1:]))
    return jnp.concatenate([xi[:1], rest])


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

    reference = "Caplar & Tacchella 2019, MNRAS 487, 3845"

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

    reference = "Rasmussen & Williams 2006, Gaussian Processes for Machine Learning, eq. 4.17"

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

    (Tacchella et al. 2020, MNRAS 497, 698; Iyer et al. 2024, eq. 12). The clouds have latent
    normals of their own.
    """

    reference = "Iyer et al. 2024, ApJ 961, 53"

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

        cuts = jnp.sort(jnp.concatenate([lower, edges[1:-1], upper[-1:]]))
        n_old = int(np.sum(self.field.grid >= FINE_FROM_GYR / _OLDEST_GYR))
        base = self.base.history(params, cosmic_age, cuts[:-1], cuts[1:], n_fine + n_old)
        weight = cell(0.5 * (cuts[1:] + cuts[:-1]))
        home = jnp.searchsorted(lower, cuts[:-1], side="right") - 1
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
