"""Active galactic nuclei: discs, tori, polar dust and emission lines."""

from tengri_ppl.physics.agn.disc import (
    DISC_RANGE,
    AGNDisc,
    PowerLawDisc,
    Temple2021Disc,
    broken_power_law,
    disc_rule,
    grandi_balmer_continuum,
)
from tengri_ppl.physics.agn.lines import (
    BROAD_LINES,
    IRON_BLENDS,
    NARROW_LINES,
    AGNLines,
    NoLines,
    QuasarLines,
    line_templates,
)
from tengri_ppl.physics.agn.nucleus import AGN, NucleusEnergy, smc_extinction, stack_templates
from tengri_ppl.physics.agn.torus import AGNTorus, NoTorus, TemplateTorus, TwoBlackbodyTorus

__all__ = [
    "AGN",
    "BROAD_LINES",
    "DISC_RANGE",
    "IRON_BLENDS",
    "NARROW_LINES",
    "AGNDisc",
    "AGNLines",
    "AGNTorus",
    "NoLines",
    "NoTorus",
    "NucleusEnergy",
    "PowerLawDisc",
    "QuasarLines",
    "TemplateTorus",
    "Temple2021Disc",
    "TwoBlackbodyTorus",
    "broken_power_law",
    "disc_rule",
    "grandi_balmer_continuum",
    "line_templates",
    "smc_extinction",
    "stack_templates",
]
