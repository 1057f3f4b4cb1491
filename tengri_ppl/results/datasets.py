"""Datasets of draws, the parts that an InferenceData is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tengri_ppl.inference.result import InferenceResult

__all__ = [
    "SAMPLE_DIMS",
    "make_dataset",
    "make_dead_points",
    "make_inference_data",
    "make_sample_stats",
]

#: Leading axes of everything that is sampled.
SAMPLE_DIMS = ("chain", "draw")


def make_dataset(
    values: Mapping[str, np.ndarray],
    dims: Mapping[str, Sequence[str]] | None = None,
    coords: Mapping[str, Any] | None = None,
    units: Mapping[str, str] | None = None,
) -> Any:
    """Make a dataset of arrays (chain, draw, ...).

    Parameters
    ----------
    values : mapping of str to ndarray
        The variables.
    dims : mapping, optional
        Names of the trailing axes of a variable; by default ``name_dim_0``, ``name_dim_1``, ...
    coords : mapping, optional
        Coordinates of axes; those that no variable has are left out.
    units : mapping, optional
        Units of variables.
    """
    import xarray as xr

    dims, units = dims or {}, units or {}
    variables, used = {}, set()
    for name, value in values.items():
        trailing = np.ndim(value) - len(SAMPLE_DIMS)
        names = list(dims.get(name, [f"{name}_dim_{i}" for i in range(trailing)]))
        attrs = {"units": units[name]} if name in units else {}
        variables[name] = ((*SAMPLE_DIMS, *names), np.asarray(value), attrs)
        used.update(names)
    known = {name: values for name, values in (coords or {}).items() if name in used}
    if variables:
        n_chain, n_draw = np.shape(next(iter(values.values())))[: len(SAMPLE_DIMS)]
        known |= {"chain": np.arange(n_chain), "draw": np.arange(n_draw)}
    return xr.Dataset(variables, coords=known)


def make_sample_stats(result: InferenceResult) -> Any:
    """Make a dataset of the statistics of draws, and of what was recorded along the way.

    The latter, such as ``elbo``, have an axis of their own in place of chain and draw.
    """
    stats = make_dataset(result.sample_stats)
    return stats.assign({n: (f"{n}_step", np.asarray(x)) for n, x in result.traces.items()})


def make_dead_points(result: InferenceResult) -> Any:
    """Make a dataset of the dead points of nested sampling, along the axis ``dead_point``."""
    import xarray as xr

    variables = {
        name: (("dead_point", *(f"{name}_dim_{i}" for i in range(value.ndim - 1))), value)
        for name, value in result.dead_points.items()
    }
    return xr.Dataset(variables)


def make_inference_data(groups: Mapping[str, Any], attrs: Mapping[str, Any]) -> Any:
    """Join datasets into an InferenceData; groups without variables are left out."""
    from tengri_ppl._arviz import load_arviz

    kept = {name: group for name, group in groups.items() if group.data_vars}
    return load_arviz().InferenceData(attrs=dict(attrs), **kept)
