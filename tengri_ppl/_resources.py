"""Where the data files that ship with the package lie."""

from __future__ import annotations

from pathlib import Path

from tengri_ppl.errors import DataError

_PACKAGE = Path(__file__).resolve().parent
_ROOTS = (_PACKAGE / "_data", _PACKAGE.parent / "data")


def resource_path(name: str) -> Path:
    """Return the path of a shipped data file, from the wheel or from a source checkout.

    Parameters
    ----------
    name : str
        Path below ``data/``, for example ``"igm/inoue2014.ecsv"``.

    Raises
    ------
    DataError
        If the installation lacks the file.
    """
    for root in _ROOTS:
        path = root / name
        if path.is_file():
            return path
    raise DataError(
        f"the shipped data file {name!r} is missing (looked in {', '.join(map(str, _ROOTS))}); "
        "reinstall tengri_ppl, or rebuild it with the scripts in data/"
    )
