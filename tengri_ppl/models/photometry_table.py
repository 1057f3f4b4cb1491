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
components are tabulated in the same way; light with a smooth spectrum is evaluated at the nodes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from tengri_ppl.models.light_table import LightTable
from tengri_ppl.models.sources import Sources, integrate
from tengri_ppl.observation.photometry import BandQuadrature
from tengri_ppl.physics.nebular import BandCurves, line_band_response

__all__ = ["LINE_OFFSET", "PhotometryTable", "band_basis", "build_table", "lagrange_basis"]

Transmission = Callable[[np.ndarray, float], np.ndarray]
#: Lines are taken to be absorbed like light this much (relatively) blueward of them.
LINE_OFFSET = 1e-5
_N_SMOOTH = 12


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class PhotometryTable:
    """Integrals through each band, at one redshift or on a grid of redshifts.

    Attributes
    ----------
    values : LightTable
        Integrals of L_nu [Lsun/Hz], with a leading axis of length n_z in every array.
    node_wave : array, shape (n_band * K,)
        Observed wavelengths of the nodes [Angstrom].
    smooth_wave : array, shape (n_band * K_s,)
        Observed wavelengths at which smooth spectra are evaluated [Angstrom].
    log1pz : array, shape (n_z,)
        ln(1 + z) of the redshift nodes, uniform.
    """

    values: LightTable
    node_wave: ArrayLike
    smooth_wave: ArrayLike
    log1pz: ArrayLike

    def at(self, redshift: ArrayLike) -> LightTable:
        """Return the integrals at one redshift, by cubic interpolation in ln(1 + z).

        The redshift is ignored where the table holds only one.
        """
        log1pz = jnp.asarray(self.log1pz)
        if log1pz.size == 1:
            return jax.tree.map(lambda x: x[0], self.values)
        position = (jnp.log1p(redshift) - log1pz[0]) / (log1pz[1] - log1pz[0])
        first = jnp.clip(jnp.floor(position).astype(int) - 1, 0, log1pz.size - 4)
        weights = _cubic_weights(position - first)

        def interpolate(x: Array) -> Array:
            return jnp.tensordot(weights, jax.lax.dynamic_slice_in_dim(x, first, 4), axes=1)

        return jax.tree.map(interpolate, self.values)


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


def band_basis(
    log_wave: np.ndarray, n_nodes: int, log_breaks: tuple[float, ...] = ()
) -> tuple[np.ndarray, np.ndarray]:
    """Nodes in one band, and the functions that interpolate from them.

    The functions are the Lagrange polynomials of Gauss-Legendre nodes in ln(wavelength). Where
    the attenuation has a break inside the band, the parts on its two sides have nodes and
    polynomials of their own, about as many as their lengths ask for.

    Parameters
    ----------
    log_wave : ndarray, shape (n_q,)
        Points of the band's quadrature, ln(Angstrom).
    n_nodes : int
        K, number of nodes.
    log_breaks : tuple of float
        Breaks [ln(Angstrom)], increasing; those outside the band are ignored.

    Returns
    -------
    nodes : ndarray, shape (K,)
        ln(Angstrom).
    basis : ndarray, shape (K, n_q)
        The functions at ``log_wave``.
    """
    low, high = log_wave.min(), log_wave.max()
    cuts = [x for x in log_breaks if low < x < high]
    edges = np.array([low, *cuts, high] if len(cuts) < n_nodes else [low, high])
    part = np.clip(np.searchsorted(edges, log_wave, side="right") - 1, 0, edges.size - 2)
    nodes, basis = [], []
    for i, n in enumerate(_share_nodes(np.diff(edges), n_nodes)):
        unit, _ = np.polynomial.legendre.leggauss(n)
        own = edges[i] + 0.5 * (unit + 1.0) * (edges[i + 1] - edges[i])
        nodes.append(own)
        basis.append(lagrange_basis(own, log_wave) * (part == i))
    return np.concatenate(nodes), np.concatenate(basis)


def _share_nodes(lengths: np.ndarray, n_nodes: int) -> np.ndarray:
    """Give every part of a band a node, and the others to where they are farthest apart."""
    counts = np.ones(lengths.size, dtype=int)
    for _ in range(n_nodes - lengths.size):
        counts[np.argmax(lengths / counts)] += 1
    return counts


def lagrange_basis(nodes: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Lagrange polynomials of ``nodes`` (K,) at ``x`` (n,), shape (K, n)."""
    difference = x - nodes[:, None]
    return np.stack(
        [
            np.prod(
                np.delete(difference, k, axis=0) / np.delete(nodes[k] - nodes, k)[:, None], axis=0
            )
            for k in range(nodes.size)
        ]
    )


def build_table(
    sources: Sources,
    quadrature: BandQuadrature,
    n_nodes: int,
    redshifts: np.ndarray,
    transmission: Transmission,
    breaks: tuple[float, ...] = (),
    smooth_breaks: tuple[float, ...] = (),
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
        One redshift, or at least four, uniform in ln(1 + z).
    transmission : callable
        ``transmission(wave_obs, redshift)``: IGM transmission at observed wavelengths.
    breaks, smooth_breaks : tuple of float
        Rest-frame wavelengths [Angstrom] at which the attenuation, and smooth spectra, are not
        smooth; used with a single redshift, because the nodes of the table are at rest in the
        observed frame.
    curves : BandCurves, optional
        The filters as curves, with which the response to lines is tabulated; for a single
        redshift, because it is not smooth in redshift.
    """
    points, weights = np.asarray(quadrature.wave), np.asarray(quadrature.weight)
    nodes, rules = _rules(points, weights, n_nodes, _observed_breaks(breaks, redshifts))
    smooth = _rules(points, weights, _N_SMOOTH, _observed_breaks(smooth_breaks, redshifts))
    tables = []
    for z in map(float, redshifts):
        igm = transmission(points.ravel(), z).reshape(points.shape)
        seen = [rule * t for rule, t in zip(rules, igm, strict=True)]
        table = integrate(sources, list(points / (1.0 + z)), seen)
        at_smooth = np.concatenate([rule @ t for rule, t in zip(smooth[1], igm, strict=True)])
        table = replace(table, smooth=at_smooth if sources.smooth else None)
        tables.append(replace(table, **_lines(sources, z, transmission, curves)))
    values = jax.tree.map(lambda *x: np.stack(x), *tables)
    return PhotometryTable(values, nodes, smooth[0], np.log1p(redshifts))


def _rules(
    points: np.ndarray, weights: np.ndarray, n_nodes: int, cuts: tuple[float, ...]
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Nodes of all bands [Angstrom], and the weights of each band's integrals, (K, n_q) each."""
    nodes, basis = zip(*(band_basis(np.log(p), n_nodes, cuts) for p in points), strict=True)
    return np.exp(np.concatenate(nodes)), [w * b for w, b in zip(weights, basis, strict=True)]


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


def _observed_breaks(breaks: tuple[float, ...], redshifts: np.ndarray) -> tuple[float, ...]:
    """Return breaks in the observed frame [ln(Angstrom)], none for more than one redshift."""
    if redshifts.size > 1:
        return ()
    return tuple(np.log(breaks) + np.log1p(redshifts[0]))
