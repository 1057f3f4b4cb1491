"""The section [priors] of a galaxy's file: numbers, lists of numbers and distributions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpyro.distributions as dist

from tengri_ppl.errors import ParameterError, suggest

__all__ = ["make_prior"]

_DISTRIBUTIONS = (
    "Uniform",
    "LogUniform",
    "Normal",
    "TruncatedNormal",
    "LogNormal",
    "HalfNormal",
    "Beta",
    "StudentT",
    "Dirichlet",
)


def make_prior(name: str, value: Any) -> Any:
    """Return a number, an array or a NumPyro distribution.

    Parameters
    ----------
    name : str
        Name of the parameter, for messages.
    value : float, list of float, or mapping
        A mapping has the key ``dist`` and NumPyro's arguments; a list as an argument makes a prior
        of a vector.

    Raises
    ------
    ParameterError
        If the distribution is unknown or refuses its arguments.
    """
    if isinstance(value, list):
        return _array(name, value)
    if not isinstance(value, Mapping):
        return value
    arguments: dict[str, Any] = {
        k: _array(name, v) if isinstance(v, list) else v for k, v in value.items()
    }
    kind = arguments.pop("dist", None)
    if kind not in _DISTRIBUTIONS:
        raise ParameterError(
            f"prior of {name}: dist={kind!r} is unknown{suggest(str(kind), _DISTRIBUTIONS)} "
            f"(available: {', '.join(_DISTRIBUTIONS)})"
        )
    try:
        return getattr(dist, kind)(**arguments, validate_args=True)
    except (TypeError, ValueError) as error:
        raise ParameterError(f"prior of {name}: {kind}: {error}") from None


def _array(name: str, values: list[Any]) -> np.ndarray:
    """Return a list as an array of numbers."""
    try:
        return np.asarray(values, dtype=float)
    except (TypeError, ValueError):
        raise ParameterError(f"prior of {name}: expected numbers, got {values!r}") from None
