"""Star formation histories."""

from tengri_ppl.physics.sfh.base import SFH, BinnedSFH
from tengri_ppl.physics.sfh.bursts import (
    BURST_SHAPES,
    BurstSFH,
    DelayedQuenchSFH,
    PostStarburstSFH,
)
from tengri_ppl.physics.sfh.dense_basis import DenseBasisSFH
from tengri_ppl.physics.sfh.flexible_bins import FlexibleContinuitySFH, PostStarburstContinuitySFH
from tengri_ppl.physics.sfh.nonparametric import BurstyContinuitySFH, ContinuitySFH, DirichletSFH
from tengri_ppl.physics.sfh.parametric import (
    ConstantSFH,
    DelayedSFH,
    DoublePowerLawSFH,
    ExponentialSFH,
    LognormalSFH,
    SkewNormalSFH,
)
from tengri_ppl.physics.sfh.prospector_beta import ProspectorBetaSFH
from tengri_ppl.physics.sfh.stochastic import (
    DampedRandomWalk,
    ExtendedRegulator,
    Matern,
    SFHField,
    StochasticSFH,
)
from tengri_ppl.physics.sfh.tabulated import TabulatedSFH

__all__ = [
    "BURST_SHAPES",
    "SFH",
    "BinnedSFH",
    "BurstSFH",
    "BurstyContinuitySFH",
    "ConstantSFH",
    "ContinuitySFH",
    "DampedRandomWalk",
    "DelayedQuenchSFH",
    "DelayedSFH",
    "DenseBasisSFH",
    "DirichletSFH",
    "DoublePowerLawSFH",
    "ExponentialSFH",
    "ExtendedRegulator",
    "FlexibleContinuitySFH",
    "LognormalSFH",
    "Matern",
    "PostStarburstContinuitySFH",
    "PostStarburstSFH",
    "ProspectorBetaSFH",
    "SFHField",
    "SkewNormalSFH",
    "StochasticSFH",
    "TabulatedSFH",
]
