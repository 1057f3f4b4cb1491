"""Templates in memory: their grid, their luminosities and interpolation between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from tengri_ppl.physics.component import Default, Parameter, split_citations
from tengri_ppl.physics.constants import C_ANGSTROM_PER_S
from tengri_ppl.physics.emission import Templates
from tengri_ppl.physics.interpolation import linear_weights

__all__ = [
    "NORMALISATIONS",
    "TemplateAxis",
    "TemplateFile",
    "TemplateGrid",
    "frequency_weights",
    "grid_weights",
    "integrate_spectra",
]

NORMALISATIONS = ("unit", "relative", "absolute")
#: Below this step in ln(wavelength), differences of logarithms lose digits and a series does not.
_SMALL_STEP = 1e-3


@dataclass(frozen=True, eq=False)
class TemplateAxis:
    """One parameter of a grid of templates.

    Attributes
    ----------
    name : str
        Name of the parameter; components put a prefix before it.
    values : ndarray, shape (n,)
        Grid points, increasing.
    unit : str
        Unit, ``"1"`` where there is none.
    description : str
        One line.
    default : float, tuple of float or None
        A fixed value or the bounds of a uniform prior; None stands for the ends of the axis.
    """

    name: str
    values: np.ndarray
    unit: str = "1"
    description: str = ""
    default: float | tuple[float, float] | None = None

    def parameter(self, prefix: str) -> Parameter:
        """Return the model parameter that runs along this axis."""
        ends: Default = (float(self.values[0]), float(self.values[-1]))
        default = ends if self.default is None else self.default
        return Parameter(prefix + self.name, self.unit, self.description, default)


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class TemplateGrid(Templates):
    """Templates with the luminosities in which they mix.

    Attributes
    ----------
    luminosity : array, shape (n_template,)
        Where the templates are of unit luminosity, what each of them had in the file, relative to
        the mean of all. One where the file's normalisation is ``"unit"`` or ``"absolute"``.
    """

    luminosity: ArrayLike = 1.0


@dataclass(frozen=True, eq=False)
class TemplateFile:
    """Content of a template file; see :mod:`tengri_ppl.physics.templates`.

    Attributes
    ----------
    wave : ndarray, shape (n_wave,)
        Rest-frame wavelength [Angstrom].
    spectra : ndarray, shape (n_1, ..., n_k, n_wave)
        L_nu.
    axes : tuple of TemplateAxis
        The k parameters.
    kind, normalisation, name, reference, licence, description : str
        See :mod:`tengri_ppl.physics.templates`.
    """

    wave: np.ndarray
    spectra: np.ndarray
    axes: tuple[TemplateAxis, ...] = ()
    kind: str = field(kw_only=True)
    normalisation: str = field(default="unit", kw_only=True)
    name: str = field(default="", kw_only=True)
    reference: str = field(default="", kw_only=True)
    licence: str = field(default="", kw_only=True)
    description: str = field(default="", kw_only=True)

    @property
    def citations(self) -> tuple[str, ...]:
        """Papers that the file names as its reference."""
        return split_citations(self.reference)

    @property
    def coverage(self) -> tuple[float, float]:
        """Wavelengths between which the spectra are not zero by definition [Angstrom]."""
        return float(self.wave[0]), float(self.wave[-1])

    def parameters(self, prefix: str) -> tuple[Parameter, ...]:
        """Return one model parameter per axis, its name after ``prefix``."""
        return tuple(axis.parameter(prefix) for axis in self.axes)

    def grid(self) -> TemplateGrid:
        """Return the arrays for a compiled program: one template per grid point, in C order.

        Unless the normalisation is ``"absolute"``, every template has a luminosity of 1 Lsun.
        """
        spectra = self.spectra.reshape(-1, len(self.wave))
        luminosity = np.ones(len(spectra))
        if self.normalisation != "absolute":
            total = integrate_spectra(self.wave, spectra)
            spectra = spectra / total[:, None]
            if self.normalisation == "relative":
                luminosity = total / total.mean()
        axes = tuple(axis.values for axis in self.axes)
        return TemplateGrid(self.wave, spectra, axes, luminosity=luminosity)


def integrate_spectra(wave: ArrayLike, spectra: ArrayLike) -> np.ndarray:
    r"""Integrate :math:`\int L_\nu\, d\nu` exactly for spectra linear in wavelength.

    Parameters
    ----------
    wave : array_like, shape (n_wave,)
        Wavelength [Angstrom], increasing.
    spectra : array_like, shape (..., n_wave)
        L_nu [Lsun/Hz].

    Returns
    -------
    ndarray, shape (...,)
        Luminosity [Lsun], in 64 bit.
    """
    return np.asarray(spectra, dtype=float) @ frequency_weights(wave)


def frequency_weights(wave: ArrayLike) -> np.ndarray:
    """Return the weights (n_wave,) [Hz] with which L_nu is summed to integrate over frequency."""
    wave = np.asarray(wave, dtype=float)
    step = np.diff(wave)
    e = step / wave[:-1]
    small = e < _SMALL_STEP
    log = np.log1p(e)
    # shares of the two ends of an interval, times its length
    blue = np.where(small, e**2 / 2 - e**3 / 3 + e**4 / 4, e - log)
    red = np.where(small, e**2 / 2 - 2 * e**3 / 3 + 3 * e**4 / 4, log - e / (1.0 + e))
    weight = np.zeros_like(wave)
    weight[:-1] += blue / step
    weight[1:] += red / step
    return C_ANGSTROM_PER_S * weight


def grid_weights(coordinates: Sequence[ArrayLike], axes: Sequence[ArrayLike]) -> Array:
    """Return the weights of multilinear interpolation on a grid, constant outside of it.

    Parameters
    ----------
    coordinates : sequence of scalar
        Where to interpolate, one value per axis.
    axes : sequence of array_like
        Increasing grid points of each axis.

    Returns
    -------
    Array, shape (n_1 * ... * n_k,)
        Weights in C order, summing to one; ``[1.0]`` without axes.
    """
    weights = jnp.ones(1)
    for x, nodes in zip(coordinates, axes, strict=True):
        weights = jnp.outer(weights, linear_weights(x, nodes)).ravel()
    return weights
