"""What absorbers on top of a mean IGM have in common."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from jax.typing import ArrayLike

from tengri_ppl.physics.igm.base import IGM
from tengri_ppl.physics.igm.inoue2014 import Inoue2014IGM

__all__ = ["ALPHA_DECAY", "LYMAN_ALPHA", "IGMWithAbsorber"]

#: Wavelength of Lyman-alpha [Angstrom], and decay rate of the 2p level [1/s].
LYMAN_ALPHA, ALPHA_DECAY = 1215.67, 6.265e8


@dataclass(frozen=True)
class IGMWithAbsorber(IGM):
    """A model of the IGM times the transmission of an absorber; models may be stacked.

    Attributes
    ----------
    base : IGM
        The model without the absorber.
    """

    base: IGM = field(default_factory=Inoue2014IGM)

    @property
    def rest_grid(self) -> np.ndarray:
        """See :attr:`IGM.rest_grid`."""
        return np.unique(np.concatenate([self.base.rest_grid, self._absorber_grid()]))

    def load(self) -> tuple[Any, Any]:
        """Return the coefficients of the base and the absorber."""
        return self.base.load(), self._absorber()

    def transmission(
        self, wave_obs: ArrayLike, redshift: ArrayLike, coefficients: tuple[Any, Any]
    ) -> jax.Array:
        """See :meth:`IGM.transmission`."""
        base, absorber = coefficients
        mean = self.base.transmission(wave_obs, redshift, base)
        return mean * self._absorption(wave_obs, redshift, absorber)

    def _absorber(self) -> Any:
        """Properties of the absorber."""
        raise NotImplementedError

    def _absorber_grid(self) -> np.ndarray:
        """Rest wavelengths [Angstrom] that resolve the absorber."""
        raise NotImplementedError

    def _absorption(self, wave_obs: ArrayLike, redshift: ArrayLike, absorber: Any) -> jax.Array:
        """Transmission of the absorber alone."""
        raise NotImplementedError
