"""Compiled programs on disk: JAX's persistent cache, within a size and without broken entries."""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass
from pathlib import Path

import jax
from filelock import FileLock
from jax.experimental.compilation_cache.compilation_cache import reset_cache

from tengri_ppl.errors import ParameterError
from tengri_ppl.runtime.memory import GIGABYTE

__all__ = ["CacheStats", "cache_stats", "clear_cache", "enable_persistent_cache"]

_VARIABLES = ("TENGRI_PPL_JAX_CACHE_DIR", "TENGRI_JAX_CACHE_DIR")
_MAX_SIZE_GB = 2.0
_LEAST_COMPILE_TIME_S = 0.3
#: JAX writes a program, then the time of its last use, both under this lock.
_PROGRAM, _LAST_USE, _LOCK = "-cache", "-atime", ".lockfile"
_CHECKED = ".checked"
_ZSTANDARD = b"\x28\xb5\x2f\xfd"
#: The directory of the last call of :func:`enable_persistent_cache` in this process.
_in_use: list[Path] = []


@dataclass(frozen=True)
class CacheStats:
    """What a cache holds.

    Attributes
    ----------
    directory : Path
        Where it is.
    n_programs : int
        Compiled programs in it.
    size_gb : float
        Their size [GB].
    """

    directory: Path
    n_programs: int
    size_gb: float


def enable_persistent_cache(
    directory: str | Path | None = None, *, max_size_gb: float = _MAX_SIZE_GB
) -> Path:
    """Keep compiled programs on disk, so that a later process need not compile them.

    Several processes may share a directory. Entries that a killed process left unfinished, or that
    can't be read, are deleted, so that they are made again. A directory that was in use before is
    left as it is.

    Parameters
    ----------
    directory : str or Path, optional
        By default what the environment variable ``TENGRI_PPL_JAX_CACHE_DIR`` or
        ``TENGRI_JAX_CACHE_DIR`` says, or ``~/.cache/tengri_ppl/jax``.
    max_size_gb : float
        When the programs would take more than this [GB], those that have not been used for the
        longest time are deleted.

    Returns
    -------
    Path
        The directory.

    Raises
    ------
    ParameterError
        If the size is not positive.
    """
    if not max_size_gb > 0.0:
        raise ParameterError(f"max_size_gb={max_size_gb}: expected more than 0")
    path = Path(directory or _default_directory()).expanduser()
    path.mkdir(parents=True, exist_ok=True)
    _delete_broken(path)
    jax.config.update("jax_compilation_cache_dir", str(path))
    jax.config.update("jax_compilation_cache_max_size", int(max_size_gb * GIGABYTE))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", _LEAST_COMPILE_TIME_S)
    # JAX looks at the directory only once
    reset_cache()
    _in_use[:] = [path]
    return path


def cache_stats(directory: str | Path | None = None) -> CacheStats:
    """Count the compiled programs on disk.

    Parameters
    ----------
    directory : str or Path, optional
        By default that of :func:`enable_persistent_cache` in this process, or its default.
    """
    path = _directory_in_use(directory)
    sizes = [program.stat().st_size for program in _programs(path)]
    return CacheStats(path, len(sizes), sum(sizes) / GIGABYTE)


def clear_cache(directory: str | Path | None = None) -> int:
    """Delete the compiled programs on disk, for example those of an earlier version of JAX.

    Parameters
    ----------
    directory : str or Path, optional
        By default that of :func:`enable_persistent_cache` in this process, or its default. Other
        files in it stay.

    Returns
    -------
    int
        Number of programs that were deleted.
    """
    programs = _programs(_directory_in_use(directory))
    for program in programs:
        _delete(program)
    return len(programs)


def _default_directory() -> str | Path:
    named = filter(None, map(os.environ.get, _VARIABLES))
    return next(named, Path.home() / ".cache" / "tengri_ppl" / "jax")


def _directory_in_use(directory: str | Path | None) -> Path:
    return Path(directory or next(iter(_in_use), _default_directory())).expanduser()


def _programs(path: Path) -> list[Path]:
    return list(path.glob(f"jit*{_PROGRAM}"))


def _last_use(program: Path) -> Path:
    return program.with_name(program.name.removesuffix(_PROGRAM) + _LAST_USE)


def _delete(program: Path) -> None:
    program.unlink(missing_ok=True)
    _last_use(program).unlink(missing_ok=True)


def _delete_broken(path: Path) -> None:
    """Delete broken entries among those that were written since the last check."""
    stamp = path / _CHECKED
    with FileLock(path / _LOCK):
        checked = stamp.stat().st_mtime_ns if stamp.exists() else 0
        for program in _programs(path):
            if program.stat().st_mtime_ns >= checked and not _is_whole(program):
                _delete(program)
        stamp.touch()


def _is_whole(program: Path) -> bool:
    """Whether an entry was written to its end, and can be read."""
    if not _last_use(program).exists():
        return False
    data = program.read_bytes()
    if data.startswith(_ZSTANDARD):
        return True
    try:
        zlib.decompress(data)
    except zlib.error:
        return False
    return True
