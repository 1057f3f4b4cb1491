"""Say what memory the inference of any NumPyro model needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tengri_ppl.inference.plan import PLANNED_SIZES, MemoryPlan, plan_memory
from tengri_ppl.inference.target import Target
from tengri_ppl.workflows.infer import checked_arguments

__all__ = ["plan"]


def plan(
    model: Callable[..., Any],
    args: tuple[Any, ...] = (),
    kwargs: Mapping[str, Any] | None = None,
    method: str = "auto",
    *,
    max_memory_gb: float | None = None,
    chunk_sizes: Sequence[int] = PLANNED_SIZES,
    **options: Any,
) -> MemoryPlan:
    """Say what memory a run would need, before it is made.

    The engine's largest program is compiled for several chunk sizes, and XLA says what it takes:
    a step of nested sampling, for the other engines the gradients at so many points.

    Parameters
    ----------
    model, args, kwargs, method, **options
        As for :func:`tengri_ppl.infer`.
    max_memory_gb : float, optional
        Choose the chunk size as a run with this budget would.
    chunk_sizes : sequence of int
        Points evaluated at a time, to plan for.

    Returns
    -------
    MemoryPlan
        Print it for a table.

    Raises
    ------
    MemoryBudgetError
        If ``max_memory_gb`` is too little.

    Examples
    --------
    >>> print(tg.plan(model, (x, y), method="nss", max_memory_gb=2.0))
    """
    target = Target(model, *checked_arguments(args, kwargs))
    return plan_memory(
        target, method, options, max_memory_gb=max_memory_gb, chunk_sizes=chunk_sizes
    )
