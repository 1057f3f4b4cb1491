"""``tengri-ppl components``: list the components, and explain one."""

from __future__ import annotations

import inspect
import re
import sys
from dataclasses import fields
from typing import Any

from rich.console import Console
from rich.table import Table

from tengri_ppl.citations import component_papers, find_references
from tengri_ppl.errors import ParameterError, suggest
from tengri_ppl.models.entries import default_entry, describe_entry
from tengri_ppl.physics.component import Component, registered_components

__all__ = ["run_components", "summarise"]

#: Kinds in the order of a model, with what they are. Parts of a nucleus follow it.
_KINDS = {
    "sfh": "star formation history",
    "sfh_field": "stochastic field on the history",
    "metallicity": "metallicity of the stars",
    "dust": "geometry of the dust",
    "dust_law": "attenuation law, also dust_law_bc",
    "nebular": "gas around young stars",
    "dust_emission": "infrared light of the dust",
    "agn": "active nucleus",
    "agn_disc": "part of agn='nucleus'",
    "agn_torus": "part of agn='nucleus'",
    "agn_lines": "part of agn='nucleus'",
    "shock": "shocked gas",
    "radio": "radio emission",
    "xray": "X-rays",
    "igm": "intergalactic medium",
}
#: Fields that Parameters(...) sets, not the user.
_INTERNAL = ("suffix", "agn", "law", "law_bc")
_NEEDS_FILE = "needs a file of templates (option path)"


def run_components(name: str | None) -> None:
    """Print all components, those of one kind, or all about those with one name.

    Raises
    ------
    ParameterError
        If there is neither a kind nor a component of this name.
    """
    console = Console(file=sys.stdout, highlight=False)
    every = registered_components()
    kinds = sorted({kind for kind, _ in every}, key=lambda k: ([*_KINDS, k].index(k), k))
    if name is None or name in kinds:
        chosen = kinds if name is None else [name]
        console.print(_listing({k: v for k, v in every.items() if k[0] in chosen}, chosen))
    named = {pair: component for pair, component in every.items() if pair[1] == name}
    for component in named.values():
        _explain(component, console)
    if name is not None and name not in kinds and not named:
        known = {*kinds, *(known for _, known in every)}
        raise ParameterError(
            f"no component and no kind is named {name!r}{suggest(name, known)} "
            "(`tengri-ppl components` lists all)"
        )


def _listing(every: dict[tuple[str, str], type[Component]], kinds: list[str]) -> Table:
    """Return the table of components."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for header in ("kind", "name", "what it is"):
        table.add_column(header, no_wrap=header != "what it is")
    for kind in kinds:
        table.add_row(kind, "", _KINDS.get(kind, ""), style="bold")
        for (own, name), component in every.items():
            if own == kind:
                table.add_row("", name, _one_line(component))
    return table


def _one_line(component: type[Component]) -> str:
    """Return the summary of a component, and whether it needs a file."""
    needs_file = "" if _default(component) else f"; {_NEEDS_FILE}"
    return summarise(component).rstrip(".") + needs_file


def _explain(component: type[Component], console: Console) -> None:
    """Print summary, options, parameters and papers of a component."""
    console.print(f"[bold]{component.kind} = {component.name!r}[/]")
    console.print(f"    {summarise(component)}", markup=False)
    options = [f"{f.name} = {_show(f)}" for f in fields(component) if f.name not in _INTERNAL]
    if options:
        console.print(f"    options: {', '.join(options)}", markup=False)
    made = _default(component)
    if made is None:
        console.print(f"    {_NEEDS_FILE}, whose axes are its parameters and whose paper it has\n")
        return
    if made.parameters:
        console.print(_parameters(made))
    papers = dict.fromkeys(paper for _, paper in component_papers([made]))
    found = dict.fromkeys(r for paper in papers for r in find_references(paper))
    for reference in found:
        console.print(f"    {reference.short} ({reference.key})", markup=False)
    console.print()


def _parameters(component: Component) -> Table:
    """Return the table of a component's parameters."""
    table = Table(box=None, header_style="bold", padding=(0, 1, 0, 4))
    for header in ("parameter", "default", "unit", "meaning"):
        table.add_column(header, overflow="fold")
    for parameter in component.parameters:
        entry = default_entry(parameter)
        default = "none: give one" if entry is None else describe_entry(entry)
        table.add_row(parameter.name, default, parameter.unit, parameter.description)
    return table


def _default(component: type[Component]) -> Component | None:
    """Return a component with its default options, None if it needs a file."""
    try:
        return component()
    except ParameterError:
        return None


def _show(field: Any) -> str:
    """Return the default of an option: a value, or the name of a part."""
    default = field.default_factory() if callable(field.default_factory) else field.default
    return repr(default.name if isinstance(default, Component) else default)


def summarise(component: type[Component]) -> str:
    """Return the first sentence of a component's documentation, without markup and equations.

    Where this only refers to a function, the function's is returned.
    """
    text = _first_paragraph(component)
    refers = re.match(r"See :func:`~?(?:[\w.]+\.)?(\w+)`", text)
    if refers:
        text = _first_paragraph(getattr(inspect.getmodule(component), refers[1]))
    text = re.sub(r"[;:,] (?:see )?:\w+:`[^`]*`(?:, which[^.]*)?\.", ".", text)
    text = re.sub(r",? :math:`[^`]*`", "", text)
    return re.sub(r":\w+:`~?(?:[\w.]+\.)?(\w+)`|``([^`]*)``", r"\1\2", text)


def _first_paragraph(documented: Any) -> str:
    """Return the first paragraph of a docstring as one line."""
    return " ".join((inspect.getdoc(documented) or "").split("\n\n")[0].split())
