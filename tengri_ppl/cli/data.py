"""``tengri-ppl data``: files of templates."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Convert and inspect files of templates."
)


@app.command("import")
def import_file(
    format: Annotated[
        str,
        typer.Argument(
            help="dale2014 or schreiber2016 (folders), nenkova2008, temple2021 or ascii (files)"
        ),
    ],
    path: Annotated[Path, typer.Argument(help="What to convert")],
    output: Annotated[Path, typer.Argument(help="File to write (.h5)")],
    kind: Annotated[
        str | None, typer.Option(help="ascii: kind of component, for example dust_emission")
    ] = None,
    quantity: Annotated[str | None, typer.Option(help="ascii: f_nu, f_lambda or nu_f_nu")] = None,
    wave_unit: Annotated[
        str | None, typer.Option(help="ascii: angstrom, nm, micron, mm or cm")
    ] = None,
    axis: Annotated[
        str | None, typer.Option(help="ascii: name of the parameter that numbers the spectra")
    ] = None,
    values: Annotated[
        str | None, typer.Option(help="ascii: its value in each column, as in 0.5,1,2")
    ] = None,
    unit: Annotated[str | None, typer.Option(help="ascii: its unit")] = None,
    normalisation: Annotated[
        str | None, typer.Option(help="ascii: unit, relative or absolute")
    ] = None,
    reference: Annotated[str | None, typer.Option(help="ascii: paper to cite")] = None,
    licence: Annotated[str | None, typer.Option(help="ascii: licence of the spectra")] = None,
) -> None:
    """Convert published templates, or columns of text, to the layout of tengri-ppl.

    The file can then be used as dust_emission=TemplateDustEmission(path="..."), or by whatever
    component its kind names. Columns of text are the wavelength and one spectrum each.
    """
    from tengri_ppl.physics.templates import import_templates

    options = {
        "kind": kind,
        "quantity": quantity,
        "wave_unit": wave_unit,
        "axis": axis,
        "values": None if values is None else _numbers(values),
        "unit": unit,
        "normalisation": normalisation,
        "reference": reference,
        "licence": licence,
    }
    given = {name: value for name, value in options.items() if value is not None}
    import_templates(format, path, output, **given)
    show(output)


@app.command()
def show(path: Annotated[Path, typer.Argument(help="A file of templates")]) -> None:
    """Say what a file of templates holds."""
    from tengri_ppl.physics.templates import load_templates

    content = load_templates(path)
    low, high = content.wave[0] * 1e-4, content.wave[-1] * 1e-4
    typer.echo(f"{path}: {content.name or 'templates'}, for {content.kind}")
    typer.echo(f"    {content.wave.size} wavelengths, {low:.4g} to {high:.4g} micron")
    for axis in content.axes:
        first, last = axis.values[0], axis.values[-1]
        unit = "" if axis.unit == "1" else f" {axis.unit}"
        typer.echo(
            f"    {axis.name}: {axis.values.size} values, {first:g} to {last:g}{unit}"
            f"{': ' if axis.description else ''}{axis.description}"
        )
    typer.echo(f"    normalisation: {content.normalisation}")
    for name in ("reference", "licence", "description"):
        if getattr(content, name):
            typer.echo(f"    {name}: {getattr(content, name)}")


def _numbers(text: str) -> list[float]:
    from tengri_ppl.errors import ParameterError

    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise ParameterError(f"--values {text!r}: expected numbers with commas, 0.5,1,2") from None
