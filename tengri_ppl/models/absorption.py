r"""How much light the dust absorbs, from a table that is made before any fit.

.. math:: L_{abs} = \int L_\nu\, (1 - T)\, d\nu

over all wavelengths of the stars. T is smooth between the breaks of the attenuation law, so the
product integration of :mod:`tengri_ppl.models.photometry_table` serves here as well, with sections
of the spectrum in place of bands.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import jax
import numpy as np
from jax.typing import ArrayLike

from tengri_ppl.models.band_rules import band_basis
from tengri_ppl.models.light_table import LightTable
from tengri_ppl.models.sources import IONISING_EDGE, Sources, integrate
from tengri_ppl.physics.constants import C_ANGSTROM_PER_S

__all__ = ["AbsorptionTable", "build_absorption"]

_SECTIONS = (IONISING_EDGE, 1216.0, 1600.0, 2175.0, 3000.0, 4500.0, 7e3, 1.2e4, 2.5e4, 1e5)
_N_NODES = 5


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class AbsorptionTable:
    """Integrals over sections of the spectrum.

    Attributes
    ----------
    values : LightTable
        Integrals of L_nu over frequency [Lsun].
    node_wave : array, shape (n_node,)
        Rest-frame wavelengths of the nodes [Angstrom].
    """

    values: LightTable
    node_wave: ArrayLike


def build_absorption(sources: Sources, breaks: tuple[float, ...]) -> AbsorptionTable:
    """Integrate stars and nebular continuum over sections of the spectrum.

    Parameters
    ----------
    sources : Sources
        What shines; templates are not absorbed.
    breaks : tuple of float
        Rest-frame wavelengths at which the attenuation is not smooth [Angstrom].
    """
    inner = [x for x in {*_SECTIONS, *breaks} if sources.wave[0] < x < sources.wave[-1]]
    edges = np.array([sources.wave[0], *sorted(inner), sources.wave[-1]])
    at, rules, nodes = [], [], []
    for low, high in pairwise(edges):
        log_wave, measure = _section_rule(sources.wave, low, high)
        node, basis = band_basis(log_wave, _N_NODES)
        nodes.append(node)
        at.append(np.exp(log_wave))
        rules.append(basis * measure * (C_ANGSTROM_PER_S / np.exp(log_wave)))
    starlight = sources._replace(templates=())
    return AbsorptionTable(integrate(starlight, at, rules), np.exp(np.concatenate(nodes)))


def _section_rule(wave: np.ndarray, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """Points in ln(wavelength) and weights that integrate spectra linear between wavelengths."""
    cells = np.log([low, *wave[(wave > low) & (wave < high)], high])
    unit, weight = np.polynomial.legendre.leggauss(3)
    half = 0.5 * np.diff(cells)[:, None]
    points = 0.5 * (cells[1:] + cells[:-1])[:, None] + half * unit
    return points.ravel(), (half * weight).ravel()
