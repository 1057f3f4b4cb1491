"""The registry's entries of Markov chains other than NUTS."""

from __future__ import annotations

from tengri_ppl.inference.barker import BarkerOptions, run_barker
from tengri_ppl.inference.chees import ChEESOptions, run_chees
from tengri_ppl.inference.elliptical import EllipticalOptions, run_elliptical
from tengri_ppl.inference.ensemble import AIESOptions, SliceOptions, run_aies, run_slice
from tengri_ppl.inference.hamiltonian import (
    GHMCOptions,
    HMCOptions,
    run_dynamic_hmc,
    run_ghmc,
    run_hmc,
)
from tengri_ppl.inference.mclmc import MCLMCOptions, run_mclmc
from tengri_ppl.inference.method import Method
from tengri_ppl.inference.raytrace import RaytraceOptions, run_raytrace

__all__ = ["MARKOV_CHAINS"]

MARKOV_CHAINS = (
    Method(
        name="mcmc_hmc",
        summary="Hamiltonian Monte Carlo with trajectories of one length: exact, needs gradients",
        options=HMCOptions,
        run=run_hmc,
        aliases=("hmc",),
        citations=("Duane1987", "Cabezas2024"),
    ),
    Method(
        name="mcmc_dynamic_hmc",
        summary=(
            "Hamiltonian Monte Carlo with trajectories of varied lengths: exact, needs gradients; "
            "the fewest gradients on posteriors that are nearly normal"
        ),
        options=HMCOptions,
        run=run_dynamic_hmc,
        aliases=("dynamic_hmc",),
        citations=("Duane1987", "Hoffman2021", "Cabezas2024"),
    ),
    Method(
        name="mcmc_ghmc",
        summary="generalised HMC, one leapfrog step at a time: exact, needs gradients",
        options=GHMCOptions,
        run=run_ghmc,
        aliases=("ghmc",),
        citations=("HoffmanSountsov2022", "Neal2020", "Cabezas2024"),
    ),
    Method(
        name="mcmc_barker",
        summary="Barker's proposal: exact, needs gradients; robust to scales that vary",
        options=BarkerOptions,
        run=run_barker,
        aliases=("barker",),
        citations=("LivingstoneZanella2022", "Cabezas2024"),
    ),
    Method(
        name="mcmc_mclmc",
        summary=(
            "microcanonical Langevin Monte Carlo with a Metropolis step: exact, needs gradients; "
            "for many parameters"
        ),
        options=MCLMCOptions,
        run=run_mclmc,
        aliases=("mclmc",),
        citations=("Robnik2023", "Robnik2025", "Cabezas2024"),
    ),
    Method(
        name="mcmc_chees",
        summary=(
            "ChEES-HMC, many chains whose trajectories have one adapted length: exact, needs "
            "gradients; for accelerators"
        ),
        options=ChEESOptions,
        run=run_chees,
        aliases=("chees",),
        citations=("Hoffman2021", "Cabezas2024"),
    ),
    Method(
        name="mcmc_raytrace",
        summary="ray tracing sampler (Behroozi 2025): exact, needs gradients; for many parameters",
        options=RaytraceOptions,
        run=run_raytrace,
        aliases=("raytrace",),
        citations=("Behroozi2025",),
    ),
    Method(
        name="ess",
        summary="generalised elliptical slice sampling: exact, without gradients or tuning",
        options=EllipticalOptions,
        run=run_elliptical,
        aliases=("elliptical_slice",),
        citations=("Murray2010", "Nishihara2014", "Cabezas2024"),
    ),
    Method(
        name="ensemble_aies",
        summary=(
            "affine-invariant ensemble, stretch and differential evolution moves (NumPyro): exact, "
            "without gradients; up to some 10 parameters"
        ),
        options=AIESOptions,
        run=run_aies,
        aliases=("aies",),
        citations=("GoodmanWeare2010", "TerBraak2006", "ForemanMackey2013"),
    ),
    Method(
        name="ensemble_slice",
        summary=(
            "ensemble slice sampler (NumPyro): exact, without gradients; up to some 10 parameters"
        ),
        options=SliceOptions,
        run=run_slice,
        aliases=("zeus",),
        citations=("KaramanisBeutler2021", "Karamanis2021"),
    ),
)
