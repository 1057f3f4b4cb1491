"""The references that ship with the package."""

import re
from pathlib import Path

import pytest
from strict_bibtex import parse

import tengri_ppl.citations
from tengri_ppl.citations import find_references, load_references
from tengri_ppl.physics.component import registered_components

FILE = Path(tengri_ppl.citations.__file__).with_name("references.bib")
#: Choices that no paper stands behind, apart from those named "none".
WITHOUT_PAPER = {
    ("sfh", "constant"),
    ("sfh", "tabulated"),
    ("metallicity", "interp"),
    ("metallicity", "tabulated"),
    ("dust", "single"),
}


def test_the_file_is_valid_and_read_completely():
    entries = parse(FILE.read_text(encoding="utf-8"))
    known = load_references()
    assert [key for _, key, _ in entries] == list(known)
    for kind, key, fields in entries:
        assert (known[key].kind, known[key].fields) == (kind, fields)


@pytest.mark.parametrize("reference", load_references().values(), ids=lambda r: r.key)
def test_every_entry_can_be_found_by_a_reader(reference):
    fields = reference.fields
    assert fields["author"] and fields["title"]
    assert re.fullmatch(r"(19|20)\d\d", fields["year"])
    assert {
        "article": {"journal", "volume", "pages"} <= set(fields),
        "book": "publisher" in fields,
        "misc": "eprint" in fields,
        "software": {"url", "doi", "package"} & set(fields),
    }[reference.kind]
    prose = re.sub(r"\$[^$]*\$", "", fields["title"] + fields["author"])
    assert not re.search(r"(?<!\\)[&_%#]", prose)
    assert (fields["year"] in reference.key) or reference.kind == "software"
    assert all(ord(c) < 128 for value in fields.values() for c in value)  # plain BibTeX is ASCII
    # a DOI with a volume and a page in it has those of the entry
    if match := re.search(r"/(?:0004|2041)-[\d]+[X\d]/(\d+)/\d+/(\w+)$", fields.get("doi", "")):
        assert match.groups() == (fields["volume"], fields["pages"])


def test_no_paper_comes_twice():
    places = [
        (f["volume"], f["pages"]) for r in load_references().values() if "volume" in (f := r.fields)
    ]
    assert len(set(places)) == len(places)


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("Calzetti2000", "Calzetti et al. 2000, ApJ 533, 682"),
        ("DraineLi2007", "Draine & Li 2007, ApJ 657, 810"),
        ("Casey2012", "Casey 2012, MNRAS 425, 3094"),
        ("Malek2018", "Małek et al. 2018, A&A 620, A50"),
        ("HernanCaballero2016", "Hernán-Caballero et al. 2016, MNRAS 463, 2064"),
        ("Gunasekera2025", "Gunasekera et al. 2025, arXiv:2508.01102"),
        ("Planck2020", "Planck Collaboration 2020, A&A 641, A6"),
        (
            "RasmussenWilliams2006",
            "Rasmussen & Williams 2006, Gaussian Processes for Machine Learning",
        ),
    ],
)
def test_short_forms_read_as_in_running_text(key, text):
    assert load_references()[key].short == text


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("Noll2009", ["Noll2009"]),
        ("Dale et al. 2014, ApJ 784, 83", ["Dale2014"]),
        ("Sanchez-Blazquez et al. 2006 MNRAS 371, 703", ["SanchezBlazquez2006"]),
        ("Gunasekera et al. 2025 arXiv:2508.01102 (Cloudy 25)", ["Gunasekera2025"]),
        ("Dale et al. 2014, ApJ 784, 830", []),
        ("Dale et al. 2015, ApJ 784, 83", []),
        ("A friend of mine, in preparation", []),
        ("", []),
    ],
)
def test_papers_are_recognised_in_the_texts_of_files(text, keys):
    assert [reference.key for reference in find_references(text)] == keys


@pytest.mark.parametrize(("kind", "name"), registered_components())
def test_every_component_has_a_paper_or_says_that_it_has_none(kind, name):
    component = registered_components()[kind, name]
    assert any("citations" in vars(base) for base in component.__mro__[:-2]), "no citations given"
    try:
        citations = component().citations
    except tengri_ppl.ParameterError as error:
        assert "needs a file" in str(error)
        return
    assert (citations == ()) == (name == "none" or (kind, name) in WITHOUT_PAPER)
    for citation in citations:
        assert find_references(citation), citation
