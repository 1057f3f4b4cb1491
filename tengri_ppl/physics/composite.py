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

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from tengri_ppl.errors import ParameterError
from tengri_ppl.physics.sfh.base import SFH
from tengri_ppl.physics.sfh.history import FINE_FROM_GYR, History

__all__ = [
    "AGE_SCHEMES",
    "FormedMass",
    "age_intervals",
    "count_fine",
    "form_mass",
    "node_masses",
    "share_among_metallicities",
    "star_formation_rate",
]

AGE_SCHEMES = ("linear", "bins")
_OLDEST_GYR = 100.0


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
    cosmic_age : Array, scalar
        Age of the universe at the epoch of observation [Gyr].
    """

    mass: Array
    moment: Array
    young_edge: Array
    old_edge: Array
    lower: Array
    upper: Array
    cosmic_age: Array

    def middle(self) -> Array:
        """Lookback time in the middle of the times at which stars form [Gyr], (n_interval,)."""
        return 0.5 * (self.young_edge + self.old_edge)

    def fraction_younger(self, age: ArrayLike) -> Array:
        """Share of each interval's mass younger than ``age``, for a constant rate inside it."""
        width = self.old_edge - self.young_edge
        safe = jnp.where(width > 0, width, 1.0)
        inside = jnp.clip((age - self.young_edge) / safe, 0.0, 1.0)
        return jnp.where(width > 0, inside, self.young_edge < age)

    def younger_than(self, age: ArrayLike) -> FormedMass:
        """Return the part formed less than ``age`` [Gyr] ago; the straddled interval is split."""
        fraction = self.fraction_younger(age)
        width = (self.old_edge - self.young_edge) / _length(self.lower, self.upper)
        moment = fraction * (self.moment - 0.5 * self.mass * width * (1.0 - fraction))
        return self._replace(mass=fraction * self.mass, moment=moment)

    def youngest(self, n: int) -> FormedMass:
        """Return the ``n`` youngest intervals."""
        return FormedMass(*(x[:n] if x.ndim else x for x in self))

    def mass_younger_than(self, age: ArrayLike) -> Array:
        """Mass formed less than ``age`` [Gyr] ago [Msun], scalar."""
        return jnp.sum(self.fraction_younger(age) * self.mass)

    def mean_age(self) -> Array:
        """Mean age weighted by the mass formed [Gyr], scalar."""
        total = jnp.sum(self.mass * self.lower + self.moment * (self.upper - self.lower))
        return total / jnp.sum(self.mass)


def count_fine(lower: ArrayLike) -> int:
    """Return the number of intervals that are old enough for the finer rule."""
    return int(np.sum(np.asarray(lower) >= FINE_FROM_GYR))


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
    history and after the Big Bang, and integrated there: smooth histories by Gauss-Legendre
    quadrature, binned ones exactly. So the result is continuous in every parameter, sharp onsets
    included.

    Parameters
    ----------
    sfh : SFH
        The family.
    params : mapping
        Model parameters by full name, of one galaxy; the amplitude included.
    cosmic_age : array_like, scalar
        Age of the universe at the epoch of observation [Gyr].
    lower, upper : array_like, shape (n_interval,)
        Age intervals [Gyr], adjoining and increasing.
    n_fine : int
        So many of the oldest intervals take a finer rule: they are long, and a galaxy may have
        formed all of its stars inside one of them.
    """
    lower, upper = jnp.asarray(lower), jnp.asarray(upper)
    history = sfh.history(params, cosmic_age, lower, upper, n_fine)
    scale = _scale(sfh, params, history)
    return FormedMass(
        mass=scale * history.mass,
        moment=scale * history.moment / _length(lower, upper),
        young_edge=jnp.clip(lower, history.end, history.onset),
        old_edge=jnp.clip(upper, history.end, history.onset),
        lower=lower,
        upper=upper,
        cosmic_age=jnp.asarray(cosmic_age),
    )


def star_formation_rate(
    sfh: SFH,
    params: Mapping[str, Any],
    cosmic_age: ArrayLike,
    lookback: ArrayLike,
    lower: ArrayLike,
    upper: ArrayLike,
    n_fine: int = 0,
) -> Array:
    """Star formation rate at lookback times; the other arguments are those of :func:`form_mass`.

    Returns
    -------
    Array, shape of ``lookback``
        Star formation rate [Msun/yr].
    """
    history = sfh.history(params, cosmic_age, jnp.asarray(lower), jnp.asarray(upper), n_fine)
    return _scale(sfh, params, history) / 1e9 * history.rate(jnp.asarray(lookback))


def _scale(sfh: SFH, params: Mapping[str, Any], history: History) -> Array:
    """Return the mass [Msun] in the unit of the history's masses."""
    amplitude = 10.0 ** jnp.asarray(params[sfh.amplitude_name])
    if sfh.amplitude == "log_mass":
        total = jnp.sum(history.mass)
        return amplitude / jnp.where(total > 0, total, 1.0)
    return amplitude * 1e9 * jnp.exp(history.log_unit)


def node_masses(formed: FormedMass, scheme: str) -> Array:
    """Share the mass formed among the ages of the SSP grid.

    Returns
    -------
    Array, shape (n_age,)
        Mass formed per SSP [Msun].
    """
    if scheme == "bins":
        return formed.mass
    index = np.arange(formed.mass.shape[0])
    inner = (index > 0) & (index < index[-1])
    old = jnp.where(inner, formed.moment, formed.mass * (index == 0))
    return (formed.mass - old)[1:] + old[:-1]


def share_among_metallicities(formed: FormedMass, share: Array, scheme: str) -> Array:
    """Masses of the SSPs, given the share of each interval's mass at each metallicity.

    Parameters
    ----------
    formed : FormedMass
        Mass formed per age interval.
    share : Array, shape (n_met, n_interval)
        See :meth:`tengri_ppl.physics.metallicity.Metallicity.weights`.
    scheme : {"linear", "bins"}
        See the module's docstring.

    Returns
    -------
    Array, shape (n_met, n_age)
        Mass formed per SSP [Msun].
    """

    def one(weight: Array) -> Array:
        part = formed._replace(mass=weight * formed.mass, moment=weight * formed.moment)
        return node_masses(part, scheme)

    return jax.vmap(one)(share)
