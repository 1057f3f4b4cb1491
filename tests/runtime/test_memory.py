"""Memory that is freed goes back to the operating system."""

import sys
from pathlib import Path

import pytest

from tengri_ppl.runtime.memory import peak_rss_bytes, release_memory

PIECE, N_PIECES = 2_000, 50_000


def resident_bytes():
    """Resident set size of this process now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc, and is about glibc")
def test_small_pieces_are_given_back():
    pieces = [bytearray(b"x" * PIECE) for _ in range(N_PIECES)]
    keep = pieces[-1]
    full = resident_bytes()
    del pieces
    release_memory()
    assert len(keep) == PIECE
    assert full - resident_bytes() > 0.5 * PIECE * N_PIECES
    assert peak_rss_bytes() > 0.9 * full
