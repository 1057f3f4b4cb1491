"""What the models of the intergalactic medium have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from tengri_ppl.physics.component import Component, register

__all__ = ["IGM", "NoIGM", "lyman_grid"]

#: Half the relative width of the step that stands for the edge of a line.
_EDGE = 2e-6


def lyman_grid(lines: ArrayLike, limit: float) -> np.ndarray:
    """Rest wavelengths that resolve absorption with a sharp edge at each Lyman line.

    Every 5 Angstrom in the Lyman continuum and 1 in the series, and a node on either side of each
    edge.

    Parameters
    ----------
    lines : array_like, shape (n,)
        Rest wavelengths of the lines [Angstrom].
    limit : float
        Lyman limit [Angstrom].
    """
    steps = np.concatenate([np.arange(5.0, 900.0, 5.0), np.arange(900.0, 1216.0, 1.0)])
    edges = np.append(lines, limit)[:, None] * (1.0 + _EDGE * np.array([-1, 1]))
    return np.unique(np.concatenate([steps, edges.ravel()]))


@dataclass(frozen=True)
class IGM(Component):
    """An IGM model; its coefficients are kept apart from it, because they are arrays."""

    kind = "igm"

    @property
    def rest_grid(self) -> np.ndarray:
        """Rest wavelengths [Angstrom] that resolve the transmission; 1 redward of the last."""
        raise NotImplementedError

    def load(self) -> Any:
        """Return the coefficients that :meth:`transmission` takes."""
        raise NotImplementedError

    def transmission(
        self, wave_obs: ArrayLike, redshift: ArrayLike, coefficients: Any
    ) -> jax.Array:
        """Transmission at observed wavelengths [Angstrom], shape of ``wave_obs``."""
        raise NotImplementedError


@register("igm", "none")
@dataclass(frozen=True)
class NoIGM(IGM):
    """No absorption."""

    citations = ()

    @property
    def rest_grid(self) -> np.ndarray:
        """See :attr:`IGM.rest_grid`."""
        return np.array([1.0, 1216.0])

    def load(self) -> None:
        """See :meth:`IGM.load`."""

    def transmission(
        self, wave_obs: ArrayLike, redshift: ArrayLike, coefficients: Any
    ) -> jax.Array:
        """See :meth:`IGM.transmission`."""
        return jnp.ones_like(jnp.asarray(wave_obs))
