"""What the registry knows of an engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any, Literal

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
        What it is.
    needs, returns, use : str
        What it takes from a model, what it makes, and when to use it.
    module, function, options_class : str
        Where it is, in this package; imported when it is used, with the libraries that it needs.
    aliases : tuple of str
        Other names.
    citations : tuple of str
        Papers to cite, by their keys.
    exact : bool
        Whether its draws follow the posterior up to Monte-Carlo errors. Methods that approximate
        say how well by ``approximation_k``.
    condition : str
        Under which its draws are exact, if there is one that its result tells of.
    coordinates : str
        The model that it likes best where there is a choice: ``"sampling"``, in coordinates with
        few degeneracies, or ``"standard"``, in which all priors are proper and standard normal.
    marginal : bool
        Whether it serves on a likelihood from which linear parameters have been integrated out.
        Not if it needs residuals, or seeks the best values of all parameters.
    points_option : str, optional
        Name of the option that says how many points it updates at a time, of an engine that has
        an option ``chunk_size`` and a function :attr:`program_bytes` of its own.
    """

    name: str
    summary: str
    needs: str
    returns: str
    use: str
    module: str
    function: str
    options_class: str
    aliases: tuple[str, ...] = ()
    citations: tuple[str, ...] = ()
    exact: bool = True
    condition: str = ""
    coordinates: Literal["sampling", "standard"] = "sampling"
    marginal: bool = True
    points_option: str | None = None

    @property
    def accuracy(self) -> str:
        """Whether its draws are exact, in words."""
        if self.condition:
            return f"exact if {self.condition}"
        return "exact" if self.exact else "approximate"

    @property
    def options(self) -> type:
        """Dataclass of its options, with defaults."""
        found: type = getattr(self._load(), self.options_class)
        return found

    @property
    def run(self) -> Callable[..., InferenceResult]:
        """``run(target, key, options, start=..., progress=...)`` -> :class:`InferenceResult`."""
        found: Callable[..., InferenceResult] = getattr(self._load(), self.function)
        return found

    @property
    def program_bytes(self) -> Callable[[Any, Any, int], int]:
        """``program_bytes(flat, options, chunk_size)``: memory of its largest program [bytes]."""
        found: Callable[[Any, Any, int], int] = self._load().program_bytes
        return found

    def _load(self) -> ModuleType:
        return import_module(f"tengri_ppl.inference.{self.module}")
