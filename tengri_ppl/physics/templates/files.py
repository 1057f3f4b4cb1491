"""Template files on disk: reading with checks, and writing as a whole or not at all."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import h5py
import numpy as np

from tengri_ppl.errors import DataError
from tengri_ppl.physics.hdf5 import check_axis, read_text
from tengri_ppl.physics.templates.grid import NORMALISATIONS, TemplateAxis, TemplateFile
from tengri_ppl.runtime.files import replacing

__all__ = ["load_templates", "save_templates"]

_FORMAT, _VERSION = "tengri_ppl templates", 1
_TEXTS = ("name", "kind", "normalisation", "reference", "licence", "description")


def load_templates(path: str | Path) -> TemplateFile:
    """Read and check a template file; one that has not changed is read only once.

    Raises
    ------
    DataError
        If the file is missing, is no template file, or has a wrong shape, unit, order or value;
        the message names the dataset.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise DataError(
            f"{path} does not exist; `tengri-ppl data import` and save_templates() write such files"
        )
    return _load(path.resolve(), path.stat().st_mtime_ns)


@lru_cache(maxsize=8)
def _load(path: Path, stamp: int) -> TemplateFile:
    """Read a file; the stamp tells when to read it again."""
    try:
        with h5py.File(path, "r") as file:
            content = _read(file, path)
    except OSError as error:
        raise DataError(f"{path} can't be read as HDF5 ({error})") from None
    _check(content, path)
    return content


def _read(file: h5py.File, path: Path) -> TemplateFile:
    """Read everything as it is."""
    if read_text(file.attrs.get("format", "")) != _FORMAT or file.attrs.get("version") != _VERSION:
        raise DataError(
            f"{path} is no template file: expected the attributes format={_FORMAT!r} and "
            f"version={_VERSION}; `tengri-ppl data import` turns other files into one"
        )
    wave, spectra = _dataset(file, "wave", path), _dataset(file, "spectra", path)
    unit = read_text(wave.attrs.get("unit", ""))
    if unit != "Angstrom":
        raise DataError(f"'wave' in {path} has the unit {unit!r}; 'Angstrom' is expected")
    names = [read_text(name) for name in spectra.attrs.get("axes", ())]
    return TemplateFile(
        wave=_numbers(wave, path),
        spectra=_numbers(spectra, path),
        axes=tuple(_read_axis(name, _dataset(file, f"axes/{name}", path), path) for name in names),
        **{name: read_text(file.attrs.get(name, "")) for name in _TEXTS},
    )


def _dataset(file: h5py.File, name: str, path: Path) -> h5py.Dataset:
    if not isinstance(file.get(name), h5py.Dataset):
        raise DataError(f"{path} lacks the dataset {name!r}")
    return file[name]


def _numbers(dataset: h5py.Dataset, path: Path) -> np.ndarray:
    if dataset.dtype.kind not in "fiu":
        raise DataError(f"{dataset.name!r} in {path} is of type {dataset.dtype}, not of numbers")
    return np.asarray(dataset[()], dtype=float)


def _read_axis(name: str, dataset: h5py.Dataset, path: Path) -> TemplateAxis:
    default = np.atleast_1d(dataset.attrs.get("default", ())).tolist()
    return TemplateAxis(
        name=name,
        values=_numbers(dataset, path),
        unit=read_text(dataset.attrs.get("unit", "1")),
        description=read_text(dataset.attrs.get("description", "")),
        default=tuple(default) if len(default) == 2 else default[0] if default else None,
    )


def _check(content: TemplateFile, path: Path) -> None:
    """Check everything that a component relies on."""
    if content.normalisation not in NORMALISATIONS:
        raise DataError(
            f"the attribute 'normalisation' of {path} is {content.normalisation!r}; expected one "
            f"of {', '.join(map(repr, NORMALISATIONS))}"
        )
    if not content.kind:
        raise DataError(f"{path} lacks the attribute 'kind', for example 'dust_emission'")
    check_axis("wave", content.wave, path)
    if content.wave[0] <= 0.0:
        raise DataError(f"'wave' in {path} begins at {content.wave[0]:g}; expected Angstrom, > 0")
    for axis in content.axes:
        check_axis(f"axes/{axis.name}", axis.values, path)
    shape = (*(len(axis.values) for axis in content.axes), len(content.wave))
    if content.spectra.shape != shape:
        names = ", ".join((*(axis.name for axis in content.axes), "wave"))
        raise DataError(
            f"'spectra' in {path} has the shape {content.spectra.shape}; ({names}) have {shape}"
        )
    _check_spectra(content.spectra, path)


def _check_spectra(spectra: np.ndarray, path: Path) -> None:
    bad = np.argwhere(~(np.isfinite(spectra) & (spectra >= 0.0)))
    if len(bad):
        index = tuple(int(i) for i in bad[0])
        raise DataError(
            f"'spectra' in {path} has {len(bad)} values that are negative or not finite, the first "
            f"at index {index}: {spectra[index]}"
        )
    dark = np.argwhere(~np.any(spectra > 0.0, axis=-1))
    if len(dark):
        index = tuple(int(i) for i in dark[0])
        raise DataError(f"'spectra' in {path} is zero at all wavelengths for the template {index}")


def save_templates(path: str | Path, content: TemplateFile, *, dtype: str = "float64") -> Path:
    """Check templates and write them to a file; a failure leaves what was there before.

    Parameters
    ----------
    path : str or Path
        The file to write.
    content : TemplateFile
        What to write.
    dtype : {"float64", "float32"}
        Precision of the spectra in the file.

    Raises
    ------
    DataError
        If the content is not valid or the directory does not exist.
    """
    path = Path(path).expanduser()
    _check(content, path)
    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        _write(file, content, dtype)
    return path


def _write(file: h5py.File, content: TemplateFile, dtype: str) -> None:
    file.attrs.update({"format": _FORMAT, "version": _VERSION})
    file.attrs.update({name: getattr(content, name) for name in _TEXTS})
    wave = file.create_dataset("wave", data=content.wave, track_times=False)
    wave.attrs["unit"] = "Angstrom"
    spectra = file.create_dataset(
        "spectra",
        data=content.spectra.astype(dtype),
        compression="gzip",
        compression_opts=9,
        shuffle=True,
        track_times=False,
    )
    spectra.attrs["unit"] = "Lsun/Hz" if content.normalisation == "absolute" else "relative L_nu"
    spectra.attrs["axes"] = [axis.name for axis in content.axes]
    for axis in content.axes:
        values = file.create_dataset(f"axes/{axis.name}", data=axis.values, track_times=False)
        values.attrs.update({"unit": axis.unit, "description": axis.description})
        if axis.default is not None:
            values.attrs["default"] = axis.default
