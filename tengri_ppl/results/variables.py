"""Which variables of a posterior are what."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from tengri_ppl.results.derived import DERIVED

__all__ = ["derived_names", "flat_draws", "free_parameters"]


def free_parameters(inference_data: Any) -> list[str]:
    """Names of the free parameters: as recorded, or all scalars that aren't derived quantities."""
    posterior = inference_data.posterior
    recorded = json.loads(inference_data.attrs.get("model_free", "[]"))
    names = [name for name in recorded if name in posterior]
    return names or [
        str(name) for name in posterior if name not in DERIVED and posterior[name].ndim == 2
    ]


def derived_names(inference_data: Any) -> list[str]:
    """Names of the derived quantities that were recorded."""
    return [name for name in DERIVED if name in inference_data.posterior]


def flat_draws(inference_data: Any, names: list[str]) -> dict[str, np.ndarray]:
    """Draws of the named variables with the chains joined, each of shape (chain * draw,)."""
    return {name: inference_data.posterior[name].values.reshape(-1) for name in names}
