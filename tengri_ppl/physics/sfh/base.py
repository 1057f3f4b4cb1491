"""What star formation histories have in common, and how they are integrated over time.

All times are in Gyr. ``lookback`` counts back from the epoch at which the galaxy is observed and
``cosmic_age`` is the age of the universe at that epoch. A history is given in one of two ways: by
the logarithm of a smooth shape (:class:`SFH`), which is integrated by quadrature, or by the share
of the mass in bins of constant star formation (:class:`BinnedSFH`), which is integrated exactly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from tengri_ppl.errors import ParameterError
from tengri_ppl.physics.component import Component, Parameter
from tengri_ppl.physics.sfh.history import History, integrate_bins, integrate_shape

__all__ = ["SFH", "BinnedSFH"]

_AMPLITUDES = {
    "log_mass": Parameter("log_mass", "dex(Msun)", "log10 of the stellar mass formed", (6.0, 13.0)),
    "log_peak_sfr": Parameter(
        "log_peak_sfr", "dex(Msun/yr)", "log10 of the star formation rate at its peak", (-3.0, 3.5)
    ),
    "log_scale": Parameter(
        "log_scale", "dex", "log10 of the factor on the star formation rates given", 0.0
    ),
}


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
