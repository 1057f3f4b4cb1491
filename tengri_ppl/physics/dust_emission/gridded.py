"""Dust emission interpolated in grids of templates: those that ship, and a user's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, cast

import numpy as np
from jax import Array

from tengri_ppl._resources import resource_path
from tengri_ppl.errors import ParameterError
from tengri_ppl.physics.component import Parameter, register
from tengri_ppl.physics.dust_emission.base import DustEmission
from tengri_ppl.physics.emission import Galaxy, Templates
from tengri_ppl.physics.scaled_templates import check_path, load_scalable, unit_weights
from tengri_ppl.physics.templates import TemplateFile, TemplateGrid, load_templates

__all__ = ["DRAINE_LI_2007", "DraineLi2007", "TemplateDustEmission"]

#: The file that ships with the package.
DRAINE_LI_2007 = "dust_emission/draine_li2007.h5"
_PREFIX = "dust_"
#: q_PAH of the models of the Milky Way [%].
_MILKY_WAY_QPAH = (0.47, 1.12, 1.77, 2.50, 3.19, 3.90, 4.58)


@dataclass(frozen=True)
class _GriddedDustEmission(DustEmission):
    """Multilinear interpolation between templates, then normalisation."""

    def file(self) -> TemplateFile:
        """Return the content of the template file."""
        raise NotImplementedError

    @property
    def shape_parameters(self) -> tuple[Parameter, ...]:
        """One parameter per axis of the file: ``dust_`` and the name of the axis."""
        return self.file().parameters(_PREFIX)

    def load(self) -> TemplateGrid:
        """See :meth:`~tengri_ppl.physics.emission.Emission.load`."""
        return self.file().grid()

    def weights(self, params: Mapping[str, Any], galaxy: Galaxy, templates: Templates) -> Array:
        r"""See :meth:`~tengri_ppl.physics.emission.Emission.weights`.

        With weights :math:`w_i` of the interpolation and luminosities :math:`L_i` of the templates
        in the file, the result is :math:`L_{dust} w_i L_i / \sum_j w_j L_j`.
        """
        coordinates = [params[p.name] for p in self.shape_parameters]
        shares = unit_weights(coordinates, cast(TemplateGrid, templates))
        return self.luminosity(params, galaxy) * shares


@register("dust_emission", "draine_li2007")
@dataclass(frozen=True)
class DraineLi2007(_GriddedDustEmission):
    r"""Dust in starlight (Draine & Li 2007, ApJ 657, 810).

    .. math:: L_\nu \propto (1-\gamma)\, j_\nu(q_{PAH}, U_{min})
              + \gamma\, j_\nu(q_{PAH}, U_{min} \ldots 10^6)

    per hydrogen nucleus, normalised after mixing. Most of the dust is exposed to starlight of
    ``dust_umin`` (0.1 to 25, in units of that in the solar neighbourhood), a fraction
    ``dust_gamma`` of its mass to a distribution :math:`dM \propto U^{-2} dU` from there to 10^6.
    ``dust_qpah`` is the share of PAHs in the mass of the dust [%] (0.10 to 4.58). Templates are
    interpolated linearly in all three and held constant outside.

    Seven of the eleven q_PAH are of dust in the Milky Way; 0.75, 1.49 and 2.37 are of the Large,
    0.10 of the Small Magellanic Cloud. These emit less per hydrogen nucleus, so between them and
    their neighbours the latter dominate, and their PAH features are not in line with the others.

    Attributes
    ----------
    grains : {"all", "milky_way"}
        All models, as in BAGPIPES, or those of the Milky Way alone (from 0.47 on), as in FSPS.
    """

    citations = ("DraineLi2007", "Carnall2018")
    grains: str = "all"

    def __post_init__(self) -> None:
        """Check the choice."""
        if self.grains not in ("all", "milky_way"):
            raise ParameterError(f"grains={self.grains!r}: expected 'all' or 'milky_way'")

    def file(self) -> TemplateFile:
        """Return the templates that ship with the package."""
        return _draine_li(self.grains)


@lru_cache
def _draine_li(grains: str) -> TemplateFile:
    content = load_templates(resource_path(DRAINE_LI_2007))
    if grains == "all":
        return content
    qpah, *others = content.axes
    chosen = np.isin(qpah.values, _MILKY_WAY_QPAH)
    axes = (replace(qpah, values=qpah.values[chosen]), *others)
    return replace(content, spectra=content.spectra[chosen], axes=axes)


@register("dust_emission", "template")
@dataclass(frozen=True)
class TemplateDustEmission(_GriddedDustEmission):
    """Templates from a file of the user's, see :mod:`tengri_ppl.physics.templates`.

    The parameters are named after the axes of the file: ``dust_alpha`` for an axis ``alpha``.

    Attributes
    ----------
    path : str
        The file; `tengri-ppl data import` makes one from the files of Dale et al. (2014),
        Schreiber et al. (2018) or from plain columns.
    """

    path: str = ""

    def __post_init__(self) -> None:
        """Ask for the file."""
        check_path(self, self.path)

    @property
    def citations(self) -> tuple[str, ...]:
        """See :attr:`~tengri_ppl.physics.component.Component.citations`."""
        return self.file().citations

    def file(self) -> TemplateFile:
        """Return the content of the user's file."""
        return load_scalable(self.path, self.kind)

    @property
    def coverage(self) -> tuple[float, float]:
        """Wavelengths of the templates [Angstrom]."""
        return self.file().coverage
