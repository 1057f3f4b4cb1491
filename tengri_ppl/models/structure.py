"""The components of a model, chosen by name or given as objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpyro.distributions as dist
from jax.typing import ArrayLike

from tengri_ppl.errors import ParameterError, suggest
from tengri_ppl.models.entries import Fixed
from tengri_ppl.physics.agn import AGN
from tengri_ppl.physics.attenuation import AttenuationLaw, DustScreen
from tengri_ppl.physics.component import (
    Component,
    Parameter,
    make_component,
    registered_components,
)
from tengri_ppl.physics.emission import Emission
from tengri_ppl.physics.igm import IGM
from tengri_ppl.physics.metallicity import Metallicity, TabulatedMetallicity
from tengri_ppl.physics.nebular import Nebular
from tengri_ppl.physics.radio import FIRRadio
from tengri_ppl.physics.sfh import SFH, BurstSFH, SFHField, StochasticSFH, TabulatedSFH
from tengri_ppl.physics.xray import Lehmer2016XRay

__all__ = ["EMISSION_KINDS", "Structure", "choose_structure", "unknown_parameter"]

#: Kinds of components that add light; the first belongs to the host.
EMISSION_KINDS = ("dust_emission", "agn", "shock", "radio", "xray")
_REDSHIFT = Parameter("redshift", "1", "redshift; give a value or a prior", np.nan)


@dataclass(frozen=True)
class Structure:
    """The components of a model: hashable, so that it may be static in a compiled program."""

    sfh: SFH
    metallicity: Metallicity
    dust: DustScreen
    igm: IGM
    nebular: Nebular
    emissions: tuple[Emission, ...] = ()

    @property
    def components(self) -> tuple[Component, ...]:
        """All components, in the order in which their parameters are listed."""
        return (self.sfh, self.metallicity, self.dust, self.nebular, *self.emissions, self.igm)

    @property
    def parameters(self) -> dict[str, Parameter]:
        """Every parameter of the model by name."""
        every = [p for component in self.components for p in component.parameters]
        return {p.name: p for p in (*every, _REDSHIFT)}

    @property
    def host_emissions(self) -> tuple[Emission, ...]:
        """Components whose light is in proportion to the host's."""
        return tuple(e for e in self.emissions if e.kind == EMISSION_KINDS[0])

    @property
    def additions(self) -> tuple[Emission, ...]:
        """The other components that add light."""
        return tuple(e for e in self.emissions if e.kind != EMISSION_KINDS[0])

    def young_age(self, params: Mapping[str, Any]) -> ArrayLike:
        """Age up to which stars light gas and are behind birth clouds [Gyr]."""
        if self.dust.has_birth_clouds:
            return self.dust.birth_cloud_age(params)
        return self.nebular.age_max_gyr


def choose_structure(
    values: Mapping[str, Any],
    *,
    sfh: str | SFH,
    sfh_field: str | SFHField | None,
    sfh_burst: str | None,
    metallicity: str | Metallicity,
    dust: str | DustScreen,
    dust_law: str | AttenuationLaw,
    dust_law_bc: str | AttenuationLaw | None,
    nebular: str | Nebular,
    igm: str | IGM,
    **emissions: str | Emission,
) -> Structure:
    """Make the components; see :class:`tengri_ppl.Parameters` for the arguments.

    ``values`` are what the user gives for parameters: some components have variants that follow
    from it.
    """
    return Structure(
        sfh=_choose_sfh(sfh, sfh_field, sfh_burst, values),
        metallicity=_choose_metallicity(metallicity, values),
        dust=_choose_dust(dust, dust_law, dust_law_bc),
        igm=make_component(IGM, igm),
        nebular=make_component(Nebular, nebular),
        emissions=_choose_emissions(emissions),
    )


def _choose_emissions(choices: Mapping[str, str | Emission]) -> tuple[Emission, ...]:
    """Make the components that add light; radio and X-rays are told of the active nucleus."""
    made = {
        kind: make_component(Emission, choice, kind)
        for kind, choice in choices.items()
        if choice != "none"
    }
    nucleus = made.get("agn")
    for kind, component in made.items():
        if isinstance(component, FIRRadio | Lehmer2016XRay) and isinstance(nucleus, AGN):
            made[kind] = replace(component, agn=nucleus)
    return tuple(made.values())


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
) -> dict[str, Any]:
    """Return the number of rows of a component that is a table, read off the columns given."""
    if choice != table.name:
        return {}
    columns = [p.name for p in table().parameters if p.shape and p.name in values]
    lengths = [shape[0] for shape in map(_shape, map(values.get, columns)) if len(shape) == 1]
    return {"n_time": lengths[0]} if lengths else {}


def _shape(given: Any) -> tuple[int, ...]:
    """Shape of what was given for a parameter."""
    if isinstance(given, dist.Distribution):
        return tuple(given.shape())
    return np.shape(given.value if isinstance(given, Fixed) else given)


def _choose_dust(
    dust: str | DustScreen,
    law: str | AttenuationLaw,
    law_bc: str | AttenuationLaw | None,
) -> DustScreen:
    """Make the dust geometry with its laws."""
    if not isinstance(dust, str):
        return dust
    geometry = type(make_component(DustScreen, dust))
    known = {f.name for f in fields(geometry)}
    diffuse = make_component(AttenuationLaw, law)
    if "law_bc" in known:
        birth = diffuse if law_bc is None else make_component(AttenuationLaw, law_bc, suffix="_bc")
        return make_component(DustScreen, dust, law=diffuse, law_bc=birth)
    if law_bc is not None:
        raise ParameterError(f"dust_law_bc needs dust='two_component', but dust is {dust!r}")
    options: dict[str, Any] = {"law": diffuse} if "law" in known else {}
    return make_component(DustScreen, dust, **options)


def unknown_parameter(name: str, structure: Structure) -> str:
    """Say what the model's parameters are, and which choice ``name`` would belong to."""
    known = structure.parameters
    owners = [
        f"{kind}={choice!r}"
        for (kind, choice), component in registered_components().items()
        if name in _parameter_names(component)
    ]
    owner = f" (it belongs to {' or '.join(owners)})" if owners else ""
    return (
        f"{name!r} is not a parameter of this model{owner}{suggest(name, known)} "
        f"The parameters are: {', '.join(known)}"
    )


def _parameter_names(component: type[Component]) -> set[str]:
    """Names of a component's parameters in its default variant; none if it needs a file."""
    try:
        return {p.name for p in component().parameters}
    except ParameterError:
        return set()
