"""Integrals of a star formation rate over age intervals, and sums of histories.

All times are in Gyr. ``lookback`` counts back from the epoch at which the galaxy is observed and
``cosmic_age`` is the age of the universe at that epoch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

__all__ = ["FINE_FROM_GYR", "History", "add", "blend", "integrate_bins", "integrate_shape"]

#: Intervals older than this are long, and take the finer quadrature rule.
FINE_FROM_GYR = 2.0
_N_COARSE, _N_FINE = 3, 12


class History(NamedTuple):
    """A star formation history before its amplitude is applied.

    Attributes
    ----------
    mass : Array, shape (n_interval,)
        Integral of the rate over each age interval [Gyr].
    moment : Array, shape (n_interval,)
        Integral of the rate times the distance from the young end of the interval [Gyr^2].
    end, onset : Array, scalars
        Lookback times between which stars form [Gyr].
    log_unit : Array, scalar
        Natural logarithm of the unit of the rates: 1 Msun/yr for a peak of 1 Msun/yr.
    rate : callable
        Star formation rate at lookback times [Gyr], in this unit.
    """

    mass: Array
    moment: Array
    end: Array
    onset: Array
    log_unit: Array
    rate: Callable[[Array], Array]


def integrate_shape(
    log_shape: Callable[[Array], Array],
    window: tuple[ArrayLike, ArrayLike],
    cosmic_age: ArrayLike,
    lower: Array,
    upper: Array,
    n_fine: int,
) -> History:
    """Integrate exp(log_shape) over age intervals, each cut to the window and to the Big Bang.

    Gauss-Legendre quadrature inside the cut intervals makes the result continuous in every
    parameter, sharp onsets included. The last ``n_fine`` intervals take a finer rule.
    """
    onset = jnp.minimum(window[1], cosmic_age)
    end = jnp.minimum(window[0], onset)
    young, old = jnp.clip(lower, end, onset), jnp.clip(upper, end, onset)
    mass, first, peak = _quadrature(log_shape, young, old, n_fine)

    def rate(lookback: Array) -> Array:
        shape = jnp.exp(log_shape(jnp.clip(lookback, end, onset)) - peak)
        return jnp.where((lookback >= end) & (lookback <= onset), shape, 0.0)

    return History(mass, first + mass * (young - lower), end, onset, peak, rate)


def integrate_bins(
    edges: Array, share: Array, cosmic_age: ArrayLike, lower: Array, upper: Array
) -> History:
    """Integrate bins of constant star formation over age intervals, exactly.

    Parameters
    ----------
    edges : Array, shape (n_bin + 1,)
        Lookback times [Gyr], increasing.
    share : Array, shape (n_bin,)
        Mass formed in each bin, in any unit.
    cosmic_age : array_like, scalar
        Age of the universe at the epoch of observation [Gyr]; nothing forms before.
    lower, upper : Array, shape (n_interval,)
        Age intervals [Gyr].
    """
    width = jnp.diff(edges)
    density = jnp.where(width > 0, share / jnp.where(width > 0, width, 1.0), 0.0)
    start = jnp.maximum(edges[:-1], lower[:, None])
    stop = jnp.minimum(jnp.minimum(edges[1:], cosmic_age), upper[:, None])
    piece = density * jnp.maximum(stop - start, 0.0)
    peak = jnp.max(jnp.where(edges[:-1] < cosmic_age, density, 0.0))

    def rate(lookback: Array) -> Array:
        index = jnp.clip(jnp.searchsorted(edges, lookback, side="right") - 1, 0, width.size - 1)
        inside = (lookback >= edges[0]) & (lookback <= jnp.minimum(edges[-1], cosmic_age))
        return jnp.where(inside, density[index], 0.0)

    return History(
        mass=piece.sum(axis=1),
        moment=(piece * (0.5 * (start + stop) - lower[:, None])).sum(axis=1),
        end=jnp.minimum(edges[0], cosmic_age),
        onset=jnp.minimum(edges[-1], cosmic_age),
        log_unit=-jnp.log(jnp.where(peak > 0, peak, 1.0)),
        rate=rate,
    )


def add(*parts: History) -> History:
    """Return the sum of histories, each in its own unit."""
    unit = jax.lax.stop_gradient(jnp.max(jnp.stack([h.log_unit for h in parts])))
    return _combine([jnp.exp(h.log_unit - unit) for h in parts], parts, unit)


def blend(main: History, extra: History, fraction: ArrayLike) -> History:
    """Add a second history that forms a given fraction of the whole mass.

    An amplitude other than the whole mass is that of ``main``. If one of the two forms no stars at
    all, the other forms everything.
    """
    rest = 1.0 - jnp.asarray(fraction)
    whole, other = main.mass.sum(), extra.mass.sum()
    scale = jnp.where(whole > 0, whole, 1.0) / jnp.where(other > 0, other, 1.0)
    unit = main.log_unit - jnp.log(jnp.maximum(rest, 1e-6))
    return _combine([rest, (1.0 - rest) * scale], (main, extra), unit)


def _combine(weights: list[Array], parts: tuple[History, ...], log_unit: Array) -> History:
    """Weighted sum of histories."""
    pairs = list(zip(weights, parts, strict=True))
    return History(
        mass=sum((w * h.mass for w, h in pairs[1:]), pairs[0][0] * parts[0].mass),
        moment=sum((w * h.moment for w, h in pairs[1:]), pairs[0][0] * parts[0].moment),
        end=jnp.min(jnp.stack([h.end for h in parts])),
        onset=jnp.max(jnp.stack([h.onset for h in parts])),
        log_unit=log_unit,
        rate=lambda t: jnp.sum(jnp.stack([w * h.rate(t) for w, h in pairs]), axis=0),
    )


def _quadrature(
    log_shape: Callable[[Array], Array], young: Array, old: Array, n_fine: int
) -> tuple[Array, Array, Array]:
    """Integrate exp(log_shape) from ``young`` to ``old``, the last ``n_fine`` by the finer rule.

    Returns the integrals and the first moments about ``young``, both over exp of the third value,
    the largest ``log_shape`` met.
    """
    width, coarse = old - young, young.size - n_fine
    # new arrays in every call: JAX keeps constants by identity, in the precision of their first use
    parts = [(slice(coarse), _unit_rule(_N_COARSE)), (slice(coarse, None), _unit_rule(_N_FINE))]
    # points run along the first axis: sums are fast over a long last one
    # for gradients made again, not kept: a batch's pages cost more than the few exponentials
    remade = jax.checkpoint(log_shape)
    logs = [remade(young[g] + nodes[:, None] * width[g]) for g, (nodes, _) in parts]
    peak = _largest([(y, width[g]) for y, (g, _) in zip(logs, parts, strict=True)])
    mass, first = [], []
    for y, (g, (nodes, weights)) in zip(logs, parts, strict=True):
        # only points of zero width exceed the peak; a bound at the peak would halve its gradient
        rate = jnp.exp(jnp.minimum(y - peak, 1.0))
        mass.append((weights[:, None] * rate).sum(axis=0) * width[g])
        first.append(((weights * nodes)[:, None] * rate).sum(axis=0) * width[g] ** 2)
    return jnp.concatenate(mass), jnp.concatenate(first), peak


def _unit_rule(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre nodes and weights on [0, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(n)
    return 0.5 * (nodes + 1.0), 0.5 * weights


def _largest(parts: list[tuple[Array, Array]]) -> Array:
    """Largest value in the intervals that are not empty, 0 if all are; no gradient."""
    tops = [jnp.max(jnp.where(w > 0, x, -jnp.inf), initial=-jnp.inf) for x, w in parts]
    peak = jax.lax.stop_gradient(jnp.maximum(*tops))
    return jnp.where(jnp.isfinite(peak), peak, 0.0)
