"""How much memory an engine will need, and how many points it may evaluate at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from tengri_ppl.distributions.layout import Layout
from tengri_ppl.errors import MemoryBudgetError
from tengri_ppl.inference.chunked import Chunked
from tengri_ppl.inference.flat import FlatTarget, flat_potential
from tengri_ppl.inference.method import Method
from tengri_ppl.inference.pointwise import observed_size
from tengri_ppl.inference.registry import get_method, make_options
from tengri_ppl.inference.target import Model, Target
from tengri_ppl.runtime.chunks import CHUNK, largest_divisor
from tengri_ppl.runtime.compilation import compiled_bytes
from tengri_ppl.runtime.compiled import Compiled
from tengri_ppl.runtime.memory import GIGABYTE, MemoryMonitor, release_memory

__all__ = [
    "COMPILER_BYTES",
    "PLANNED_SIZES",
    "MemoryPlan",
    "Program",
    "plan_memory",
    "within_budget",
]

#: Points that are evaluated at a time at most, by any engine that isn't told otherwise.
_MOST_POINTS = 4096
#: Chunk sizes that a plan tells of.
PLANNED_SIZES = (1, 8, 64)
#: What compiling takes, beside the programs: measured on models of galaxies.
COMPILER_BYTES = 6e8
#: Share of the budget that is planned for.
_SHARE = 0.8
_FEW = 8


@dataclass(frozen=True)
class Program:
    """A compiled program.

    Attributes
    ----------
    name : str
        What it does.
    chunk_size : int
        Points that it evaluates at a time.
    bytes : int
        Temporary memory and results.
    """

    name: str
    chunk_size: int
    bytes: int


@dataclass(frozen=True)
class MemoryPlan:
    """What a run needs.

    Attributes
    ----------
    method : str
        Engine.
    chunk_size : int or None
        Points to be evaluated at a time; as many as the engine likes if None.
    used_bytes, data_bytes, draws_bytes, compiler_bytes : float
        In use already, of the model's arguments (which are in use already, too), of draws with
        what is computed at them, and of the compiler.
    programs : tuple of Program
        The engine's largest program, for several chunk sizes.
    limit_bytes : float or None
        What may be used.
    """

    method: str
    chunk_size: int | None
    used_bytes: float
    data_bytes: float
    draws_bytes: float
    compiler_bytes: float
    programs: tuple[Program, ...]
    limit_bytes: float | None = None

    def total_bytes(self, program: Program) -> float:
        """Memory in use at the peak, if this is the largest program."""
        return self.used_bytes + self.draws_bytes + self.compiler_bytes + program.bytes

    def __str__(self) -> str:
        """Return a table."""
        parts = {
            "in use": self.used_bytes,
            "of it the data": self.data_bytes,
            "draws": self.draws_bytes,
            "compiler, about": self.compiler_bytes,
        }
        lines = [
            f"{self.method}, {self._limit()}",
            *(f"  {name:20s} {_gb(n)}" for name, n in parts.items()),
            f"  {'program':20s} {'chunk_size':>11s}  {'program':>11s}  {'in all':>11s}",
        ]
        for program in self.programs:
            chosen = " <- chosen" if program.chunk_size == self.chunk_size else ""
            lines.append(
                f"  {program.name:20s} {program.chunk_size:11d}  {_gb(program.bytes)}  "
                f"{_gb(self.total_bytes(program))}{chosen}"
            )
        return "\n".join(lines)

    def _limit(self) -> str:
        if self.limit_bytes is None:
            return "no limit"
        whole = ", in which it fits whole" if self.chunk_size is None else ""
        return f"limit {_gb(self.limit_bytes).strip()}{whole}"


def _gb(n: float) -> str:
    return f"{n / GIGABYTE:8.4f} GB"


def plan_memory(
    target: Target,
    method: str,
    options: dict[str, Any],
    *,
    max_memory_gb: float | None = None,
    chunk_sizes: Sequence[int] = (),
) -> MemoryPlan:
    """Say what a run needs, from its largest program as it is compiled for several chunk sizes.

    Parameters
    ----------
    target : Target
        Posterior.
    method : str
        Name of an engine.
    options : dict
        Its options.
    max_memory_gb : float, optional
        Choose the largest chunk size with which four fifths of this are enough.
    chunk_sizes : sequence of int
        Chunk sizes to compile for, beside those that the choice needs; rounded down to those that
        the engine can have.

    Raises
    ------
    MemoryBudgetError
        If it is too little for any chunk size.
    """
    engine = get_method(method)
    settings = make_options(engine, options)
    needs = _Needs(FlatTarget(target), engine, settings)
    for size in chunk_sizes:
        needs.program(largest_divisor(needs.sizes[0], size))
    plan = MemoryPlan(
        method=engine.name,
        chunk_size=None,
        used_bytes=_used_bytes(),
        data_bytes=_size(jax.eval_shape(lambda: (target.args, dict(target.kwargs)))),
        draws_bytes=_draws_bytes(target, settings),
        compiler_bytes=COMPILER_BYTES,
        programs=(),
    )
    if max_memory_gb is not None:
        limit = MemoryMonitor(max_memory_gb).limit_bytes
        plan = replace(plan, limit_bytes=limit, chunk_size=_chosen(needs, plan, limit))
    programs = [needs.known[size] for size in sorted(needs.known, reverse=True)]
    return replace(plan, programs=tuple(programs))


def within_budget(
    target: Target, method: str, options: dict[str, Any], max_memory_gb: float | None
) -> tuple[Target, dict[str, Any]]:
    """Return target and options with which a run keeps within its budget.

    Raises
    ------
    MemoryBudgetError
        If there are none.
    """
    if max_memory_gb is None:
        return target, options
    size = plan_memory(target, method, options, max_memory_gb=max_memory_gb).chunk_size
    release_memory()
    if size is None:
        return target, options
    if get_method(method).points_option is not None:
        options = {"chunk_size": size, **options}
    return Target(Chunked(target.model, size), target.args, target.kwargs), options


class _Needs:
    """The bytes of an engine's largest program by chunk size, each compiled once."""

    def __init__(self, flat: FlatTarget, engine: Method, settings: Any) -> None:
        self._flat, self._engine, self._settings = flat, engine, settings
        self.known: dict[int, Program] = {}

    @property
    def sizes(self) -> list[int]:
        """Chunk sizes to choose from, decreasing; the first is what the engine does by itself."""
        option = self._engine.points_option
        if option is None:
            return [2**k for k in range(int(math.log2(_MOST_POINTS)), -1, -1)]
        n = getattr(self._settings, option)
        return sorted({largest_divisor(n, k) for k in range(1, n + 1)}, reverse=True)

    def program(self, size: int) -> Program:
        """Return the largest program for a chunk size."""
        if size not in self.known:
            own = self._engine.points_option is not None
            count = self._engine.program_bytes if own else _gradient_bytes
            name = self._engine.name if own else "gradients"
            self.known[size] = Program(name, size, count(self._flat, self._settings, size))
        return self.known[size]

    def expected_bytes(self, size: int) -> float:
        """Extrapolate to a chunk size."""
        few = next(k for k in self.sizes if k <= _FEW)
        one = self.program(1).bytes
        slope = (self.program(few).bytes - one) / max(1, few - 1)
        return one + slope * (size - 1)


def _chosen(needs: _Needs, plan: MemoryPlan, limit: float) -> int | None:
    """Choose the largest chunk size that fits, and have it compiled to be sure."""
    room = _SHARE * limit - plan.total_bytes(Program("", 0, 0))
    if needs.expected_bytes(needs.sizes[0]) <= room:
        return None
    for size in needs.sizes:
        if needs.expected_bytes(size) <= room and needs.program(size).bytes <= room:
            return size
    least = needs.program(1)
    raise MemoryBudgetError(
        f"{plan.method} needs {plan.total_bytes(least) / _SHARE / GIGABYTE:.2f} GB even with one "
        f"point at a time ({_gb(plan.used_bytes).strip()} are in use, the program takes "
        f"{_gb(least.bytes).strip()}, draws {_gb(plan.draws_bytes).strip()}); "
        f"max_memory_gb={limit / GIGABYTE:g}: raise it, ask for fewer draws (n_samples, "
        "num_chains), or make the model's arrays smaller"
    )


def _used_bytes() -> float:
    release_memory()
    return float(MemoryMonitor(1.0).used_bytes)


# -- programs and draws ----------------------------------------------------------------------------


def _gradient_bytes(flat: FlatTarget, _: Any, chunk_size: int) -> int:
    """Count the bytes of the gradients at so many points, which is what most engines run on."""
    x = _points(flat, chunk_size)
    return compiled_bytes(_gradients.lower(flat.target.model, flat.layout, x, *flat.arguments))


@partial(Compiled, static_argnums=(0, 1))
def _gradients(
    model: Model, layout: Layout, x: Array, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Array, Array]:
    def energy(point: Array) -> Array:
        return flat_potential(model, layout, point, args, kwargs)

    both: Callable[[Array], tuple[Array, Array]] = jax.vmap(jax.value_and_grad(energy))
    return both(x)


def _draws_bytes(target: Target, settings: Any) -> float:
    """Bytes of all sites at all draws, with log-likelihoods and replicated data."""
    flat = FlatTarget(target)
    sites = jax.eval_shape(flat.values, _points(flat, 1))
    known = vars(settings)
    n = known.get("n_samples") or known.get("max_samples", CHUNK)
    n *= known.get("num_chains", 1)
    pointwise = 2 * observed_size(target) * jnp.finfo(jnp.result_type(float)).bits // 8
    return n * (_size(sites) + pointwise)


def _points(flat: FlatTarget, n: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((n, flat.dimension), jnp.result_type(float))


def _size(shapes: Any) -> float:
    return float(sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(shapes)))
