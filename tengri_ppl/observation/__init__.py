"""What was observed and how: filters, bands and their integration, noise. Knows no NumPyro."""

from tengri_ppl.observation.filters import Filter, list_filters, load_filter
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
    "Photometry",
    "ab_flux",
    "ab_flux_error",
    "ab_magnitude",
    "band_quadrature",
    "list_filters",
    "load_filter",
]
