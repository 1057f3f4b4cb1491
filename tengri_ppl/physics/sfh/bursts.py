"""Histories that change suddenly: quenching, post-starbursts, and a burst on top of any family."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from tengri_ppl.errors import ParameterError, suggest
from tengri_ppl.physics.component import LogUniformPrior, Parameter, register
from tengri_ppl.physics.sfh.base import SFH
from tengri_ppl.physics.sfh.history import History, add, blend, integrate_shape
from tengri_ppl.physics.sfh.parametric import DelayedSFH, DoublePowerLawSFH

__all__ = ["BURST_SHAPES", "BurstSFH", "DelayedQuenchSFH", "PostStarburstSFH"]

BURST_SHAPES = ("constant", "exponential")


@register("sfh", "delayed_quench")
@dataclass(frozen=True)
class DelayedQuenchSFH(SFH):
    r"""Delayed exponential whose rate jumps once, and stays constant from then on.

    .. math:: SFR(T) \propto T e^{-T/\tau} \ (T \le T_c), \qquad
              SFR(T) = r_{SFR}\, SFR(T_c) \ (T > T_c)

    with T the time since the onset and :math:`T_c` that of the change: quenching for
    :math:`r_{SFR} < 1`, a burst for :math:`r_{SFR} > 1` (Ciesla et al. 2017). A change
    before the onset is taken to follow right after it. A peak star formation rate is that of the
    delayed exponential.
    """

    citations = ("Ciesla2017",)

    @property
    def shape_parameters(self) -> tuple[Parameter, ...]:
        """tau_gyr, age_gyr, change_gyr, log_r_sfr."""
        return (
            *DelayedSFH().shape_parameters,
            Parameter("change_gyr", "Gyr", "lookback time of the change", (0.01, 1.0)),
            Parameter("log_r_sfr", "dex", "log10 of the SFR after over that before", (-3.0, 1.0)),
        )

    def history(
        self,
        params: Mapping[str, Any],
        cosmic_age: ArrayLike,
        lower: Array,
        upper: Array,
        n_fine: int,
    ) -> History:
        """See :meth:`SFH.history`."""
        p = self._local(params)
        onset = jnp.minimum(p["age_gyr"], cosmic_age)
        change = jnp.minimum(p["change_gyr"], 0.99 * onset)
        delayed = partial(DelayedSFH().log_shape, cosmic_age=cosmic_age, **p)
        after = delayed(lookback=change) + jnp.log(10.0) * p["log_r_sfr"]
        parts = (
            (delayed, (change, onset)),
            (lambda t: after + jnp.zeros_like(t), (jnp.zeros_like(change), change)),
        )
        return add(
            *(integrate_shape(f, window, cosmic_age, lower, upper, n_fine) for f, window in parts)
        )


@register("sfh", "psb")
@dataclass(frozen=True)
class PostStarburstSFH(SFH):
    r"""An old exponential population and a recent burst that is a double power law.

    .. math:: SFR \propto (1 - f) \frac{\psi_{exp}}{\int \psi_{exp}}
              + f \frac{\psi_{burst}}{\int \psi_{burst}}, \quad
              \psi_{exp} = e^{-(t_{age} - t)/\tau}\ (t_{age} > t > t_b), \quad
              \psi_{burst} = \left[(T/T_b)^\alpha + (T/T_b)^{-\beta}\right]^{-1}

    with the lookback time t, the cosmic time T and the lookback and cosmic times
    :math:`t_b, T_b` of the burst (Wild et al. 2020).
    """

    citations = ("Wild2020",)
    amplitudes = ("log_mass",)

    @property
    def shape_parameters(self) -> tuple[Parameter, ...]:
        """tau_gyr, age_gyr, burst_age_gyr, burst_fraction, alpha, beta."""
        return (
            Parameter("tau_gyr", "Gyr", "e-folding time of the old population", (0.3, 10.0)),
            Parameter("age_gyr", "Gyr", "lookback time of the onset", (4.0, 13.0)),
            Parameter("burst_age_gyr", "Gyr", "lookback time of the burst", (0.01, 2.0)),
            Parameter("burst_fraction", "1", "share of the mass formed in the burst", (0.0, 1.0)),
            Parameter("alpha", "1", "falling slope", LogUniformPrior(0.1, 1000.0)),
            Parameter("beta", "1", "rising slope", 250.0),
        )

    def history(
        self,
        params: Mapping[str, Any],
        cosmic_age: ArrayLike,
        lower: Array,
        upper: Array,
        n_fine: int,
    ) -> History:
        """See :meth:`SFH.history`; the burst is cut at its peak, where its slope changes fast."""
        p = self._local(params)
        integrate = partial(
            integrate_shape, cosmic_age=cosmic_age, lower=lower, upper=upper, n_fine=n_fine
        )
        peak = jnp.minimum(p["burst_age_gyr"], 0.99 * jnp.asarray(cosmic_age))
        slopes = {"tau_gyr": cosmic_age - peak, "alpha": p["alpha"], "beta": p["beta"]}
        burst = partial(DoublePowerLawSFH().log_shape, cosmic_age=cosmic_age, **slopes)
        old = integrate(lambda t: (t - p["age_gyr"]) / p["tau_gyr"], (peak, p["age_gyr"]))
        recent = add(integrate(burst, (0.0, peak)), integrate(burst, (peak, cosmic_age)))
        return blend(old, recent, p["burst_fraction"])


@dataclass(frozen=True)
class BurstSFH(SFH):
    r"""A recent burst on top of another history, as a share of the whole mass.

    The rate of the burst is constant, or :math:`\propto e^{-T/\tau}` with T the time since its
    onset. An amplitude other than the whole mass is that of the other history.

    Attributes
    ----------
    base : SFH
        The other history; its amplitude and its parameters keep their names.
    shape : {"constant", "exponential"}
        Rate of the burst.
    """

    name = "burst"
    citations = ("Malek2018",)

    base: SFH = field(default_factory=DoublePowerLawSFH)
    shape: str = "constant"

    def __post_init__(self) -> None:
        """Check the shape, and take over the amplitude."""
        if self.shape not in BURST_SHAPES:
            raise ParameterError(
                f"sfh_burst={self.shape!r} is unknown{suggest(self.shape, BURST_SHAPES)} "
                f"(available: {', '.join(BURST_SHAPES)})"
            )
        object.__setattr__(self, "amplitude", self.base.amplitude)

    @property
    def prefix(self) -> str:
        """See :attr:`SFH.prefix`; that of the other history."""
        return self.base.prefix

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Those of the other history, sfh_burst_fraction, sfh_burst_age_gyr, sfh_burst_tau_gyr."""
        burst = [
            Parameter("sfh_burst_fraction", "1", "share of the mass formed in it", (0.0, 0.5)),
            Parameter("sfh_burst_age_gyr", "Gyr", "time since the onset of the burst", (0.01, 0.5)),
        ]
        if self.shape == "exponential":
            burst.append(
                Parameter("sfh_burst_tau_gyr", "Gyr", "e-folding time of the burst", (0.01, 0.5))
            )
        return (*self.base.parameters, *burst)

    def history(
        self,
        params: Mapping[str, Any],
        cosmic_age: ArrayLike,
        lower: Array,
        upper: Array,
        n_fine: int,
    ) -> History:
        """See :meth:`SFH.history`."""
        age = jnp.asarray(params["sfh_burst_age_gyr"])

        def log_rate(lookback: Array) -> Array:
            if self.shape == "constant":
                return jnp.zeros_like(lookback)
            return (lookback - age) / params["sfh_burst_tau_gyr"]

        window = (jnp.zeros_like(age), age)
        burst = integrate_shape(log_rate, window, cosmic_age, lower, upper, n_fine)
        base = self.base.history(params, cosmic_age, lower, upper, n_fine)
        return blend(base, burst, params["sfh_burst_fraction"])
