r"""Fast photometry: everything that shines is integrated through the filters before any fit.

The flux of a population behind dust in one band is

.. math:: f = \int w(\lambda)\, L(\lambda)\, e^{-\tau(\lambda)}\, d\ln\lambda

with w the filter. L has all the structure of stellar spectra, the attenuation has none: inside a
band it is a polynomial in :math:`\ln\lambda` to high accuracy, or two where the law has a break. So
with K Gauss-Legendre nodes per band and their Lagrange polynomials :math:`\ell_k`

.. math:: f = \sum_k e^{-\tau(\lambda_k)} \int w\, \ell_k(\ln\lambda)\, L\, d\ln\lambda

(product integration, Atkinson 1989, section 5.6), where the integrals do not depend on the
parameters. They are tabulated per SSP, IGM absorption included, so that a prediction is one small
matrix product and one attenuation per node. The nebular continuum and the templates of other
components are tabulated in the same way; light with a smooth spectrum is evaluated at nodes of its
own.

Where redshift is free there is one table for each of many redshifts, with nodes of its own: breaks
of attenuation and spectra move through the bands, and each table cuts the bands where they are. A
prediction computes the fluxes at the four redshifts around the galaxy's, and interpolates these.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from tengri_ppl.models.band_rules import BandRules
from tengri_ppl.models.light_table import LightTable
from tengri_ppl.models.smooth_table import SmoothTable, smooth_rules, tabulate_smooth
from tengri_ppl.models.sources import Sources, integrate
from tengri_ppl.observation.photometry import BandQuadrature
from tengri_ppl.physics.nebular import BandCurves, line_band_response

__all__ = ["LINE_OFFSET", "BandNodes", "Neighbours", "PhotometryTable", "build_table"]

Transmission = Callable[[np.ndarray, float], np.ndarray]
#: Lines are taken to be absorbed like light this much (relatively) blueward of them.
LINE_OFFSET = 1e-5
_N_NEAR = 4


class BandNodes(NamedTuple):
    """Where smooth factors are evaluated at one redshift.

    Attributes
    ----------
    wave : array, shape (n_band, K)
        Rest-frame wavelengths of the nodes of the attenuation [Angstrom].
    smooth : tuple of SmoothTable or None
        For each component that adds light, whether and how its smooth spectrum is integrated.
    """

    wave: ArrayLike
    smooth: tuple[SmoothTable | None, ...] = ()


class Neighbours(NamedTuple):
    """The tables around one redshift, and how to interpolate between them.

    Attributes
    ----------
    values, nodes : LightTable, BandNodes
        Those of all tables, with a leading axis in every array.
    first : Array, scalar
        Index of the first of the tables.
    weights : Array, shape (n,)
        Weights of the interpolation; n = 1 where there is only one table.
    """

    values: LightTable
    nodes: BandNodes
    first: Array
    weights: Array

    def fluxes(
        self, add_up: Callable[[LightTable], Any], predict: Callable[[Any, BandNodes], Array]
    ) -> Array:
        """Compute the fluxes at the redshift of each table, and interpolate them.

        Parameters
        ----------
        add_up : callable
            Sums over the integrals at one redshift, a pytree.
        predict : callable
            Fluxes from these sums and the nodes, (n_band,).

        Returns
        -------
        Array, shape (n_band,)
        """
        if self.weights.size == 1:
            values, nodes = jax.tree.map(lambda x: x[0], (self.values, self.nodes))
            return predict(add_up(values), nodes)

        # One table after the other, and again for gradients: for a batch, copies of several
        # tables per galaxy would take more time than everything that is done with them.
        @partial(jax.checkpoint, prevent_cse=False)
        def sums_at(index: Array) -> Any:
            return add_up(jax.tree.map(lambda x: x[index], self.values))

        sums = jax.lax.map(sums_at, self.first + jnp.arange(self.weights.size))
        return self.weights @ jax.vmap(predict)(sums, jax.tree.map(self._near, self.nodes))

    def blend(self, x: ArrayLike) -> Array:
        """Interpolate one of the arrays."""
        return jnp.tensordot(self.weights, self._near(x), axes=1)

    def _near(self, x: ArrayLike) -> Array:
        return jax.lax.dynamic_slice_in_dim(jnp.asarray(x), self.first, self.weights.size)


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class PhotometryTable:
    """Integrals through each band, at one redshift, on a grid of them, or at those of galaxies.

    Attributes
    ----------
    values : LightTable
        Integrals of L_nu [Lsun/Hz], with a leading axis of length n_z in every array.
    nodes : BandNodes
        With a leading axis of length n_z in every array.
    log1pz : array, shape (n_z,)
        ln(1 + z) of the redshifts; those of a grid are uniform.
    by_galaxy : bool
        The redshifts are those of n_z galaxies, each of which has its own; what predicts for one
        galaxy takes an element of the table.
    """

    values: LightTable
    nodes: BandNodes
    log1pz: ArrayLike
    by_galaxy: bool = field(default=False, metadata={"static": True})

    def of_galaxy(self, index: int) -> PhotometryTable:
        """Return the table at the redshift of one galaxy, or all of it where galaxies share it."""
        if not self.by_galaxy:
            return self
        own = jax.tree.map(lambda x: x[index : index + 1], self)
        return replace(own, by_galaxy=False)

    def of_galaxies(self, index: ArrayLike) -> PhotometryTable:
        """Return the table for some of the galaxies, by their numbers (n,)."""
        return jax.tree.map(lambda x: jnp.asarray(x)[index], self) if self.by_galaxy else self

    def near(self, redshift: ArrayLike) -> Neighbours:
        """Return the tables around a redshift, and the weights of cubics in ln(1 + z).

        The redshift is ignored where there is only one table.
        """
        log1pz = jnp.asarray(self.log1pz)
        values, nodes = self.values, self.nodes
        if self.by_galaxy:
            values, nodes = jax.tree.map(lambda x: x[None], (values, nodes))
        if log1pz.size == 1:
            return Neighbours(values, nodes, jnp.zeros((), dtype=int), jnp.ones(1))
        position = (jnp.log1p(redshift) - log1pz[0]) / (log1pz[1] - log1pz[0])
        first = jnp.clip(jnp.floor(position).astype(int) - 1, 0, log1pz.size - _N_NEAR)
        return Neighbours(values, nodes, first, _cubic_weights(position - first))


def _cubic_weights(x: Array) -> Array:
    """Weights of cubic interpolation at ``x`` on the nodes 0, 1, 2, 3; shape (4,)."""
    return jnp.stack(
        [
            -(x - 1) * (x - 2) * (x - 3) / 6,
            x * (x - 2) * (x - 3) / 2,
            -x * (x - 1) * (x - 3) / 2,
            x * (x - 1) * (x - 2) / 6,
        ]
    )


def build_table(
    sources: Sources,
    quadrature: BandQuadrature,
    n_nodes: int,
    redshifts: np.ndarray,
    transmission: Transmission,
    breaks: tuple[float, ...] = (),
    curves: BandCurves | None = None,
) -> PhotometryTable:
    """Integrate everything that shines through the bands.

    Parameters
    ----------
    sources : Sources
        What shines.
    quadrature : BandQuadrature
        The bands.
    n_nodes : int
        K, nodes per band.
    redshifts : ndarray, shape (n_z,)
        One redshift, at least four, uniform in ln(1 + z), or those of galaxies.
    transmission : callable
        ``transmission(wave_obs, redshift)``: IGM transmission at observed wavelengths.
    breaks : tuple of float
        Rest-frame wavelengths [Angstrom] at which the attenuation is not smooth.
    curves : BandCurves, optional
        The filters as curves, with which the response to lines is tabulated; not for a grid of
        redshifts, because it is not smooth in redshift.
    """
    points = np.asarray(quadrature.wave)
    rules = BandRules(quadrature, breaks, n_nodes)
    smooth = [None if x is None else smooth_rules(x, quadrature) for x in sources.smooth]
    tables = []
    for z in map(float, redshifts):
        igm = transmission(points.ravel(), z).reshape(points.shape)
        at_z = rules.at(z)
        seen = [rule.weights * t for rule, t in zip(at_z, igm, strict=True)]
        values = integrate(sources, list(points / (1.0 + z)), seen)
        values = replace(values, **_lines(sources, z, transmission, curves))
        nodes = np.stack([rule.nodes for rule in at_z]) / (1.0 + z)
        own = (None if x is None else tabulate_smooth(x, z, igm) for x in smooth)
        tables.append((values, BandNodes(nodes, tuple(own))))
    values, nodes = jax.tree.map(lambda *x: np.stack(x), *tables)
    return PhotometryTable(values, nodes, np.log1p(redshifts))


def _lines(
    sources: Sources, redshift: float, transmission: Transmission, curves: BandCurves | None
) -> dict[str, Any]:
    """Transmission of the IGM at the nebular lines, and the response of the bands to them."""
    if sources.nebular is None:
        return {}
    wave = np.asarray(sources.nebular.line_wave)
    seen = transmission(wave * (1.0 - LINE_OFFSET) * (1.0 + redshift), redshift)
    if curves is None:
        return {"line_transmission": seen}
    response = np.asarray(line_band_response(wave, redshift, curves))
    return {"line_transmission": seen, "lines": response * seen[:, None]}
