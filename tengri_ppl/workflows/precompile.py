"""What to compile before it is needed, and whether in the background."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from tengri_ppl.inference.chains import BLOCK
from tengri_ppl.inference.method import Method

__all__ = ["background_allowed", "method_names", "shortest_run"]

#: Set to anything but 0 or nothing, it switches background compilation off.
_SWITCH = "TENGRI_NO_BACKGROUND_COMPILE"


def background_allowed() -> bool:
    """Whether the environment lets programs be compiled in the background."""
    return os.environ.get(_SWITCH, "").strip() in ("", "0")


def method_names(modes: str | Sequence[str]) -> tuple[str, ...]:
    """Turn one name or several into a tuple."""
    return (modes,) if isinstance(modes, str) else tuple(modes)


def shortest_run(method: Method) -> dict[str, Any]:
    """Return options with which an engine compiles all that it needs and does little else.

    Chains need not converge: how long they are is no part of a program.
    """
    return {"n_samples": BLOCK} if hasattr(method.options, "max_samples") else {}
