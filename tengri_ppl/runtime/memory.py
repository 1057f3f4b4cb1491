"""Memory of this process."""

from __future__ import annotations

import ctypes
import resource
import sys

__all__ = ["peak_rss_bytes", "release_memory"]


def peak_rss_bytes() -> int:
    """Return the largest resident set size that this process has had [bytes]."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def release_memory() -> None:
    """Give freed memory back to the operating system, where the C library can (glibc).

    A compiler's memory is freed in small pieces, which the allocator keeps: about 0.3 GB after the
    first fit of a process. It takes some milliseconds.
    """
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, TypeError, AttributeError):
        return
    trim(0)
