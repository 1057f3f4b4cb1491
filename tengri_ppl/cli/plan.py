"""``tengri-ppl plan``."""

from __future__ import annotations

from pathlib import Path

import typer

from tengri_ppl.cli.config import read_galaxy
from tengri_ppl.cli.fit import make_fitter
from tengri_ppl.inference.registry import DEFAULT_METHOD
from tengri_ppl.runtime.cache import enable_persistent_cache
from tengri_ppl.runtime.compilation import enable_x64

__all__ = ["run_plan"]


def run_plan(galaxy: Path, method: str | None, max_memory_gb: float | None, *, x64: bool) -> None:
    """Print what memory the fit of a TOML file needs."""
    if x64:
        enable_x64()
    enable_persistent_cache()
    config = read_galaxy(galaxy)
    options = dict(config.sampler)
    configured = options.pop("method", DEFAULT_METHOD)
    in_file = options.pop("max_memory_gb", None)
    plan = make_fitter(config).plan(
        method or configured, max_memory_gb=max_memory_gb or in_file, **options
    )
    typer.echo(str(plan))
