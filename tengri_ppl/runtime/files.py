"""Files that are written as a whole or not at all."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tengri_ppl.errors import DataError

__all__ = ["check_directory", "replacing"]


def check_directory(path: Path) -> None:
    """Raise a DataError if the directory of a file to be written does not exist."""
    if not path.parent.is_dir():
        raise DataError(f"{path}: the directory {path.parent} does not exist; create it first")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name beside a file; what is written there takes the file's place.

    If the block fails, or the process is killed, the file stays what it was.

    Parameters
    ----------
    path : Path
        The file.

    Yields
    ------
    Path
        Where to write.

    Raises
    ------
    DataError
        If the directory does not exist.
    """
    check_directory(path)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
