"""Parameters: the structural choices of a model and a prior or a value for each parameter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import jax
from jax import Array

from tengri_ppl.errors import ParameterError, suggest
from tengri_ppl.models.entries import Fixed, default_entry, describe_entry, make_entry
from tengri_ppl.models.structure import choose_structure, unknown_parameter
from tengri_ppl.physics.attenuation import AttenuationLaw, DustScreen
from tengri_ppl.physics.emission import Emission
from tengri_ppl.physics.igm import IGM
from tengri_ppl.physics.metallicity import Metallicity
from tengri_ppl.physics.nebular import Nebular
from tengri_ppl.physics.sfh import SFH, SFHField

__all__ = ["Fixed", "Parameters"]


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
        Geometry of the dust: ``"two_component"``, ``"fraction_obscured"``, ``"single"``,
        ``"mixed_slab"``, ``"clumpy_screen"`` or ``"none"``.
    dust_law, dust_law_bc : str or AttenuationLaw
        ``"power_law"``, ``"calzetti"``, ``"salim"`` and more (``tengri-ppl components dust_law``
        lists them) for the diffuse dust and for the birth clouds. By default the birth clouds have
        the law and the parameters of the diffuse dust; a law given for them has parameters of its
        own, which end in ``_bc``.
    igm : str or IGM
        ``"inoue2014"``, ``"madau1995"`` or ``"none"``, or an object that adds an absorber.
    nebular : str or Nebular
        Light of the gas around young stars: ``"cloudy"`` or ``"none"``.
    dust_emission : str or Emission
        ``"draine_li2007"``, ``"modified_blackbody"``, ``"casey2012"``, ``"two_temperature"`` or
        ``"none"``, or an object with a file of templates.
    agn, shock, radio, xray : str or Emission
        ``"nucleus"``, a template object, ``"fir_correlation"`` and ``"lehmer2016"``, or
        ``"none"``. Radio and X-rays include those of the nucleus if there is one.
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
        nebular: str | Nebular = "none",
        dust_emission: str | Emission = "none",
        agn: str | Emission = "none",
        shock: str | Emission = "none",
        radio: str | Emission = "none",
        xray: str | Emission = "none",
        sfh_field: str | SFHField | None = None,
        sfh_burst: str | None = None,
        mean_sfh_type: str | None = None,
        **values: Any,
    ) -> None:
        if sfh is not None and mean_sfh_type is not None:
            raise ParameterError("give sfh or mean_sfh_type, not both: they mean the same")
        self.structure = choose_structure(
            values,
            sfh=sfh or mean_sfh_type or "dpl",
            sfh_field=sfh_field,
            sfh_burst=sfh_burst,
            metallicity=metallicity,
            dust=dust,
            dust_law=dust_law,
            dust_law_bc=dust_law_bc,
            nebular=nebular,
            igm=igm,
            dust_emission=dust_emission,
            agn=agn,
            shock=shock,
            radio=radio,
            xray=xray,
        )
        known = self.structure.parameters
        for name in values:
            if name not in known:
                raise ParameterError(unknown_parameter(name, self.structure))
        self._entries = {
            name: make_entry(parameter, values.get(name, default_entry(parameter)))
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
                raise ParameterError(unknown_parameter(name, self.structure))
        new = object.__new__(Parameters)
        new.structure = self.structure
        known = self.structure.parameters
        new._entries = {n: make_entry(known[n], values.get(n, v)) for n, v in self._entries.items()}
        return new

    def summary(self) -> str:
        """Return a table of all parameters: prior or value, unit and meaning."""
        known = self.structure.parameters
        rows = [("parameter", "prior or value", "unit", "meaning")]
        rows += [
            (name, describe_entry(value), known[name].unit, known[name].description)
            for name, value in self._entries.items()
        ]
        widths = [max(len(row[i]) for row in rows) for i in range(3)]
        lines = [
            "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=False)) + "  " + row[3]
            for row in rows
        ]
        return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])
