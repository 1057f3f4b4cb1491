"""Sphinx configuration; the gallery and the API pages are written from the code."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import generate

import tengri_ppl

project = "tengri_ppl"
copyright = "2026, The tengri_ppl developers"
author = "The tengri_ppl developers"
release = "0.1.0"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
]
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_preserve_defaults = True
napoleon_google_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False

exclude_patterns = [
    *("_build", "_generated/gallery", "_generated/comparison.md", "_generated/methods.md")
]
# Words in "Array, shape (n_band,)" are looked up as types; some name attributes of several classes.
suppress_warnings = ["ref.python"]
html_theme = "furo"
html_title = f"tengri_ppl {release}"

generate.write_all(Path(__file__).resolve().parent / "_generated", tengri_ppl)
