"""Run an engine by name on a target."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from tengri_ppl.errors import ParameterError
from tengri_ppl.inference.flat import FlatTarget
from tengri_ppl.inference.laplace import curvature
from tengri_ppl.inference.programs import is_lean, make_room, signature
from tengri_ppl.inference.registry import get_method, make_options
from tengri_ppl.inference.result import InferenceResult
from tengri_ppl.inference.start import Start, start_from_draws
from tengri_ppl.inference.target import Target
from tengri_ppl.runtime.memory import release_memory

__all__ = ["run_method", "start_from_samples"]

#: Draws per coordinate that a covariance needs.
_DRAWS_PER_COORDINATE = 5
_MOST_DRAWS = 2000


def run_method(
    target: Target,
    method: str,
    key: Array,
    *,
    init: Mapping[str, np.ndarray] | Start | None = None,
    progress: Any = None,
    lean: bool | None = None,
    options: Mapping[str, Any] | None = None,
) -> InferenceResult:
    """Run an engine.

    Parameters
    ----------
    target : Target
        Posterior to sample.
    method : str
        Name of the engine.
    key : Array
        Random key.
    init : mapping or Start, optional
        Draws of an earlier result, (n, ...) for every latent site, from which to start, or an
        approximation of the posterior.
    progress : callable, optional
        Passed on to the engine.
    lean : bool, optional
        Drop the compiled programs of other engines and models first, as by default unless inside
        :func:`~tengri_ppl.inference.programs.persistent`.
    options : mapping, optional
        The engine's options.

    Raises
    ------
    ParameterError
        If the method or an option is unknown, or the draws lack a site.
    """
    engine = get_method(method)
    settings = make_options(engine, dict(options or {}))
    make_room((engine.name, signature(target)), drop=is_lean() if lean is None else lean)
    start = start_from_samples(FlatTarget(target), init) if isinstance(init, Mapping) else init
    result = engine.run(target, key, settings, start=start, progress=progress)
    release_memory()
    return result


def start_from_samples(flat: FlatTarget, samples: Mapping[str, np.ndarray]) -> Start:
    """Make a start from draws of all latent sites.

    Parameters
    ----------
    flat : FlatTarget
        The posterior.
    samples : mapping of str to array_like, shape (n, ...)
        Constrained values. A few draws, or a single point, give the centre, and the curvature
        there gives the widths.

    Raises
    ------
    ParameterError
        If a site is missing or has another shape.
    """
    sites = flat.target.sites
    for name, site in sites.items():
        if name not in samples:
            raise ParameterError(
                f"the start has no draws of {name!r}; it has {', '.join(samples)}. "
                "It must come from a fit of the same model"
            )
        if np.shape(samples[name])[1:] != site.shape:
            raise ParameterError(
                f"{name!r} has the shape {np.shape(samples[name])[1:]} in the start and "
                f"{site.shape} in this model"
            )
    n = len(samples[next(iter(sites))])
    pick = np.unique(np.linspace(0, n - 1, min(n, _MOST_DRAWS)).astype(int))
    values = {name: jnp.asarray(np.asarray(samples[name])[pick], dtype=float) for name in sites}
    x = flat.flatten(jax.vmap(flat.target.unconstrain)(values))
    x = x[jnp.all(jnp.isfinite(x), axis=1)]
    if len(x) > _DRAWS_PER_COORDINATE * flat.dimension:
        return start_from_draws(x)
    if not len(x):
        raise ParameterError("no draw of the start is inside the support of the priors")
    centre = x.mean(axis=0)
    return Start(centre, curvature(flat, centre[None]).factor[0])
