"""What the registry knows of an engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from tengri_ppl.inference.result import InferenceResult

__all__ = ["Method"]


@dataclass(frozen=True)
class Method:
    """An engine.

    Attributes
    ----------
    name : str
        Name for ``Fitter.run``.
    summary : str
        What it does and when to use it.
    options : type
        Dataclass of its options, with defaults.
    run : callable
        ``run(target, key, options, progress=...)`` -> :class:`InferenceResult`.
    aliases : tuple of str
        Other names.
    citations : tuple of str
        Papers to cite, by their keys.
    exact : bool
        Whether its draws follow the posterior up to Monte-Carlo errors. Methods that approximate
        say how well by ``approximation_k``.
    coordinates : str
        The model that it likes best where there is a choice: ``"sampling"``, in coordinates with
        few degeneracies, or ``"standard"``, in which all priors are proper and standard normal.
    """

    name: str
    summary: str
    options: type
    run: Callable[..., InferenceResult]
    aliases: tuple[str, ...] = ()
    citations: tuple[str, ...] = ()
    exact: bool = True
    coordinates: Literal["sampling", "standard"] = "sampling"
