"""``tengri-ppl cite``."""

from __future__ import annotations

from pathlib import Path

import typer

from tengri_ppl.citations import cite_parts
from tengri_ppl.cli.config import read_galaxy
from tengri_ppl.inference.registry import DEFAULT_METHOD

__all__ = ["run_cite"]


def run_cite(galaxy: Path) -> None:
    """Print the BibTeX of what a fit of a TOML file uses; the model is not built for it."""
    config = read_galaxy(galaxy)
    method = str(config.sampler.get("method", DEFAULT_METHOD))
    typer.echo(cite_parts(config.parameters().structure, config.ssp().provenance, method))
