"""Pure JAX functions of galaxy physics; nothing here knows of priors or samplers."""

from tengri_ppl.physics import (
    agn,
    attenuation,
    composite,
    cosmology,
    dust_emission,
    igm,
    metallicity,
    nebular,
    radio,
    sfh,
    shocks,
    ssp,
    templates,
    xray,
)

__all__ = [
    "agn",
    "attenuation",
    "composite",
    "cosmology",
    "dust_emission",
    "igm",
    "metallicity",
    "nebular",
    "radio",
    "sfh",
    "shocks",
    "ssp",
    "templates",
    "xray",
]
