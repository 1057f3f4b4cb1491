"""Posteriors on disk: netCDF-4, which is HDF5, written as a whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tengri_ppl._arviz import load_arviz
from tengri_ppl.errors import DataError
from tengri_ppl.runtime.files import replacing

__all__ = ["read_inference_data", "write_inference_data"]

_ENGINE = "h5netcdf"
_SUFFIXES = (".h5", ".hdf5", ".nc")


def write_inference_data(inference_data: Any, path: str | Path) -> Path:
    """Write an InferenceData; ``arviz.from_netcdf`` opens the file.

    The file is written under another name in the same directory and then renamed, so that a
    failure leaves what was there before.

    Parameters
    ----------
    inference_data : arviz.InferenceData
        What to write.
    path : str or Path
        The file, ending in ``.h5``, ``.hdf5`` or ``.nc``: all the same format.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    DataError
        If the name ends in something else or the directory does not exist.
    """
    path = Path(path).expanduser()
    if path.suffix not in _SUFFIXES:
        raise DataError(f"{path}: expected a file name that ends in {', '.join(_SUFFIXES)}")
    with replacing(path) as temporary:
        inference_data.to_netcdf(str(temporary), engine=_ENGINE)
    return path


def read_inference_data(path: str | Path) -> Any:
    """Read an InferenceData into memory; the file is closed afterwards.

    Raises
    ------
    DataError
        If the file is missing, is not netCDF/HDF5, or has no group ``posterior``.
    """
    az = load_arviz()
    path = Path(path).expanduser()
    if not path.is_file():
        raise DataError(f"{path} does not exist; Posterior.save(path) writes such files")
    try:
        with az.rc_context({"data.load": "eager"}):
            stored = az.InferenceData.from_netcdf(str(path), engine=_ENGINE)
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise DataError(f"{path} cannot be read as netCDF-4/HDF5 ({error})") from error
    if "posterior" not in stored.groups():
        found = ", ".join(stored.groups()) or "none"
        raise DataError(f"{path} holds no posterior (groups: {found}); was it made by save()?")
    return stored
