"""Nebular emission: gas that turns the ionising light of young stars into lines and continuum.

A grid of photoionisation models (:class:`NebularData`) is lit by the young part of a stellar
population. :class:`NebularCoupling` says how many ionising photons each SSP gives to which model;
:meth:`CloudyNebular.weights` turns the young masses into weights over the grid, so that continuum,
lines and their integrals through filters are each one matrix product.
"""

from tengri_ppl.physics.nebular.component import CloudyNebular, Nebular, NoNebular
from tengri_ppl.physics.nebular.coupling import (
    NebularCoupling,
    couple_nebular,
    ionising_luminosity,
    lg_ionising_photons,
)
from tengri_ppl.physics.nebular.grid import DEFAULT_NEBULAR, NebularData, load_nebular
from tengri_ppl.physics.nebular.lines import (
    BandCurves,
    band_curves,
    line_band_response,
    line_luminosities,
    line_profiles,
    nebular_continuum,
)

__all__ = [
    "DEFAULT_NEBULAR",
    "BandCurves",
    "CloudyNebular",
    "Nebular",
    "NebularCoupling",
    "NebularData",
    "NoNebular",
    "band_curves",
    "couple_nebular",
    "ionising_luminosity",
    "lg_ionising_photons",
    "line_band_response",
    "line_luminosities",
    "line_profiles",
    "load_nebular",
    "nebular_continuum",
]
