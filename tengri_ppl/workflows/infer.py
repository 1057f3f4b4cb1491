"""Sample the posterior of any NumPyro model."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
from jax import Array

from tengri_ppl.errors import ParameterError
from tengri_ppl.inference.plan import within_budget
from tengri_ppl.inference.registry import DEFAULT_METHOD, get_method
from tengri_ppl.inference.run import run_method
from tengri_ppl.inference.start import Start
from tengri_ppl.inference.target import Target
from tengri_ppl.results.model_data import build_model_data
from tengri_ppl.results.posterior import Posterior
from tengri_ppl.results.progress import progress_report
from tengri_ppl.runtime.background import wait_for_background
from tengri_ppl.runtime.memory import peak_rss_bytes, release_memory

__all__ = ["checked_arguments", "infer"]


def infer(
    model: Callable[..., Any],
    args: tuple[Any, ...] = (),
    kwargs: Mapping[str, Any] | None = None,
    method: str = DEFAULT_METHOD,
    key: Array | None = None,
    *,
    init_from: Posterior | Start | None = None,
    coords: Mapping[str, Any] | None = None,
    lean: bool | None = None,
    max_memory_gb: float | None = None,
    progress: bool = False,
    **options: Any,
) -> Posterior:
    """Sample the posterior of any NumPyro model with any engine.

    Parameters
    ----------
    model : callable
        NumPyro model function. Programs are compiled once per function, so pass the same one
        for other data of the same shapes.
    args, kwargs
        Its arguments, the data among them: arrays, or pytrees of arrays.
    method : str
        Name of an engine; see :func:`tengri_ppl.list_methods`.
    key : Array, optional
        Random key; ``jax.random.key(42)`` by default.
    init_from : Posterior or Start, optional
        An earlier result for the same model, from which the engine starts, or a Gaussian
        approximation of its posterior.
    coords : mapping, optional
        Labels along plates, by the names of the plates.
    lean : bool, optional
        Drop the compiled programs of other engines and models first, so that memory holds those
        of one engine at a time. True by default, except inside :func:`tengri_ppl.persistent`.
    max_memory_gb : float, optional
        Memory that this process, or each device, may use [GB]. As many points are evaluated at a
        time as fit into four fifths of it; the run warns at 85 %, and is stopped at 95 %, after
        which chains and nested sampling return what they have.
    progress : bool
        Show a progress bar on standard error.
    **options
        Options of the engine.

    Returns
    -------
    Posterior
        With `Posterior.inference_data` for ArviZ.

    Raises
    ------
    ParameterError
        If the method, an option or a site of the model can't be treated; it says what to do.
    MemoryBudgetError
        If ``max_memory_gb`` is too little.

    Examples
    --------
    >>> def model(x, y=None):
    ...     slope = numpyro.sample("slope", dist.Normal(0.0, 1.0))
    ...     with numpyro.plate("point", x.size):
    ...         numpyro.sample("y", dist.Normal(slope * x, 0.1), obs=y)
    >>> posterior = tg.infer(model, (x, y), key=jax.random.key(0))
    """
    wait_for_background()
    begin = time.perf_counter()
    key = jax.random.key(42) if key is None else key
    key_run, key_data = jax.random.split(key)
    target = Target(model, *checked_arguments(args, kwargs))
    target, options = within_budget(target, method, options, max_memory_gb)
    init = init_from.start_values if isinstance(init_from, Posterior) else init_from
    with progress_report(get_method(method).name, progress, max_memory_gb) as report:
        result = run_method(
            target, method, key_run, init=init, progress=report, lean=lean, options=options
        )
    attrs = {"seed": jax.random.key_data(key).tolist(), "peak_rss_bytes": peak_rss_bytes()}
    idata = build_model_data(result, target, key=key_data, coords=coords, attrs=attrs)
    release_memory()
    idata.attrs["wall_time_s"] = time.perf_counter() - begin
    again = partial(infer, model, args, kwargs, coords=coords)
    return Posterior(idata, rerun=again)


def checked_arguments(args: Any, kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return a model's arguments if they are where they belong."""
    if not isinstance(args, tuple | list):
        raise ParameterError(
            f"args is a {type(args).__name__}; expected a tuple of the model's positional "
            "arguments, for example args=(x, y)"
        )
    if kwargs is not None and not isinstance(kwargs, Mapping):
        raise ParameterError(
            f"kwargs is {kwargs!r}; expected a mapping of the model's keyword arguments. "
            "The engine is chosen by method=..."
        )
    return tuple(args), dict(kwargs or {})
