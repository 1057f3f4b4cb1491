r"""Populations in coordinates in which every galaxy is known from its own data.

The priors of a galaxy make it a function of standard normals :math:`\zeta`. Those of its *governed*
parameters y depend on what all galaxies share, the hyper-parameters included:
:math:`y(\zeta) \approx y_0 + J \zeta`. With a Gaussian approximation of its likelihood,
:math:`\ln L \approx q^T y - y^T Q y / 2`, the posterior of these :math:`\zeta` given what is shared
is a Gaussian as well,

.. math::

    A = 1 + J^T Q J, \qquad m = A^{-1} J^T (q - Q y_0),

and that of all others is one given y. So :math:`\epsilon` in
:math:`\zeta = m + A^{-1/2} \epsilon` is about a standard normal and independent of what is shared,
whether the data or the population know more of the galaxy (Papaspiliopoulos, Roberts & Skold 2007,
Statistical Science 22, 59). The approximation only decides how fast a sampler is: the posterior is
exact.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from jax import Array
from jax.typing import ArrayLike
from numpyro import handlers
from numpyro.distributions import constraints
from numpyro.distributions.transforms import Transform

from tengri_ppl.distributions.layout import Layout, length, split
from tengri_ppl.distributions.standard import from_standard, standard_shape
from tengri_ppl.errors import ParameterError
from tengri_ppl.models.coordinates import STANDARD
from tengri_ppl.models.parameters import Parameters
from tengri_ppl.models.population import (
    ZERO_POINT,
    Population,
    observe_galaxies,
    own_names,
    sample_galaxies,
    sample_shared,
)
from tengri_ppl.models.small_matrices import cholesky, solve_lower, solve_upper
from tengri_ppl.observation.noise import GaussianNoise

if TYPE_CHECKING:
    from tengri_ppl.models.sed import SEDModel

__all__ = [
    "GALAXY_COORDINATES",
    "Coordinates",
    "GalaxyLikelihoods",
    "can_decentre",
    "collapsed_model",
    "decentred_population_model",
]

#: The site of all coordinates of a galaxy.
GALAXY_COORDINATES = f"galaxy{STANDARD}"


class Coordinates(NamedTuple):
    """Sites of a galaxy with the shapes of their standard normals, and what galaxies share.

    Attributes
    ----------
    needed : tuple
        Parameters with the prior of the SED model on which relations depend.
    governed : tuple
        Sites of relations.
    own : tuple
        All other parameters, with the prior of the SED model.
    shared : tuple of str
        What all galaxies have in common and their fluxes depend on.
    """

    needed: Layout
    governed: Layout
    own: Layout
    shared: tuple[str, ...]

    @classmethod
    def of(cls, spec: Parameters, population: Population, known: Mapping[str, Any]) -> Coordinates:
        """Sort the sites of a population in which ``known`` is known for each galaxy."""
        relations = population.relations
        needs = {name for relation in relations for name in relation.needs}
        names = own_names(spec, population, known)
        own = [(name, standard_shape(name, spec[name])) for name in names]
        governed = [
            (site, jnp.shape(value))
            for relation in relations
            for site, value in relation.site_values(
                dict.fromkeys(relation.names, jnp.zeros(()))
            ).items()
            if site in relation.sites()
        ]
        calibrated = population.calibration.zero_point is not None
        return cls(
            tuple(entry for entry in own if entry[0] in needs),
            tuple(governed),
            tuple(entry for entry in own if entry[0] not in needs),
            (*population.shared_parameters(), *((ZERO_POINT,) if calibrated else ())),
        )

    @property
    def moved(self) -> Layout:
        """Sites whose coordinates depend on what is shared."""
        return self.needed + self.governed


def governed_names(population: Population) -> list[str]:
    """Parameters that relations give to each galaxy."""
    return [n for relation in population.relations if relation.sites() for n in relation.names]


def can_decentre(spec: Parameters, population: Population, known: Mapping[str, Any]) -> bool:
    """Tell whether all that a galaxy has of its own is a function of standard normals."""
    treated = {*governed_names(population), *population.shared_parameters()}
    priors = {name: spec[name] for name in treated}
    if population.calibration.zero_point is not None:
        priors[ZERO_POINT] = population.calibration.zero_point
    try:
        Coordinates.of(spec, population, known)
        if any(standard_shape(name, prior) != prior.shape() for name, prior in priors.items()):
            return False
    except ParameterError:
        return False
    return set(population.names) <= treated


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class GalaxyLikelihoods:
    r"""Gaussian approximations of the likelihoods of galaxies, all own parameters integrated out.

    :math:`\ln L = q^T x - x^T Q x / 2` with x = (y, s), the M governed parameters of a galaxy, in
    natural units, and the S shared ones. Given them, the O other standard normals of the galaxy
    have the mean ``offset - response x`` and the covariance ``spread spread^T``.

    Attributes
    ----------
    information : Array, shape (n_galaxy, M + S)
        q.
    precision : Array, shape (n_galaxy, M + S, M + S)
        Q.
    offset : Array, shape (n_galaxy, O)
    response : Array, shape (n_galaxy, O, M + S)
    spread : Array, shape (n_galaxy, O, O)
        Upper triangular.
    """

    information: Array
    precision: Array
    offset: Array
    response: Array
    spread: Array

    @classmethod
    def from_joint(cls, information: Array, precision: Array, n_own: int) -> GalaxyLikelihoods:
        """Integrate out the first ``n_own`` parameters, which have standard normal priors.

        Parameters
        ----------
        information : Array, shape (n_galaxy, K)
            Of the likelihood of own, governed and shared parameters, in this order.
        precision : Array, shape (n_galaxy, K, K)
        n_own : int
            O.
        """
        own, others = slice(None, n_own), slice(n_own, None)
        root = jnp.linalg.cholesky(precision[:, own, own] + jnp.eye(n_own))
        whiten = jax.vmap(partial(jax.scipy.linalg.solve_triangular, lower=True))
        inverse = whiten(root, jnp.broadcast_to(jnp.eye(n_own), root.shape))
        cross = inverse @ precision[:, own, others]
        mean = jnp.einsum("nij,nj->ni", inverse, information[:, own])
        spread = jnp.swapaxes(inverse, 1, 2)
        return cls(
            information[:, others] - jnp.einsum("nij,ni->nj", cross, mean),
            precision[:, others, others] - jnp.swapaxes(cross, 1, 2) @ cross,
            jnp.einsum("nij,nj->ni", spread, mean),
            spread @ cross,
            spread,
        )


class _Moved(NamedTuple):
    """Governed coordinates given what is shared: a Gaussian with the mean m and the precision A.

    ``root`` L is the factor of A, ``mean`` L^T m; x at coordinates z is about ``x0 + slope z``.
    """

    root: Array
    mean: Array
    x0: Array
    slope: Array
    log_evidence: Array


class _Decentring(Transform):
    """From a galaxy's standard normals, (needed, governed, own), to decentred coordinates."""

    domain = constraints.real_vector
    codomain = constraints.real_vector

    def __init__(self, moved: _Moved, likelihoods: GalaxyLikelihoods) -> None:
        self.moved, self.likelihoods = moved, likelihoods

    def tree_flatten(self) -> Any:
        """Split into arrays."""
        return (self.moved, self.likelihoods), (("moved", "likelihoods"), {})

    def __call__(self, zeta: Array) -> Array:
        """Return decentred coordinates (n_galaxy, D)."""
        first, own = self._cut(zeta)
        epsilon = jnp.einsum("nji,nj->ni", self.moved.root, first) - self.moved.mean
        residual = (own - self._own_mean(first))[..., None]
        return jnp.concatenate(
            [epsilon, jnp.linalg.solve(self.likelihoods.spread, residual)[..., 0]], axis=-1
        )

    def _inverse(self, epsilon: Array) -> Array:
        first, own = self._cut(epsilon)
        first = solve_upper(self.moved.root, first + self.moved.mean)
        own = self._own_mean(first) + jnp.einsum("nij,nj->ni", self.likelihoods.spread, own)
        return jnp.concatenate([first, own], axis=-1)

    def log_abs_det_jacobian(self, x: Array, y: Array, intermediates: Any = None) -> Array:
        """Return the logarithm of the volume that coordinates have in standard normals."""
        del x, y, intermediates
        return _log_diagonal(self.moved.root) - _log_diagonal(self.likelihoods.spread)

    def _cut(self, x: Array) -> tuple[Array, Array]:
        n_moved = self.moved.mean.shape[-1]
        return x[..., :n_moved], x[..., n_moved:]

    def _own_mean(self, first: Array) -> Array:
        x = self.moved.x0 + jnp.einsum("nxi,ni->nx", self.moved.slope, first)
        return self.likelihoods.offset - jnp.einsum("nij,nj->ni", self.likelihoods.response, x)


def _log_diagonal(matrix: Array) -> Array:
    return jnp.sum(jnp.log(jnp.diagonal(matrix, axis1=-2, axis2=-1)), axis=-1)


def _moved(
    y: Callable[[Array], Array], likelihoods: GalaxyLikelihoods, shared: Array, n_moved: int
) -> _Moved:
    """Combine likelihoods with the priors of the governed parameters given what is shared."""
    n_galaxy, n_shared = len(likelihoods.offset), len(shared)
    y0, tangent = jax.linearize(y, jnp.zeros((n_galaxy, n_moved)))
    each = jnp.broadcast_to(jnp.eye(n_moved)[:, None], (n_moved, n_galaxy, n_moved))
    slope = jnp.moveaxis(jax.vmap(tangent)(each), 0, -1)
    slope = jnp.concatenate([slope, jnp.zeros((n_galaxy, n_shared, n_moved))], axis=1)
    x0 = jnp.concatenate([y0, jnp.broadcast_to(shared, (n_galaxy, n_shared))], axis=1)
    force = likelihoods.information - jnp.einsum("nxy,ny->nx", likelihoods.precision, x0)
    curvature = jnp.einsum("nxi,nxy,nyj->nij", slope, likelihoods.precision, slope)
    root = cholesky(jnp.eye(n_moved) + curvature)
    mean = solve_lower(root, jnp.einsum("nxi,nx->ni", slope, force))
    at_prior = 0.5 * jnp.sum((likelihoods.information + force) * x0, axis=1)
    log_evidence = at_prior + 0.5 * jnp.sum(mean**2, axis=1) - _log_diagonal(root)
    return _Moved(root, mean, x0, slope, log_evidence)


def _governed_values(
    spec: Parameters,
    population: Population,
    shared: Mapping[str, Array],
    known: Mapping[str, Array],
    layout: Coordinates,
    zeta: Array,
) -> Array:
    """Values (n_galaxy, M) at the coordinates of what moves: those themselves, or parameters."""
    parts = split(layout.moved, zeta) | {
        name: jnp.zeros((len(zeta), *shape)) for name, shape in layout.own
    }

    def value(site: dict[str, Any]) -> Array | None:
        name = site["name"]
        return from_standard(name, site["fn"], parts[name]) if name in parts else None

    with handlers.block(), handlers.substitute(substitute_fn=value):
        params = sample_galaxies(spec, population, shared, known)
    columns = [jnp.broadcast_to(params[name], (len(zeta),)) for name in governed_names(population)]
    needed = zeta[:, : length(layout.needed)]
    return jnp.concatenate([needed, *(column[:, None] for column in columns)], axis=1)


def _shared_vector(shared: Mapping[str, Array], layout: Coordinates) -> Array:
    return jnp.concatenate([jnp.ravel(shared[name]) for name in layout.shared] + [jnp.zeros(0)])


def _sample_decentred(
    likelihoods: GalaxyLikelihoods,
    spec: Parameters,
    population: Population,
    shared: Mapping[str, Array],
    known: Mapping[str, Array],
) -> dict[str, Array]:
    """Sample the parameters of the galaxies inside of the plate."""
    layout = Coordinates.of(spec, population, known)
    y = partial(_governed_values, spec, population, shared, known, layout)
    moved = _moved(y, likelihoods, _shared_vector(shared, layout), length(layout.moved))
    transform = _Decentring(moved, likelihoods)
    free = layout.needed + layout.own
    n_galaxy, n_moved = len(likelihoods.offset), length(layout.moved)
    dimension = n_moved + length(layout.own)
    base = dist.Normal(0.0, 1.0).expand([n_galaxy, dimension]).to_event(1)
    epsilon = numpyro.sample(GALAXY_COORDINATES, dist.TransformedDistribution(base, transform))
    zeta = transform.inv(epsilon)
    n_needed = length(layout.needed)
    parts = split(free, jnp.concatenate([zeta[:, :n_needed], zeta[:, n_moved:]], axis=1))
    params = {name: from_standard(name, spec[name], parts[name]) for name, _ in free}
    values = y(zeta[:, :n_moved])[:, n_needed:]
    params |= dict(zip(governed_names(population), values.T, strict=True))
    for name, value in params.items():
        numpyro.deterministic(name, value)
    params |= {name: shared[name] for name in population.shared_parameters()}
    return params | {name: known[name] for name in spec.priors if name in known}


def decentred_population_model(
    sed: SEDModel,
    noise: GaussianNoise,
    data: ArrayLike,
    likelihoods: GalaxyLikelihoods,
    *,
    population: Population,
    columns: Mapping[str, ArrayLike] | None = None,
    present: ArrayLike | None = None,
) -> Array:
    """:func:`~.population.population_model` in coordinates that know the data of the galaxies.

    Parameters and posterior are the same; galaxies have one site, :data:`GALAXY_COORDINATES`, and
    all of their parameters as deterministic ones.

    Parameters
    ----------
    likelihoods : GalaxyLikelihoods
        From :func:`~.galaxy_likelihoods.approximate_likelihoods`.
    """
    return observe_galaxies(
        sed, noise, data, population, columns, present, partial(_sample_decentred, likelihoods)
    )


def collapsed_model(
    spec: Parameters,
    noise: GaussianNoise,
    likelihoods: GalaxyLikelihoods,
    *,
    population: Population,
    columns: Mapping[str, ArrayLike],
    present: ArrayLike | None = None,
) -> None:
    """Model what galaxies share, with the galaxies integrated out approximately.

    As far as their likelihoods are Gaussian, and their parameters linear in standard normals.
    """
    known = {name: jnp.asarray(value, dtype=float) for name, value in columns.items()}
    if present is not None:
        known["present"] = jnp.asarray(present)
    shared = sample_shared(spec, population, jnp.shape(noise.sigma)[-1])
    layout = Coordinates.of(spec, population, known)
    y = partial(_governed_values, spec, population, shared, known, layout)
    moved = _moved(y, likelihoods, _shared_vector(shared, layout), length(layout.moved))
    numpyro.factor("galaxies", jnp.sum(moved.log_evidence))
