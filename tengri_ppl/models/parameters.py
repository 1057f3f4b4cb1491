"""Parameters: the structural choices of a model and a prior or a value for each parameter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import jax
import numpy as np
import numpyro.distributions as dist
from jax import Array

from tengri_ppl.errors import ParameterError, suggest
from tengri_ppl.physics.attenuation import AttenuationLaw, DustScreen, SingleScreen
from tengri_ppl.physics.component import (
    Component,
    DirichletPrior,
    LogUniformPrior,
    NormalPrior,
    Parameter,
    StudentTPrior,
    component_names,
    make_component,
)
from tengri_ppl.physics.igm import IGM
from tengri_ppl.physics.metallicity import Metallicity, TabulatedMetallicity
from tengri_ppl.physics.sfh import SFH, BurstSFH, SFHField, StochasticSFH, TabulatedSFH

__all__ = ["Fixed", "Parameters", "Structure"]

_BASES: tuple[type[Component], ...] = (SFH, Metallicity, AttenuationLaw)
_REDSHIFT = Parameter("redshift", "1", "redshift; give a value or a prior", np.nan)


@dataclass(frozen=True)
class Fixed:
    """A parameter that keeps one value, a number or an array of the parameter's shape."""

    value: Any


@dataclass(frozen=True)
class Structure:
    """The components of a model: hashable, so that it may be static in a compiled program."""

    sfh: SFH
    metallicity: Metallicity
    dust: DustScreen
    igm: IGM

    @property
    def components(self) -> tuple[Component, ...]:
        """All components, in the order in which their parameters are listed."""
        return (self.sfh, self.metallicity, self.dust, self.igm)

    @property
    def parameters(self) -> dict[str, Parameter]:
        """Every parameter of the model by name."""
        every = [p for component in self.components for p in component.parameters]
        return {p.name: p for p in (*every, _REDSHIFT)}


@jax.tree_util.register_pytree_node_class
class Parameters(Mapping[str, Any]):
    """Structural choices, and a prior or a fixed value for each parameter of the model.

    A mapping from parameter name to NumPyro distribution or :class:`Fixed`, in the model's order.
    Parameters that are not given take their documented default; ``redshift`` has none. As a
    pytree its leaves are the fixed values and the numbers in the priors, so that another galaxy
    with another redshift reuses the compiled program.

    Parameters
    ----------
    sfh : str or SFH
        Star formation history. Parametric: ``"dpl"``, ``"delayed"``, ``"exponential"``,
        ``"constant"``, ``"lognormal"``, ``"skewnormal"``, ``"delayed_quench"`` or ``"psb"``. In
        bins: ``"continuity"``, ``"continuity_bursty"``, ``"continuity_flex"``,
        ``"continuity_psb"``, ``"dirichlet"`` or ``"prospector_beta"``. ``"dense_basis"``, or
        ``"tabulated"``. ``mean_sfh_type`` is accepted for it.
    metallicity : str or Metallicity
        ``"interp"`` or ``"lognormal"`` for one that all stars share; ``"two_step"``,
        ``"linear"``, ``"closed_box"`` or ``"tabulated"`` for one that changes with time.
    dust : str or DustScreen
        ``"two_component"``, ``"single"`` or ``"none"``.
    dust_law, dust_law_bc : str or AttenuationLaw
        ``"power_law"``, ``"calzetti"`` or ``"salim"`` for the diffuse dust and for the birth
        clouds. By default the birth clouds have the law and the parameters of the diffuse dust; a
        law given for them has parameters of its own, which end in ``_bc``.
    igm : str or IGM
        ``"inoue2014"`` or ``"none"``.
    sfh_field : str or SFHField, optional
        Stochastic field that multiplies the star formation rate: ``"drw"``, ``"matern"`` or
        ``"extended_regulator"``.
    sfh_burst : str, optional
        Recent burst on top of the history, field included: ``"constant"`` or ``"exponential"``.
    **values
        Parameter name = NumPyro distribution, :class:`Fixed`, or a number or array. For a
        parameter that is a vector, a distribution of scalars holds for each of its elements, and
        a number for all of them.

    Raises
    ------
    ParameterError
        If a choice or a name is unknown or does not belong to the model, a value has the wrong
        type, or both amplitudes of a star formation history are given.

    Examples
    --------
    >>> spec = Parameters(sfh="dpl", dust_law="calzetti", redshift=Fixed(0.5),
    ...                   sfh_dpl_log_mass=dist.Uniform(7, 12.5))
    """

    def __init__(
        self,
        sfh: str | SFH | None = None,
        metallicity: str | Metallicity = "interp",
        dust: str | DustScreen = "two_component",
        dust_law: str | AttenuationLaw = "power_law",
        dust_law_bc: str | AttenuationLaw | None = None,
        igm: str | IGM = "inoue2014",
        *,
        sfh_field: str | SFHField | None = None,
        sfh_burst: str | None = None,
        mean_sfh_type: str | None = None,
        **values: Any,
    ) -> None:
        if sfh is not None and mean_sfh_type is not None:
            raise ParameterError("give sfh or mean_sfh_type, not both: they mean the same")
        self.structure = Structure(
            sfh=_choose_sfh(sfh or mean_sfh_type or "dpl", sfh_field, sfh_burst, values),
            metallicity=_choose_metallicity(metallicity, values),
            dust=_choose_dust(dust, dust_law, dust_law_bc),
            igm=make_component(IGM, igm),
        )
        known = self.structure.parameters
        for name in values:
            if name not in known:
                raise ParameterError(_unknown_parameter(name, self.structure))
        self._entries = {
            name: _entry(parameter, values.get(name, _default(parameter)))
            for name, parameter in known.items()
        }

    # -- mapping -------------------------------------------------------------------------------

    def __getitem__(self, name: str) -> Any:
        """Return the prior or the :class:`Fixed` value of a parameter."""
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the parameter names."""
        return iter(self._entries)

    def __len__(self) -> int:
        """Return the number of parameters, free and fixed."""
        return len(self._entries)

    def __repr__(self) -> str:
        """Return the free parameters and the fixed ones."""
        return f"Parameters(free={self.free_params}, fixed={list(self.fixed)})"

    # -- pytree --------------------------------------------------------------------------------

    def tree_flatten(self) -> tuple[tuple[Any, ...], Any]:
        """Split into arrays (numbers in priors, fixed values) and static structure."""
        names = tuple(self._entries)
        free = tuple(self.free_params)
        children = (tuple(self.priors.values()), tuple(self.fixed.values()))
        return children, (self.structure, names, free)

    @classmethod
    def tree_unflatten(cls, aux: Any, children: tuple[Any, ...]) -> Parameters:
        """Rebuild from :meth:`tree_flatten`, without validation."""
        structure, names, free = aux
        priors, values = iter(children[0]), iter(children[1])
        new = object.__new__(cls)
        new.structure = structure
        new._entries = {n: next(priors) if n in free else Fixed(next(values)) for n in names}
        return new

    # -- views ---------------------------------------------------------------------------------

    @cached_property
    def priors(self) -> dict[str, Any]:
        """The free parameters and their NumPyro distributions."""
        return {n: v for n, v in self._entries.items() if not isinstance(v, Fixed)}

    @cached_property
    def fixed(self) -> dict[str, Any]:
        """The fixed parameters and their values."""
        return {n: v.value for n, v in self._entries.items() if isinstance(v, Fixed)}

    @cached_property
    def free_params(self) -> list[str]:
        """Names of the free parameters, in the model's order."""
        return list(self.priors)

    @property
    def amplitude(self) -> str:
        """Name of the parameter that scales the whole SED."""
        return self.structure.sfh.amplitude_name

    # -- use -----------------------------------------------------------------------------------

    def sample(self, key: Array) -> dict[str, Array]:
        """Draw the free parameters from their priors: name -> array of the parameter's shape."""
        return self._draw(key, ())

    def sample_batch(self, key: Array, n: int) -> dict[str, Array]:
        """Draw ``n`` sets of free parameters from their priors: name -> array, (n, ...)."""
        return self._draw(key, (n,))

    def _draw(self, key: Array, shape: tuple[int, ...]) -> dict[str, Array]:
        priors = self.priors
        keys = jax.random.split(key, max(len(priors), 1))
        return {
            name: prior.sample(k, shape)
            for (name, prior), k in zip(priors.items(), keys, strict=False)
        }

    def free_values(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of the free parameters, in the model's order.

        Names that the model does not know are left out, so that a dictionary of posterior draws
        with other sites in it can be passed as it is.

        Raises
        ------
        ParameterError
            If a free parameter is missing, or a fixed one is given.
        """
        if not self.fixed.keys().isdisjoint(params):
            clash = [name for name in self.fixed if name in params]
            raise ParameterError(
                f"{', '.join(clash)}: fixed in this model, so it can't be given; leave it out, or "
                "give it a prior in Parameters(...)"
            )
        try:
            return {name: params[name] for name in self.free_params}
        except KeyError:
            missing = [name for name in self.free_params if name not in params]
            raise ParameterError(
                f"missing value for {', '.join(missing)}; found only {', '.join(params) or 'none'}"
                f"{suggest(missing[0], params)}"
            ) from None

    def replace(self, **values: Any) -> Parameters:
        """Return a copy of the same structure with other priors or values."""
        for name in values:
            if name not in self._entries:
                raise ParameterError(_unknown_parameter(name, self.structure))
        new = object.__new__(Parameters)
        new.structure = self.structure
        known = self.structure.parameters
        new._entries = {n: _entry(known[n], values.get(n, v)) for n, v in self._entries.items()}
        return new

    def summary(self) -> str:
        """Return a table of all parameters: prior or value, unit and meaning."""
        known = self.structure.parameters
        rows = [("parameter", "prior or value", "unit", "meaning")]
        rows += [
            (name, _describe(value), known[name].unit, known[name].description)
            for name, value in self._entries.items()
        ]
        widths = [max(len(row[i]) for row in rows) for i in range(3)]
        lines = [
            "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=False)) + "  " + row[3]
            for row in rows
        ]
        return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def _choose_sfh(
    choice: str | SFH, field: str | SFHField | None, burst: str | None, values: Mapping[str, Any]
) -> SFH:
    """Make the star formation history, with its field and its burst."""
    sfh = choice if isinstance(choice, SFH) else _make_sfh(choice, values)
    if field is not None:
        sfh = StochasticSFH(base=sfh, field=make_component(SFHField, field))
    return sfh if burst is None else BurstSFH(base=sfh, shape=burst)


def _make_sfh(choice: str, values: Mapping[str, Any]) -> SFH:
    """Make a family by name, normalised by whichever amplitude the user names."""
    sfh = make_component(SFH, choice, **_table_length(TabulatedSFH, choice, values))
    given = [a for a in sfh.amplitudes if sfh.prefix + a in values]
    if len(given) > 1:
        raise ParameterError(
            f"give exactly one of {' and '.join(sfh.prefix + a for a in given)}: "
            "each of them fixes the normalisation"
        )
    return replace(sfh, amplitude=given[0]) if given else sfh


def _choose_metallicity(choice: str | Metallicity, values: Mapping[str, Any]) -> Metallicity:
    """Make the metallicity model."""
    return make_component(
        Metallicity, choice, **_table_length(TabulatedMetallicity, choice, values)
    )


def _table_length(
    table: type[Component], choice: str | Component, values: Mapping[str, Any]
) -> dict[str, int]:
    """Return the number of rows of a component that is a table, read off its last column."""
    given = values.get(table().parameters[-1].name)
    if choice != table.name or given is None:
        return {}
    value = given.value if isinstance(given, Fixed) else given
    shape = value.shape() if isinstance(value, dist.Distribution) else np.shape(value)
    return {"n_time": shape[0]} if len(shape) == 1 else {}


def _choose_dust(
    dust: str | DustScreen,
    law: str | AttenuationLaw,
    law_bc: str | AttenuationLaw | None,
) -> DustScreen:
    """Make the dust geometry with its laws."""
    if not isinstance(dust, str):
        return dust
    diffuse = make_component(AttenuationLaw, law)
    if dust == "two_component":
        birth = diffuse if law_bc is None else make_component(AttenuationLaw, law_bc, suffix="_bc")
        return make_component(DustScreen, dust, law=diffuse, law_bc=birth)
    if law_bc is not None:
        raise ParameterError(f"dust_law_bc needs dust='two_component', but dust is {dust!r}")
    return make_component(
        DustScreen, dust, **({"law": diffuse} if dust == SingleScreen.name else {})
    )


def _default(parameter: Parameter) -> Any:
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


def _entry(parameter: Parameter, value: Any) -> Any:
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
        wanted = f"of shape {shape}" if shape else "scalar"
        raise ParameterError(
            f"the prior of {name} has batch shape {prior.batch_shape} and event shape "
            f"{prior.event_shape}; a {wanted} distribution is expected (galaxies are added by a "
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
            f"the prior of {name}, {_describe(prior)}, has no support between {low.max():g} and "
            f"{high.min():g}; the lower bound has to be below the upper one"
        )


def _unknown_parameter(name: str, structure: Structure) -> str:
    """Say what the model's parameters are, and which choice ``name`` would belong to."""
    known = structure.parameters
    owners = [
        f"{base.kind}={choice!r}"
        for base in _BASES
        for choice in component_names(base.kind)
        if name in {p.name for p in make_component(base, choice).parameters}
    ]
    owner = f" (it belongs to {' or '.join(owners)})" if owners else ""
    return (
        f"{name!r} is not a parameter of this model{owner}{suggest(name, known)} "
        f"The parameters are: {', '.join(known)}"
    )


def _describe(value: Any) -> str:
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
