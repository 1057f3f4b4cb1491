"""What star formation histories have in common, and how they are integrated over time.

All times are in Gyr. ``lookback`` counts back from the epoch at which the galaxy is observed and
``cosmic_age`` is the age of the universe at that epoch. A history is given in one of two ways: by
the logarithm of a smooth shape (:class:`SFH`), which is integrated by quadrature, or by the share
of the mass in bins of constant star formation (:class:`BinnedSFH`), which is integrated exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from tengri_ppl.errors import ParameterError
from tengri_ppl.physics.component import Component, Parameter

__all__ = [
    "FINE_FROM_GYR",
    "SFH",
    "BinnedSFH",
    "History",
    "add",
    "blend",
    "integrate_bins",
    "integrate_shape",
]

#: Intervals older than this are long, and take the finer quadrature rule.
FINE_FROM_GYR = 2.0
_N_COARSE, _N_FINE = 3, 12
_AMPLITUDES = {
    "log_mass": Parameter("log_mass", "dex(Msun)", "log10 of the stellar mass formed", (6.0, 13.0)),
    "log_peak_sfr": Parameter(
        "log_peak_sfr", "dex(Msun/yr)", "log10 of the star formation rate at its peak", (-3.0, 3.5)
    ),
    "log_scale": Parameter(
        "log_scale", "dex", "log10 of the factor on the star formation rates given", 0.0
    ),
}


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


@dataclass(frozen=True)
class SFH(Component):
    """A star formation history; subclasses define :meth:`log_shape` and their parameters.

    The shape is scaled such that its maximum over all time is one, so that an amplitude may also
    be given as the peak star formation rate.

    Attributes
    ----------
    amplitude : {"log_mass", "log_peak_sfr"}
        What normalises the history.
    """

    kind = "sfh"
    #: What may normalise a history of this family.
    amplitudes: ClassVar[tuple[str, ...]] = ("log_mass", "log_peak_sfr")

    amplitude: str = "log_mass"

    def __post_init__(self) -> None:
        """Refuse an amplitude that does not exist."""
        if self.amplitude not in self.amplitudes:
            raise ParameterError(
                f"amplitude {self.amplitude!r} is unknown to sfh={self.name!r}; "
                f"choose one of {sorted(self.amplitudes)}"
            )

    @property
    def prefix(self) -> str:
        """Common beginning of this family's parameter names."""
        return f"sfh_{self.name}_"

    @property
    def amplitude_name(self) -> str:
        """Full name of the parameter that scales the whole history."""
        return self.prefix + self.amplitude

    @property
    def shape_parameters(self) -> tuple[Parameter, ...]:
        """Parameters of the shape, with names lacking the prefix."""
        raise NotImplementedError

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Amplitude first, then the parameters of the shape."""
        local = (_AMPLITUDES[self.amplitude], *self.shape_parameters)
        return tuple(replace(p, name=self.prefix + p.name) for p in local)

    def log_shape(self, lookback: ArrayLike, cosmic_age: ArrayLike, **params: ArrayLike) -> Array:
        """Natural logarithm of the star formation rate, relative to its peak.

        Parameters
        ----------
        lookback : array_like, shape (...,)
            Lookback time [Gyr], inside :meth:`window`.
        cosmic_age : array_like, scalar
            Age of the universe at the epoch of observation [Gyr].
        **params
            The family's shape parameters.
        """
        raise NotImplementedError

    def window(self, cosmic_age: ArrayLike, **params: ArrayLike) -> tuple[ArrayLike, ArrayLike]:
        """Lookback times between which stars form [Gyr]: the end and the onset."""
        return 0.0, cosmic_age

    def history(
        self,
        params: Mapping[str, Any],
        cosmic_age: ArrayLike,
        lower: Array,
        upper: Array,
        n_fine: int,
    ) -> History:
        """Integrate the history over age intervals.

        Parameters
        ----------
        params : mapping
            Model parameters by full name; the amplitude is not read.
        cosmic_age : array_like, scalar
            Age of the universe at the epoch of observation [Gyr].
        lower, upper : Array, shape (n_interval,)
            Age intervals [Gyr], adjoining and increasing.
        n_fine : int
            So many of the oldest intervals are long; see
            :func:`tengri_ppl.physics.composite.form_mass`.
        """
        local = self._local(params)
        window = self.window(cosmic_age, **local)
        shape = partial(self.log_shape, cosmic_age=cosmic_age, **local)
        return integrate_shape(shape, window, cosmic_age, lower, upper, n_fine)

    def _local(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return the shape parameters by their short names."""
        return {p.name: params[self.prefix + p.name] for p in self.shape_parameters}


@dataclass(frozen=True)
class BinnedSFH(SFH):
    """A history of constant star formation in bins of time; subclasses define :meth:`bins`."""

    def bins(self, cosmic_age: ArrayLike, **params: ArrayLike) -> tuple[ArrayLike, ArrayLike]:
        """Edges of the bins and the mass formed in them.

        Returns
        -------
        edges : array_like, shape (n_bin + 1,)
            Lookback times [Gyr], increasing.
        share : array_like, shape (n_bin,)
            Mass formed in each bin, relative to the others. What falls before the Big Bang is left
            out.
        """
        raise NotImplementedError

    def history(
        self,
        params: Mapping[str, Any],
        cosmic_age: ArrayLike,
        lower: Array,
        upper: Array,
        n_fine: int,
    ) -> History:
        """See :meth:`SFH.history`; exact, so that ``n_fine`` is not needed."""
        edges, share = self.bins(cosmic_age, **self._local(params))
        return integrate_bins(jnp.asarray(edges), jnp.asarray(share), cosmic_age, lower, upper)


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
    logs = [log_shape(young[g] + nodes[:, None] * width[g]) for g, (nodes, _) in parts]
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
