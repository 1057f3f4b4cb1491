"""Errors that say what was wrong, what was expected and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["DataError", "MemoryBudgetError", "ParameterError", "TengriError", "suggest"]


class TengriError(Exception):
    """Base class of every error that tengri_ppl raises on purpose."""


class ParameterError(TengriError, ValueError):
    """A parameter, a structural choice or an option is unknown, missing or contradictory."""


class DataError(TengriError, ValueError):
    """A file, a table or an array does not hold what it has to hold."""


class MemoryBudgetError(TengriError, MemoryError):
    """A run needs more memory than it may use."""


def suggest(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the nearest known names, or an empty string."""
    matches = difflib.get_close_matches(name, list(known), n=3, cutoff=0.6)
    if not matches:
        return ""
    return "; did you mean " + " or ".join(repr(match) for match in matches) + "?"
