"""Composite stellar populations: from a star formation history to the mass on each SSP.

The age axis of an SSP grid is read in one of two ways:

``"linear"``
    The flux of an SSP is linear in age between two nodes of the grid. The mass formed between
    two nodes is shared between them such that the composite is the integral of the star
    formation rate times the interpolated SSP.
``"bins"``
    Each node stands for the ages up to the logarithmic midpoints to its neighbours (the
    convention of DSPS, Hearin et al. 2023, MNRAS 521, 1741, and of BAGPIPES).

In both, the mass formed is integrated over an interval, never sampled at its centre.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from tengri_ppl.errors import ParameterError
from tengri_ppl.physics.sfh.parametric import SFH

__all__ = [
    "AGE_SCHEMES",
    "FormedMass",
    "age_intervals",
    "count_fine",
    "form_mass",
    "node_masses",
]

AGE_SCHEMES = ("linear", "bins")
_OLDEST_GYR = 100.0


def _unit_rule(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre nodes and weights on [0, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(n)
    return 0.5 * (nodes + 1.0), 0.5 * weights


_N_COARSE, _N_FINE = 3, 12
_FINE_FROM_GYR = 2.0


class FormedMass(NamedTuple):
    """Mass formed in each age interval.

    Attributes
    ----------
    mass : Array, shape (n_interval,)
        Mass formed [Msun].
    moment : Array, shape (n_interval,)
        Mass times its mean position in the interval, 0 at the young and 1 at the old end [Msun].
    young_edge, old_edge : Array, shape (n_interval,)
        Lookback times between which stars form in the interval [Gyr].
    lower, upper : Array, shape (n_interval,)
        The interval itself [Gyr].
    """

    mass: Array
    moment: Array
    young_edge: Array
    old_edge: Array
    lower: Array
    upper: Array

    def _fraction_younger(self, age: ArrayLike) -> Array:
        """Share of each interval's mass younger than ``age``, for a constant rate inside it."""
        width = self.old_edge - self.young_edge
        safe = jnp.where(width > 0, width, 1.0)
        inside = jnp.clip((age - self.young_edge) / safe, 0.0, 1.0)
        return jnp.where(width > 0, inside, self.young_edge < age)

    def younger_than(self, age: ArrayLike) -> FormedMass:
        """Return the part formed less than ``age`` [Gyr] ago; the straddled interval is split."""
        fraction = self._fraction_younger(age)
        width = (self.old_edge - self.young_edge) / _length(self.lower, self.upper)
        moment = fraction * (self.moment - 0.5 * self.mass * width * (1.0 - fraction))
        return self._replace(mass=fraction * self.mass, moment=moment)

    def mass_younger_than(self, age: ArrayLike) -> Array:
        """Mass formed less than ``age`` [Gyr] ago [Msun], scalar."""
        return jnp.sum(self._fraction_younger(age) * self.mass)

    def mean_age(self) -> Array:
        """Mean age weighted by the mass formed [Gyr], scalar."""
        total = jnp.sum(self.mass * self.lower + self.moment * (self.upper - self.lower))
        return total / jnp.sum(self.mass)


def count_fine(lower: ArrayLike) -> int:
    """Return the number of intervals that are old enough for the finer rule."""
    return int(np.sum(np.asarray(lower) >= _FINE_FROM_GYR))


def _largest(parts: list[tuple[Array, Array]]) -> Array:
    """Largest value in the intervals that are not empty, 0 if all are; no gradient."""
    tops = [jnp.max(jnp.where(w[:, None] > 0, x, -jnp.inf), initial=-jnp.inf) for x, w in parts]
    peak = jax.lax.stop_gradient(jnp.maximum(*tops))
    return jnp.where(jnp.isfinite(peak), peak, 0.0)


def _length(lower: Array, upper: Array) -> Array:
    """Length of each interval [Gyr], 1 where it is empty."""
    return jnp.where(upper > lower, upper - lower, 1.0)


def age_intervals(lg_age_gyr: ArrayLike, scheme: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the lower and upper ages of the intervals of an SSP grid.

    Parameters
    ----------
    lg_age_gyr : array_like, shape (n_age,)
        log10 of the ages of the grid [Gyr], increasing; the first may be -inf.
    scheme : {"linear", "bins"}
        See the module's docstring.

    Returns
    -------
    lower, upper : ndarray, shape (n_age + 1,) for "linear", (n_age,) for "bins"
        Ages [Gyr]. The first begins at 0, the last ends beyond any age of the universe.
    """
    lg_age = np.asarray(lg_age_gyr, dtype=float)
    if scheme == "linear":
        inner = 10.0**lg_age
    elif scheme == "bins":
        inner = 10.0 ** (0.5 * (lg_age[1:] + lg_age[:-1]))
    else:
        raise ParameterError(f"age scheme {scheme!r} is unknown; choose one of {AGE_SCHEMES}")
    return np.concatenate([[0.0], inner]), np.concatenate([inner, [_OLDEST_GYR]])


def form_mass(
    sfh: SFH,
    params: Mapping[str, Any],
    cosmic_age: ArrayLike,
    lower: ArrayLike,
    upper: ArrayLike,
    n_fine: int = 0,
) -> FormedMass:
    """Integrate a star formation history over age intervals.

    Each interval is cut to the times at which stars form, between the end and the onset of the
    history and after the Big Bang, and integrated by Gauss-Legendre quadrature there. So the
    result is continuous in every parameter, sharp onsets included.

    Parameters
    ----------
    sfh : SFH
        The family.
    params : mapping
        Model parameters by full name, scalars; the amplitude included.
    cosmic_age : array_like, scalar
        Age of the universe at the epoch of observation [Gyr].
    lower, upper : array_like, shape (n_interval,)
        Age intervals [Gyr].
    n_fine : int
        So many of the oldest intervals take a finer rule: they are long, and a galaxy may have
        formed all of its stars inside one of them.
    """
    local = sfh.select(params, sfh.prefix)
    amplitude = 10.0 ** jnp.asarray(local.pop(sfh.amplitude))
    lower, upper = jnp.asarray(lower), jnp.asarray(upper)
    end, onset = sfh.window(cosmic_age, **local)
    onset = jnp.minimum(onset, cosmic_age)
    end = jnp.minimum(end, onset)
    young, old = jnp.clip(lower, end, onset), jnp.clip(upper, end, onset)
    shape = partial(sfh.log_shape, cosmic_age=cosmic_age, **local)
    mass, first, peak = _integrate(shape, young, old, n_fine)
    if sfh.amplitude == "log_mass":
        total = jnp.sum(mass)
        scale = amplitude / jnp.where(total > 0, total, 1.0)
    else:
        scale = amplitude * 1e9 * jnp.exp(peak)
    return FormedMass(
        mass=scale * mass,
        moment=scale * (first + mass * (young - lower)) / _length(lower, upper),
        young_edge=young,
        old_edge=old,
        lower=lower,
        upper=upper,
    )


def _integrate(
    log_shape: Callable[[Array], Array], young: Array, old: Array, n_fine: int
) -> tuple[Array, Array, Array]:
    """Integrate exp(log_shape) from ``young`` to ``old``, the last ``n_fine`` by the finer rule.

    Returns the integrals and the first moments about ``young``, both over exp of the third value,
    the largest ``log_shape`` met.
    """
    width, coarse = old - young, young.size - n_fine
    # new arrays in every call: JAX keeps constants by identity, in the precision of their first use
    parts = [(slice(coarse), _unit_rule(_N_COARSE)), (slice(coarse, None), _unit_rule(_N_FINE))]
    offsets = [width[g, None] * nodes for g, (nodes, _) in parts]
    logs = [log_shape(young[g, None] + x) for x, (g, _) in zip(offsets, parts, strict=True)]
    peak = _largest([(y, width[g]) for y, (g, _) in zip(logs, parts, strict=True)])
    # only points of zero width exceed the peak; a bound at the peak would halve its gradient
    formed = [
        jnp.exp(jnp.minimum(y - peak, 1.0)) * (weights * width[g, None])
        for y, (g, (_, weights)) in zip(logs, parts, strict=True)
    ]
    mass = jnp.concatenate([m.sum(axis=1) for m in formed])
    first = jnp.concatenate([(m * x).sum(axis=1) for m, x in zip(formed, offsets, strict=True)])
    return mass, first, peak


def node_masses(formed: FormedMass, scheme: str) -> Array:
    """Share the mass formed among the ages of the SSP grid.

    Returns
    -------
    Array, shape (n_age,)
        Mass formed per SSP [Msun].
    """
    if scheme == "bins":
        return formed.mass
    young, old = formed.mass - formed.moment, formed.moment
    first = formed.mass[:1] + young[1:2]
    last = old[-2:-1] + formed.mass[-1:]
    return jnp.concatenate([first, old[1:-2] + young[2:-1], last])
