"""Draw the model of examples/population_from_scratch.py with its plates, for the documentation.

Run this file when the example changes: ``python docs/figures/graph.py``. It needs the program
``dot`` of Graphviz, which can't be had from PyPI, so that the drawing is kept beside this file.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpyro

__all__ = ["DRAWING", "drawn_model", "main"]

#: The drawing.
DRAWING = Path(__file__).resolve().with_name("population_from_scratch.svg")
_EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
_N_GALAXY = 20


def drawn_model() -> tuple[Any, tuple[Any, ...]]:
    """Return the model function and arguments; only the shapes of the data show in a drawing."""
    sys.path.insert(0, str(_EXAMPLES))
    import population_from_scratch as example

    data = jnp.ones((_N_GALAXY, len(example.BANDS)))
    return example.model, (example.build_sed(), data, data)


def main() -> None:
    """Write the drawing."""
    model, arguments = drawn_model()
    graph = numpyro.render_model(model, arguments, render_distributions=True)
    for attributes in (graph.graph_attr, graph.node_attr):
        attributes["fontname"] = "Helvetica"
    DRAWING.write_bytes(graph.pipe("svg"))
    print(DRAWING)


if __name__ == "__main__":
    main()
