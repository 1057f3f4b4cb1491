"""Parts of gallery pages that follow from the code: what a component is, its figure, its table."""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path
from typing import Any

import numpyro.distributions as dist

from figures.drawing import save
from figures.kinds import component_figure, component_of
from tengri_ppl.citations import find_references
from tengri_ppl.errors import ParameterError
from tengri_ppl.models.entries import Fixed, default_entry, describe_entry
from tengri_ppl.physics.component import Component, Parameter, registered_components
from tengri_ppl.physics.sfh import BURST_SHAPES, BurstSFH, DelayedSFH

__all__ = ["parameter_table", "write_fragments"]

_SECTION = re.compile(r"\n\n?(Attributes|Parameters|Returns|Raises)\n-+\n")
_SEE = re.compile(r"^See :func:`(\w+)`")
_COMMON = Parameter("redshift", "1", "redshift; give a value or a prior", float("nan"))


def write_fragments(folder: Path) -> None:
    """Write one Markdown file per kind of component into a folder, and the figures beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    kinds: dict[str, list[str]] = {}
    for (kind, name), cls in registered_components().items():
        component = component_of(kind, name)
        figure = "" if component is None else _figure(component, folder, f"{kind}_{name}")
        kinds.setdefault(kind, []).append(
            f"### `{name}`\n\n{explanation(cls)}\n{figure}\n{_table(cls, component)}"
        )
    kinds["sfh_burst"] = [_burst(shape, folder) for shape in BURST_SHAPES]
    for kind, parts in kinds.items():
        (folder / f"{kind}.md").write_text("\n\n".join(parts) + "\n")
    (folder / "common.md").write_text(parameter_table([_COMMON]))


def _burst(shape: str, folder: Path) -> str:
    """Return the section of one shape of the burst that any history may have."""
    burst = BurstSFH(base=DelayedSFH(), shape=shape)
    own = [p for p in burst.parameters if p not in burst.base.parameters]
    figure = _figure(burst, folder, f"sfh_burst_{shape}")
    about = explanation(BurstSFH) if shape == BURST_SHAPES[0] else ""
    return f"### `{shape}` burst\n\n{about}\n{figure}\n{parameter_table(own)}"


def _figure(component: Component, folder: Path, stem: str) -> str:
    """Draw a component, and return the Markdown that shows the figure."""
    save(component_figure(component), folder / f"{stem}.png")
    return f"![what the parameters of {component.name} do](/_generated/gallery/{stem}.png)\n"


def explanation(cls: type) -> str:
    """Return the docstring of a component as reStructuredText in Markdown, sections excepted.

    Where it refers to the function that it wraps, that function's docstring is taken.
    """
    text = inspect.cleandoc(cls.__doc__ or "")
    source: Any = cls
    if match := _SEE.match(text):
        source = getattr(sys.modules[cls.__module__], match.group(1))
        text = inspect.cleandoc(source.__doc__)
    text = _SECTION.split(text)[0].strip()
    papers = dict.fromkeys(r.short for key in _citations(cls) for r in find_references(key))
    cited = f"\n\n*Cite {'; '.join(papers)}.*" if papers else ""
    module = f".. py:currentmodule:: {source.__module__}"
    return f"```{{eval-rst}}\n{module}\n\n{text}{cited}\n```\n"


def _citations(cls: type[Component]) -> tuple[str, ...]:
    """Return the keys of what a component asks to cite; none if it is only known from its file."""
    try:
        return cls().citations
    except ParameterError:
        return ()


def _table(cls: type[Component], component: Component | None) -> str:
    """Return the table of a component's own parameters."""
    try:
        own = (component or cls()).parameters
    except ParameterError:
        return "Needs a file; its parameters are the axes of the file.\n"
    return parameter_table(own)


def parameter_table(parameters: Any) -> str:
    """Return a Markdown table of parameters with their default priors or values."""
    if not parameters:
        return "No parameters.\n"
    rows = ["| parameter | default | unit | meaning |", "|---|---|---|---|"]
    for p in parameters:
        size = f", {' x '.join(map(str, p.shape))} values" if p.shape else ""
        rows.append(f"| `{p.name}` | {_default(p)} | {p.unit} | {p.description}{size} |")
    return "\n".join(rows) + "\n"


def _default(parameter: Parameter) -> str:
    """Return the default prior or value in a few characters."""
    entry = default_entry(parameter)
    if entry is None:
        return "none: give it"
    if isinstance(entry, Fixed):
        return f"fixed {entry.value:g}"
    if isinstance(entry, dist.Dirichlet):
        return f"Dirichlet({parameter.default.concentration:g})"
    return describe_entry(entry)
