"""Functions that are compiled: as :func:`jax.jit`, but on CPUs in less time and memory."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, cached_property, update_wrapper
from typing import Any

import jax

__all__ = ["Compiled"]

#: Without XLA's emitters for fused operations its compiler takes about half the time and less
#: memory, and what it compiles is as fast here (benchmarks/compilation.py).
_ON_CPU = {"xla_cpu_use_fusion_emitters": False}


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
def _compiler_options() -> dict[str, Any] | None:
    """Options for the backend in use, if its compiler knows them."""
    if jax.default_backend() != "cpu":
        return None
    try:
        jax.jit(lambda: 0, compiler_options=_ON_CPU)()
    except jax.errors.JaxRuntimeError:
        return None
    return _ON_CPU
