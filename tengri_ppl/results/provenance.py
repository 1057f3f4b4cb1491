"""What a posterior came from: attributes that are stored with it, and the check against a model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import jax
import numpy as np
from jax import Array

from tengri_ppl.errors import DataError, ParameterError
from tengri_ppl.inference.result import InferenceResult
from tengri_ppl.models.sed import SEDModel
from tengri_ppl.physics.component import Component

__all__ = ["check_model", "model_attributes", "run_attributes"]

_PACKAGES = ("tengri-ppl", "jax", "numpyro", "arviz")


def run_attributes(
    result: InferenceResult, key: Array, extra: Mapping[str, Any]
) -> dict[str, str | int | float]:
    """Collect the attributes of a posterior; those in ``extra`` win.

    Returns
    -------
    dict
        Numbers and strings only, as netCDF wants them; everything else as JSON.
    """
    attributes = {
        "method": result.method,
        "settings": json.dumps(result.settings, default=str),
        "wall_time_s": float(result.wall_time_s),
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "predictive_key": jax.random.key_data(key).tolist(),
        **{f"{name.replace('-', '_')}_version": _version(name) for name in _PACKAGES},
        **result.diagnostics,
        "notes": "\n".join(result.notes) or None,
        **extra,
    }
    return {name: _plain(value) for name, value in attributes.items() if value is not None}


def model_attributes(sed: SEDModel) -> dict[str, str]:
    """Return what :func:`check_model` checks, as JSON."""
    fixed = {name: np.asarray(value).tolist() for name, value in sed.spec.fixed.items()}
    return {
        "model_free": json.dumps(sed.spec.free_params),
        "model_fixed": json.dumps(fixed),
        "model_components": json.dumps(_components(sed)),
        "model_bands": json.dumps(list(sed.bands)),
    }


def _components(sed: SEDModel) -> dict[str, str]:
    return {c.kind: _component_name(c) for c in sed.spec.structure.components}


def _component_name(component: Component) -> str:
    """Return the name of a component, with those of its parts in brackets."""
    parts = [_component_name(part) for part in component.parts]
    return f"{component.name}({', '.join(parts)})" if parts else component.name


def check_model(attributes: Mapping[str, Any], sed: SEDModel) -> None:
    """Refuse a model that is not the one that a posterior was made with.

    Parameters
    ----------
    attributes : mapping
        The root attributes of the posterior; what they don't say is not checked.
    sed : SEDModel
        The model.

    Raises
    ------
    DataError
        If the bands differ.
    ParameterError
        If components, free parameters or fixed values differ.
    """
    bands = json.loads(attributes.get("model_bands", "null"))
    if bands is not None and bands != list(sed.bands):
        raise DataError(
            f"the posterior was made with other bands than this model's: "
            f"{_difference(bands, sed.bands)}. Build the SEDModel with the posterior's bands"
        )
    free = json.loads(attributes.get("model_free", "null"))
    if free is not None and free != sed.spec.free_params:
        raise ParameterError(
            f"the posterior has other free parameters than this model: "
            f"{_difference(free, sed.spec.free_params)}. Build Parameters as for the fit"
        )
    for name, ours in (("model_components", _components(sed)), ("model_fixed", sed.spec.fixed)):
        _check_values(json.loads(attributes.get(name, "{}")), ours)


def _difference(theirs: list[str], ours: Any) -> str:
    """Say what only one side has, or that the order differs."""
    only = [f"{n!r} is only in the posterior" for n in theirs if n not in ours]
    only += [f"{n!r} is only in the model" for n in ours if n not in theirs]
    return ", ".join(only) or f"the order is {', '.join(theirs)} in the posterior"


def _check_values(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> None:
    for name, value in theirs.items():
        here = ours.get(name, "absent")
        if not _same(value, here):
            raise ParameterError(
                f"{name} is {_shown(value)} in the posterior, but {_shown(here)} in this model; "
                "build the model as for the fit"
            )


def _same(theirs: Any, ours: Any) -> bool:
    """Tell whether two names are equal, or two numbers or arrays to single precision."""
    if isinstance(theirs, str) or isinstance(ours, str):
        return bool(theirs == ours)
    return np.shape(theirs) == np.shape(ours) and np.allclose(theirs, ours, rtol=1e-5, atol=1e-8)


def _shown(value: Any) -> str:
    """Return a name, a number or the beginning of an array in a few characters."""
    if isinstance(value, str):
        return repr(value)
    return np.array2string(np.asarray(value), precision=6, threshold=6, edgeitems=2)


def _plain(value: Any) -> str | int | float:
    """Turn a value into something that a netCDF attribute can hold."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return json.dumps(value.tolist() if hasattr(value, "tolist") else value, default=str)
    return value


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
