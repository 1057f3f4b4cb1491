"""Which engines' compiled programs stay in memory.

A compiled engine takes tens of megabytes. By default (*lean*) a run drops the programs of other
engines and other models before it compiles its own; repeated runs of one engine on one model, with
whatever data, keep theirs. Inside :func:`persistent`, programs are only ever added. The density and
the forward model, which are common to all engines, stay in either case.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock

import jax
import jax.numpy as jnp
import numpy as np

from tengri_ppl.inference.target import Target

__all__ = ["is_lean", "lean", "make_room", "persistent", "signature"]

_LEAN: ContextVar[bool] = ContextVar("lean", default=True)

_PACKAGE = __name__.rpartition(".")[0]
#: Modules whose programs all engines share.
_SHARED = frozenset(f"{_PACKAGE}.{name}" for name in ("flat", "pointwise", "target"))

_live: set[Hashable] = set()
_lock = Lock()


@contextmanager
def lean() -> Iterator[None]:
    """Keep only the programs of the latest engine and model, inside the ``with`` block."""
    with _mode(True):
        yield


@contextmanager
def persistent() -> Iterator[None]:
    """Keep all programs, inside the ``with`` block: for loops that change engines or models."""
    with _mode(False):
        yield


@contextmanager
def _mode(value: bool) -> Iterator[None]:
    token = _LEAN.set(value)
    try:
        yield
    finally:
        _LEAN.reset(token)


def is_lean() -> bool:
    """Whether programs of other engines are dropped here."""
    return _LEAN.get()


def signature(target: Target) -> Hashable:
    """Return what decides about compilation: model, structure and shapes of its arguments."""
    leaves, structure = jax.tree.flatten((target.args, dict(target.kwargs)))
    shapes = tuple((np.shape(leaf), str(jnp.result_type(leaf))) for leaf in leaves)
    return target.model, structure, shapes


def make_room(program: Hashable, *, drop: bool) -> None:
    """Announce a program that is about to run.

    Parameters
    ----------
    program : hashable
        Engine and :func:`signature`.
    drop : bool
        Drop the programs of all others, unless this one is kept already.
    """
    with _lock:
        if drop and program not in _live:
            if _live:
                _drop_engines()
            _live.clear()
        _live.add(program)


def _drop_engines() -> None:
    """Drop all programs that were compiled by functions of the engines' modules."""
    for name, module in list(sys.modules.items()):
        if name.startswith(f"{_PACKAGE}.") and name not in _SHARED:
            for value in vars(module).values():
                if getattr(value, "__module__", None) == name:
                    _clear(value)
    gc.collect()


def _clear(function: object) -> None:
    """Empty the cache of a compiled or a memoised function."""
    for clear in ("clear_cache", "cache_clear"):
        if hasattr(function, clear):
            getattr(function, clear)()
