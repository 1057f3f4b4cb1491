"""Write the pages that follow from the code: the parameter table and the API reference."""

import pkgutil
from pathlib import Path
from types import ModuleType

from tengri_ppl.citations import find_references
from tengri_ppl.physics.attenuation import AttenuationLaw, DustScreen
from tengri_ppl.physics.component import Component, Parameter, component_names, make_component
from tengri_ppl.physics.igm import IGM
from tengri_ppl.physics.metallicity import Metallicity
from tengri_ppl.physics.sfh import SFH

#: Kinds of components, with the titles of their tables.
KINDS = {
    SFH: "Star formation history",
    Metallicity: "Metallicity",
    DustScreen: "Dust geometry",
    AttenuationLaw: "Attenuation law",
    IGM: "Intergalactic medium",
}
#: The rooms, as on the architecture page, with what an API page says about them.
ROOMS = {
    "workflows": "One call for a whole fit.",
    "results": "What a fit returns.",
    "citations": "Papers, grids and packages to cite.",
    "models": "Parameters, the forward model and NumPyro model functions.",
    "inference": "Engines for any NumPyro model.",
    "observation": "Filters, photometry and noise.",
    "physics": "Pure functions and components of the model.",
    "runtime": "Precision, compilation and memory.",
}


def write_all(folder: Path, package: ModuleType) -> None:
    """Write all generated pages; files that would not change are left alone."""
    (folder / "api").mkdir(parents=True, exist_ok=True)
    _write(folder / "parameters.md", parameter_tables())
    for room, purpose in ROOMS.items():
        _write(folder / "api" / f"{room}.md", api_page(package, room, purpose))


def _write(path: Path, text: str) -> None:
    if not path.is_file() or path.read_text() != text:
        path.write_text(text)


def parameter_tables() -> str:
    """Return one Markdown table per kind of component."""
    sections = []
    for base, title in KINDS.items():
        rows = ["| choice | parameter | default | unit | meaning |", "|---|---|---|---|---|"]
        for name in component_names(base.kind):
            rows += component_rows(base, name)
        sections.append(f"### {title}: `{base.kind}`\n\n" + "\n".join(rows))
    return "\n\n".join(sections) + "\n"


def component_rows(base: type[Component], name: str) -> list[str]:
    """Return the table rows of one component, its own parameters only."""
    component = make_component(base, name)
    label = f'`"{name}"`'
    papers = [r.short for key in component.citations for r in find_references(key)]
    if papers:
        label += f" ({'; '.join(papers)})"
    parameters = list(component.parameters)
    if base is SFH:
        by_rate = make_component(base, name, amplitude="log_peak_sfr")
        parameters.insert(1, by_rate.parameters[0])
    if not parameters:
        return [f"| {label} | none | | | |"]
    cells = [parameter_cells(p, component) for p in parameters]
    return [f"| {label if i == 0 else ''} | {cell} |" for i, cell in enumerate(cells)]


def parameter_cells(parameter: Parameter, component: Component) -> str:
    """Return name, default, unit and meaning of one parameter."""
    default = parameter.default
    text = f"U({default[0]:g}, {default[1]:g})" if isinstance(default, tuple) else f"{default:g}"
    meaning = parameter.description
    if parameter.name.endswith("_log_peak_sfr"):
        meaning += f"; instead of `sfh_{component.name}_log_mass`"
    return f"`{parameter.name}` | {text} | {parameter.unit} | {meaning}"


def api_page(package: ModuleType, room: str, purpose: str) -> str:
    """Return the page of one room: an automodule directive for each public module."""
    name = f"{package.__name__}.{room}"
    path = [str(Path(entry) / room) for entry in package.__path__]
    found = pkgutil.walk_packages(path, prefix=name + ".")
    modules = sorted(m.name for m in found if not m.ispkg and "._" not in m.name)
    parts = [f"# {name}", purpose]
    for module in modules:
        directive = f".. automodule:: {module}\n   :members:\n   :show-inheritance:"
        parts.append(f"## {module.removeprefix(name + '.')}\n\n```{{eval-rst}}\n{directive}\n```")
    return "\n\n".join(parts) + "\n"
