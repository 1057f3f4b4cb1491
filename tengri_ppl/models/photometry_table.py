r"""Fast photometry: the SSP grid integrated through the filters once, before any fit.

The flux of a population behind dust in one band is

.. math:: f = \int w(\lambda)\, L(\lambda)\, e^{-\tau(\lambda)}\, d\ln\lambda

with w the filter. L has all the structure of stellar spectra, the attenuation has none: inside a
band it is a polynomial in :math:`\ln\lambda` to high accuracy, or two where the law has a break. So
with K Gauss-Legendre nodes per band and their Lagrange polynomials :math:`\ell_k`

.. math:: f = \sum_k e^{-\tau(\lambda_k)} \int w\, \ell_k(\ln\lambda)\, L\, d\ln\lambda

(product integration, Atkinson 1989, section 5.6), where the integrals do not depend on the
parameters. They are tabulated per SSP, IGM absorption included, so that a prediction is one small
matrix product and one attenuation per node.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from tengri_ppl.errors import DataError
from tengri_ppl.observation.photometry import BandQuadrature
from tengri_ppl.physics.ssp import SSPData

__all__ = ["PhotometryTable", "band_basis", "build_table", "contract", "lagrange_basis"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class PhotometryTable:
    """Integrals of the SSP grid through each band, at one redshift or on a grid of redshifts.

    Attributes
    ----------
    values : array, shape (n_z, n_age, n_met, n_band * K)
        Integrals of L_nu [Lsun/Hz/Msun].
    node_wave : array, shape (n_band * K,)
        Observed wavelengths of the nodes [Angstrom].
    log1pz : array, shape (n_z,)
        ln(1 + z) of the redshift nodes, uniform.
    """

    values: ArrayLike
    node_wave: ArrayLike
    log1pz: ArrayLike

    def at(self, redshift: ArrayLike) -> Array:
        """Return the integrals at one redshift, by cubic interpolation in ln(1 + z).

        The redshift is ignored where the table holds only one.

        Returns
        -------
        Array, shape (n_age, n_met, n_band * K)
        """
        values = jnp.asarray(self.values)
        if values.shape[0] == 1:
            return values[0]
        log1pz = jnp.asarray(self.log1pz)
        position = (jnp.log1p(redshift) - log1pz[0]) / (log1pz[1] - log1pz[0])
        first = jnp.clip(jnp.floor(position).astype(int) - 1, 0, values.shape[0] - 4)
        local = jax.lax.dynamic_slice_in_dim(values, first, 4)
        return jnp.tensordot(_cubic_weights(position - first), local, axes=1)


def contract(integrals: Array, masses: Array, share: Array | None = None) -> Array:
    """Sum the integrals of a population over its ages and metallicities.

    Parameters
    ----------
    integrals : Array, shape (n_age, n_met, n_node)
        See :meth:`PhotometryTable.at`.
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
    ssp: SSPData,
    quadrature: BandQuadrature,
    names: tuple[str, ...],
    n_nodes: int,
    redshifts: np.ndarray,
    transmission: Callable[[np.ndarray, float], np.ndarray],
    breaks: tuple[float, ...] = (),
) -> PhotometryTable:
    """Integrate the SSP grid through the bands.

    Parameters
    ----------
    ssp : SSPData
        The grid.
    quadrature : BandQuadrature
        The bands.
    names : tuple of str
        Names of the bands, for messages.
    n_nodes : int
        K, attenuation nodes per band.
    redshifts : ndarray, shape (n_z,)
        One redshift, or at least four, uniform in ln(1 + z).
    transmission : callable
        ``transmission(wave_obs, redshift)``: IGM transmission at observed wavelengths.
    breaks : tuple of float
        Rest-frame wavelengths [Angstrom] at which the attenuation is not smooth; used with a
        single redshift, because the nodes of the table are at rest in the observed frame.

    Raises
    ------
    DataError
        If a band reaches beyond the wavelengths of the grid.
    """
    wave = np.asarray(ssp.ssp_wave, dtype=float)
    flux = np.swapaxes(np.asarray(ssp.ssp_flux), 0, 1)
    grid, flux = flux.shape[:2], flux.reshape(-1, wave.size)
    _check_coverage(wave, quadrature, names, redshifts)
    points, weights = np.asarray(quadrature.wave), np.asarray(quadrature.weight)
    cuts = _observed_breaks(breaks, redshifts)
    nodes, basis = zip(*(band_basis(np.log(p), n_nodes, cuts) for p in points), strict=True)
    weighted = [w * b for w, b in zip(weights, basis, strict=True)]
    values = np.empty((redshifts.size, flux.shape[0], len(names) * n_nodes), dtype=flux.dtype)
    for i, z in enumerate(redshifts):
        igm = transmission(points.ravel(), float(z)).reshape(points.shape)
        for b in range(len(names)):
            columns = slice(b * n_nodes, (b + 1) * n_nodes)
            values[i, :, columns] = _project(
                wave, flux, points[b] / (1.0 + z), weighted[b] * igm[b]
            )
    values = values.reshape(redshifts.size, *grid, -1)
    return PhotometryTable(values, np.exp(np.concatenate(nodes)), np.log1p(redshifts))


def _observed_breaks(breaks: tuple[float, ...], redshifts: np.ndarray) -> tuple[float, ...]:
    """Return breaks in the observed frame [ln(Angstrom)], none for more than one redshift."""
    if redshifts.size > 1:
        return ()
    return tuple(np.log(breaks) + np.log1p(redshifts[0]))


def _project(wave: np.ndarray, flux: np.ndarray, at: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Sum ``weights`` (K, n_q) times the spectra interpolated linearly ``at`` (n_q,)."""
    upper = np.clip(np.searchsorted(wave, at), 1, wave.size - 1)
    first, last = upper.min() - 1, upper.max() + 1
    share = (at - wave[upper - 1]) / (wave[upper] - wave[upper - 1])
    index = upper - 1 - first
    size = last - first
    matrix = np.stack(
        [
            np.bincount(index, w * (1.0 - share), size) + np.bincount(index + 1, w * share, size)
            for w in weights
        ],
        axis=1,
    )
    return flux[:, first:last] @ matrix.astype(flux.dtype)


def _check_coverage(
    wave: np.ndarray, quadrature: BandQuadrature, names: tuple[str, ...], redshifts: np.ndarray
) -> None:
    """Refuse bands that the spectra do not cover."""
    points = np.asarray(quadrature.wave)
    blue = points.min(axis=1) / (1.0 + redshifts.max())
    red = points.max(axis=1) / (1.0 + redshifts.min())
    for name, low, high in zip(names, blue, red, strict=True):
        if low < wave[0] or high > wave[-1]:
            raise DataError(
                f"band {name!r} needs rest-frame wavelengths {low:.6g}-{high:.6g} Angstrom, but "
                f"the SSP grid covers {wave[0]:.6g}-{wave[-1]:.6g}; leave the band out or use "
                "another grid"
            )
