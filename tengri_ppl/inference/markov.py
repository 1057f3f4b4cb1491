"""The registry's entries of Markov chains other than NUTS."""

from __future__ import annotations

from tengri_ppl.inference.method import Method

__all__ = ["MARKOV_CHAINS"]

MARKOV_CHAINS = (
    Method(
        name="mcmc_hmc",
        summary="Hamiltonian Monte Carlo with trajectories of one length: exact, needs gradients",
        module="hamiltonian",
        function="run_hmc",
        options_class="HMCOptions",
        aliases=("hmc",),
        citations=("Duane1987", "Cabezas2024"),
    ),
    Method(
        name="mcmc_dynamic_hmc",
        summary=(
            "Hamiltonian Monte Carlo with trajectories of varied lengths: exact, needs gradients; "
            "the fewest gradients on posteriors that are nearly normal"
        ),
        module="hamiltonian",
        function="run_dynamic_hmc",
        options_class="HMCOptions",
        aliases=("dynamic_hmc",),
        citations=("Duane1987", "Hoffman2021", "Cabezas2024"),
    ),
    Method(
        name="mcmc_ghmc",
        summary="generalised HMC, one leapfrog step at a time: exact, needs gradients",
        module="hamiltonian",
        function="run_ghmc",
        options_class="GHMCOptions",
        aliases=("ghmc",),
        citations=("HoffmanSountsov2022", "Neal2020", "Cabezas2024"),
    ),
    Method(
        name="mcmc_barker",
        summary="Barker's proposal: exact, needs gradients; robust to scales that vary",
        module="barker",
        function="run_barker",
        options_class="BarkerOptions",
        aliases=("barker",),
        citations=("LivingstoneZanella2022", "Cabezas2024"),
    ),
    Method(
        name="mcmc_mclmc",
        summary=(
            "microcanonical Langevin Monte Carlo with a Metropolis step: exact, needs gradients; "
            "for many parameters"
        ),
        module="mclmc",
        function="run_mclmc",
        options_class="MCLMCOptions",
        aliases=("mclmc",),
        citations=("Robnik2023", "Robnik2025", "Cabezas2024"),
    ),
    Method(
        name="mcmc_chees",
        summary=(
            "ChEES-HMC, many chains whose trajectories have one adapted length: exact, needs "
            "gradients; for accelerators"
        ),
        module="chees",
        function="run_chees",
        options_class="ChEESOptions",
        aliases=("chees",),
        citations=("Hoffman2021", "Cabezas2024"),
    ),
    Method(
        name="mcmc_raytrace",
        summary="ray tracing sampler (Behroozi 2025): exact, needs gradients; for many parameters",
        module="raytrace",
        function="run_raytrace",
        options_class="RaytraceOptions",
        aliases=("raytrace",),
        citations=("Behroozi2025",),
    ),
    Method(
        name="ess",
        summary="generalised elliptical slice sampling: exact, without gradients or tuning",
        module="elliptical",
        function="run_elliptical",
        options_class="EllipticalOptions",
        aliases=("elliptical_slice",),
        citations=("Murray2010", "Nishihara2014", "Cabezas2024"),
    ),
    Method(
        name="ensemble_aies",
        summary=(
            "affine-invariant ensemble, stretch and differential evolution moves (NumPyro): exact, "
            "without gradients; up to some 10 parameters"
        ),
        module="ensemble",
        function="run_aies",
        options_class="AIESOptions",
        aliases=("aies",),
        citations=("GoodmanWeare2010", "TerBraak2006", "ForemanMackey2013"),
    ),
    Method(
        name="ensemble_slice",
        summary=(
            "ensemble slice sampler (NumPyro): exact, without gradients; up to some 10 parameters"
        ),
        module="ensemble",
        function="run_slice",
        options_class="SliceOptions",
        aliases=("zeus",),
        citations=("KaramanisBeutler2021", "Karamanis2021"),
    ),
)
