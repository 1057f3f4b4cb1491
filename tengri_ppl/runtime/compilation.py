"""Precision and compilation: switches that the user flips, never the import."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import jax

from tengri_ppl.runtime.memory import release_memory

__all__ = [
    "CompilationCount",
    "compiled_bytes",
    "count_compilations",
    "drop_programs",
    "enable_x64",
]

_COMPILE_EVENT = "/jax/core/compile/backend_compile_duration"


def enable_x64(enable: bool = True) -> None:
    """Switch JAX to 64-bit floating-point numbers, or back.

    Call it before anything is built: models keep the precision that they were made in.
    """
    jax.config.update("jax_enable_x64", enable)


def drop_programs() -> None:
    """Drop all compiled programs from memory, the forward models' as well: ``tg.gc()``.

    For loops that make many models of different structure. What runs afterwards is compiled anew,
    or fetched from the disk after :func:`enable_persistent_cache`.
    """
    jax.clear_caches()
    gc.collect()
    release_memory()


def compiled_bytes(lowered: jax.stages.Lowered) -> int:
    """Compile a program; return the bytes of its temporary arrays and of its results."""
    memory: Any = lowered.compile().memory_analysis()
    release_memory()
    return int(memory.temp_size_in_bytes + memory.output_size_in_bytes)


@dataclass
class CompilationCount:
    """Programs that XLA compiled, or fetched from the persistent cache.

    Attributes
    ----------
    names : list of str
        Of the functions, in the order in which they were ready.
    """

    names: list[str] = field(default_factory=list)

    @property
    def programs(self) -> int:
        """Number of programs."""
        return len(self.names)


@contextmanager
def count_compilations() -> Iterator[CompilationCount]:
    """Count the programs that are compiled inside the ``with`` block."""
    count = CompilationCount()

    def listen(event: str, duration_secs: float, **details: str | int) -> None:
        if event == _COMPILE_EVENT:
            count.names.append(str(details.get("fun_name", "")))

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield count
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
