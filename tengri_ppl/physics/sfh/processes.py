"""Stationary Gaussian processes at unevenly spaced times, in one pass over the points.

They are computed from independent standard normals, one per point, and have unit variance.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

__all__ = ["damped_random_walk", "regulator_process"]

_N_NODES = 6
_BLOCK = 8


def damped_random_walk(xi: ArrayLike, steps: ArrayLike) -> Array:
    """Ornstein-Uhlenbeck process of unit variance, covariance ``exp(-|dt| / tau)``.

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

    return _recur(decay, kick)


def _recur(decay: Array, kick: Array) -> Array:
    """Return s with s[0] = kick[0] and s[i] = decay[i] s[i-1] + kick[i], (n,).

    All blocks of eight points at once, each as if it began at zero; then what reaches each block
    from the end of the one before, by the same recurrence. So few passes take less time than
    the many of an associative scan.
    """
    n_block = -(-kick.size // _BLOCK)
    pad = (0, n_block * _BLOCK - kick.size)
    decays, kicks = (jnp.pad(x, pad).reshape(n_block, _BLOCK).T for x in (decay, kick))
    own, reach = [kicks[0]], [decays[0]]
    for d, k in zip(decays[1:], kicks[1:], strict=True):
        own.append(d * own[-1] + k)
        reach.append(d * reach[-1])
    state = jnp.stack(own, axis=1)
    if n_block > 1:
        ends = _recur(reach[-1], own[-1])
        before = jnp.concatenate([jnp.zeros_like(ends[:1]), ends[:-1]])
        state += jnp.stack(reach, axis=1) * before[:, None]
    return state.reshape(-1)[: kick.size]


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
