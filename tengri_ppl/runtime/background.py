"""Work in a thread while the caller goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable

import jax
import jax.numpy as jnp

from tengri_ppl.errors import TengriError

__all__ = ["Background", "wait_for_background"]

#: Threads that run or wait for their turn; the first lock is for the list, the second for turns.
_threads: list[threading.Thread] = []
_LIST, _TURN = threading.Lock(), threading.Lock()


class Background:
    """A call in a daemon thread, whose failure is raised where its result is needed.

    NumPyro's handlers are those of the process, so that two threads must not call models at the
    same time: calls wait for one another, and the caller has to use :func:`wait_for_background`.

    Parameters
    ----------
    call : callable
        What to call.
    """

    def __init__(self, call: Callable[[], object]) -> None:
        self._error: BaseException | None = None
        self._work = call
        # the caller may have chosen it for its own thread only
        self._x64 = jnp.result_type(float) == jnp.float64
        self._thread = threading.Thread(target=self._run, daemon=True)
        with _LIST:
            self._thread.start()
            _threads.append(self._thread)

    def _run(self) -> None:
        try:
            with _TURN, jax.enable_x64(self._x64):
                self._work()
        except BaseException as error:
            self._error = error
        with _LIST:
            _threads.remove(self._thread)

    def wait(self) -> None:
        """Wait for the end.

        Raises
        ------
        RuntimeError
            If the call failed, unless it was with an error of this package, which is raised.
        """
        self._thread.join()
        if self._error is not None:
            error, self._error = self._error, None
            if isinstance(error, TengriError):
                raise error
            raise RuntimeError("compilation in the background failed") from error


def wait_for_background() -> None:
    """Wait for all threads that call models, except from within one of them."""
    with _LIST:
        threads = tuple(_threads)
    if threading.current_thread() not in threads:
        for thread in threads:
            thread.join()
