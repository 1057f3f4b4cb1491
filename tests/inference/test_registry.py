"""The registry as a whole: every method says what it is for, and has options that can be shown."""

import dataclasses

import pytest

from tengri_ppl.citations import load_references
from tengri_ppl.inference.registry import list_methods, make_options


@pytest.mark.parametrize("method", list_methods(), ids=lambda method: method.name)
def test_every_method_says_what_it_is_for_and_its_papers_are_known(method):
    assert all((method.summary, method.needs, method.returns, method.use))
    assert set(method.citations) <= set(load_references())
    options = make_options(method, {})
    documented = " ".join(kind.__doc__ for kind in type(options).__mro__ if kind.__doc__)
    for option in dataclasses.fields(options):
        assert option.name in documented, option.name
