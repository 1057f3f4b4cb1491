"""Functions that are compiled: as :func:`jax.jit`, but on CPUs in less time and memory."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from functools import cache, cached_property, update_wrapper
from typing import Any

import jax

__all__ = ["Compiled"]

#: Without XLA's emitters for fused operations, and with LLVM's first level of optimisation, the
#: compiler takes about half the time and memory, and its programs are as fast here
#: (docs/sampling.md). Above that level random numbers take it a second for every site.
_ON_CPU = {"xla_cpu_use_fusion_emitters": False, "xla_backend_optimization_level": 1}


class Compiled:
    """A compiled function that is called from Python, and not inside of other compiled functions.

    There JAX takes no options of the compiler, and says so; functions that may be called in both
    ways are for :func:`jax.jit`.

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
    def _jitted(self) -> Any:
        """The function for the backend, which JAX starts no earlier than this."""
        return jax.jit(
            self.__wrapped__,  # type: ignore[attr-defined]
            compiler_options=_compiler_options(),
            **self._options,
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Compile the function for the shapes of these arguments if need be, and call it."""
        return self._jitted(*args, **kwargs)

    def lower(self, *args: Any, **kwargs: Any) -> jax.stages.Lowered:
        """Lower the function for arguments without running it, as :func:`jax.jit` does."""
        return self._jitted.lower(*args, **kwargs)

    def clear_cache(self) -> None:
        """Drop what has been compiled."""
        if "_jitted" in vars(self):
            self._jitted.clear_cache()


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
