"""A progress bar for long runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tengri_ppl.runtime.memory import MemoryMonitor, Report

__all__ = ["progress_bar", "progress_report"]


@contextmanager
def progress_report(title: str, show: bool, max_memory_gb: float | None) -> Iterator[Report | None]:
    """Yield what engines call after every block: a progress bar, a watch on memory, or both.

    Yields None where neither is wanted.
    """
    with progress_bar(title, enabled=show) as report:
        if max_memory_gb is None:
            yield report
        else:
            yield MemoryMonitor(max_memory_gb).watched(report, title)


@contextmanager
def progress_bar(title: str, *, enabled: bool) -> Iterator[Report | None]:
    """Yield a function ``report(phase, done, total, divergences)`` that draws a bar.

    Yields None where the bar is not enabled, which engines take as "no progress wanted".
    """
    if not enabled:
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(f"{title}: compiling", total=None, note="")

        def report(phase: str, done: int, total: int, divergences: int) -> None:
            note = f"{divergences} divergences" if phase == "sample" and divergences else ""
            bar.update(
                task, description=f"{title}: {phase}", completed=done, total=total, note=note
            )

        yield report
