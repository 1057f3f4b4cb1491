"""What components that add light of their own have in common: dust, AGN, radio, X-rays, shocks.

A component may emit in two ways, and many emit in only one of them. Light with a smooth spectrum
is a function of wavelength. Light with features is a weighted sum of *templates*, arrays that are
loaded once; the fast mode integrates these through the filters before any fit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from tengri_ppl.physics.component import Component

__all__ = ["Emission", "Galaxy", "Templates"]

_GRID_STEP_DEX = 0.004
#: Spectra of components without a red end are drawn up to here: 10 m [Angstrom].
_LONGEST = 1e11
#: Half the relative width of the step that stands for a break.
_EDGE = 2e-6


class Galaxy(NamedTuple):
    """Properties of the galaxy on which emission may depend.

    Attributes
    ----------
    redshift : Array
        Redshift.
    absorbed : Array
        Luminosity that the dust absorbs [Lsun].
    sfr : Array
        Star formation rate, mean of the last 100 Myr [Msun/yr].
    stellar_mass : Array
        Surviving stellar mass [Msun].
    """

    redshift: Array
    absorbed: Array
    sfr: Array
    stellar_mass: Array


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Templates:
    """Spectra on a common wavelength axis, and the axes of the grid that they were computed on.

    Attributes
    ----------
    wave : array, shape (n_wave,)
        Rest-frame wavelength [Angstrom], increasing. The spectra are linear in it between two
        points, and zero outside.
    spectra : array, shape (n_template, n_wave)
        L_nu [Lsun/Hz] for a weight of one.
    axes : tuple of array
        Grid points of each parameter; the templates are in the order of a C-ordered grid.
    """

    wave: ArrayLike
    spectra: ArrayLike
    axes: tuple[ArrayLike, ...] = ()


@dataclass(frozen=True)
class Emission(Component):
    """A component that adds light. Subclasses define :meth:`smooth`, or templates and weights."""

    #: Whether the light depends on the surviving stellar mass, which not all SSP grids know.
    needs_surviving_mass: ClassVar[bool] = False

    @property
    def coverage(self) -> tuple[float, float]:
        """Rest-frame wavelengths [Angstrom] between which the component emits."""
        return 0.0, float("inf")

    @property
    def smooth_range(self) -> tuple[float, float]:
        """Rest-frame wavelengths [Angstrom] outside which the smooth light is nil."""
        return self.coverage

    @property
    def breaks(self) -> tuple[float, ...]:
        """Rest-frame wavelengths [Angstrom] at which the smooth light is not smooth."""
        return ()

    @property
    def is_smooth(self) -> bool:
        """Whether the component has light with a smooth spectrum."""
        return type(self).smooth is not Emission.smooth

    @property
    def rest_grid(self) -> np.ndarray:
        """Rest-frame wavelengths [Angstrom] that resolve the smooth light, empty without any."""
        if not self.is_smooth:
            return np.empty(0)
        low, high = np.log10(np.minimum(self.coverage, _LONGEST))
        steps = np.logspace(low, high, max(2, round((high - low) / _GRID_STEP_DEX) + 1))
        edges = np.outer(self.breaks, 1.0 + _EDGE * np.array([-1.0, 1.0]))
        return np.unique(np.concatenate([steps, edges.ravel()]))

    def load(self) -> Templates | None:
        """Return the templates as arrays, which the caller passes back to :meth:`weights`."""
        return None

    def weights(self, params: Mapping[str, Any], galaxy: Galaxy, templates: Templates) -> Array:
        """Return the weight of each template, shape (n_template,)."""
        raise NotImplementedError

    def smooth(self, wave: ArrayLike, params: Mapping[str, Any], galaxy: Galaxy) -> Array:
        """Return the smooth light: L_nu [Lsun/Hz] at rest-frame wavelengths [Angstrom]."""
        return jnp.zeros_like(jnp.asarray(wave))

    def light(
        self,
        wave: ArrayLike,
        params: Mapping[str, Any],
        galaxy: Galaxy,
        templates: Templates | None,
    ) -> Array:
        """Return all light: L_nu [Lsun/Hz] at rest-frame wavelengths [Angstrom], shape (n_wave,).

        Parameters
        ----------
        wave : array_like, shape (n_wave,)
            Rest-frame wavelengths [Angstrom].
        params : mapping
            The model's parameters.
        galaxy : Galaxy
            Properties of the galaxy.
        templates : Templates or None
            From :meth:`load`.
        """
        wave = jnp.asarray(wave)
        light = self.smooth(wave, params, galaxy) if self.is_smooth else jnp.zeros_like(wave)
        if templates is None:
            return light
        mixed = self.weights(params, galaxy, templates) @ jnp.asarray(templates.spectra)
        return light + jnp.interp(wave, templates.wave, mixed, left=0.0, right=0.0)
