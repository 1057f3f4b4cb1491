"""Transmission curves in files and tables, and their units."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tengri_ppl.errors import DataError, ParameterError

__all__ = ["has_unit", "read_curve", "table_curve", "to_angstrom"]

_TABLE_SUFFIXES = {".ecsv", ".fits", ".fit", ".vot", ".votable", ".xml"}


def read_curve(path: Path) -> tuple[np.ndarray, np.ndarray, str | None]:
    """Return wavelengths, transmissions and the stated unit of a file."""
    if not path.is_file():
        raise DataError(
            f"there is no filter file {str(path)!r} "
            "(a filter that astro-sedpy knows is loaded with load_filter(name))"
        )
    if path.suffix.lower() in _TABLE_SUFFIXES:
        from astropy.table import Table

        return table_curve(Table.read(path))
    points = np.array(_read_points(path), dtype=float).reshape(-1, 2)
    return points[:, 0], points[:, 1], None


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


def table_curve(table: Any) -> tuple[np.ndarray, np.ndarray, str | None]:
    """Return wavelengths, transmissions and the stated unit of an astropy table."""
    if len(getattr(table, "colnames", ())) < 2:
        raise DataError(
            "expected a path or an astropy Table of two columns, wavelength and transmission"
        )
    columns = [table[name] for name in table.colnames[:2]]
    unit = getattr(columns[0], "unit", None)
    wave, transmission = (_plain_column(column) for column in columns)
    return wave, transmission, None if unit is None else str(unit)


def _plain_column(column: Any) -> np.ndarray:
    """Return a column without unit, with NaN where it is masked."""
    values: Any = np.ma.asarray(getattr(column, "value", column), dtype=float)
    return np.asarray(np.ma.filled(values, np.nan))


def to_angstrom(wave: Any, unit: str) -> np.ndarray:
    """Return wavelengths [Angstrom] for values in any spectral unit."""
    if isinstance(unit, str) and unit.lower() in ("angstrom", "a", "aa") and not has_unit(wave):
        return np.asarray(wave, dtype=float)
    from astropy import units

    try:
        quantity = wave if has_unit(wave) else units.Quantity(np.asarray(wave, float), unit)
        return np.asarray(quantity.to_value("Angstrom", units.spectral()), dtype=float)
    except (ValueError, TypeError) as error:
        raise ParameterError(
            f"wave_unit {unit!r} is no unit of length, frequency or energy that astropy knows "
            f"({error}); expected for example 'Angstrom', 'nm' or 'keV'"
        ) from error


def has_unit(values: Any) -> bool:
    """Tell whether values carry a unit of their own."""
    return hasattr(values, "to_value")
