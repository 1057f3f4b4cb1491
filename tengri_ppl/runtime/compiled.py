"""Functions that are compiled: as :func:`jax.jit`, but on CPUs in less time and memory."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache, cached_property, update_wrapper
from typing import Any

import jax
import jax.numpy as jnp

__all__ = ["Compiled", "compiling"]

#: Without XLA's emitters for fused operations, and with LLVM's first level of optimisation, the
#: compiler takes about half the time and less memory, and its programs are as fast here
#: (docs/sampling.md). Above that level random numbers take it a second for every site.
_ON_CPU = {"xla_cpu_use_fusion_emitters": False, "xla_backend_optimization_level": 1}


class Compiled:
    """A compiled function, with options for the compiler where they are of use.

    JAX takes such options for whole programs. Inside of another compiled function, or under
    :func:`jax.grad` or :func:`jax.vmap`, this is :func:`jax.jit`.

    Parameters
    ----------
    function : callable
        What to compile.
    **options
        As for :func:`jax.jit`, for example ``static_argnums``.
    """

    __name__: str

    def __init__(self, function: Callable[..., Any], **options: Any) -> None:
        update_wrapper(self, function)
        self._options = options

    @cached_property
    def _program(self) -> Any:
        """The function for the backend, which JAX starts no earlier than this."""
        return self._jitted(_compiler_options())

    @cached_property
    def _part(self) -> Any:
        """The function as a part of others."""
        return self._jitted(None)

    def _jitted(self, options: dict[str, Any] | None) -> Any:
        function: Callable[..., Any] = self.__wrapped__  # type: ignore[attr-defined]
        return jax.jit(function, compiler_options=options, **self._options)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Compile the function for the shapes of these arguments if need be, and call it."""
        jitted = self._part if _is_traced((args, kwargs)) else self._program
        return jitted(*args, **kwargs)

    def lower(self, *args: Any, **kwargs: Any) -> jax.stages.Lowered:
        """Lower the function for arguments without running it, as :func:`jax.jit` does."""
        return self._program.lower(*args, **kwargs)

    def clear_cache(self) -> None:
        """Drop what has been compiled."""
        for name in ("_program", "_part"):
            if name in vars(self):
                vars(self)[name].clear_cache()


@contextmanager
def compiling(*programs: jax.stages.Lowered) -> Iterator[None]:
    """Compile programs in a thread while the block runs, which ends when they are compiled.

    Calls of the functions find them compiled. Only lowering them calls models, which has to be done
    in one thread, as NumPyro's handlers are those of the process.

    Parameters
    ----------
    *programs : jax.stages.Lowered
        From :meth:`Compiled.lower`.
    """
    with ThreadPoolExecutor(1) as pool:
        done = [pool.submit(program.compile) for program in programs]
        yield
    for each in done:
        each.result()


def _is_traced(arguments: Any) -> bool:
    """Whether JAX is tracing, with or without these arguments."""
    values = (jnp.zeros(()), *jax.tree.leaves(arguments))
    return any(isinstance(value, jax.core.Tracer) for value in values)


@cache
def _compiler_options() -> dict[str, bool | int] | None:
    """Options for the backend in use that its compiler knows, with values of ``XLA_FLAGS``."""
    if jax.default_backend() != "cpu":
        return None
    flags = dict(re.findall(r"--(\w+)=(\S+)", os.environ.get("XLA_FLAGS", "")))
    options = {
        name: type(value)(json.loads(flags[name])) if name in flags else value
        for name, value in _ON_CPU.items()
    }
    try:
        jax.jit(lambda: 0, compiler_options=options)()
    except jax.errors.JaxRuntimeError:
        return None
    return options
