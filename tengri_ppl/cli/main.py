"""The command ``tengri-ppl``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from tengri_ppl.cli import data
from tengri_ppl.errors import TengriError

__all__ = ["app", "main"]

app = typer.Typer(
    name="tengri-ppl",
    no_args_is_help=True,
    add_completion=False,
    help="Fit galaxy SEDs with NumPyro. Start with: tengri-ppl fit examples/goodss_7886.toml",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

app.add_typer(data.app, name="data")

MaxMemory = Annotated[
    float | None, typer.Option(help="Memory that the fit may use, in GB = 10^9 bytes")
]

EXIT_OK, EXIT_NOT_CONVERGED, EXIT_BAD_INPUT = 0, 1, 2


@app.command()
def fit(
    galaxy: Annotated[
        Path, typer.Argument(help="TOML file: data, model, priors; see examples/*.toml")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the results; made if missing")
    ],
    method: Annotated[
        str | None,
        typer.Option(help="Engine, `auto` by default; `tengri-ppl methods` lists them"),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the random numbers")] = 0,
    max_memory_gb: MaxMemory = None,
    progress: Annotated[bool, typer.Option(help="Show a progress bar")] = True,
    x64: Annotated[bool, typer.Option("--x64", help="Compute in 64 bit")] = False,
) -> None:
    """Fit one galaxy; write the posterior and its plots.

    Writes posterior.nc (ArviZ InferenceData), corner.png, sed.png, sfh.png and trace.png, and
    prints the summary. The exit code is 0 if the fit converged (chains: rank-normalised split R-hat
    below 1.01 and bulk ESS of at least 400 for every parameter, at most 1 % divergences; weighted
    draws: k-hat below 0.7 and 400 effective ones), 1 if not: the result is written all the same. It
    is 2 if the input can't be used.
    """
    from tengri_ppl.cli.fit import run_fit

    limits = {} if max_memory_gb is None else {"max_memory_gb": max_memory_gb}
    code = run_fit(galaxy, output, method, seed, progress=progress, x64=x64, limits=limits)
    raise typer.Exit(code)


@app.command()
def plan(
    galaxy: Annotated[Path, typer.Argument(help="TOML file; see examples/*.toml")],
    method: Annotated[
        str | None,
        typer.Option(help="Engine, `auto` by default; `tengri-ppl methods` lists them"),
    ] = None,
    max_memory_gb: MaxMemory = None,
    x64: Annotated[bool, typer.Option("--x64", help="Compute in 64 bit")] = False,
) -> None:
    """Say what memory a fit of this file will need, for several chunk sizes.

    With a budget, it says which of them a fit with this budget takes; the exit code is 2 if there
    is none.
    """
    from tengri_ppl.cli.plan import run_plan

    run_plan(galaxy, method, max_memory_gb, x64=x64)


@app.command()
def components(
    name: Annotated[
        str | None,
        typer.Argument(help="A kind, as dust_law, or a name, as calzetti; all without it"),
    ] = None,
) -> None:
    """List the components of models by kind, or explain those that are named NAME.

    The explanation has the options, the parameters with their default priors, and the papers.
    """
    from tengri_ppl.cli.components import run_components

    run_components(name)


@app.command()
def cite(
    galaxy: Annotated[Path, typer.Argument(help="TOML file; see examples/*.toml")],
) -> None:
    """Print the BibTeX of every grid, paper and package that a fit of this file uses."""
    from tengri_ppl.cli.cite import run_cite

    run_cite(galaxy)


@app.command()
def methods(
    name: Annotated[str, typer.Argument(help="One of them; all engines without it")] = "",
) -> None:
    """List the inference engines with their options and defaults."""
    import dataclasses

    from tengri_ppl.inference.registry import get_method, list_methods

    for method in (get_method(name),) if name else list_methods():
        typer.echo(f"{', '.join((method.name, *method.aliases))}: {method.summary}")
        typer.echo(f"  {method.accuracy}; needs {method.needs}; returns {method.returns}")
        typer.echo(f"  for: {method.use}")
        defaults = method.options()
        for option in dataclasses.fields(defaults):
            typer.echo(f"    {option.name} = {getattr(defaults, option.name)}")


@app.command()
def filters(
    pattern: Annotated[str, typer.Argument(help="Part of a name; all filters without it")] = "",
) -> None:
    """List the filters whose name contains PATTERN."""
    from tengri_ppl.observation.filter_library import list_filters

    for name in list_filters():
        if pattern.lower() in name.lower():
            typer.echo(name)


def main() -> None:
    """Run the command; errors of ours become one clear line and exit code 2."""
    # With fewer threads than this, XLA's pool on a CPU can wait for itself.
    os.environ.setdefault("NPROC", str(max(4, os.cpu_count() or 1)))
    try:
        app()
    except TengriError as error:
        typer.echo(f"tengri-ppl: error: {error}", err=True)
        raise SystemExit(EXIT_BAD_INPUT) from None
