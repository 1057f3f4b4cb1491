"""Populations: time, gradients and memory until what galaxies share has converged.

Usage::

    python benchmarks/population.py [WORKLOAD ...] [-n 100]

Galaxies have the seven parameters of ``sbc.py``, known redshifts, and errors of 5 % in ten bands;
they share four hyper-parameters, means and widths of mass and dust. Every workload is a process of
its own, compilation included: fits in two steps, with all galaxies sampled at the same time or
fitted by ``auto`` one by one, NUTS of all together in decentred coordinates, which is the default,
and in non-centred ones. Columns: seconds from the first call on, those of them that the first step
took, gradients, the worst effective sample size and R-hat of the hyper-parameters, the largest
deviation of their means from the truth in posterior widths, and the peak of the resident memory
[GB].
"""

from __future__ import annotations

import os

os.environ.setdefault("NPROC", "4")

import argparse
import json
import resource
import time
from typing import Any

import numpy as np
from apart import measure_apart

MASS, DUST = "sfh_delayed_log_mass", "dust_tau_diff"
TRUTH = {f"{MASS}_loc": 10.3, f"{MASS}_scale": 0.25, f"{DUST}_loc": 0.8, f"{DUST}_scale": 0.3}
NUTS = {"n_warmup": 300, "n_samples": 300, "num_chains": 4, "target_accept_rate": 0.9}
#: Draws of each galaxy in two steps.
N_DRAWS = 1000
WORKLOADS = ("sampled", "two_step", "decentred", "non_centred")


def simulate(n: int) -> Any:
    """Return a fitter of n galaxies that were drawn from the population."""
    import jax
    import numpyro.distributions as dist
    from sbc import make_model

    import tengri_ppl as tg

    sed = make_model(redshift=tg.Uniform(0.05, 0.15))
    relations = (
        tg.NormalPopulation(MASS, scale=dist.HalfNormal(0.5)),
        tg.NormalPopulation(DUST, scale=dist.HalfNormal(0.5)),
    )
    rng = np.random.default_rng(7)
    drawn = sed.spec.sample_batch(jax.random.key(1), n)
    truth = {name: np.asarray(x, float) for name, x in drawn.items()}
    for name in (MASS, DUST):
        low, high = (float(x) for x in (sed.spec[name].low, sed.spec[name].high))
        values = rng.normal(TRUTH[f"{name}_loc"], TRUTH[f"{name}_scale"], 20 * n)
        truth[name] = values[(values > low) & (values < high)][:n]
    truth["redshift"] = np.linspace(0.06, 0.14, n)
    flux = np.asarray(sed.predict_photometry(truth), float)
    noisy = flux * (1.0 + 0.05 * rng.normal(size=flux.shape))
    galaxies = [
        {"id": i, "flux_obs": noisy[i], "noise": 0.05 * flux[i], "redshift": z}
        for i, z in enumerate(truth["redshift"])
    ]
    return tg.PopulationFitter(sed, galaxies, population=tg.Population(*relations))


def measure(workload: str, n: int) -> dict[str, float]:
    """Run a workload in this process."""
    import jax

    import tengri_ppl as tg
    from tengri_ppl.models.population import population_sampling_model

    fitter = simulate(n)
    begin = time.perf_counter()
    first = 0.0
    if workload in ("sampled", "two_step"):
        key = jax.random.key(2)
        posteriors = (
            fitter.sample_galaxies(key, N_DRAWS)
            if workload == "sampled"
            else fitter.fit_galaxies("auto", key)
        )
        first = time.perf_counter() - begin
        options = {"posteriors": posteriors, "n_draws": N_DRAWS}
        posterior = fitter.run_two_step(jax.random.key(3), **options)
    elif workload == "decentred":
        posterior = fitter.run("mcmc_nuts", jax.random.key(3), **NUTS)
    else:
        posterior = tg.infer(
            population_sampling_model,
            (fitter.located, fitter.noise, fitter.data),
            {"population": fitter.population, "columns": fitter.columns},
            "mcmc_nuts",
            jax.random.key(3),
            **NUTS,
        )
    seconds = time.perf_counter() - begin
    import arviz

    summary = arviz.summary(posterior.inference_data, var_names=list(TRUTH), round_to="none")
    offset = (summary["mean"] - [TRUTH[name] for name in summary.index]) / summary["sd"]
    return {
        "seconds": seconds,
        "first": first,
        "evaluations": float(posterior.inference_data.attrs.get("n_evaluations", np.nan)),
        "ess": float(summary["ess_bulk"].min()),
        "rhat": float(summary["r_hat"].max()),
        "offset": float(np.abs(offset).max()),
        "rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workloads", nargs="*", default=WORKLOADS)
    parser.add_argument("-n", type=int, default=100, help="galaxies")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(arguments.one, arguments.n)))
        return
    print("workload      wall [s]  first [s]  gradients    ESS   R-hat  offset  RSS [GB]")
    for workload in arguments.workloads:
        found = measure_apart(__file__, "--one", workload, "-n", str(arguments.n))
        if "failure" in found:
            print(f"{workload:12s}  {found['failure']}", flush=True)
            continue
        print(
            f"{workload:12s} {found['seconds']:9.1f} {found['first']:10.1f} "
            f"{found['evaluations']:10.0f} {found['ess']:6.0f} {found['rhat']:7.3f} "
            f"{found['offset']:7.2f} {found['rss']:9.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
