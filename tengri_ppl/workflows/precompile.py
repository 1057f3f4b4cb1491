"""Compile engines in a thread while the caller goes on."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from tengri_ppl.errors import TengriError

__all__ = ["BackgroundCompilation", "background_allowed", "method_names"]

#: Set to anything but 0 or nothing, it switches background compilation off.
_SWITCH = "TENGRI_NO_BACKGROUND_COMPILE"


def background_allowed() -> bool:
    """Whether the environment lets programs be compiled in the background."""
    return os.environ.get(_SWITCH, "").strip() in ("", "0")


def method_names(modes: str | Sequence[str]) -> tuple[str, ...]:
    """Turn one name or several into a tuple."""
    return (modes,) if isinstance(modes, str) else tuple(modes)


class BackgroundCompilation:
    """A call in a daemon thread, whose failure is raised where its result is needed.

    Parameters
    ----------
    compile_all : callable
        What to call.
    """

    def __init__(self, compile_all: Callable[[], object]) -> None:
        self._error: BaseException | None = None
        self._compile_all = compile_all
        # the caller may have chosen it for its own thread only
        self._x64 = jnp.result_type(float) == jnp.float64
        self._thread = threading.Thread(target=self._call, daemon=True)
        self._thread.start()

    def _call(self) -> None:
        try:
            with jax.enable_x64(self._x64):
                self._compile_all()
        except BaseException as error:
            self._error = error

    def wait(self) -> None:
        """Wait for the end.

        Raises
        ------
        RuntimeError
            If compilation failed.
        """
        self._thread.join()
        if self._error is not None:
            error, self._error = self._error, None
            if isinstance(error, TengriError):
                raise error
            raise RuntimeError("compilation in the background failed") from error
