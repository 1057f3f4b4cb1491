"""NumPyro's automatic guides, on a target written as a model with one whitened site ``u``."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from jax import Array
from numpyro import handlers
from numpyro.infer import autoguide, init_to_value

from tengri_ppl.distributions.layout import Layout
from tengri_ppl.errors import ParameterError, suggest
from tengri_ppl.inference.flat import flat_potential
from tengri_ppl.inference.start import Start
from tengri_ppl.inference.target import Model

__all__ = [
    "FLOWS",
    "GUIDES",
    "SIMPLE",
    "Guide",
    "build",
    "has_density",
    "make_guide",
    "whitened_model",
]

GUIDES = {
    "delta": autoguide.AutoDelta,
    "normal": autoguide.AutoDiagonalNormal,
    "multivariate": autoguide.AutoMultivariateNormal,
    "low_rank": autoguide.AutoLowRankMultivariateNormal,
    "iaf": autoguide.AutoIAFNormal,
    "bnaf": autoguide.AutoBNAFNormal,
    "dais": autoguide.AutoDAIS,
    "laplace": autoguide.AutoLaplaceApproximation,
}
#: Those with widths start nearly as wide as the posterior should be in whitened coordinates.
_INIT_SCALE = 0.8
_WITH_SCALE = (
    autoguide.AutoDiagonalNormal,
    autoguide.AutoMultivariateNormal,
    autoguide.AutoLowRankMultivariateNormal,
    autoguide.AutoDAIS,
    autoguide.AutoNormal,
)

#: Guides of few parameters, which are soon trained.
SIMPLE = (
    autoguide.AutoDelta,
    autoguide.AutoDiagonalNormal,
    autoguide.AutoMultivariateNormal,
    autoguide.AutoLowRankMultivariateNormal,
    autoguide.AutoNormal,
    autoguide.AutoLaplaceApproximation,
)

#: Flows, which need more than one coordinate.
FLOWS = (autoguide.AutoIAFNormal, autoguide.AutoBNAFNormal)

#: A guide's class with its options, hashable.
Guide = tuple[type, tuple[tuple[str, Any], ...]]


def make_guide(guide: str | type, options: Mapping[str, Any]) -> Guide:
    """Find a guide by name, with options for its constructor.

    Raises
    ------
    ParameterError
        If there is none of this name, or it is no guide.
    """
    if isinstance(guide, str):
        if guide not in GUIDES:
            raise ParameterError(
                f"guide {guide!r} is unknown{suggest(guide, GUIDES)} (available: "
                f"{', '.join(GUIDES)}, or a subclass of numpyro.infer.autoguide.AutoGuide)"
            )
        guide = GUIDES[guide]
    if not (isinstance(guide, type) and issubclass(guide, autoguide.AutoGuide)):
        raise ParameterError(
            f"guide={guide!r}: expected a name ({', '.join(GUIDES)}) or a subclass of "
            "numpyro.infer.autoguide.AutoGuide"
        )
    given = dict(options)
    if issubclass(guide, _WITH_SCALE):
        given.setdefault("init_scale", _INIT_SCALE)
    return guide, tuple(
        sorted((k, tuple(v) if isinstance(v, list) else v) for k, v in given.items())
    )


def build(guide: Guide, model: Model, dimension: int) -> Any:
    """Make the guide for a model with the site ``u``; inside of every trace, anew."""
    kind, options = guide
    listed = {k: list(v) if isinstance(v, tuple) else v for k, v in options}
    init = init_to_value(values={"u": jnp.zeros(dimension)})
    return kind(model, init_loc_fn=init, **listed)


def has_density(guide: Guide) -> bool:
    """Tell whether the guide has a density for its draws."""
    kind = guide[0]
    without = (autoguide.AutoDAIS, autoguide.AutoSemiDAIS, autoguide.AutoSurrogateLikelihoodDAIS)
    return issubclass(kind, autoguide.AutoContinuous) and not issubclass(kind, without)


@lru_cache(maxsize=64)
def whitened_model(model: Model, layout: Layout, dimension: int) -> Model:
    """Write a posterior as a NumPyro model of (start, args, kwargs) with one site ``u``.

    With a ``tilt`` (D,) the energy of u is changed by ``tilt @ u``.
    """

    def whitened(
        start: Start, args: tuple[Any, ...], kwargs: dict[str, Any], tilt: Array | None = None
    ) -> None:
        prior = dist.Normal(0.0, 1.0).expand([dimension]).to_event(1)
        u = numpyro.sample("u", prior)
        with handlers.block():
            energy = flat_potential(model, layout, start.points(u), args, kwargs)
        energy = jnp.where(jnp.isfinite(energy), energy, 1e10)
        energy = energy if tilt is None else energy + tilt @ u
        numpyro.factor("posterior", start.log_volume - energy - prior.log_prob(u))

    return whitened
