"""Absorption by hydrogen between the galaxy and us, and around the galaxy."""

from tengri_ppl.physics.igm.absorber import IGMWithAbsorber
from tengri_ppl.physics.igm.base import IGM, NoIGM, lyman_grid
from tengri_ppl.physics.igm.damping_wing import (
    IGMWithDampingWing,
    NeutralMedium,
    damping_wing_transmission,
)
from tengri_ppl.physics.igm.dla import DampedAbsorber, IGMWithDLA, dla_transmission
from tengri_ppl.physics.igm.inoue2014 import (
    Inoue2014IGM,
    InoueCoefficients,
    inoue2014_transmission,
    load_inoue2014,
)
from tengri_ppl.physics.igm.madau1995 import (
    Madau1995IGM,
    MadauCoefficients,
    load_madau1995,
    madau1995_transmission,
)

__all__ = [
    "IGM",
    "DampedAbsorber",
    "IGMWithAbsorber",
    "IGMWithDLA",
    "IGMWithDampingWing",
    "Inoue2014IGM",
    "InoueCoefficients",
    "Madau1995IGM",
    "MadauCoefficients",
    "NeutralMedium",
    "NoIGM",
    "damping_wing_transmission",
    "dla_transmission",
    "inoue2014_transmission",
    "load_inoue2014",
    "load_madau1995",
    "lyman_grid",
    "madau1995_transmission",
]
