"""Work in a thread, and who waits for it."""

import threading

import numpyro
import numpyro.distributions as dist
import pytest
from numpyro import handlers

from tengri_ppl.inference import Target
from tengri_ppl.runtime.background import Background, wait_for_background


def model():
    numpyro.sample("x", dist.Normal(0.0, 1.0))


def test_a_failure_is_raised_once_where_it_is_waited_for():
    def fail():
        raise OSError("no space left")

    background = Background(fail)
    with pytest.raises(RuntimeError, match="in the background failed") as caught:
        background.wait()
    assert isinstance(caught.value.__cause__, OSError)
    background.wait()


def test_models_are_traced_by_one_thread_at_a_time():
    """NumPyro's handlers are those of the process: a trace would see the sites of the other."""
    entered, go_on, seen = threading.Event(), threading.Event(), []

    def trace_slowly():
        with handlers.seed(rng_seed=0), handlers.trace() as trace:
            entered.set()
            go_on.wait(60.0)
            numpyro.sample("background", dist.Normal(0.0, 1.0))
        seen.append(set(trace))

    first, second = Background(trace_slowly), Background(trace_slowly)
    assert entered.wait(60.0)
    threading.Timer(0.3, go_on.set).start()
    assert set(Target(model).sites) == {"x"}
    assert go_on.is_set()
    assert seen == [{"background"}] * 2
    first.wait()
    second.wait()


def test_a_thread_does_not_wait_for_itself():
    background = Background(lambda: (wait_for_background(), Target(model)))
    background.wait()
