"""Sets of photometric bands, the rule that integrates spectra over them, and AB magnitudes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jax.typing import ArrayLike

from tengri_ppl.errors import DataError, ParameterError, suggest
from tengri_ppl.observation.filter_library import canonical_filter_name, load_filter
from tengri_ppl.observation.filters import Filter, log_integration_nodes
from tengri_ppl.physics.constants import AB_ZERO_POINT

__all__ = [
    "BandQuadrature",
    "Photometry",
    "ab_flux",
    "ab_flux_error",
    "ab_magnitude",
    "band_quadrature",
]

#: What `Photometry` takes for a band: a filter, a name, or (name, wave [Angstrom], transmission).
FilterLike: TypeAlias = Filter | str | tuple[str, npt.ArrayLike, npt.ArrayLike]

# Share of a band's integral that may be cut off at either end of its support.
_WING = 1e-7


@dataclass(frozen=True, eq=False, init=False, repr=False)
class Photometry:
    """An ordered set of photometric bands.

    Parameters
    ----------
    filters : iterable of Filter, str or tuple
        Filters, names for `load_filter`, or ``(name, wave [Angstrom], transmission)``.

    Raises
    ------
    ParameterError
        If a name is unknown, or a band occurs twice.
    DataError
        If there is no band at all, or a curve is invalid.

    Examples
    --------
    >>> Photometry(["sdss_g", "sdss_r"])
    Photometry(2 bands, 4702-6175 A: sdss_g, sdss_r)
    """

    filters: tuple[Filter, ...]

    def __init__(self, filters: Iterable[FilterLike]) -> None:
        if isinstance(filters, str | Filter):
            raise ParameterError(f"filters is the single {filters!r}; expected a list of bands")
        given = list(filters)
        if not given:
            raise DataError("photometry without any band; pass at least one filter")
        bands = tuple(_as_filter(band) for band in given)
        _refuse_duplicates([band.name for band in bands])
        _refuse_synonyms(band for band in given if isinstance(band, str))
        object.__setattr__(self, "filters", bands)

    @classmethod
    def from_names(cls, names: Iterable[str]) -> Photometry:
        """Make the set of bands from names or aliases that `load_filter` knows."""
        return cls(names)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the bands, as they were given."""
        return tuple(band.name for band in self.filters)

    @property
    def n_band(self) -> int:
        """Number of bands."""
        return len(self.filters)

    @property
    def pivot_wavelengths(self) -> np.ndarray:
        """Pivot wavelengths (n_band,) [Angstrom]."""
        return np.array([band.pivot_wavelength for band in self.filters])

    def subset(self, names: Iterable[str]) -> Photometry:
        """Return the named bands, in the order of `names`.

        Raises
        ------
        ParameterError
            If a name is not one of `Photometry.names`.
        """
        by_name = {band.name: band for band in self.filters}
        wanted = [names] if isinstance(names, str) else list(names)
        for name in wanted:
            if name not in by_name:
                raise ParameterError(
                    f"band {name!r} is not part of this photometry"
                    f"{suggest(name, by_name) or '.'} Its bands: {', '.join(by_name)}"
                )
        return Photometry([by_name[name] for name in wanted])

    def __len__(self) -> int:
        """Return the number of bands."""
        return len(self.filters)

    def __iter__(self) -> Iterator[Filter]:
        """Iterate over the filters."""
        return iter(self.filters)

    def __repr__(self) -> str:
        """Give the number of bands, their range and their names."""
        pivot = self.pivot_wavelengths
        bands = f"{self.n_band} band{'s' if self.n_band > 1 else ''}"
        span = f"{pivot.min():.0f}-{pivot.max():.0f} A" if self.n_band > 1 else f"{pivot[0]:.0f} A"
        return f"Photometry({bands}, {span}: {', '.join(self.names)})"


def _as_filter(band: FilterLike) -> Filter:
    if isinstance(band, Filter):
        return band
    if isinstance(band, str):
        return load_filter(band)
    if isinstance(band, tuple) and len(band) == 3:
        return Filter.from_arrays(*band)
    raise ParameterError(
        f"a band is given as {type(band).__name__}; "
        "expected a Filter, a name, or a tuple (name, wave [Angstrom], transmission)"
    )


def _refuse_duplicates(names: list[str]) -> None:
    for name, count in Counter(names).items():
        if count > 1:
            raise ParameterError(f"the band {name!r} occurs {count} times; band names are unique")


def _refuse_synonyms(names: Iterable[str]) -> None:
    meant: dict[str, str] = {}
    for name in names:
        twin = meant.setdefault(canonical_filter_name(name), name)
        if twin != name:
            raise ParameterError(f"the bands {twin!r} and {name!r} are the same filter")


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class BandQuadrature:
    """Nodes and weights that turn a spectrum into AB band averages.

    The photon-counting mean of a band is
    ``f_nu = int f_nu T dln(lam) / int T dln(lam) = sum_q weight_q f_nu(wave_q)``.

    Attributes
    ----------
    wave : ArrayLike
        Wavelengths (n_band, n_q) [Angstrom], observed frame; each row increases, then repeats its
        last value as padding.
    weight : ArrayLike
        Weights (n_band, n_q) [dimensionless]; each row sums to 1, padding has weight 0.
    """

    wave: jax.Array
    weight: jax.Array

    def mean(self, flux: ArrayLike) -> jax.Array:
        """Return band averages (..., n_band) of f_nu (..., n_band, n_q) at the nodes.

        The unit of the result is the unit of `flux`, which is a flux per unit frequency.
        """
        return jnp.sum(jnp.asarray(flux) * self.weight, axis=-1)


def band_quadrature(filters: Iterable[Filter], resolution: float = 3000.0) -> BandQuadrature:
    """Build the nodes and weights that integrate spectra over bands.

    Every band has a grid uniform in ln(lambda) over its support. A node's weight is the integral
    of its hat function against the transmission, so that the rule is exact for spectra f_nu that
    are linear in ln(lambda) between nodes, however jagged the transmission is.

    Parameters
    ----------
    filters : iterable of Filter
        The bands; a `Photometry` is one.
    resolution : float
        Smallest lambda / (step in lambda) of the grids [dimensionless].

    Returns
    -------
    BandQuadrature
        With float64 NumPy leaves.

    Raises
    ------
    ParameterError
        If `resolution` is not positive and finite.
    """
    if not (math.isfinite(resolution) and resolution > 0.0):
        raise ParameterError(f"resolution is {resolution!r}; expected a positive number")
    rules = [_band_rule(band, resolution) for band in filters]
    n_q = max(wave.size for wave, _ in rules)
    wave = np.stack([np.pad(nodes, (0, n_q - nodes.size), mode="edge") for nodes, _ in rules])
    weight = np.stack([np.pad(weights, (0, n_q - weights.size)) for _, weights in rules])
    return BandQuadrature(wave=wave, weight=weight)  # type: ignore[arg-type]  # NumPy leaves


def _band_rule(band: Filter, resolution: float) -> tuple[np.ndarray, np.ndarray]:
    """Return wavelengths and weights of one band, both (n,)."""
    low, high = _support(band)
    n_cell = max(math.ceil((high - low) * resolution), 1)
    grid = np.linspace(low, high, n_cell + 1)
    ln_wave, measure = log_integration_nodes(band, grid)
    position = (ln_wave.ravel() - low) / (high - low) * n_cell
    left = np.clip(position.astype(int), 0, n_cell - 1)
    to_right = measure.ravel() * (position - left)
    weight = np.bincount(left, measure.ravel() - to_right, n_cell + 1)
    weight += np.bincount(left + 1, to_right, n_cell + 1)
    return np.exp(grid), weight / weight.sum()


def _support(band: Filter) -> tuple[float, float]:
    """Return the range of ln(lambda) outside which a share `_WING` of the integral lies."""
    knots = np.log(band.wave)
    _, measure = log_integration_nodes(band, knots)
    share = np.concatenate([[0.0], np.cumsum(measure.sum(axis=1))])
    low, high = np.interp([_WING, 1.0 - _WING], share / share[-1], knots)
    return float(low), float(high)


def ab_magnitude(flux: ArrayLike) -> jax.Array:
    """Return AB magnitudes, ``m = -2.5 log10(f_nu) - 48.60`` (Oke & Gunn 1983).

    Parameters
    ----------
    flux : ArrayLike
        f_nu (...) [erg/s/cm^2/Hz]; NaN results where it is negative, infinity where it is zero.
    """
    return -2.5 * jnp.log10(jnp.asarray(flux)) - AB_ZERO_POINT


def ab_flux(magnitude: ArrayLike) -> jax.Array:
    """Return f_nu (...) [erg/s/cm^2/Hz] of AB magnitudes (...) [mag]."""
    return 10.0 ** (-0.4 * (jnp.asarray(magnitude) + AB_ZERO_POINT))


def ab_flux_error(magnitude: ArrayLike, magnitude_error: ArrayLike) -> jax.Array:
    """Return the flux error of an AB magnitude, to first order.

    Parameters
    ----------
    magnitude, magnitude_error : ArrayLike
        AB magnitude and its 1-sigma error (...) [mag].

    Returns
    -------
    jax.Array
        1-sigma error of f_nu (...) [erg/s/cm^2/Hz], ``f_nu * magnitude_error * ln(10) / 2.5``.
    """
    return ab_flux(magnitude) * jnp.asarray(magnitude_error) * (math.log(10.0) / 2.5)
