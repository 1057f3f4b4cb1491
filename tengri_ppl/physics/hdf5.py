"""Reading HDF5 files with errors that name the dataset: what the readers of grids share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tengri_ppl.errors import DataError, suggest

__all__ = ["check_axis", "check_values", "read_dataset", "read_text"]


def read_dataset(file: h5py.File, name: str, path: Path) -> np.ndarray:
    """Return one dataset as a floating-point array: float32 stays so, all else is float64."""
    if name not in file or not isinstance(file[name], h5py.Dataset):
        raise DataError(
            f"{path} has no dataset {name!r}; it holds {', '.join(sorted(file)) or 'nothing'}"
            + suggest(name, file)
        )
    dataset = file[name]
    if dataset.dtype.kind not in "fiu":
        raise DataError(f"{name!r} in {path} has the type {dataset.dtype}; numbers are expected")
    values = np.asarray(dataset[()])
    dtype = np.float32 if values.dtype.kind == "f" and values.dtype.itemsize <= 4 else np.float64
    return values.astype(dtype)


def read_text(value: Any) -> str:
    """Return an HDF5 attribute as a string."""
    return value.decode() if isinstance(value, bytes) else str(value)


def check_axis(name: str, values: np.ndarray, path: Path) -> None:
    """Refuse an axis that is not one-dimensional, finite and increasing."""
    if values.ndim != 1 or len(values) < 2:
        raise DataError(
            f"{name!r} in {path} has the shape {values.shape}; an axis has one dimension and two "
            "or more values"
        )
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise DataError(
            f"{name!r} in {path} has {len(bad)} values that are not finite, the first at index "
            f"{bad[0]} ({values[bad[0]]})"
        )
    bad = np.flatnonzero(np.diff(values) <= 0.0)
    if len(bad):
        raise DataError(
            f"{name!r} in {path} must increase strictly, but {values[bad[0]]:g} at index {bad[0]} "
            f"is followed by {values[bad[0] + 1]:g}"
        )


def check_values(name: str, values: np.ndarray, path: Path) -> None:
    """Refuse values that are not finite or are negative."""
    for bad, what in ((~np.isfinite(values), "not finite"), (values < 0.0, "negative")):
        if bad.any():
            index = tuple(int(i) for i in np.argwhere(bad)[0])
            raise DataError(
                f"{name!r} in {path} has {int(bad.sum())} values that are {what}, the first at "
                f"index {index}: {values[index]}"
            )
