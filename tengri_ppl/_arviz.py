"""ArviZ, imported when it is first needed: it takes a second, and announces its next version."""

from __future__ import annotations

import warnings
from types import ModuleType

__all__ = ["load_arviz"]


def load_arviz() -> ModuleType:
    """Import ArviZ without the FutureWarning that every import of 0.23 shows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        import arviz
    return arviz
