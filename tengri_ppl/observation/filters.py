"""Filter transmission curves: the 270 of astro-sedpy by name or alias, or the user's own."""

from __future__ import annotations

import functools
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from tengri_ppl.errors import DataError, ParameterError, suggest

__all__ = ["Filter", "canonical_filter_name", "list_filters", "load_filter"]

# Below these a curve "in Angstrom" is really in micron, or probably in nanometre [Angstrom].
_SHORTEST_BAND = 100.0
_LYMAN_LIMIT = 912.0

_TABLE_SUFFIXES = {".ecsv", ".fits", ".fit", ".vot", ".votable", ".xml"}

# What astronomers type in place of the first part of a sedpy name.
_PREFIX_ALIASES = {
    "acs_wfc_": ("acs_", "hst_acs_", "hst_acs_wfc_"),
    "decam_": ("des_",),
    "herschel_pacs_": ("pacs_", "pacs"),
    "herschel_spire_": ("spire_", "spire"),
    "hsc_": ("subaru_hsc_",),
    "jwst_niriss_": ("niriss_",),
    "lsst_baseline_": ("lsst_", "rubin_"),
    "panstarrs_": ("ps1_", "pan-starrs_"),
    "roman_wfi_": ("roman_",),
    "spitzer_irac_ch": ("irac_ch", "irac_", "irac", "spitzer_irac_"),
    "spitzer_mips_": ("mips_", "mips"),
    "twomass_": ("2mass_",),
    "ukirt_wfcam_": ("ukidss_", "wfcam_"),
    "vista_vircam_": ("vista_", "vircam_"),
    "vlt_isaac_": ("isaac_",),
    "vlt_vimos_": ("vimos_",),
    "wfc3_ir_": ("wfc3_", "hst_wfc3_", "hst_wfc3_ir_"),
    "wfc3_uvis_": ("wfc3_", "hst_wfc3_", "hst_wfc3_uvis_"),
}
_MIRI_BANDS = (
    "f560w",
    "f770w",
    "f1000w",
    "f1130w",
    "f1280w",
    "f1500w",
    "f1800w",
    "f2100w",
    "f2550w",
)
_OTHER_ALIASES = {
    "2mass_k": "twomass_Ks",
    "twomass_k": "twomass_Ks",
    "vista_k": "vista_vircam_Ks",
}


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
        If the curve has fewer than two points, is zero everywhere, has wavelengths that are not
        positive, or ends so blueward that its unit cannot be Angstrom.
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
        wave_unit: str = "Angstrom",
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
        wave_unit : str
            Unit of `wave`, as astropy spells it.

        Raises
        ------
        DataError
            As for `Filter`.
        ParameterError
            If `kind` or `wave_unit` is unknown.
        """
        angstrom = _to_angstrom(wave, wave_unit)
        response = np.asarray(transmission, dtype=float)
        if kind == "energy":
            # Scaled so that the numbers stay of order one; the normalisation is free.
            response = response * (np.nanmedian(angstrom) / angstrom)
        elif kind != "photon":
            raise ParameterError(f"kind is {kind!r}; expected 'photon' or 'energy'")
        return cls(name, angstrom, response)

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
            wave, transmission, stated_unit = _read_curve(path)
        else:
            wave, transmission, stated_unit = _table_curve(table)
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


def list_filters() -> list[str]:
    """Return the names of all filters that astro-sedpy holds, sorted."""
    return sorted(_sedpy_names())


def load_filter(name: str) -> Filter:
    """Load a filter of astro-sedpy.

    Parameters
    ----------
    name : str
        A name of `list_filters` in upper or lower case, or an alias such as ``sdss_u``,
        ``2mass_k``, ``irac_ch1``, ``acs_f814w`` or ``nircam_f200w``.

    Returns
    -------
    Filter
        The curve, under the name that was asked for.

    Raises
    ------
    ParameterError
        If there is no such filter.

    Examples
    --------
    >>> round(load_filter("sdss_r").pivot_wavelength)
    6175
    """
    wave, transmission = _sedpy_curve(canonical_filter_name(name))
    return Filter(name, wave, transmission)


def canonical_filter_name(name: str) -> str:
    """Return astro-sedpy's name of the filter that a name or an alias means.

    Parameters
    ----------
    name : str
        As in `load_filter`.

    Raises
    ------
    ParameterError
        If there is no such filter.
    """
    found = _aliases().get(str(name).strip().lower().replace(" ", "_"))
    if found is None:
        names = list_filters()
        hint = suggest(str(name), names) or "."
        raise ParameterError(
            f"filter {name!r} is unknown{hint} `tengri_ppl.list_filters()` lists all {len(names)}"
        )
    return found


@functools.cache
def _sedpy_names() -> tuple[str, ...]:
    from sedpy.observate import list_available_filters

    return tuple(list_available_filters())


@functools.cache
def _aliases() -> dict[str, str]:
    """Map every spelling, in lower case, to the name in sedpy."""
    names = _sedpy_names()
    aliases = dict(_OTHER_ALIASES)
    for name in names:
        for prefix, others in _PREFIX_ALIASES.items():
            if name.startswith(prefix):
                aliases.update(
                    {(other + name.removeprefix(prefix)).lower(): name for other in others}
                )
        if name.startswith("sdss_"):
            aliases[name.removesuffix("0")] = name
        band = name.removeprefix("jwst_")
        if name == f"jwst_{band}" and band.startswith("f"):
            camera = "miri" if band in _MIRI_BANDS else "nircam"
            aliases.update({f"{camera}_{band}": name, f"jwst_{camera}_{band}": name})
    return aliases | {name.lower(): name for name in names}


@functools.lru_cache(maxsize=512)
def _sedpy_curve(name: str) -> tuple[np.ndarray, np.ndarray]:
    from sedpy.observate import Filter as SedpyFilter

    curve = SedpyFilter(name)
    return np.array(curve.wavelength, dtype=float), np.array(curve.transmission, dtype=float)


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
    if wave[-1] < _SHORTEST_BAND:
        raise DataError(
            f"filter {name!r} ends at a wavelength of {wave[-1]:g}; expected Angstrom, "
            "this looks like micron: pass wave_unit='micron'"
        )
    if wave[-1] < _LYMAN_LIMIT:
        warnings.warn(
            f"filter {name!r} ends at {wave[-1]:g} Angstrom, below the Lyman limit; if its "
            "wavelengths are in nm or micron, pass wave_unit='nm' or 'micron'",
            stacklevel=5,
        )


def _to_angstrom(wave: Any, unit: str) -> np.ndarray:
    if isinstance(unit, str) and unit.lower() in ("angstrom", "a", "aa") and not _has_unit(wave):
        return np.asarray(wave, dtype=float)
    from astropy import units

    try:
        quantity = wave if _has_unit(wave) else units.Quantity(np.asarray(wave, float), unit)
        return np.asarray(quantity.to_value("Angstrom"), dtype=float)
    except (ValueError, TypeError) as error:
        raise ParameterError(
            f"wave_unit {unit!r} is no unit of length that astropy knows ({error}); "
            "expected for example 'Angstrom', 'nm' or 'micron'"
        ) from error


def _has_unit(values: Any) -> bool:
    return hasattr(values, "to_value")


def _read_curve(path: Path) -> tuple[np.ndarray, np.ndarray, str]:
    if not path.is_file():
        raise DataError(
            f"there is no filter file {str(path)!r} "
            "(a filter that astro-sedpy knows is loaded with load_filter(name))"
        )
    if path.suffix.lower() in _TABLE_SUFFIXES:
        from astropy.table import Table

        return _table_curve(Table.read(path))
    points = np.array(_read_points(path), dtype=float).reshape(-1, 2)
    return points[:, 0], points[:, 1], "Angstrom"


def _read_points(path: Path) -> list[tuple[float, float]]:
    """Read two columns of text; lines of words before the first number are a header."""
    points: list[tuple[float, float]] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        fields = line.split("#")[0].replace(",", " ").split()
        try:
            if fields:
                points.append((float(fields[0]), float(fields[1])))
        except (ValueError, IndexError) as error:
            if points:
                raise DataError(
                    f"{path}, line {number}: expected wavelength and transmission, not {line!r}"
                ) from error
    return points


def _table_curve(table: Any) -> tuple[np.ndarray, np.ndarray, str]:
    if len(getattr(table, "colnames", ())) < 2:
        raise DataError(
            "expected a path or an astropy Table of two columns, wavelength and transmission"
        )
    columns = [table[name] for name in table.colnames[:2]]
    unit = getattr(columns[0], "unit", None)
    wave, transmission = (_plain_column(column) for column in columns)
    return wave, transmission, "Angstrom" if unit is None else str(unit)


def _plain_column(column: Any) -> np.ndarray:
    """Return a column without unit, with NaN where it is masked."""
    values: Any = np.ma.asarray(getattr(column, "value", column), dtype=float)
    return np.asarray(np.ma.filled(values, np.nan))
