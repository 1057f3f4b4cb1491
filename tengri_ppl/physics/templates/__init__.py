"""Files of template spectra: one HDF5 layout for dust, tori, shocks and whatever a user has.

A file holds spectra on a grid of any number of parameters::

    /             attributes: format = "tengri_ppl templates", version = 1, name, kind,
                  normalisation, reference, licence, description (all text but version)
    /wave         (n_wave,) rest-frame wavelength, increasing; attribute unit = "Angstrom"
    /spectra      (n_1, ..., n_k, n_wave) L_nu, linear in wavelength between two points and zero
                  outside; attributes unit, axes = names of the k axes in order
    /axes/<name>  (n_i,) grid points, increasing; attributes unit, description, and optionally
                  default: one number (a fixed value) or two (bounds of a uniform prior)

``kind`` is the kind of component that the file is for (``"dust_emission"``, ``"agn_torus"``,
``"shock"``, ...). ``normalisation`` says what the height of a spectrum means:

``"unit"``
    Nothing: each spectrum is scaled to the same luminosity when it is read.
``"relative"``
    Between two grid points the spectra mix as they are, the brighter one with more weight; the
    mixture is then scaled to a luminosity. Spectra per mass of dust are such.
``"absolute"``
    L_nu [Lsun/Hz] for a weight of one; never rescaled.
"""

from tengri_ppl.physics.templates.files import load_templates, save_templates
from tengri_ppl.physics.templates.grid import (
    NORMALISATIONS,
    TemplateAxis,
    TemplateFile,
    TemplateGrid,
    frequency_weights,
    grid_weights,
    integrate_spectra,
)
from tengri_ppl.physics.templates.importers import IMPORT_FORMATS, import_templates

__all__ = [
    "IMPORT_FORMATS",
    "NORMALISATIONS",
    "TemplateAxis",
    "TemplateFile",
    "TemplateGrid",
    "frequency_weights",
    "grid_weights",
    "import_templates",
    "integrate_spectra",
    "load_templates",
    "save_templates",
]
