"""Memory of this process and of its devices: how much is used, and a limit that is kept."""

from __future__ import annotations

import ctypes
import logging
import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path

import jax

from tengri_ppl.errors import MemoryBudgetError, ParameterError

__all__ = [
    "GIGABYTE",
    "MemoryMonitor",
    "Report",
    "device_bytes",
    "peak_rss_bytes",
    "release_memory",
    "rss_bytes",
]

GIGABYTE = 1e9
_PAGES = Path("/proc/self/statm")
#: In glibc's malloc.h, and its settings in the environment.
_MMAP_THRESHOLD = -3
_ALLOCATOR_SETTINGS = {"GLIBC_TUNABLES", "MALLOC_ARENA_MAX", "MALLOC_MMAP_THRESHOLD_"}
_LARGE_BLOCK = 1_000_000
_log = logging.getLogger("tengri_ppl.memory")

#: Called with (phase, done, total, divergences) after every block of work.
Report = Callable[[str, int, int, int], None]


def rss_bytes() -> int:
    """Return the resident set size of this process [bytes]; the largest so far without /proc."""
    if not _PAGES.exists():
        return peak_rss_bytes()
    return int(_PAGES.read_text().split()[1]) * resource.getpagesize()


def peak_rss_bytes() -> int:
    """Return the largest resident set size that this process has had [bytes]."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def device_bytes() -> int:
    """Return the memory in use on the fullest device that counts it (GPUs do) [bytes]."""
    counts = [device.memory_stats() or {} for device in jax.local_devices()]
    return max(int(count.get("bytes_in_use", 0)) for count in counts)


def release_memory() -> None:
    """Give freed memory back to the operating system, where the C library can (glibc).

    A compiler's memory is freed in small pieces, which the allocator keeps: 0.2-0.4 GB for each
    large program. It takes some milliseconds. From the first call on blocks of a megabyte and more
    are given back when they are freed, where the allocator would keep them for each thread (0.2 GB
    on models of galaxies, more from fit to fit), unless the environment has settings for it.
    """
    try:
        library = ctypes.CDLL(None)
        trim, set_option = library.malloc_trim, library.mallopt
    except (OSError, TypeError, AttributeError):
        return
    if _ALLOCATOR_SETTINGS.isdisjoint(os.environ):
        set_option(_MMAP_THRESHOLD, _LARGE_BLOCK)
    trim(0)


class MemoryMonitor:
    """Watches the memory of this process and of its devices against a limit.

    Parameters
    ----------
    max_memory_gb : float
        Limit [GB = 10^9 bytes], of the process and of each device.
    warning, critical : float
        Shares of the limit above which it warns, once, and stops.

    Raises
    ------
    ParameterError
        If the limit is not positive.
    """

    def __init__(
        self, max_memory_gb: float, *, warning: float = 0.85, critical: float = 0.95
    ) -> None:
        if not max_memory_gb > 0.0:
            raise ParameterError(f"max_memory_gb={max_memory_gb}: expected more than 0")
        self.limit_bytes = max_memory_gb * GIGABYTE
        self._warning, self._critical = warning, critical
        self._has_warned = False

    @property
    def used_bytes(self) -> int:
        """Memory in use, of the process or of the fullest device, whichever is more."""
        return max(rss_bytes(), device_bytes())

    def stats(self) -> dict[str, float]:
        """Return resident, peak, device and limiting gigabytes, and the share of the limit."""
        return {
            "rss_gb": rss_bytes() / GIGABYTE,
            "peak_rss_gb": peak_rss_bytes() / GIGABYTE,
            "device_gb": device_bytes() / GIGABYTE,
            "limit_gb": self.limit_bytes / GIGABYTE,
            "used_share": self.used_bytes / self.limit_bytes,
        }

    def log_memory_stats(self, label: str = "") -> None:
        """Write the figures to the log ``tengri_ppl.memory``."""
        figures = ", ".join(f"{name} {value:.2f}" for name, value in self.stats().items())
        _log.info("%s: %s", label or "memory", figures)

    def check_memory_limit(self, what: str = "this run") -> None:
        """Warn or stop if there is too little memory left.

        Raises
        ------
        MemoryBudgetError
            Above the critical share of the limit.
        """
        share = self.used_bytes / self.limit_bytes
        if share > self._critical:
            release_memory()
            share = self.used_bytes / self.limit_bytes
        figures = f"{share * self.limit_bytes / GIGABYTE:.2f} of {self.limit_bytes / GIGABYTE:g} GB"
        if share > self._critical:
            raise MemoryBudgetError(f"{what} was stopped, with {figures} in use")
        if share > self._warning and not self._has_warned:
            self._has_warned = True
            _log.warning("%s uses %s", what, figures)

    def watched(self, report: Report | None, what: str) -> Report:
        """Return a report that checks the limit, after another one has been called."""

        def check(phase: str, done: int, total: int, divergences: int) -> None:
            if report is not None:
                report(phase, done, total, divergences)
            self.check_memory_limit(what)

        return check
