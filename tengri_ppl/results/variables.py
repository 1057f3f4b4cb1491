"""Which variables of a posterior are what, and how vectors become scalars with names."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tengri_ppl.results.derived import DERIVED

__all__ = [
    "LONGEST_SHOWN",
    "chain_draws",
    "derived_names",
    "elements",
    "flat_draws",
    "free_parameters",
    "shown_parameters",
]

#: Vectors of more elements are latent fields; tables and figures leave them out unless asked.
LONGEST_SHOWN = 12


def free_parameters(inference_data: Any) -> list[str]:
    """Names of the free parameters: as recorded, or all scalars that aren't derived quantities."""
    posterior = inference_data.posterior
    recorded = json.loads(inference_data.attrs.get("model_free", "[]"))
    names = [name for name in recorded if name in posterior]
    return names or [
        str(name) for name in posterior if name not in DERIVED and posterior[name].ndim == 2
    ]


def shown_parameters(inference_data: Any) -> list[str]:
    """Names of the free parameters that are scalars, or vectors of a few elements."""
    posterior, names = inference_data.posterior, free_parameters(inference_data)
    return [name for name in names if np.prod(posterior[name].shape[2:]) <= LONGEST_SHOWN]


def derived_names(inference_data: Any) -> list[str]:
    """Names of the derived quantities that were recorded."""
    return [name for name in DERIVED if name in inference_data.posterior]


def flat_draws(inference_data: Any, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Draws of the named variables with the chains joined: name -> (chain * draw, ...)."""
    values = {name: inference_data.posterior[name].values for name in names}
    return {name: x.reshape(-1, *x.shape[2:]) for name, x in values.items()}


def chain_draws(inference_data: Any, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Draws (chain, draw) of scalars and of the elements of vectors, in double precision.

    ``names`` may hold a vector ``"x"``, for all of its elements, or one of them, ``"x[3]"``.
    """
    variables = dict.fromkeys(name.split("[")[0] for name in names)
    values = {v: np.asarray(inference_data.posterior[v].values, dtype=float) for v in variables}
    every = elements(values, n_axes=2)
    wanted = [k for name in names for k in every if name in (k, k.split("[")[0])]
    return {name: every[name] for name in wanted}


def elements(draws: Mapping[str, np.ndarray], n_axes: int = 1) -> dict[str, np.ndarray]:
    """Cut vectors into their elements, named as ArviZ names them: ``x[0]``, ``x[1]``, ...

    Parameters
    ----------
    draws : mapping of str to ndarray, shape (..., n, ...)
        Scalars and vectors.
    n_axes : int
        Number of leading axes, those of the draws.
    """
    return {
        f"{name}[{', '.join(map(str, index))}]" if index else name: x[(..., *index)]
        for name, x in draws.items()
        for index in np.ndindex(x.shape[n_axes:])
    }
