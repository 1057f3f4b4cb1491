"""Parameters: the structural choices of a model and a prior or a value for each parameter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import numpy as np
import numpyro.distributions as dist
from jax import Array

from tengri_ppl.errors import ParameterError, suggest
from tengri_ppl.physics.attenuation import AttenuationLaw, DustScreen, SingleScreen
from tengri_ppl.physics.component import Component, Parameter, component_names, make_component
from tengri_ppl.physics.igm import IGM
from tengri_ppl.physics.metallicity import Metallicity
from tengri_ppl.physics.sfh import SFH

__all__ = ["Fixed", "Parameters", "Structure"]

_BASES: tuple[type[Component], ...] = (SFH, Metallicity, AttenuationLaw)
_REDSHIFT = Parameter("redshift", "1", "redshift; give a value or a prior", np.nan)


@dataclass(frozen=True)
class Fixed:
    """A parameter that keeps one value."""

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
        Star formation history: ``"dpl"``, ``"delayed"``, ``"exponential"``, ``"constant"`` or
        ``"lognormal"``. ``mean_sfh_type`` is accepted for it.
    metallicity : str or Metallicity
        ``"interp"`` or ``"lognormal"``.
    dust : str or DustScreen
        ``"two_component"``, ``"single"`` or ``"none"``.
    dust_law, dust_law_bc : str or AttenuationLaw
        ``"power_law"``, ``"calzetti"`` or ``"salim"`` for the diffuse dust and for the birth
        clouds. By default the birth clouds have the law and the parameters of the diffuse dust; a
        law given for them has parameters of its own, which end in ``_bc``.
    igm : str or IGM
        ``"inoue2014"`` or ``"none"``.
    **values
        Parameter name = NumPyro distribution with scalar event, :class:`Fixed`, or a number.

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
        mean_sfh_type: str | None = None,
        **values: Any,
    ) -> None:
        if sfh is not None and mean_sfh_type is not None:
            raise ParameterError("give sfh or mean_sfh_type, not both: they mean the same")
        self.structure = Structure(
            sfh=_choose_sfh(sfh or mean_sfh_type or "dpl", values),
            metallicity=make_component(Metallicity, metallicity),
            dust=_choose_dust(dust, dust_law, dust_law_bc),
            igm=make_component(IGM, igm),
        )
        known = self.structure.parameters
        for name in values:
            if name not in known:
                raise ParameterError(_unknown_parameter(name, self.structure))
        self._entries = {
            name: _entry(name, values.get(name, _default(parameter)))
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
        """Draw the free parameters from their priors: name -> scalar array."""
        return self._draw(key, ())

    def sample_batch(self, key: Array, n: int) -> dict[str, Array]:
        """Draw ``n`` sets of free parameters from their priors: name -> array of shape (n,)."""
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
        new._entries = {n: _entry(n, values.get(n, v)) for n, v in self._entries.items()}
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


def _choose_sfh(choice: str | SFH, values: Mapping[str, Any]) -> SFH:
    """Make the star formation history, normalised by whichever amplitude the user names."""
    if isinstance(choice, SFH):
        return choice
    given = [a for a in ("log_mass", "log_peak_sfr") if f"sfh_{choice}_{a}" in values]
    if len(given) == 2:
        raise ParameterError(
            f"give exactly one of sfh_{choice}_log_mass and sfh_{choice}_log_peak_sfr: "
            "each of them fixes the normalisation"
        )
    return make_component(SFH, choice, **({"amplitude": given[0]} if given else {}))


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
    if isinstance(parameter.default, tuple):
        return dist.Uniform(*parameter.default)
    if np.isnan(parameter.default):
        return None
    return Fixed(parameter.default)


def _entry(name: str, value: Any) -> Any:
    """Validate what the user gave for one parameter."""
    if value is None:
        raise ParameterError(
            f"{name} has no default: give a value, {name}=Fixed(...), or a prior distribution"
        )
    if isinstance(value, dist.Distribution):
        if value.event_shape or value.batch_shape:
            raise ParameterError(
                f"the prior of {name} has batch shape {value.batch_shape} and event shape "
                f"{value.event_shape}; a scalar distribution is expected (galaxies are added by a "
                "numpyro.plate around sed.sample())"
            )
        if value.support.is_discrete:
            raise ParameterError(f"the prior of {name} is discrete; a continuous one is expected")
        _check_bounds(name, value)
        return value
    number = value.value if isinstance(value, Fixed) else value
    if isinstance(number, (bool, str)) or np.ndim(number) != 0:
        raise ParameterError(
            f"{name}={value!r}: expected a NumPyro distribution, Fixed(number) or a number"
        )
    try:
        number = np.asarray(number, dtype=float)
    except (TypeError, ValueError):
        raise ParameterError(
            f"{name}={value!r}: expected a NumPyro distribution, Fixed(number) or a number"
        ) from None
    if not np.isfinite(number):
        raise ParameterError(f"{name}={value!r}: expected a finite number")
    return Fixed(number)


def _check_bounds(name: str, prior: Any) -> None:
    """Refuse an empty support, which NumPyro lets pass."""
    low = getattr(prior.support, "lower_bound", -np.inf)
    high = getattr(prior.support, "upper_bound", np.inf)
    if not float(low) < float(high):
        raise ParameterError(
            f"the prior of {name}, {_describe(prior)}, has no support between {float(low):g} and "
            f"{float(high):g}; the lower bound has to be below the upper one"
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
        return f"fixed {float(value.value):g}"
    given = {name: getattr(value, name, None) for name in value.arg_constraints}
    arguments = [f"{float(x):g}" for x in given.values() if x is not None and np.ndim(x) == 0]
    return f"{type(value).__name__}({', '.join(arguments)})"
