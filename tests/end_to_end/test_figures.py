"""Figures that are kept with the documentation show what the examples are."""

import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from numpyro.contrib.render import generate_graph_specification, get_model_relations

DOCS = Path(__file__).resolve().parents[2] / "docs"
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def graph(monkeypatch):
    """The script that draws a model."""
    monkeypatch.setattr(sys, "path", [*sys.path, str(DOCS)])
    from figures import graph

    return graph


def test_the_drawing_of_a_population_is_that_of_the_example(graph):
    """Sites, plates, what depends on what, and distributions; ``dot`` is not needed for it."""
    relations = get_model_relations(*graph.drawn_model())
    expected = generate_graph_specification(relations)
    drawing = ElementTree.parse(graph.DRAWING)
    groups = [(g.get("class"), g.find(f"{SVG}title").text) for g in drawing.iter(f"{SVG}g")]
    drawn = {kind: {t for k, t in groups if k == kind} for kind in ("node", "edge", "cluster")}
    assert drawn["node"] == {*expected["node_data"], "distribution_description_node"}
    assert drawn["edge"] == {f"{x}->{y}" for x, y in expected["edge_list"]}
    assert drawn["cluster"] == {f"cluster_{plate}" for plate in expected["plate_data"]}
    texts = {text.text for text in drawing.iter(f"{SVG}text")}
    assert {f"{site} ~ {name}" for site, name in relations["sample_dist"].items()} < texts
