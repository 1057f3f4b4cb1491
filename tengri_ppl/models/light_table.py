"""Integrals of everything that shines, made once before any fit, and their sums for one galaxy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
from jax import Array

from tengri_ppl.models.starlight import Stars

__all__ = ["Light", "LightTable", "contract"]


class Light(NamedTuple):
    """Light without dust at the nodes of a table, (n_node,) each.

    Attributes
    ----------
    young : Array
        Of young stars and of the gas that they light, lines excepted.
    old : Array
        Of all other stars.
    """

    young: Array
    old: Array


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class LightTable:
    """Integrals of L_nu per unit of each source, at nodes of wavelength.

    The arrays are NumPy's while tables are built, and JAX's afterwards.

    Attributes
    ----------
    stars : array, shape (n_age, n_met, n_node)
        Of the SSPs [per Msun].
    young : array, shape (n_young, n_met, n_node)
        Its first rows, a copy, because a slice of ``stars`` would be copied at every call.
    ionising : array, shape (n_young, n_met, n_node), or None
        The part of ``stars`` that ionises gas, for the young ages.
    nebular : array, shape (n_model, n_node), or None
        Of the nebular continuum [per Msun].
    lines : array, shape (n_line, n_band), or None
        Of lines of unit luminosity.
    line_transmission : array, shape (n_line,), or None
        Of the IGM at the lines.
    templates : tuple of array, shape (n_template, n_band) each, or None
        Of the templates of each component that adds light.
    """

    stars: Any
    young: Any
    ionising: Any = None
    nebular: Any = None
    lines: Any = None
    line_transmission: Any = None
    templates: tuple[Any, ...] = ()

    def light(self, stars: Stars, gas: Array, escaping: Array) -> Light:
        """Sum the light of stars and gas.

        Parameters
        ----------
        stars : Stars
            The stars.
        gas : Array, shape (n_model,)
            Weights of the nebular models; not read without nebular emission.
        escaping : Array, scalar
            Share of the ionising light of young stars that is not absorbed by gas.
        """
        young = contract(self.young, stars.young, stars.share)
        old = contract(self.stars, stars.every, stars.share) - young
        if self.nebular is not None:
            young += (escaping - 1.0) * self.ionising_light(stars) + gas @ self.nebular
        return Light(young, old)

    def ionising_light(self, stars: Stars) -> Array:
        """Sum the light of young stars that ionises gas, before any of it does; (n_node,)."""
        return contract(self.ionising, stars.young, stars.share)


def contract(integrals: Array, masses: Array, share: Array | None = None) -> Array:
    """Sum integrals of the SSPs over ages and metallicities.

    Parameters
    ----------
    integrals : Array, shape (n_age, n_met, n_node)
        Per mass formed.
    masses : Array, shape (n,), or (n_met, n) without ``share``
        Mass formed in the ``n`` youngest ages [Msun].
    share : Array, shape (n_met,), optional
        Share of each metallicity, if it is the same at all ages.

    Returns
    -------
    Array, shape (n_node,)
    """
    n, (_, n_met, n_node) = masses.shape[-1], integrals.shape
    if share is None:
        return masses.T.reshape(-1) @ integrals[:n].reshape(n * n_met, n_node)
    by_metallicity = masses @ integrals[:n].reshape(n, n_met * n_node)
    return share @ by_metallicity.reshape(n_met, n_node)
