"""Filter transmission curves."""

from __future__ import annotations

import functools
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from tengri_ppl.errors import DataError, ParameterError
from tengri_ppl.observation.filter_files import has_unit, read_curve, table_curve, to_angstrom

__all__ = ["Filter", "log_integration_nodes"]

# Below these a curve "in Angstrom" is really in micron, or probably in nanometre [Angstrom].
_SHORTEST_BAND = 100.0
_LYMAN_LIMIT = 912.0


@dataclass(frozen=True, eq=False)
class Filter:
    """A photon-counting transmission curve.

    The curve is cleaned when it is made: points that are not finite are dropped, the rest sorted,
    repeated wavelengths dropped, negative transmissions set to zero, and the zero wings cut off up
    to one bounding zero. Between its points the curve is a straight line, beyond its ends zero.
    Its normalisation does not matter: only weighted means are formed with it.

    Parameters
    ----------
    name : str
        Name of the band, as the user writes it.
    wave : np.ndarray
        Wavelengths (n,) [Angstrom], strictly increasing.
    transmission : np.ndarray
        Detector signal per photon (n,) [dimensionless], not negative.

    Raises
    ------
    DataError
        If the curve has fewer than two points, is zero everywhere or has wavelengths that are not
        positive.
    """

    name: str
    wave: np.ndarray
    transmission: np.ndarray

    def __post_init__(self) -> None:
        """Clean and freeze the curve."""
        wave, transmission = _clean_curve(self.name, self.wave, self.transmission)
        wave.setflags(write=False)
        transmission.setflags(write=False)
        object.__setattr__(self, "wave", wave)
        object.__setattr__(self, "transmission", transmission)

    @classmethod
    def from_arrays(
        cls,
        name: str,
        wave: ArrayLike,
        transmission: ArrayLike,
        kind: Literal["photon", "energy"] = "photon",
        wave_unit: str | None = None,
    ) -> Filter:
        """Make a filter from a curve in memory.

        Parameters
        ----------
        name : str
            Name of the band.
        wave : ArrayLike
            Wavelengths (n,) [`wave_unit`]; an astropy ``Quantity`` keeps its own unit.
        transmission : ArrayLike
            Transmission (n,) [dimensionless], in any normalisation.
        kind : {"photon", "energy"}
            What the curve multiplies: the photon rate or the energy rate. An energy-counting
            response is turned into a photon-counting one, ``T = R / lambda``.
        wave_unit : str, optional
            Unit of `wave` as astropy spells it, of length, frequency or photon energy. Without it
            Angstrom is meant, and a curve that looks like micron or nanometre is not let pass.

        Raises
        ------
        DataError
            As for `Filter`, or if the unit cannot be Angstrom.
        ParameterError
            If `kind` or `wave_unit` is unknown.
        """
        angstrom = to_angstrom(wave, wave_unit or "Angstrom")
        response = np.asarray(transmission, dtype=float)
        if kind == "energy":
            # Scaled so that the numbers stay of order one; the normalisation is free.
            response = response * (np.nanmedian(angstrom) / angstrom)
        elif kind != "photon":
            raise ParameterError(f"kind is {kind!r}; expected 'photon' or 'energy'")
        band = cls(name, angstrom, response)
        if wave_unit is None and not has_unit(wave):
            _check_unit(band)
        return band

    @classmethod
    def from_table(
        cls,
        table: Any,
        name: str | None = None,
        wave_unit: str | None = None,
        kind: Literal["photon", "energy"] = "photon",
    ) -> Filter:
        """Make a filter from the first two columns of a file or an astropy ``Table``.

        Parameters
        ----------
        table : str, Path or astropy.table.Table
            Wavelength and transmission. Files are two columns of text (separated by blanks or
            commas, ``#`` starts a comment) or, by their suffix, ECSV, FITS or VOTable.
        name : str, optional
            Name of the band; the stem of the file name if not given.
        wave_unit : str, optional
            Unit of the wavelength column; the unit that the column states, else Angstrom.
        kind : {"photon", "energy"}
            As in `from_arrays`.

        Raises
        ------
        DataError
            If the file is missing, is not two columns of numbers, or holds no valid curve.
        ParameterError
            If a ``Table`` comes without a name, or a unit is unknown.
        """
        if isinstance(table, str | Path):
            path = Path(table)
            name = path.stem if name is None else name
            wave, transmission, stated_unit = read_curve(path)
        else:
            wave, transmission, stated_unit = table_curve(table)
        if name is None:
            raise ParameterError("a filter made from a table needs a name: pass name='...'")
        return cls.from_arrays(name, wave, transmission, kind, wave_unit or stated_unit)

    @property
    def wave_min(self) -> float:
        """Blue end of the curve [Angstrom]."""
        return float(self.wave[0])

    @property
    def wave_max(self) -> float:
        """Red end of the curve [Angstrom]."""
        return float(self.wave[-1])

    @functools.cached_property
    def pivot_wavelength(self) -> float:
        r"""Pivot wavelength, ``sqrt(int T lam dlam / int T/lam dlam)`` [Angstrom]."""
        return float(np.sqrt(self._moment(2) / self._moment(0)))

    @functools.cached_property
    def effective_width(self) -> float:
        """Width of the rectangle of equal area and height, ``int T dlam / max(T)`` [Angstrom]."""
        return float(self._moment(1) / self.transmission.max())

    def _moment(self, power: int) -> float:
        """Return ``int T lam^power dln(lam)``."""
        edges = np.linspace(np.log(self.wave_min), np.log(self.wave_max), 65)
        ln_wave, measure = log_integration_nodes(self, edges)
        return float(np.sum(measure * np.exp(power * ln_wave)))

    def __repr__(self) -> str:
        """Name the band and say where it lies."""
        return (
            f"Filter({self.name!r}, pivot {self.pivot_wavelength:.0f} A, {self.wave.size} points)"
        )


def log_integration_nodes(band: Filter, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return nodes and measure of integrals ``int T g(ln lam) dln(lam)`` over a stretch of a band.

    The stretch is cut at `edges` and at the curve's own points, between which T is linear in
    wavelength; each cell carries three Gauss-Legendre nodes, so that the sum of ``measure * g`` is
    exact to rounding for every g that is smooth between the edges.

    Parameters
    ----------
    band : Filter
        The transmission curve T.
    edges : np.ndarray
        Increasing ln(wavelength / Angstrom) within the curve's range (n_edge,).

    Returns
    -------
    tuple of np.ndarray
        ln(wavelength / Angstrom) and measure, both (n_cell, 3).
    """
    knots = np.log(band.wave)
    inside = knots[(knots > edges[0]) & (knots < edges[-1])]
    cuts = np.union1d(edges, inside)
    nodes, weights = np.polynomial.legendre.leggauss(3)
    half = 0.5 * np.diff(cuts)[:, None]
    ln_wave = 0.5 * (cuts[1:] + cuts[:-1])[:, None] + half * nodes
    transmission = np.interp(np.exp(ln_wave), band.wave, band.transmission)
    return ln_wave, half * weights * transmission


def _clean_curve(
    name: str, wave: ArrayLike, transmission: ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
    lam, response = np.asarray(wave, dtype=float), np.asarray(transmission, dtype=float)
    if lam.ndim != 1 or lam.shape != response.shape:
        raise DataError(
            f"filter {name!r}: wave {lam.shape} and transmission {response.shape} "
            "have to be one-dimensional and of equal length"
        )
    finite = np.isfinite(lam) & np.isfinite(response)
    lam, first = np.unique(lam[finite], return_index=True)
    response = np.clip(response[finite][first], 0.0, None)
    _check_curve(name, lam, response)
    positive = np.flatnonzero(response)
    keep = slice(max(positive[0] - 1, 0), positive[-1] + 2)
    return lam[keep].copy(), response[keep].copy()


def _check_curve(name: str, wave: np.ndarray, transmission: np.ndarray) -> None:
    if wave.size < 2:
        raise DataError(
            f"filter {name!r} has {wave.size} finite points of distinct wavelength; "
            "a transmission curve needs at least 2"
        )
    if wave[0] <= 0.0:
        raise DataError(f"filter {name!r} has a wavelength of {wave[0]:g}; expected > 0 Angstrom")
    if not np.any(transmission > 0.0):
        raise DataError(f"filter {name!r}: the transmission is nowhere positive")


def _check_unit(band: Filter) -> None:
    """Refuse or doubt wavelengths that are said to be in Angstrom by default."""
    if band.wave_max < _SHORTEST_BAND:
        raise DataError(
            f"filter {band.name!r} ends at a wavelength of {band.wave_max:g}; expected Angstrom, "
            "this looks like micron: pass wave_unit='micron' (or 'Angstrom', for an X-ray band)"
        )
    if band.wave_max < _LYMAN_LIMIT:
        warnings.warn(
            f"filter {band.name!r} ends at {band.wave_max:g} Angstrom, below the Lyman limit; if "
            "its wavelengths are in nm or micron, pass wave_unit='nm' or 'micron'",
            stacklevel=3,
        )
