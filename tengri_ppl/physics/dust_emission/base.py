"""What all models of dust emission have in common: energy balance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from jax import Array

from tengri_ppl.physics.component import Parameter, register
from tengri_ppl.physics.emission import Emission, Galaxy

__all__ = ["COVERAGE", "DustEmission", "NoDustEmission"]

#: Where dust counts as a source [Angstrom]: 1 micron to 1 cm.
COVERAGE = (1e4, 1e8)
#: Between points joined by straight lines, a grey body then loses less than 1e-6 of its luminosity.
_GRID_STEP_DEX = 0.0015
_ETA = Parameter("dust_eta", "1", "luminosity of the dust over what it absorbs", 1.0)


@dataclass(frozen=True)
class DustEmission(Emission):
    """A model of dust emission. Subclasses define :attr:`shape_parameters` and the light."""

    kind = "dust_emission"

    #: Rest-frame wavelengths [Angstrom] at which the smooth light is not smooth.
    breaks: ClassVar[tuple[float, ...]] = ()

    @property
    def coverage(self) -> tuple[float, float]:
        """Rest-frame wavelengths [Angstrom] between which the dust counts as a source."""
        return COVERAGE

    @property
    def smooth_range(self) -> tuple[float, float]:
        """See :attr:`~tengri_ppl.physics.emission.Emission.smooth_range`: it has no red end."""
        return COVERAGE[0], float("inf")

    @property
    def shape_parameters(self) -> tuple[Parameter, ...]:
        """The parameters that set the shape of the spectrum."""
        raise NotImplementedError

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """The shape's parameters and dust_eta."""
        return (*self.shape_parameters, _ETA)

    @property
    def rest_grid(self) -> np.ndarray:
        """Rest-frame wavelengths [Angstrom] that resolve the smooth light."""
        low, high = np.log10(COVERAGE)
        return np.logspace(low, high, round((high - low) / _GRID_STEP_DEX) + 1)

    def luminosity(self, params: Mapping[str, Any], galaxy: Galaxy) -> Array:
        """Luminosity of the dust [Lsun]."""
        return params["dust_eta"] * galaxy.absorbed


@register("dust_emission", "none")
@dataclass(frozen=True)
class NoDustEmission(DustEmission):
    """Absorbed light is lost."""

    citations = ()
    coverage = (0.0, 0.0)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """None."""
        return ()
