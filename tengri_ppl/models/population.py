"""Populations of galaxies as NumPyro models: a plate of galaxies, and what they share."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpyro
from jax import Array
from jax.typing import ArrayLike
from numpyro import handlers
from numpyro.infer.reparam import Reparam

from tengri_ppl.errors import ParameterError, suggest
from tengri_ppl.models.coordinates import NonCentredReparam, standard_coordinates
from tengri_ppl.models.likelihoods import flux_distribution
from tengri_ppl.models.parameters import Parameters
from tengri_ppl.models.relations import Relation, ScalingRelation, Shared
from tengri_ppl.models.selection import Selection
from tengri_ppl.observation.noise import GaussianNoise
from tengri_ppl.physics.constants import MICROJANSKY_CGS

if TYPE_CHECKING:
    from tengri_ppl.models.sed import SEDModel

__all__ = [
    "Calibration",
    "Population",
    "check_names",
    "population_model",
    "population_parameters",
    "population_sampling_model",
]

#: Name of the plate of galaxies.
GALAXY = "galaxy"
ZERO_POINT = "zero_point"


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Calibration:
    """Errors of the photometry that all galaxies share.

    Attributes
    ----------
    zero_point : distribution, optional
        Prior of the offset of each band [mag]: observed fluxes are ``10**(-0.4 zero_point)`` times
        the true ones. Site ``zero_point`` in a plate ``band``.
    floor : distribution, optional
        Prior of the systematic error of all bands, as a fraction of the observed flux, which
        replaces that of the noise model. Site ``floor``.
    """

    zero_point: Any = None
    floor: Any = None


@jax.tree_util.register_pytree_node_class
class Population:
    """What the galaxies of a population share.

    Parameters that no relation names are each galaxy's own, with the prior of the SED model.

    Parameters
    ----------
    *relations : Shared, NormalPopulation, MultivariateNormalPopulation, ScalingRelation, ...
        In the order in which they depend on each other.
    calibration : Calibration, optional
        Errors of the photometry to infer.
    selection : FluxLimit or another Selection, optional
        What let the galaxies into the sample; for fits in two steps.
    """

    def __init__(
        self,
        *relations: Relation,
        calibration: Calibration | None = None,
        selection: Selection | None = None,
    ) -> None:
        for relation in relations:
            if not hasattr(relation, "sample_galaxies"):
                raise ParameterError(
                    f"{relation!r} is no relation; expected Shared, NormalPopulation, "
                    "MultivariateNormalPopulation, ScalingRelation or another of that kind"
                )
        self.relations: tuple[Relation, ...] = relations
        self.calibration = calibration or Calibration()
        self.selection = selection

    def tree_flatten(self) -> tuple[tuple[Any, ...], None]:
        """Split into relations, calibration and selection; what is no array in them is static."""
        return (self.relations, self.calibration, self.selection), None

    @classmethod
    def tree_unflatten(cls, aux: None, children: tuple[Any, ...]) -> Population:
        """Rebuild from :meth:`tree_flatten`, without validation."""
        new = object.__new__(cls)
        new.relations, new.calibration, new.selection = children
        return new

    def __repr__(self) -> str:
        """Return the relations."""
        return f"Population({', '.join(map(repr, self.relations))})"

    @property
    def names(self) -> tuple[str, ...]:
        """Parameters of the galaxies that relations sample."""
        return tuple(name for relation in self.relations for name in relation.names)

    def shared_parameters(self) -> tuple[str, ...]:
        """Parameters of the SED model that all galaxies have in common."""
        return tuple(r.name for r in self.relations if isinstance(r, Shared))

    @property
    def classes(self) -> tuple[str, ...]:
        """Labels of the classes of galaxies, none if there is only one."""
        return tuple(label for relation in self.relations for label in relation.classes)

    @property
    def lines(self) -> dict[str, dict[str, float]]:
        """Pivots of the scaling relations: parameter -> what it depends on -> pivot."""
        return {r.name: r.pivots for r in self.relations if isinstance(r, ScalingRelation)}

    def coordinates(self, spec: Parameters) -> dict[str, Reparam]:
        """Return a configuration of ``handlers.reparam`` that suits samplers.

        Flat priors become standard normals, and what depends on hyper-parameters is non-centred:
        except for the amplitude, which the data of a galaxy know far better than the population.
        """
        out: dict[str, Reparam] = {
            name: reparam
            for name, reparam in standard_coordinates(spec).items()
            if name not in self.names
        }
        sites = [site for relation in self.relations for site in relation.sites()]
        return out | {site: NonCentredReparam() for site in sites if site != spec.amplitude}


def population_model(
    sed: SEDModel,
    noise: GaussianNoise,
    data: ArrayLike | None = None,
    *,
    population: Population,
    columns: Mapping[str, ArrayLike] | None = None,
    present: ArrayLike | None = None,
) -> Array:
    """Photometry of a population of galaxies as a NumPyro model.

    Sites: the hyper-parameters of the relations; in the plate ``galaxy`` one per free parameter
    of a galaxy, and ``flux``, with the bands as its event.

    Parameters
    ----------
    sed : SEDModel
        The forward model of every galaxy, with its priors and with all bands that occur.
    noise : GaussianNoise
        Errors, shape (n_galaxy, n_band) [erg/s/cm^2/Hz]; its mask hides missing bands.
    data : array_like, shape (n_galaxy, n_band), optional
        Observed fluxes [erg/s/cm^2/Hz], anything in masked bands; without them the model is the
        prior predictive.
    population : Population
        What the galaxies share.
    columns : mapping of str to array_like, shape (n_galaxy,), optional
        Known for each galaxy: parameters, for example ``redshift``, which needs a prior in
        ``Parameters`` whose support contains all values; and what relations depend on.
    present : array_like of bool, shape (n_galaxy,), optional
        False for galaxies that only fill up the plate: they have no influence on anything shared.

    Returns
    -------
    Array, shape (n_galaxy, n_band)
        The predicted fluxes [erg/s/cm^2/Hz].

    Raises
    ------
    ParameterError
        If the relations don't belong to the model, or the sample was selected.
    """
    return observe_galaxies(sed, noise, data, population, columns, present, sample_galaxies)


def observe_galaxies(
    sed: SEDModel,
    noise: GaussianNoise,
    data: ArrayLike | None,
    population: Population,
    columns: Mapping[str, ArrayLike] | None,
    present: ArrayLike | None,
    sample: Callable[..., dict[str, Array]],
) -> Array:
    """:func:`population_model` with its way to sample the galaxies: :func:`sample_galaxies`."""
    if population.selection is not None:
        raise ParameterError(
            "a selected sample needs a fit in two steps: use run_two_step, or leave the selection "
            "out of the population"
        )
    spec = sed.spec
    known = {name: jnp.asarray(value, dtype=float) for name, value in (columns or {}).items()}
    check_names(spec, population.relations, set(known))
    shared = sample_shared(spec, population, sed.n_band)
    if present is not None:
        known["present"] = jnp.asarray(present)
    noise, data = _masked(noise, data, known.get("present"))
    if population.calibration.floor is not None:
        noise = replace(noise, floor=shared["floor"])
    n_galaxy = jnp.shape(noise.sigma)[0]
    with numpyro.plate(GALAXY, n_galaxy):
        params = sample(spec, population, shared, known)
        flux = calibrated_flux(sed, params, shared)
        flux = jnp.broadcast_to(flux, (n_galaxy, sed.n_band))
        numpyro.sample("flux", flux_distribution(flux, noise, data).to_event(1), obs=data)
    return flux * MICROJANSKY_CGS


def check_names(spec: Parameters, relations: tuple[Relation, ...], columns: set[str]) -> None:
    """Refuse relations that the SED model can't have.

    Raises
    ------
    ParameterError
        If a parameter is unknown, fixed, or sampled twice, or something it needs is not known.
    """
    for name in columns & set(spec.fixed):
        raise ParameterError(
            f"{name}: a column of the data and fixed in the model; give it a prior in "
            "Parameters(...) whose support contains all values"
        )
    governed = [name for relation in relations for name in relation.names]
    sites = [site for relation in relations for site in relation.shared_sites()]
    for site in sites:
        if sites.count(site) > 1:
            raise ParameterError(f"{site}: two relations sample it; keep one")
    known = columns | {name for name in spec.priors if name not in governed}
    for relation in relations:
        for name in relation.names:
            if name not in spec:
                raise ParameterError(f"{name!r} is no parameter of the model{suggest(name, spec)}")
            if name not in spec.priors or name in columns:
                raise ParameterError(
                    f"{name}: known for each galaxy, so a population can't have a distribution of "
                    "it; give it a prior in Parameters(...)"
                )
            if governed.count(name) > 1:
                raise ParameterError(f"{name}: two relations sample it; keep one")
        for name in relation.needs:
            if name not in known:
                raise ParameterError(
                    f"{relation.names[0]} depends on {name!r}, which is neither a column of the "
                    f"data nor a free parameter of an earlier relation{suggest(name, known)}"
                )
        known |= set(relation.names)


def population_sampling_model(
    sed: SEDModel,
    noise: GaussianNoise,
    data: ArrayLike | None = None,
    *,
    population: Population,
    columns: Mapping[str, ArrayLike] | None = None,
    present: ArrayLike | None = None,
) -> Array:
    """:func:`population_model` in coordinates made for gradient-based samplers.

    Those of :meth:`Population.coordinates`; all parameters are there as deterministic sites.
    """
    with handlers.reparam(config=population.coordinates(sed.spec)):
        return population_model(
            sed, noise, data, population=population, columns=columns, present=present
        )


def population_parameters(
    spec: Parameters, population: Population, columns: set[str]
) -> tuple[str, ...]:
    """Return the names of what a fit infers: first what galaxies share, then what each has."""
    calibration = population.calibration
    names = [name for relation in population.relations for name in relation.shared_sites()]
    names += [n for n in (ZERO_POINT, "floor") if getattr(calibration, n) is not None]
    common = {*population.shared_parameters(), *columns}
    return (*names, *(name for name in spec.priors if name not in common))


def sample_shared(spec: Parameters, population: Population, n_band: int) -> dict[str, Array]:
    """Sample everything that is outside of the plate."""
    shared: dict[str, Array] = {}
    for relation in population.relations:
        shared |= relation.sample_shared(spec)
    calibration = population.calibration
    if calibration.zero_point is not None:
        with numpyro.plate("band", n_band):
            shared[ZERO_POINT] = numpyro.sample(ZERO_POINT, calibration.zero_point)
    if calibration.floor is not None:
        shared["floor"] = numpyro.sample("floor", calibration.floor)
    return shared


def sample_galaxies(
    spec: Parameters,
    population: Population,
    shared: Mapping[str, Array],
    known: Mapping[str, Array],
) -> dict[str, Array]:
    """Sample the parameters of the galaxies inside of the plate."""
    params = {name: numpyro.sample(name, spec[name]) for name in own_names(spec, population, known)}
    for relation in population.relations:
        params |= relation.sample_galaxies(spec, shared, {**known, **params})
    return params | {name: known[name] for name in spec.priors if name in known}


def own_names(spec: Parameters, population: Population, known: Container[str]) -> tuple[str, ...]:
    """Parameters that each galaxy has for itself."""
    taken = population.names
    return tuple(name for name in spec.priors if name not in taken and name not in known)


def calibrated_flux(
    sed: SEDModel, params: Mapping[str, Array], shared: Mapping[str, Array]
) -> Array:
    """Photometry as it is observed [microjansky], with the zero points if there are any."""
    flux = sed.predict_photometry(params) / MICROJANSKY_CGS
    return flux * 10.0 ** (-0.4 * shared[ZERO_POINT]) if ZERO_POINT in shared else flux


def _masked(
    noise: GaussianNoise, data: ArrayLike | None, present: Array | None
) -> tuple[GaussianNoise, Array | None]:
    """Hide the galaxies that only fill up the plate, and what the data hold in masked bands."""
    mask = jnp.ones(jnp.shape(noise.sigma), bool) if noise.mask is None else noise.mask
    if present is not None:
        mask = mask & present[:, None]
    return replace(noise, mask=mask), None if data is None else jnp.where(mask, data, 0.0)
