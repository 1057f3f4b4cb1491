"""Which compiled programs stay in memory."""

import jax
import pytest
from small_targets import Y, regression, two_modes

import tengri_ppl as tg
from tengri_ppl.runtime.compilation import count_compilations

KEY = jax.random.key(0)


def fit(model=regression, data=(Y,), method="laplace", **options):
    """Fit, and return the number of programs that were compiled or fetched for it."""
    with count_compilations() as count:
        tg.infer(model, data, method=method, key=KEY, **options)
    return count.programs


@pytest.fixture(autouse=True)
def _nothing_compiled():
    tg.gc()


def test_the_same_engine_on_other_data_keeps_its_programs():
    assert fit() > 0
    assert fit(data=(Y + 1.0,)) == 0


@pytest.mark.parametrize("other", [{"method": "map"}, {"model": two_modes, "data": ()}])
def test_another_engine_or_model_drops_programs_unless_told_otherwise(other):
    fit()
    fit(**other)
    assert fit() > 0
    fit(**other, lean=False)
    assert fit() == 0


def test_modes_nest():
    fit()
    with tg.persistent():
        fit(method="map")
        assert fit() == 0
        with tg.lean():
            fit(method="pathfinder")
            assert fit() > 0
    fit(method="map")
    assert fit() > 0


def test_gc_drops_everything():
    fit()
    tg.gc()
    assert fit() > 0
