"""Functions that are compiled with options for the compiler."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import pytest

from tengri_ppl.runtime import compiled
from tengri_ppl.runtime.compilation import count_compilations
from tengri_ppl.runtime.compiled import Compiled, compiling

FUSION, LEVEL = "xla_cpu_use_fusion_emitters", "xla_backend_optimization_level"


@partial(Compiled, static_argnums=0)
def power(n, x):
    """Raise x to the power n."""
    return x**n


@pytest.fixture
def options(monkeypatch):
    """Find the options anew, here and for those who come after."""
    monkeypatch.setattr(compiled, "_compiler_options", compiled._compiler_options.__wrapped__)
    return compiled._compiler_options


def test_it_is_a_function_as_before():
    x = jnp.arange(3.0)
    assert power(3, x).tolist() == [0.0, 1.0, 8.0]
    assert power.lower(2, x).compile()(x).tolist() == [0.0, 1.0, 4.0]
    assert (power.__name__, power.__doc__) == ("power", "Raise x to the power n.")
    assert power.__module__ == __name__


def test_it_is_compiled_once_until_its_cache_is_cleared():
    x = jnp.arange(4.0)
    power(2, x)
    with count_compilations() as count:
        power(2, x + 1.0)
        before = count.programs
        power.clear_cache()
        power(2, x)
    assert count.programs == before + 1


def test_it_is_found_compiled_where_that_was_done_in_a_thread():
    x = jnp.arange(5.0)
    with count_compilations() as count:
        with compiling(power.lower(3, jax.ShapeDtypeStruct(x.shape, x.dtype))):
            pass
        before = count.names.count("jit(power)")
        power(3, x)
    assert before == count.names.count("jit(power)") == 1


def test_what_goes_wrong_in_the_thread_is_raised():
    class Broken:
        def compile(self):
            raise MemoryError("no room")

    with pytest.raises(MemoryError, match="no room"), compiling(Broken()):
        pass


@pytest.mark.parametrize("closed_over", [False, True])
def test_it_may_be_a_part_of_another_compiled_function(closed_over):
    x = jnp.arange(3.0)
    if closed_over:
        assert jax.jit(lambda: power(2, x))().tolist() == [0.0, 1.0, 4.0]
    else:
        assert jax.jit(lambda x: power(2, x))(x).tolist() == [0.0, 1.0, 4.0]


def test_it_can_be_transformed():
    assert jax.grad(partial(power, 3))(2.0) == 12.0
    assert jax.vmap(partial(power, 2))(jnp.arange(3.0)).tolist() == [0.0, 1.0, 4.0]


def test_flags_of_the_user_go_first(options, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "")
    assert options() == {FUSION: False, LEVEL: 1}
    monkeypatch.setenv("XLA_FLAGS", f"--xla_of_the_past=1 --{LEVEL}=3 --{FUSION}=true")
    assert options() == {FUSION: True, LEVEL: 3}


def test_a_compiler_that_knows_no_such_option_gets_none(options, monkeypatch):
    monkeypatch.setattr(compiled, "_ON_CPU", {"xla_of_the_future": True})
    assert options() is None


def test_other_devices_get_none(options, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert options() is None
