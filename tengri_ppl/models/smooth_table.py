"""Light with a smooth spectrum in the fast mode: evaluated at nodes of the bands it reaches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import jax
import numpy as np
from jax.typing import ArrayLike

from tengri_ppl.models.band_rules import BandRules
from tengri_ppl.observation.photometry import BandQuadrature

__all__ = ["SmoothLight", "SmoothTable", "smooth_rules", "tabulate_smooth"]

#: Nodes of a narrow band, how many more per unit of ln(wavelength), and for each break that may
#: lie inside.
_N_NODES, _N_PER_LN, _N_PER_BREAK = 5, 10.0, 2
#: Bands are those that light may reach at any redshift up to this one, so that the shapes of
#: tables, and with them the compiled programs, are the same for all galaxies.
_HIGHEST_REDSHIFT = 20.0


class SmoothLight(NamedTuple):
    """Where a component shines smoothly.

    Attributes
    ----------
    coverage : tuple of float
        Rest-frame wavelengths between which it shines [Angstrom].
    breaks : tuple of float
        Rest-frame wavelengths at which its spectrum is not smooth [Angstrom].
    """

    coverage: tuple[float, float]
    breaks: tuple[float, ...]


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class SmoothTable:
    """How the smooth light of one component is summed to band fluxes.

    Attributes
    ----------
    wave : array, shape (n_node,)
        Rest-frame wavelengths at which it is evaluated [Angstrom], those of all bands in a row.
    weight : array, shape (n_node, n_band)
        What L_nu there adds to each band.
    """

    wave: ArrayLike
    weight: ArrayLike


def smooth_rules(light: SmoothLight, quadrature: BandQuadrature) -> BandRules | None:
    """Return the rules of the bands that a component's light may reach, None without any."""
    points = np.asarray(quadrature.wave)
    blue, red = points[:, 0] / (1.0 + _HIGHEST_REDSHIFT), points[:, -1]
    reached = (red > light.coverage[0]) & (blue < light.coverage[1])
    if not reached.any():
        return None
    return BandRules(quadrature, light.breaks, np.where(reached, _counts(light, points), 0))


def _counts(light: SmoothLight, points: np.ndarray) -> np.ndarray:
    """Nodes of every band, (n_band,)."""
    breaks = np.sort(light.breaks)
    log1pz = np.linspace(0.0, np.log1p(_HIGHEST_REDSHIFT), 1000)[:, None]
    blue, red = (np.log(points[:, i]) - log1pz for i in (0, -1))
    cuts = np.log(breaks)
    inside = np.searchsorted(cuts, red) - np.searchsorted(cuts, blue)
    width = np.ceil(_N_PER_LN * (red - blue)[0]).astype(int)
    return _N_NODES + width + _N_PER_BREAK * inside.max(axis=0)


def tabulate_smooth(rules: BandRules, redshift: float, igm: np.ndarray) -> SmoothTable:
    """Tabulate the weights at one redshift.

    Parameters
    ----------
    rules : BandRules
        From :func:`smooth_rules`.
    redshift : float
        Redshift.
    igm : ndarray, shape (n_band, n_q)
        IGM transmission at the points of the quadrature.
    """
    at_z = rules.at(redshift)
    counts = [rule.nodes.size for rule in at_z]
    weight = np.zeros((sum(counts), len(igm)))
    ends = np.cumsum(counts)
    for rule, band, end in zip(at_z, rules.bands, ends, strict=True):
        weight[end - rule.nodes.size : end, band] = rule.weights @ igm[band]
    nodes = [rule.nodes for rule in at_z]
    return SmoothTable(np.concatenate(nodes) / (1.0 + redshift), weight)
