"""What a model component is: named parameters with defaults, found by name in one registry.

A component is a frozen dataclass without arrays, so that it is hashable and may be a static
argument of a compiled program. Physics knows no probability library: a default is the pair of
bounds of a uniform prior, the description of another prior, or a plain number for a parameter that
is fixed unless the user frees it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, TypeVar, cast

from tengri_ppl.errors import ParameterError, suggest

__all__ = [
    "Component",
    "Default",
    "DirichletPrior",
    "LogUniformPrior",
    "NormalPrior",
    "Parameter",
    "StudentTPrior",
    "component_names",
    "make_component",
    "register",
    "registered_components",
    "split_citations",
]


@dataclass(frozen=True)
class NormalPrior:
    """A normal prior."""

    loc: float
    scale: float


@dataclass(frozen=True)
class LogUniformPrior:
    """A prior that is flat in the logarithm, between two positive bounds."""

    low: float
    high: float


@dataclass(frozen=True)
class StudentTPrior:
    """A Student-t prior."""

    df: float
    loc: float
    scale: float


@dataclass(frozen=True)
class DirichletPrior:
    """A symmetric Dirichlet prior over the elements of a vector, which sum to one."""

    concentration: float


Default = (
    float | tuple[float, float] | NormalPrior | LogUniformPrior | StudentTPrior | DirichletPrior
)


@dataclass(frozen=True)
class Parameter:
    """One parameter of a component.

    Attributes
    ----------
    name : str
        Full name, unique in a model: also the name of the sample site.
    unit : str
        Unit, or ``"1"`` where there is none.
    description : str
        One line for tables and help texts.
    default : float, tuple of float, or a prior of this module
        A fixed value (nan for none: the user has to give one), the bounds of a uniform prior, or
        another prior.
    shape : tuple of int
        Shape of the parameter in one galaxy; its elements are independent unless the prior is a
        :class:`DirichletPrior`.
    """

    name: str
    unit: str
    description: str
    default: Default
    shape: tuple[int, ...] = ()


@dataclass(frozen=True)
class Component:
    """Base class of all components; see :func:`register`."""

    kind: ClassVar[str]
    name: ClassVar[str]

    @property
    def citations(self) -> tuple[str, ...]:
        """Papers to cite: keys of ``tengri_ppl/citations/references.bib``, or texts of a file."""
        return ()

    @property
    def parts(self) -> tuple[Component, ...]:
        """Components that this one is made of."""
        values = (getattr(self, field.name) for field in fields(self))
        return tuple(value for value in values if isinstance(value, Component))

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """The parameters that this component reads, in the order of its documentation."""
        return ()

    def select(self, params: Mapping[str, Any], prefix: str) -> dict[str, Any]:
        """Return this component's own parameters as keyword arguments without ``prefix``."""
        return {p.name.removeprefix(prefix): params[p.name] for p in self.parameters}


def split_citations(text: str) -> tuple[str, ...]:
    """Split what a file says about its papers, ``"A et al. 2020, ApJ 1, 2; B 2021, ..."``."""
    return tuple(part.strip() for part in text.split(";") if part.strip())


_REGISTRY: dict[str, dict[str, type[Component]]] = {}
C = TypeVar("C", bound=Component)


def register(kind: str, name: str) -> Callable[[type[C]], type[C]]:
    """Class decorator: make a component available as ``Parameters(kind=name)``."""

    def add(cls: type[C]) -> type[C]:
        cls.kind, cls.name = kind, name
        _REGISTRY.setdefault(kind, {})[name] = cls
        return cls

    return add


def component_names(kind: str) -> tuple[str, ...]:
    """Return the registered names of one kind (``"sfh"``, ``"dust_law"``, ...)."""
    return tuple(_REGISTRY.get(kind, {}))


def registered_components() -> dict[tuple[str, str], type[Component]]:
    """Return all registered components by kind and name."""
    return {(kind, name): c for kind, known in _REGISTRY.items() for name, c in known.items()}


def make_component(base: type[C], choice: str | C, kind: str = "", **options: Any) -> C:
    """Return the component that a user's choice means: a registered name or an object.

    Parameters
    ----------
    base : type
        Base class of the component, for example ``SFH``.
    choice : str or Component
        What the user gave.
    kind : str, optional
        Kind of component, where the base class is common to several.
    **options
        Fields of the component, where ``choice`` is a name.

    Raises
    ------
    ParameterError
        If the name is not registered, or the object is of another kind; the message lists the
        names that are registered.
    """
    kind = kind or base.kind
    if isinstance(choice, base) and choice.kind == kind:
        return choice
    known = _REGISTRY.get(kind, {})
    if choice not in known:
        raise ParameterError(
            f"{kind}={choice!r} is unknown{suggest(str(choice), known)} "
            f"(available: {', '.join(sorted(known))})"
        )
    return cast(C, known[str(choice)](**options))
