"""ArviZ, imported when it is first needed and without its notice about the next major release."""

from __future__ import annotations

import warnings
from typing import Any

__all__ = ["arviz"]


def arviz() -> Any:
    """Return the module ``arviz``; its import takes about a second."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning)
        import arviz as az
    return az
