"""Star formation histories."""

from tengri_ppl.physics.sfh.parametric import (
    SFH,
    ConstantSFH,
    DelayedSFH,
    DoublePowerLawSFH,
    ExponentialSFH,
    LognormalSFH,
)

__all__ = [
    "SFH",
    "ConstantSFH",
    "DelayedSFH",
    "DoublePowerLawSFH",
    "ExponentialSFH",
    "LognormalSFH",
]
