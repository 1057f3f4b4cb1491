"""Memory of this process: counted, given back when freed, and watched."""

import logging
import os
import subprocess
import sys

import pytest

from tengri_ppl.errors import MemoryBudgetError, ParameterError
from tengri_ppl.runtime.memory import (
    GIGABYTE,
    MemoryMonitor,
    peak_rss_bytes,
    release_memory,
    rss_bytes,
)

PIECE, N_PIECES = 2_000, 50_000


ALLOCATE = """
import numpy as np
from tengri_ppl.runtime.memory import peak_rss_bytes, rss_bytes
before = rss_bytes()
held = np.ones(50_000_000, dtype=np.uint8)
print(before, rss_bytes(), peak_rss_bytes())
"""


def test_resident_memory_follows_what_is_allocated():
    """In a process of its own: the memory that earlier tests freed would be used again."""
    command = [sys.executable, "-c", ALLOCATE]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    before, after, peak = (int(word) for word in done.stdout.split())
    assert after - before > 0.8 * 50_000_000
    assert peak >= after - 1e6


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc, and is about glibc")
def test_small_pieces_are_given_back():
    pieces = [bytearray(b"x" * PIECE) for _ in range(N_PIECES)]
    keep = pieces[-1]
    full = rss_bytes()
    del pieces
    release_memory()
    assert len(keep) == PIECE
    assert full - rss_bytes() > 0.5 * PIECE * N_PIECES
    assert peak_rss_bytes() > 0.9 * full


#: Blocks as glibc treats them, as we have it treat them, and as the environment says.
KEPT = [("glibc's", {}, True), ("ours", {}, False), ("ours", {"MALLOC_ARENA_MAX": "9"}, True)]

LARGE_BLOCKS = """
import sys
import numpy as np
from tengri_ppl.runtime.memory import release_memory, rss_bytes
if sys.argv[1] == "ours":
    release_memory()
np.ones(20_000_000, dtype=np.uint8)  # glibc keeps blocks of this size from here on
before = rss_bytes()
pieces = [(np.ones(4_000_000, np.uint8), np.ones(100_000, np.uint8)) for _ in range(50)]
full = rss_bytes()
between = [piece for _, piece in pieces]
del pieces
print((rss_bytes() - before) / (full - before))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc")
@pytest.mark.parametrize(("whose", "settings", "is_kept"), KEPT)
def test_large_blocks_are_given_back_at_once(whose, settings, is_kept):
    environment = {n: x for n, x in os.environ.items() if not n.startswith("MALLOC_")}
    command = [sys.executable, "-c", LARGE_BLOCKS, whose]
    done = subprocess.run(
        command,
        env={**environment, **settings},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert (float(done.stdout) > 0.5) == is_kept


def test_it_warns_once_and_stops(caplog):
    used = rss_bytes() / GIGABYTE
    with caplog.at_level(logging.WARNING, logger="tengri_ppl.memory"):
        MemoryMonitor(2.0 * used).check_memory_limit()
        assert not caplog.records
        nearly = MemoryMonitor(used / 0.9)
        nearly.check_memory_limit("a fit")
        nearly.check_memory_limit("a fit")
    assert [record.getMessage()[:10] for record in caplog.records] == ["a fit uses"]
    with pytest.raises(MemoryBudgetError, match=r"a fit was stopped, with .* GB in use"):
        MemoryMonitor(used / 1.2).check_memory_limit("a fit")


def test_statistics_are_logged_in_gigabytes(caplog):
    monitor = MemoryMonitor(10.0)
    stats = monitor.stats()
    assert stats["limit_gb"] == 10.0
    assert stats["used_share"] == pytest.approx(stats["rss_gb"] / 10.0, rel=0.1)
    with caplog.at_level(logging.INFO, logger="tengri_ppl.memory"):
        monitor.log_memory_stats("before the fit")
    assert caplog.records[0].getMessage().startswith("before the fit: rss_gb ")


def test_a_watched_report_is_still_called():
    seen = []
    MemoryMonitor(1000.0).watched(lambda *x: seen.append(x), "a fit")("sample", 1, 2, 0)
    MemoryMonitor(1000.0).watched(None, "a fit")("sample", 1, 2, 0)
    assert seen == [("sample", 1, 2, 0)]


def test_a_limit_must_be_positive():
    with pytest.raises(ParameterError, match="max_memory_gb=0"):
        MemoryMonitor(0)
