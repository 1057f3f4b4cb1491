"""Dust emission: what the dust absorbs from starlight leaves it in the infrared.

Every model radiates ``dust_eta`` times the absorbed luminosity, integrated over all frequencies:
exact energy balance where ``dust_eta`` is one, which is its default.
"""

from tengri_ppl.physics.dust_emission.analytic import (
    Casey2012,
    ModifiedBlackbody,
    TwoTemperature,
    casey2012,
)
from tengri_ppl.physics.dust_emission.base import DustEmission, NoDustEmission
from tengri_ppl.physics.dust_emission.gridded import (
    DRAINE_LI_2007,
    DraineLi2007,
    TemplateDustEmission,
)

__all__ = [
    "DRAINE_LI_2007",
    "Casey2012",
    "DraineLi2007",
    "DustEmission",
    "ModifiedBlackbody",
    "NoDustEmission",
    "TemplateDustEmission",
    "TwoTemperature",
    "casey2012",
]
