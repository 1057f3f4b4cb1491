r"""What galaxies of a population share: parameters, their distribution, relations between them.

A relation samples its hyper-parameters outside of the galaxies' plate and the parameters of the
galaxies inside of it. Priors of the SED model bound what it gives to a galaxy: a Gaussian is
truncated to their support.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from jax import Array

from tengri_ppl.errors import ParameterError
from tengri_ppl.models.parameters import Parameters

__all__ = [
    "MultivariateNormalPopulation",
    "NormalPopulation",
    "Relation",
    "ScalingRelation",
    "Shared",
]


def static(**options: Any) -> Any:
    """Declare a field that is no array."""
    return field(metadata={"static": True}, **options)


class Relation(Protocol):
    """What a population model asks of its parts."""

    @property
    def names(self) -> tuple[str, ...]:
        """Parameters of the galaxies that it samples."""

    @property
    def needs(self) -> tuple[str, ...]:
        """Parameters or columns that have to be known before."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Labels of the classes of galaxies, if it tells several apart by ``galaxy_class``."""

    def sample_shared(self, spec: Parameters) -> dict[str, Array]:
        """Create the sites outside of the plate; return them by the names of the sites."""

    def sample_galaxies(
        self, spec: Parameters, shared: Mapping[str, Array], known: Mapping[str, Any]
    ) -> dict[str, Array]:
        """Create the sites inside of the plate; return parameter -> value for each galaxy."""

    def shared_sites(self) -> tuple[str, ...]:
        """Return the names of the sites outside of the plate."""

    def sites(self) -> tuple[str, ...]:
        """Return the names of the sites in the plate that depend on shared ones."""

    def site_values(self, params: Mapping[str, Array]) -> dict[str, Array]:
        """Return the values of these sites for given parameters."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Shared:
    """A parameter that all galaxies have in common, with the prior of the SED model.

    Attributes
    ----------
    name : str
        The parameter.
    """

    name: str = static()

    @property
    def names(self) -> tuple[str, ...]:
        """The parameter."""
        return (self.name,)

    needs = ()
    classes = ()

    def sample_shared(self, spec: Parameters) -> dict[str, Array]:
        """Sample the parameter."""
        return {self.name: numpyro.sample(self.name, spec[self.name])}

    def sample_galaxies(
        self, spec: Parameters, shared: Mapping[str, Array], known: Mapping[str, Any]
    ) -> dict[str, Array]:
        """Return the value for all galaxies."""
        del spec, known
        return {self.name: shared[self.name]}

    def shared_sites(self) -> tuple[str, ...]:
        """Return the parameter."""
        return (self.name,)

    def sites(self) -> tuple[str, ...]:
        """Return none."""
        return ()

    def site_values(self, params: Mapping[str, Array]) -> dict[str, Array]:
        """Return none."""
        del params
        return {}


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class NormalPopulation:
    """Values of a parameter follow a Gaussian, truncated to the support of the SED model's prior.

    Sites: ``<name>_loc``, ``<name>_scale``, and ``<name>`` in the plate.

    Attributes
    ----------
    name : str
        The parameter.
    loc : distribution, optional
        Prior of its mean; the SED model's prior by default.
    scale : distribution, optional
        Prior of its standard deviation; by default a half-normal as wide as the SED model's prior.
    """

    name: str = static()
    loc: Any = None
    scale: Any = None

    @property
    def names(self) -> tuple[str, ...]:
        """The parameter."""
        return (self.name,)

    needs = ()
    classes = ()

    def sample_shared(self, spec: Parameters) -> dict[str, Array]:
        """Sample mean and standard deviation."""
        prior = spec[self.name]
        loc = prior if self.loc is None else self.loc
        scale = wide(self.name, prior) if self.scale is None else self.scale
        return _sampled({f"{self.name}_loc": loc, f"{self.name}_scale": scale})

    def sample_galaxies(
        self, spec: Parameters, shared: Mapping[str, Array], known: Mapping[str, Any]
    ) -> dict[str, Array]:
        """Sample the parameter."""
        loc, scale = shared[f"{self.name}_loc"], shared[f"{self.name}_scale"]
        gaussian = bounded_normal(spec[self.name], loc, scale, known)
        return {self.name: numpyro.sample(self.name, gaussian)}

    def shared_sites(self) -> tuple[str, ...]:
        """Return mean and standard deviation."""
        return f"{self.name}_loc", f"{self.name}_scale"

    def sites(self) -> tuple[str, ...]:
        """Return the parameter."""
        return (self.name,)

    def site_values(self, params: Mapping[str, Array]) -> dict[str, Array]:
        """Return the parameter's."""
        return {self.name: params[self.name]}


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ScalingRelation:
    r"""A parameter depends linearly on others, with Gaussian scatter.

    .. math:: y = a + \sum_k b_k (x_k - p_k) + \epsilon, \quad \epsilon \sim N(0, s)

    truncated to the support of the SED model's prior of y. Sites: ``<name>_intercept``,
    ``<name>_slope_<x>`` for each x, ``<name>_scatter``, and ``<name>`` in the plate.

    Attributes
    ----------
    name : str
        The parameter y.
    on : str or tuple of str
        The x: parameters of relations given before this one or free ones, or columns of the data
        such as the redshift.
    pivot : float or tuple of float
        The p, one for each x.
    intercept, scatter : distribution, optional
        Priors; by default those of :class:`NormalPopulation` for mean and standard deviation.
    slope : distribution or tuple of distributions, optional
        Priors of the b; a normal with a standard deviation of 1 by default.
    """

    name: str = static()
    on: str | tuple[str, ...] = static()
    pivot: float | tuple[float, ...] = 0.0
    intercept: Any = None
    slope: Any = None
    scatter: Any = None

    @property
    def names(self) -> tuple[str, ...]:
        """The parameter."""
        return (self.name,)

    classes = ()

    @property
    def needs(self) -> tuple[str, ...]:
        """What it depends on."""
        return (self.on,) if isinstance(self.on, str) else tuple(self.on)

    @property
    def pivots(self) -> dict[str, Any]:
        """Pivot of each x."""
        return dict(zip(self.needs, _each(self.pivot, len(self.needs), "pivot"), strict=True))

    def sample_shared(self, spec: Parameters) -> dict[str, Array]:
        """Sample intercept, slopes and scatter."""
        prior, n = spec[self.name], len(self.needs)
        slopes = _each(dist.Normal(0.0, 1.0) if self.slope is None else self.slope, n, "slope")
        priors = {
            f"{self.name}_intercept": prior if self.intercept is None else self.intercept,
            f"{self.name}_scatter": wide(self.name, prior)
            if self.scatter is None
            else self.scatter,
        }
        priors |= {f"{self.name}_slope_{x}": b for x, b in zip(self.needs, slopes, strict=True)}
        return _sampled(priors)

    def sample_galaxies(
        self, spec: Parameters, shared: Mapping[str, Array], known: Mapping[str, Any]
    ) -> dict[str, Array]:
        """Sample the parameter."""
        loc = shared[f"{self.name}_intercept"]
        for x, pivot in self.pivots.items():
            loc = loc + shared[f"{self.name}_slope_{x}"] * (known[x] - pivot)
        gaussian = bounded_normal(spec[self.name], loc, shared[f"{self.name}_scatter"], known)
        return {self.name: numpyro.sample(self.name, gaussian)}

    def shared_sites(self) -> tuple[str, ...]:
        """Return intercept, slopes and scatter."""
        slopes = (f"{self.name}_slope_{x}" for x in self.needs)
        return f"{self.name}_intercept", *slopes, f"{self.name}_scatter"

    def sites(self) -> tuple[str, ...]:
        """Return the parameter."""
        return (self.name,)

    def site_values(self, params: Mapping[str, Array]) -> dict[str, Array]:
        """Return the parameter's."""
        return {self.name: params[self.name]}


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class MultivariateNormalPopulation:
    """Values of several parameters follow a multivariate Gaussian with an LKJ prior.

    It is one in the parameters themselves, so that their priors in the SED model should be far
    wider than the population. Sites: ``<name>_loc`` and ``<name>_scale`` for each parameter,
    ``correlation_cholesky``, ``correlation`` (deterministic), ``members`` in the plate, and the
    parameters themselves (deterministic).

    Attributes
    ----------
    names : tuple of str
        The parameters.
    loc, scale : mapping of str to distribution
        Priors of means and standard deviations, where they are not those of
        :class:`NormalPopulation`.
    concentration : float
        Of the LKJ prior of the correlations: 1 is flat, above 1 prefers small ones.
    """

    names: tuple[str, ...] = static()
    loc: Mapping[str, Any] = field(default_factory=dict)
    scale: Mapping[str, Any] = field(default_factory=dict)
    concentration: float = 1.0

    needs = ()
    classes = ()

    def sample_shared(self, spec: Parameters) -> dict[str, Array]:
        """Sample means, standard deviations and the Cholesky factor of the correlations."""
        priors = {f"{n}_loc": self.loc.get(n, spec[n]) for n in self.names}
        priors |= {
            f"{n}_scale": self.scale[n] if n in self.scale else wide(n, spec[n]) for n in self.names
        }
        priors["correlation_cholesky"] = dist.LKJCholesky(len(self.names), self.concentration)
        shared = _sampled(priors)
        cholesky = shared["correlation_cholesky"]
        numpyro.deterministic("correlation", cholesky @ cholesky.T)
        return shared

    def sample_galaxies(
        self, spec: Parameters, shared: Mapping[str, Array], known: Mapping[str, Any]
    ) -> dict[str, Array]:
        """Sample the parameters together."""
        loc = jnp.stack([shared[f"{n}_loc"] for n in self.names])
        scale = jnp.stack([shared[f"{n}_scale"] for n in self.names])
        tril = scale[:, None] * shared["correlation_cholesky"]
        present = known.get("present")
        if present is not None:
            fillers = [_filler(spec[n]) for n in self.names]
            middle, width = (jnp.stack(x) for x in zip(*fillers, strict=True))
            loc = jnp.where(present[:, None], loc, middle)
            tril = jnp.where(present[:, None, None], tril, jnp.diag(width))
        members = numpyro.sample("members", dist.MultivariateNormal(loc, scale_tril=tril))
        return {
            name: numpyro.deterministic(name, members[..., i]) for i, name in enumerate(self.names)
        }

    def shared_sites(self) -> tuple[str, ...]:
        """Return means, standard deviations and correlations."""
        each = (f"{n}_{what}" for n in self.names for what in ("loc", "scale"))
        return *each, "correlation"

    def sites(self) -> tuple[str, ...]:
        """Return the site of all parameters."""
        return ("members",)

    def site_values(self, params: Mapping[str, Array]) -> dict[str, Array]:
        """Return the vectors of the parameters."""
        return {"members": jnp.stack([params[name] for name in self.names], axis=-1)}


def bounded_normal(prior: Any, loc: Array, scale: Array, known: Mapping[str, Any]) -> Any:
    """Return a Gaussian that is truncated to a prior's support."""
    low, high = _bounds(prior)
    present = known.get("present")
    if present is not None:
        middle, width = _filler(prior)
        loc, scale = jnp.where(present, loc, middle), jnp.where(present, scale, width)
    if low is None and high is None:
        return dist.Normal(loc, scale)
    return dist.TruncatedNormal(loc, scale, low=low, high=high)


def _bounds(prior: Any) -> tuple[Any, Any]:
    support = prior.support
    return getattr(support, "lower_bound", None), getattr(support, "upper_bound", None)


def _filler(prior: Any) -> tuple[Any, Any]:
    """Mean and width for galaxies that only fill up the plate: they depend on nothing shared."""
    match _bounds(prior):
        case None, None:
            return 0.0, 1.0
        case None, high:
            return high - 1.0, 0.1
        case low, None:
            return low + 1.0, 0.1
        case low, high:
            return 0.5 * (low + high), 0.1 * (high - low)


def wide(name: str, prior: Any) -> Any:
    """Return a half-normal as wide as a prior.

    Raises
    ------
    ParameterError
        If the width of the prior is not known.
    """
    try:
        return dist.HalfNormal(jnp.sqrt(prior.variance))
    except NotImplementedError as error:
        raise ParameterError(
            f"{name}: the variance of its prior {prior} is not known, so it has no default for the "
            "width of the population; give one, for example dist.HalfNormal(0.5)"
        ) from error


def _sampled(priors: Mapping[str, Any]) -> dict[str, Array]:
    return {name: numpyro.sample(name, prior) for name, prior in priors.items()}


def _each(value: Any, n: int, what: str) -> tuple[Any, ...]:
    """Return one value for each of n, which may be given once for all."""
    if not isinstance(value, tuple | list):
        return (value,) * n
    if len(value) != n:
        raise ParameterError(f"{what} has {len(value)} entries; expected one for each of {n}")
    return tuple(value)
