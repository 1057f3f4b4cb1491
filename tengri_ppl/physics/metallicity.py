"""Stellar metallicity: how the mass is shared among the metallicities of the SSP grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from tengri_ppl.errors import ParameterError
from tengri_ppl.physics.component import Component, Parameter, register

__all__ = ["InterpolatedMetallicity", "LognormalMetallicity", "Metallicity"]

_LOGZSOL = Parameter(
    "met_logzsol", "dex", "log10 of the stellar metallicity over solar", (-2.0, 0.4)
)


def _interpolation_weights(x: ArrayLike, nodes: Array) -> Array:
    """Linear interpolation as weights on the nodes, constant outside; shape (n_node,)."""
    x = jnp.clip(x, nodes[0], nodes[-1])
    upper = jnp.clip((x - nodes[:-1]) / jnp.diff(nodes), 0.0, 1.0)
    one, zero = jnp.ones_like(upper[:1]), jnp.zeros_like(upper[:1])
    return jnp.concatenate([one, upper]) - jnp.concatenate([upper, zero])


@dataclass(frozen=True)
class Metallicity(Component):
    """A metallicity model: weights over the metallicities of the SSP grid, summing to one."""

    kind = "metallicity"

    def weights(self, lgmet: ArrayLike, zsun: float, params: Mapping[str, Any]) -> Array:
        """Return the share of the mass at each metallicity of the grid.

        Parameters
        ----------
        lgmet : array_like, shape (n_met,)
            log10 of the absolute metallicities of the grid.
        zsun : float
            Solar metallicity of the grid.
        params : mapping
            The model's parameters.

        Returns
        -------
        Array, shape (n_met,)
        """
        raise NotImplementedError


@register("metallicity", "interp")
@dataclass(frozen=True)
class InterpolatedMetallicity(Metallicity):
    """One metallicity for all stars, interpolated between the two bracketing grid points.

    Attributes
    ----------
    space : {"log", "linear"}
        Whether the weights are linear in log Z (the default) or in Z (as in BAGPIPES).
    """

    space: str = "log"

    def __post_init__(self) -> None:
        """Check the choice."""
        if self.space not in ("log", "linear"):
            raise ParameterError(f"space={self.space!r}: expected 'log' or 'linear'")

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """met_logzsol."""
        return (_LOGZSOL,)

    def weights(self, lgmet: ArrayLike, zsun: float, params: Mapping[str, Any]) -> Array:
        """See :meth:`Metallicity.weights`."""
        lgmet = jnp.asarray(lgmet) - jnp.log10(zsun)
        lgz = params["met_logzsol"]
        if self.space == "log":
            return _interpolation_weights(lgz, lgmet)
        return _interpolation_weights(10.0 ** jnp.asarray(lgz), 10.0**lgmet)


@register("metallicity", "lognormal")
@dataclass(frozen=True)
class LognormalMetallicity(Metallicity):
    """Lognormal distribution of metallicities (Hearin et al. 2023, MNRAS 521, 1741).

    Each grid point takes the probability between the midpoints (in log Z) to its neighbours; the
    outer ones take the tails.
    """

    reference = "Hearin et al. 2023, MNRAS 521, 1741"

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """met_logzsol, met_scatter."""
        return (_LOGZSOL, Parameter("met_scatter", "dex", "scatter of log10 metallicity", 0.2))

    def weights(self, lgmet: ArrayLike, zsun: float, params: Mapping[str, Any]) -> Array:
        """See :meth:`Metallicity.weights`."""
        lgmet = jnp.asarray(lgmet) - jnp.log10(zsun)
        edges = 0.5 * (lgmet[1:] + lgmet[:-1])
        below = jax.scipy.stats.norm.cdf((edges - params["met_logzsol"]) / params["met_scatter"])
        one, zero = jnp.ones_like(below[:1]), jnp.zeros_like(below[:1])
        return jnp.concatenate([below, one]) - jnp.concatenate([zero, below])
