"""Precision and compilation: switches that the user flips, never the import."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import jax

from tengri_ppl.runtime.memory import release_memory

__all__ = [
    "CompilationCount",
    "clear_cache",
    "count_compilations",
    "drop_programs",
    "enable_persistent_cache",
    "enable_x64",
]

_CACHE_VARIABLE = "TENGRI_PPL_JAX_CACHE_DIR"
_COMPILE_EVENT = "/jax/core/compile/backend_compile_duration"


def enable_x64(enable: bool = True) -> None:
    """Switch JAX to 64-bit floating-point numbers, or back.

    Call it before anything is built: models keep the precision that they were made in.
    """
    jax.config.update("jax_enable_x64", enable)


def enable_persistent_cache(directory: str | Path | None = None) -> Path:
    """Keep compiled programs on disk, so that a later process need not compile them.

    Parameters
    ----------
    directory : str or Path, optional
        By default the environment variable ``TENGRI_PPL_JAX_CACHE_DIR``, or
        ``~/.cache/tengri_ppl/jax``.

    Returns
    -------
    Path
        The directory.
    """
    path = _cache_directory(directory)
    path.mkdir(parents=True, exist_ok=True)
    jax.config.update("jax_compilation_cache_dir", str(path))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
    return path


def _cache_directory(directory: str | Path | None) -> Path:
    default = os.environ.get(_CACHE_VARIABLE) or Path.home() / ".cache" / "tengri_ppl" / "jax"
    return Path(directory or default).expanduser()


def clear_cache(directory: str | Path | None = None) -> int:
    """Delete the compiled programs on disk, for example those of an earlier version of JAX.

    Parameters
    ----------
    directory : str or Path, optional
        As in :func:`enable_persistent_cache`. Other files in it stay.

    Returns
    -------
    int
        Number of programs that were deleted.
    """
    programs = list(_cache_directory(directory).glob("jit*-cache"))
    for path in programs:
        path.unlink(missing_ok=True)
        path.with_name(path.name.removesuffix("-cache") + "-atime").unlink(missing_ok=True)
    return len(programs)


def drop_programs() -> None:
    """Drop all compiled programs from memory, the forward models' as well: ``tg.gc()``.

    For loops that make many models of different structure. What runs afterwards is compiled anew,
    or fetched from the disk after :func:`enable_persistent_cache`.
    """
    jax.clear_caches()
    gc.collect()
    release_memory()


@dataclass
class CompilationCount:
    """Number of programs that XLA compiled, or fetched from the persistent cache."""

    programs: int = 0


@contextmanager
def count_compilations() -> Iterator[CompilationCount]:
    """Count the programs that are compiled inside the ``with`` block."""
    count = CompilationCount()

    def listen(event: str, duration_secs: float, **_: str | int) -> None:
        if event == _COMPILE_EVENT:
            count.programs += 1

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield count
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
