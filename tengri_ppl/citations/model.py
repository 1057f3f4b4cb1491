"""Collect what a model uses, and write its references."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from tengri_ppl.citations.bibliography import find_references
from tengri_ppl.inference.registry import get_method
from tengri_ppl.models.sed import SEDModel
from tengri_ppl.models.structure import Structure
from tengri_ppl.physics.component import Component, split_citations

__all__ = ["cite", "cite_parts", "component_papers"]

#: Packages that every fit uses, and what for.
_SOFTWARE = {
    "tengri_ppl": "this package",
    "jax2018github": "automatic differentiation and compilation",
    "Phan2019": "NumPyro",
    "Bingham2019": "NumPyro",
    "Kumar2019": "ArviZ: posteriors and diagnostics",
    "Johnson2021": "sedpy: filters",
    "Astropy2013": "Astropy",
    "Astropy2018": "Astropy",
    "Astropy2022": "Astropy",
    "Harris2020": "NumPy",
    "Hunter2007": "Matplotlib",
}


def cite(model: SEDModel, method: str | None = None) -> str:
    """Return the BibTeX of every grid, paper and package that a model uses.

    Each entry comes once, below a comment that says what it is used for. A grid or a template file
    of the user's whose paper is not known here is named in a comment.

    Parameters
    ----------
    model : SEDModel
        The model.
    method : str, optional
        Name of the inference engine, whose papers are then included.

    Returns
    -------
    str
        A BibTeX file.

    Examples
    --------
    >>> print(tg.cite(sed, method="mcmc_nuts"))
    """
    return cite_parts(model.spec.structure, model.provenance, method)


def cite_parts(
    structure: Structure, provenance: Mapping[str, str], method: str | None = None
) -> str:
    """Do what :func:`cite` does, for a model that has not been built.

    Parameters
    ----------
    structure : Structure
        The components.
    provenance : mapping
        ``ssp_name`` and ``ssp_citations`` of the SSP grid.
    method : str, optional
        Name of the inference engine.
    """
    uses = list(_ssp_uses(provenance))
    for component, paper in component_papers(structure.components):
        uses.append((f"{component.kind} {component.name!r}", paper))
    if method is not None:
        uses += [(f"method {method!r}", key) for key in get_method(method).citations]
    uses += [(purpose, key) for key, purpose in _SOFTWARE.items()]
    return _bibtex(uses)


def _ssp_uses(provenance: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield what the SSP grid is used for, and its papers."""
    purpose = f"SSP grid {provenance.get('ssp_name', 'unknown')!r}"
    papers = split_citations(provenance.get("ssp_citations", ""))
    for paper in papers or ("its file names no paper (attribute 'citations')",):
        yield purpose, paper


def component_papers(components: Iterable[Component]) -> Iterator[tuple[Component, str]]:
    """Yield the papers of components and their parts, each with what it is for."""
    for component in components:
        for paper in component.citations:
            yield component, paper
        yield from component_papers(component.parts)


def _bibtex(uses: Iterable[tuple[str, str]]) -> str:
    """Return each paper once, with all that it is used for."""
    entries: dict[str, list[str]] = {}
    for purpose, paper in uses:
        found = [reference.bibtex() for reference in find_references(paper)]
        # BibTeX skips what is outside of entries, up to the next @
        for entry in found or [f"% not in the bibliography: {paper.replace('@', ' at ')}"]:
            purposes = entries.setdefault(entry, [])
            if purpose not in purposes:
                purposes.append(purpose)
    blocks = [f"% {'; '.join(p).replace('@', ' at ')}\n{entry}" for entry, p in entries.items()]
    return "\n\n".join(blocks) + "\n"
