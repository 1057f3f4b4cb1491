"""What a user may give for a parameter: a prior, a value, or nothing where there is a default."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpyro.distributions as dist

from tengri_ppl.errors import ParameterError
from tengri_ppl.physics.component import (
    DirichletPrior,
    LogUniformPrior,
    NormalPrior,
    Parameter,
    StudentTPrior,
)

__all__ = ["Fixed", "default_entry", "describe_entry", "make_entry"]


@dataclass(frozen=True)
class Fixed:
    """A parameter that keeps one value, a number or an array of the parameter's shape."""

    value: Any


def default_entry(parameter: Parameter) -> Any:
    """Turn a component's default into a prior or a fixed value."""
    match parameter.default:
        case (low, high):
            prior = dist.Uniform(low, high)
        case LogUniformPrior(low, high):
            prior = dist.LogUniform(low, high)
        case NormalPrior(loc, scale):
            prior = dist.Normal(loc, scale)
        case StudentTPrior(df, loc, scale):
            prior = dist.StudentT(df, loc, scale)
        case DirichletPrior(concentration):
            prior = dist.Dirichlet(np.full(parameter.shape, concentration))
        case value:
            return None if np.isnan(value) else Fixed(value)
    return prior


def make_entry(parameter: Parameter, value: Any) -> Any:
    """Validate what the user gave for one parameter, and give it the parameter's shape."""
    if value is None:
        raise ParameterError(
            f"{parameter.name} has no default: give a value, {parameter.name}=Fixed(...), or a "
            "prior distribution"
        )
    if isinstance(value, dist.Distribution):
        return _prior(parameter, value)
    name = parameter.name
    number = value.value if isinstance(value, Fixed) else value
    if isinstance(number, (bool, str)):
        raise ParameterError(f"{name}={value!r}: expected {_expected(parameter)}")
    try:
        number = np.asarray(number, dtype=float)
    except (TypeError, ValueError):
        raise ParameterError(f"{name}={value!r}: expected {_expected(parameter)}") from None
    if number.shape not in ((), parameter.shape):
        raise ParameterError(
            f"{name} has shape {number.shape}: expected {_expected(parameter)} of shape "
            f"{parameter.shape}"
        )
    if not np.all(np.isfinite(number)):
        raise ParameterError(
            f"{name}={value!r}: expected {'finite numbers' if number.shape else 'a finite number'}"
        )
    return Fixed(np.broadcast_to(number, parameter.shape).copy())


def _expected(parameter: Parameter) -> str:
    """Say what may be given for a parameter."""
    if parameter.shape:
        return "a NumPyro distribution, or Fixed(array) or an array"
    return "a NumPyro distribution, Fixed(number) or a number"


def _prior(parameter: Parameter, prior: Any) -> Any:
    """Validate a prior; one of scalars holds for each element of a vector."""
    name, shape = parameter.name, parameter.shape
    if prior.support.is_discrete:
        raise ParameterError(f"the prior of {name} is discrete; a continuous one is expected")
    if shape and prior.shape() == ():
        prior = prior.expand(shape)
    if shape and prior.shape() == shape:
        prior = prior.to_event(len(prior.batch_shape)) if prior.batch_shape else prior
    elif prior.shape() != shape:
        wanted = f"distribution of shape {shape}" if shape else "scalar distribution"
        raise ParameterError(
            f"the prior of {name} has batch shape {prior.batch_shape} and event shape "
            f"{prior.event_shape}; a {wanted} is expected (galaxies are added by a "
            "numpyro.plate around sed.sample())"
        )
    _check_bounds(name, prior)
    return prior


def _check_bounds(name: str, prior: Any) -> None:
    """Refuse an empty support, which NumPyro lets pass."""
    support = getattr(prior.support, "base_constraint", prior.support)
    low = np.asarray(getattr(support, "lower_bound", -np.inf), dtype=float)
    high = np.asarray(getattr(support, "upper_bound", np.inf), dtype=float)
    if not np.all(low < high):
        raise ParameterError(
            f"the prior of {name}, {describe_entry(prior)}, has no support between "
            f"{low.max():g} and {high.min():g}; the lower bound has to be below the upper one"
        )


def describe_entry(value: Any) -> str:
    """Return a prior or a value in a few characters."""
    if isinstance(value, Fixed):
        if np.ndim(value.value):
            return f"fixed, {np.size(value.value)} values"
        return f"fixed {float(value.value):g}"
    base, count = _scalar_prior(value)
    given = {name: getattr(base, name, None) for name in base.arg_constraints}
    arguments = [f"{float(x):g}" for x in given.values() if x is not None and np.ndim(x) == 0]
    return f"{type(base).__name__}({', '.join(arguments)}){count}"


def _scalar_prior(prior: Any) -> tuple[Any, str]:
    """Return the prior of each element of a vector, and how many there are."""
    count = "".join(f" x {n}" for n in prior.event_shape)
    while isinstance(prior, (dist.Independent, dist.ExpandedDistribution)):
        prior = prior.base_dist
    return prior, count
