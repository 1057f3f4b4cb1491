"""What to cite: the papers, grids and packages that a model uses, as BibTeX."""

from tengri_ppl.citations.bibliography import Reference, find_references, load_references
from tengri_ppl.citations.model import cite, cite_parts, component_papers

__all__ = [
    "Reference",
    "cite",
    "cite_parts",
    "component_papers",
    "find_references",
    "load_references",
]
