"""Pure JAX functions of galaxy physics; nothing here knows of priors or samplers."""

from tengri_ppl.physics import attenuation, composite, cosmology, igm, metallicity, sfh, ssp

__all__ = ["attenuation", "composite", "cosmology", "igm", "metallicity", "sfh", "ssp"]
