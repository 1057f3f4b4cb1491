"""The registry as a whole: every method is documented, cited and has options that can be shown."""

import dataclasses
from pathlib import Path

import pytest

from tengri_ppl.citations import load_references
from tengri_ppl.inference.registry import list_methods, make_options

DOCS = Path(__file__).parents[2] / "docs" / "methods.md"


@pytest.mark.parametrize("method", list_methods(), ids=lambda method: method.name)
def test_every_method_is_documented_and_its_papers_known(method):
    table = [line for line in DOCS.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    row = [line for line in table if f"`{method.name}`" in line.split("|")[1]]
    assert len(row) == 1
    # "yes", "no", or a condition under which an approximation is exact
    assert method.exact or row[0].split("|")[2].strip() != "yes"
    assert set(method.citations) <= set(load_references())
    options = make_options(method, {})
    documented = " ".join(kind.__doc__ for kind in type(options).__mro__ if kind.__doc__)
    for option in dataclasses.fields(options):
        assert option.name in documented, option.name
