"""Light of shocked gas, from template files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import jax.numpy as jnp
from jax import Array

from tengri_ppl.physics.component import Parameter, register
from tengri_ppl.physics.emission import Emission, Galaxy, Templates
from tengri_ppl.physics.scaled_templates import check_path, load_scalable, unit_weights
from tengri_ppl.physics.templates import TemplateFile, TemplateGrid

__all__ = ["Shock", "TemplateShock"]

_PREFIX = "shock_"


@dataclass(frozen=True)
class Shock(Emission):
    """Light of shocked gas."""

    kind = "shock"


@register("shock", "templates")
@dataclass(frozen=True)
class TemplateShock(Shock):
    """Spectra of shocks from a template file, for example of MAPPINGS (Allen et al. 2008).

    The parameters are ``shock_log_luminosity``, of all light in the templates, and the axes of
    the file after ``shock_``: ``shock_velocity`` for an axis ``velocity``.

    Attributes
    ----------
    path : str
        A file of the kind "shock"; see :mod:`tengri_ppl.physics.templates`.
    """

    path: str = ""

    def __post_init__(self) -> None:
        """Ask for the file."""
        check_path(self, self.path)

    @property
    def citations(self) -> tuple[str, ...]:
        """See :attr:`~tengri_ppl.physics.component.Component.citations`."""
        return self.file().citations

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """shock_log_luminosity, and one per axis of the file."""
        luminosity = Parameter(
            "shock_log_luminosity", "dex(Lsun)", "log10 of the luminosity of shocks", (5.0, 12.0)
        )
        return (luminosity, *self.file().parameters(_PREFIX))

    @property
    def coverage(self) -> tuple[float, float]:
        """Wavelengths of the templates [Angstrom]."""
        return self.file().coverage

    def file(self) -> TemplateFile:
        """Return the content of the user's file."""
        return load_scalable(self.path, self.kind)

    def load(self) -> TemplateGrid:
        """See :meth:`Emission.load`."""
        return self.file().grid()

    def weights(self, params: Mapping[str, Any], galaxy: Galaxy, templates: Templates) -> Array:
        """See :meth:`Emission.weights`."""
        luminosity, *axes = (params[p.name] for p in self.parameters)
        scale = 10.0 ** jnp.asarray(luminosity)
        return scale * unit_weights(axes, cast(TemplateGrid, templates))
