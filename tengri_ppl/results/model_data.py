"""The InferenceData of any NumPyro model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax import Array

from tengri_ppl.inference.pointwise import (
    evaluate_data,
    observed_values,
    prior_draws,
    site_dimensions,
)
from tengri_ppl.inference.result import InferenceResult
from tengri_ppl.inference.target import Target
from tengri_ppl.results.datasets import (
    SAMPLE_DIMS,
    make_dataset,
    make_dead_points,
    make_inference_data,
    make_sample_stats,
)
from tengri_ppl.results.provenance import run_attributes

__all__ = ["build_model_data"]


def build_model_data(
    result: InferenceResult,
    target: Target,
    *,
    key: Array,
    coords: Mapping[str, Any] | None = None,
    attrs: Mapping[str, Any] | None = None,
) -> Any:
    """Join the draws of any model with everything that ArviZ knows what to do with.

    Parameters
    ----------
    result : InferenceResult
        Draws (chain, draw, ...) of all latent sites, and of the deterministic ones.
    target : Target
        The model with its data.
    key : Array
        Random key for the predictive and the prior draws.
    coords : mapping, optional
        Labels along plates, by their names; counted from 0 by default.
    attrs : mapping, optional
        More attributes for the root.

    Returns
    -------
    arviz.InferenceData
        ``posterior``, ``sample_stats``, ``log_likelihood``, ``posterior_predictive`` and
        ``observed_data`` (one variable an observed site), ``prior`` (500 draws; not for models
        with an improper prior). Axes are named by their plates.
    """
    key_data, key_prior = jax.random.split(key)
    dims = site_dimensions(target)
    latent = {name: result.samples[name] for name in (*target.sites, *target.discrete)}
    data = evaluate_data(target, latent, key_data)
    labels = _labels(dims, result, coords or {})
    prior = prior_draws(target, key_prior) or {}
    own = {"model_free": json.dumps(list(target.sites))}
    samples = {name: result.samples[name] for name in _order(target, result)}
    groups = {
        "posterior": make_dataset(samples, dims, labels),
        "sample_stats": make_sample_stats(result),
        "dead_points": make_dead_points(result),
        "log_likelihood": make_dataset(data["log_likelihood"], _batch(dims, data), labels),
        "posterior_predictive": make_dataset(data["predictive"], dims, labels),
        "prior": make_dataset({n: x[None] for n, x in prior.items()}, dims, labels),
        "observed_data": _observed(observed_values(target), dims, labels),
    }
    return make_inference_data(groups, run_attributes(result, key, own | dict(attrs or {})))


def _order(target: Target, result: InferenceResult) -> list[str]:
    """Latent sites in the order of the model, then deterministic ones."""
    return [*target.sites, *(name for name in result.samples if name not in target.sites)]


def _batch(
    dims: Mapping[str, list[str]], data: Mapping[str, Mapping[str, np.ndarray]]
) -> dict[str, list[str]]:
    """Axes of log-likelihoods, which lack those of multivariate events."""
    values = data["log_likelihood"]
    return {name: dims[name][: x.ndim - len(SAMPLE_DIMS)] for name, x in values.items()}


def _labels(
    dims: Mapping[str, list[str]], result: InferenceResult, coords: Mapping[str, Any]
) -> dict[str, Any]:
    """Label the axes of the sampled sites."""
    lengths = {
        axis: size
        for name, value in result.samples.items()
        for axis, size in zip(dims.get(name, []), value.shape[len(SAMPLE_DIMS) :], strict=False)
    }
    return {axis: np.arange(size) for axis, size in lengths.items()} | dict(coords)


def _observed(
    values: Mapping[str, np.ndarray], dims: Mapping[str, list[str]], labels: Mapping[str, Any]
) -> Any:
    import xarray as xr

    variables = {name: (dims[name], value) for name, value in values.items()}
    used = {axis for name in values for axis in dims[name]}
    return xr.Dataset(variables, coords={a: x for a, x in labels.items() if a in used})
