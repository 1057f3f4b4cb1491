"""``tengri-ppl fit``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import typer

from tengri_ppl.cli.config import GalaxyConfig, read_galaxy
from tengri_ppl.errors import DataError
from tengri_ppl.inference.registry import DEFAULT_METHOD
from tengri_ppl.results.posterior import Posterior
from tengri_ppl.runtime.cache import enable_persistent_cache
from tengri_ppl.runtime.compilation import enable_x64
from tengri_ppl.runtime.files import replacing
from tengri_ppl.workflows.fitter import Fitter

__all__ = ["make_fitter", "run_fit"]


def run_fit(
    galaxy: Path,
    output: Path,
    method: str | None,
    seed: int,
    *,
    progress: bool,
    x64: bool,
    limits: Mapping[str, Any],
) -> int:
    """Fit the galaxy of a TOML file; return the exit code.

    ``limits`` go before those of the file.
    """
    if x64:
        enable_x64()
    enable_persistent_cache()
    config = read_galaxy(galaxy)
    _make_folder(output)
    options = dict(config.sampler)
    configured = options.pop("method", DEFAULT_METHOD)
    fitter = make_fitter(config)
    posterior = fitter.run(
        method or configured, key=jax.random.key(seed), progress=progress, **{**options, **limits}
    )
    posterior.inference_data.attrs["galaxy"] = config.name
    posterior.save(output / "posterior.nc")
    for name, figure in _figures(posterior).items():
        _save_figure(figure, output / f"{name}.png")
    return _report(config.name, posterior, output)


def make_fitter(config: GalaxyConfig) -> Fitter:
    """Make the fitter of a galaxy."""
    return Fitter(config.build(), config.flux, config.noise, data_mask=config.mask)


def _make_folder(output: Path) -> None:
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"--output {output}: can't make this folder ({error.strerror})") from None


def _figures(posterior: Posterior) -> dict[str, Any]:
    """Draw all plots."""
    return {
        "corner": posterior.plot_corner(),
        "sed": posterior.plot_sed(),
        "sfh": posterior.plot_sfh(),
        "trace": posterior.plot_trace(),
    }


def _save_figure(figure: Any, path: Path) -> None:
    """Write a figure to a temporary file and rename it."""
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150)


def _report(name: str, posterior: Posterior, output: Path) -> int:
    """Print the summary and the verdict; return the exit code."""
    verdict = posterior.convergence()
    typer.echo(f"\n{name}\n")
    typer.echo(posterior.summary_str(verdict=False))
    typer.echo(f"\nwritten to {output}/: posterior.nc, corner.png, sed.png, sfh.png, trace.png")
    typer.echo(verdict.message, err=not verdict.converged)
    return 0 if verdict.converged else 1
