"""``tengri-ppl components`` and ``tengri-ppl cite``."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tengri_ppl.cli.components import summarise
from tengri_ppl.cli.main import app
from tengri_ppl.errors import ParameterError
from tengri_ppl.physics.component import registered_components

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def run(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    return lambda *arguments: CliRunner().invoke(app, arguments)


def test_all_components_are_listed_by_kind(run):
    lines = run("components").output.splitlines()
    rows, kind = set(), None
    for line in lines[1:]:
        kind = line.split()[0] if line[0] != " " else kind
        if line[0] == " ":
            rows.add((kind, line.split()[0]))
    assert rows == set(registered_components())
    needing = [line.split()[0] for line in lines if "needs a file" in line]
    assert needing == ["template", "templates", "templates"]


def test_one_kind_is_listed_alone(run):
    output = run("components", "igm").output
    assert "madau1995" in output and "calzetti" not in output


def test_a_component_is_explained(run):
    output = run("components", "salim").output
    assert "dust_law = 'salim'" in output
    assert "Calzetti law with another slope and a bump" in output
    row = next(line for line in output.splitlines() if "dust_slope" in line).split()
    assert row[:4] == ["dust_slope", "Uniform(-1.2,", "0.4)", "1"]
    assert "Salim et al. 2018, ApJ 859, 11 (Salim2018)" in output


def test_options_parts_and_files_are_explained(run):
    nucleus = run("components", "nucleus").output
    assert "options: disc = 'power_law', torus = 'two_blackbody'" in nucleus
    assert "(Schartmann2005)" in nucleus
    assert "needs a file of templates (option path)" in run("components", "template").output


def test_a_name_that_several_kinds_have_is_explained_for_each(run):
    output = run("components", "tabulated").output
    assert "sfh = 'tabulated'" in output and "metallicity = 'tabulated'" in output
    assert "none: give one" in output


def test_an_unknown_name_is_refused(run):
    error = run("components", "calzeti").exception
    assert isinstance(error, ParameterError)
    assert "'calzeti'; did you mean 'calzetti'?" in str(error)


@pytest.mark.parametrize("component", registered_components().values(), ids=lambda c: c.__name__)
def test_summaries_are_plain_sentences(component):
    text = summarise(component)
    assert text.endswith(".") and len(text) > 5 and text[0].isupper() | text[0].isdigit()
    assert not any(mark in text for mark in (":math:", ":func:", ":class:", "``", "  ", " ."))


def test_cite_prints_the_references_of_a_file(run):
    done = run("cite", f"{ROOT}/examples/nebular_dust.toml")
    keys = re.findall(r"^@\w+\{(\w+),$", done.output, re.MULTILINE)
    expected = {"BruzualCharlot2003", "Byler2017", "DraineLi2007", "Calzetti2000", "Leja2019"}
    assert expected | {"HoffmanGelman2014"} <= set(keys)
    assert "VandenBerk2001" not in keys
