"""Write what follows from the code: gallery, API reference, methods and comparison of masses."""

import hashlib
import pkgutil
import shutil
from pathlib import Path
from types import ModuleType

from figures.fragments import write_fragments
from figures.overview import write_overviews

from tengri_ppl.inference.registry import list_methods

#: The code that draws the gallery.
FIGURES = Path(__file__).resolve().parent / "figures"
#: What benchmarks/goodss.py writes.
COMPARISON = FIGURES.parents[1] / "build" / "goodss"
#: The rooms, as on the architecture page, with what an API page says about them.
ROOMS = {
    "workflows": "One call for a whole fit.",
    "results": "What a fit returns.",
    "citations": "Papers, grids and packages to cite.",
    "models": "Parameters, the forward model and NumPyro model functions.",
    "inference": "Engines for any NumPyro model.",
    "distributions": "Priors as functions of standard normals.",
    "observation": "Filters, photometry and noise.",
    "physics": "Pure functions and components of the model.",
    "runtime": "Precision, compilation and memory.",
}


def write_all(folder: Path, package: ModuleType) -> None:
    """Write all generated pages and figures; files that would not change are left alone."""
    (folder / "api").mkdir(parents=True, exist_ok=True)
    write_gallery(folder / "gallery", package)
    write_comparison(folder)
    _write(folder / "methods.md", methods_table())
    for room, purpose in ROOMS.items():
        _write(folder / "api" / f"{room}.md", api_page(package, room, purpose))


def _write(path: Path, text: str) -> None:
    if not path.is_file() or path.read_text() != text:
        path.write_text(text)


def methods_table() -> str:
    """Return the registry of engines as a table."""
    rows = [("method", "what it is", "draws", "needs", "returns", "when to use"), ("---",) * 6]
    for m in list_methods():
        names = ", ".join(f"`{name}`" for name in (m.name, *m.aliases))
        rows.append((names, m.summary, m.accuracy, m.needs, m.returns, m.use))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def write_comparison(folder: Path) -> None:
    """Write the part of the page on real galaxies that the benchmark measures, if it has run."""
    summary = COMPARISON / "summary.txt"
    if not summary.is_file():
        _write(folder / "comparison.md", "*Not run where this page was built.*\n")
        return
    for name in ("goodss.png", "goodss.csv"):
        shutil.copy(COMPARISON / name, folder / name)
    parts = [
        f"```text\n{summary.read_text().strip()}\n```",
        "![Masses](_generated/goodss.png)",
        "All galaxies, with log M* in solar masses, the same minus the median of the eight codes, "
        "and the peak of the memory so far:",
        "```{csv-table}\n:file: _generated/goodss.csv\n:header-rows: 1\n```",
    ]
    _write(folder / "comparison.md", "\n\n".join(parts) + "\n")


def write_gallery(folder: Path, package: ModuleType) -> None:
    """Draw the gallery, unless the code behind it is the same as last time.

    Raises
    ------
    RuntimeError
        If no page shows a kind of components.
    """
    folders = (Path(next(iter(package.__path__))), FIGURES, FIGURES.parents[1] / "examples")
    sources = [path for root in folders for path in root.rglob("*.py")]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(sources))).hexdigest()
    stamp = folder / "sources.sha256"
    if not stamp.is_file() or stamp.read_text() != digest:
        write_fragments(folder)
        write_overviews(folder)
        stamp.write_text(digest)
    _check_shown(folder)


def _check_shown(folder: Path) -> None:
    """Make sure that some page includes every part that was written."""
    pages = "".join(page.read_text() for page in FIGURES.parent.rglob("*.md"))
    parts = [f"_generated/gallery/{path.name}" for path in folder.glob("*.md")]
    if missing := [part for part in parts if part not in pages]:
        raise RuntimeError(f"no page of the gallery includes {', '.join(missing)}")


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
