"""Rules that integrate products of light and something smooth over bands, cut where it breaks.

A rule has nodes, at which the smooth factor is evaluated, and the functions that interpolate from
them; see :mod:`tengri_ppl.models.photometry_table`. Breaks are at rest in the galaxy, bands in the
observed frame: the rule of a band changes with redshift while a break moves through it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tengri_ppl.observation.photometry import BandQuadrature

__all__ = ["BandRule", "BandRules", "band_basis", "lagrange_basis"]

#: Shorter parts of a band, relative to all of it, do with one node.
_SLIVER = 0.1
#: Steepest d ln f / d ln wavelength of the smooth factor for which nodes are shared out.
_STEEPEST = 10.0


class BandRule(NamedTuple):
    """How one band is integrated.

    Attributes
    ----------
    nodes : ndarray, shape (K,)
        Observed wavelengths [Angstrom].
    weights : ndarray, shape (K, n_q)
        The functions of the nodes times the weights of the band's quadrature.
    """

    nodes: np.ndarray
    weights: np.ndarray


class BandRules:
    """The rules of several bands at any redshift.

    Parameters
    ----------
    quadrature : BandQuadrature
        The bands.
    breaks : sequence of float
        Rest-frame wavelengths at which the smooth factor is not smooth [Angstrom].
    counts : int or ndarray, shape (n_band,)
        Nodes of each band; bands with none are left out.
    """

    def __init__(
        self, quadrature: BandQuadrature, breaks: Sequence[float], counts: int | np.ndarray
    ) -> None:
        self._points = np.log(np.asarray(quadrature.wave))
        self._weights = np.asarray(quadrature.weight)
        self._breaks = np.log(np.sort(breaks))
        self._counts = np.broadcast_to(counts, len(self._points))
        self._known: dict[tuple[int, tuple[float, ...]], BandRule] = {}

    @property
    def bands(self) -> np.ndarray:
        """Indices of the bands that have nodes, (n,)."""
        return np.flatnonzero(self._counts)

    def at(self, redshift: float) -> list[BandRule]:
        """Return the rules of the bands that have nodes."""
        cuts = self._breaks + np.log1p(redshift)
        return [self._rule(int(band), cuts) for band in self.bands]

    def _rule(self, band: int, cuts: np.ndarray) -> BandRule:
        """Make the rule of a band, unless it is known."""
        points = self._points[band]
        inside = tuple(cuts[(cuts > points.min()) & (cuts < points.max())])
        if (band, inside) not in self._known:
            nodes, basis = band_basis(points, int(self._counts[band]), inside)
            self._known[band, inside] = BandRule(np.exp(nodes), basis * self._weights[band])
        return self._known[band, inside]


def band_basis(
    log_wave: np.ndarray, n_nodes: int, log_breaks: tuple[float, ...] = ()
) -> tuple[np.ndarray, np.ndarray]:
    """Nodes in one band, and the functions that interpolate from them.

    The functions are the Lagrange polynomials of Gauss-Legendre nodes in ln(wavelength). Where
    the smooth factor has a break inside the band, the parts on its two sides have nodes and
    polynomials of their own: two at least, if that many can be had and the part is no sliver, and
    the others where they are needed most.

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
    nodes, basis = np.empty(n_nodes), np.zeros((n_nodes, log_wave.size))
    counts = _share_nodes(np.diff(edges), n_nodes)
    for i, (n, end) in enumerate(zip(counts, np.cumsum(counts), strict=True)):
        unit, _ = np.polynomial.legendre.leggauss(n)
        own, inside = slice(end - n, end), part == i
        nodes[own] = edges[i] + 0.5 * (unit + 1.0) * (edges[i + 1] - edges[i])
        basis[own, inside] = lagrange_basis(nodes[own], log_wave[inside])
    return nodes, basis


def _share_nodes(lengths: np.ndarray, n_nodes: int) -> np.ndarray:
    """Share nodes among the parts of a band such that the largest error is small."""
    counts = np.ones(lengths.size, dtype=int)
    pairs = np.where(lengths > _SLIVER * lengths.sum(), 2, 1)
    if pairs.sum() <= n_nodes:
        counts = pairs
    for _ in range(n_nodes - counts.sum()):
        errors = [_error(x, n) for x, n in zip(lengths, counts, strict=True)]
        counts[np.argmax(errors)] += 1
    return counts


def _error(length: float, n: int) -> float:
    """Error of an exponential on a part of a band: remainder of its interpolation, times length."""
    return length * (0.25 * _STEEPEST * length) ** n / math.factorial(n)


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
