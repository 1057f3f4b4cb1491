"""The section [model] of a galaxy's file: from names and tables to components.

A component is a name, ``dust_emission = "draine_li2007"``, or a table of a name and options,
``dust_emission = { name = "template", path = "dale2014.h5" }``. An option may be a component
itself: ``agn = { name = "nucleus", disc = "temple2021" }``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

from tengri_ppl.errors import ParameterError, suggest
from tengri_ppl.physics.component import Component, make_component, registered_components

__all__ = ["CHOICES", "make_choices"]

#: Keys that choose a component, with the kind of component.
_KINDS = {
    "sfh": "sfh",
    "sfh_field": "sfh_field",
    "metallicity": "metallicity",
    "dust_law": "dust_law",
    "dust_law_bc": "dust_law",
    "nebular": "nebular",
    "dust_emission": "dust_emission",
    "agn": "agn",
    "shock": "shock",
    "radio": "radio",
    "xray": "xray",
    "igm": "igm",
}
#: Keys that are names only.
_NAMES = {"dust": "its laws are dust_law and dust_law_bc", "sfh_burst": "its rate over time"}
#: Options that other keys set, with what to write instead.
_ELSEWHERE = {
    ("radio", "agn"): "the nucleus is that of agn = ...",
    ("xray", "agn"): "the nucleus is that of agn = ...",
    ("dust_law", "suffix"): "dust_law_bc = ... sets it",
}
#: All keys.
CHOICES = (*_KINDS, *_NAMES)


def make_choices(section: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Turn tables into components; names stay, because other choices may give them a variant.

    Parameters
    ----------
    section : mapping
        Keys of [model].
    folder : Path
        Folder of the file, to which relative paths in options refer.

    Raises
    ------
    ParameterError
        If a name or an option is unknown or refused; the message begins with the key.
    """
    return {key: _choice(key, value, folder) for key, value in section.items()}


def _choice(key: str, value: Any, folder: Path) -> Any:
    """Return what Parameters(...) takes for one key."""
    if isinstance(value, str):
        return value
    if key in _NAMES:
        raise ParameterError(f"[model] {key}: expected a name ({_NAMES[key]}), got {value!r}")
    try:
        if key == "dust_law_bc":
            return _component("dust_law", value, folder, suffix="_bc")
        return _component(_KINDS[key], value, folder)
    except ParameterError as error:
        raise ParameterError(f"[model] {key}: {error}") from None


def _component(kind: str, value: Any, folder: Path, **internal: Any) -> Component:
    """Make a component from a name or a table."""
    table = {"name": value} if isinstance(value, str) else value
    if not isinstance(table, Mapping) or not isinstance(table.get("name"), str):
        raise ParameterError(
            f"expected a name or a table {{ name = '...', option = ... }}, got {value!r}"
        )
    cls = _find(kind, table["name"])
    known = {field.name: field for field in fields(cls)}
    options = {
        name: _option(cls, name, given, known, folder)
        for name, given in table.items()
        if name != "name"
    }
    return cls(**options, **internal)


def _find(kind: str, name: str) -> type[Component]:
    """Return the class of a name; an unknown one is refused as everywhere."""
    cls = registered_components().get((kind, name))
    return cls if cls is not None else type(make_component(Component, name, kind))


def _option(
    cls: type[Component], name: str, value: Any, known: Mapping[str, Field[Any]], folder: Path
) -> Any:
    """Check an option and give it the type of its default."""
    if (cls.kind, name) in _ELSEWHERE:
        raise ParameterError(f"{name} is no option here; {_ELSEWHERE[cls.kind, name]}")
    if name not in known:
        raise ParameterError(
            f"{cls.kind} {cls.name!r} has no option {name!r}{suggest(name, known)} "
            f"(options: {', '.join(known) or 'none'})"
        )
    default = _default(known[name])
    if isinstance(default, Component):
        return _component(default.kind, value, folder)
    if name == "path" and isinstance(value, str):
        return str(folder / Path(value).expanduser())
    if isinstance(default, tuple) and isinstance(value, list):
        return tuple(value)
    if isinstance(default, float) and type(value) is int:
        return float(value)
    if default is not None and type(value) is not type(default):
        raise ParameterError(
            f"{name} = {value!r}: expected a {type(default).__name__}, as the default, {default!r}"
        )
    return value


def _default(field: Field[Any]) -> Any:
    """Return the default of a component's field; all have one."""
    return field.default if field.default_factory is MISSING else field.default_factory()
