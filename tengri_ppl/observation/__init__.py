"""What was observed and how: filters, bands and their integration, noise. Knows no NumPyro."""

from tengri_ppl.observation.filter_library import list_filters, load_filter
from tengri_ppl.observation.filters import Filter
from tengri_ppl.observation.noise import (
    GaussianNoise,
    clean_photometry,
    systematic_floor,
    validate_fluxes,
)
from tengri_ppl.observation.observation import Observation
from tengri_ppl.observation.photometry import (
    BandQuadrature,
    Photometry,
    ab_flux,
    ab_flux_error,
    ab_magnitude,
    band_quadrature,
)

__all__ = [
    "BandQuadrature",
    "Filter",
    "GaussianNoise",
    "Observation",
    "Photometry",
    "ab_flux",
    "ab_flux_error",
    "ab_magnitude",
    "band_quadrature",
    "clean_photometry",
    "list_filters",
    "load_filter",
    "systematic_floor",
    "validate_fluxes",
]
