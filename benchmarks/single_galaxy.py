"""Fit one galaxy with every method: time to 1000 effective draws, evaluations, memory.

Usage::

    pip install bagpipes==1.3.6                # optional, for --bagpipes
    python benchmarks/single_galaxy.py REFERENCE [METHOD ...] [--bagpipes]

REFERENCE is the folder with ``fit_mock_sf.json``: 20 bands at a signal-to-noise ratio of 20 of a
double power law with gas, dust and its emission; six free parameters. Every method runs in a
process of its own, without a cache on disk: once cold, from the start of Python to the result, and
then warm with other keys, of which the fastest counts; no other one starts when they have taken
five minutes. Chains are lengthened until the smallest bulk effective sample size is 1000, by a
factor of three at most from one fit to the next; if it never is, or they have not converged, the
largest one counts. Memory is the peak until the end of the fit that counts. ``--bagpipes`` adds
BAGPIPES with nautilus and 1000 live points.
"""

from __future__ import annotations

import os
import time

START = time.perf_counter()
os.environ.setdefault("NPROC", "4")

import argparse
import json
import math
import resource
import sys
import tempfile
from pathlib import Path
from typing import Any

from apart import measure_apart

#: Methods with options that suit this posterior: a long bent ridge, of five coordinates.
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "mcmc_nuts+leaps": ("mcmc_nuts", {"n_leaps": 32, "n_samples": 400}),
    "mgvi+means": ("mgvi", {"reweight": True, "n_expansions": 16, "n_samples": 16_000}),
    "geovi+means": ("geovi", {"reweight": True, "n_expansions": 6, "n_samples": 4400}),
}
METHODS = (
    *("auto", "importance", "mgvi+means", "geovi+means", "smc", "nss", "mcmc_nuts+leaps"),
    *("mcmc_nuts", "mcmc_hmc", "mcmc_dynamic_hmc", "mcmc_ghmc", "mcmc_chees", "mcmc_mclmc"),
    *("mcmc_barker", "mcmc_raytrace", "neutra", "ess", "ensemble_aies", "ensemble_slice"),
    *("map", "laplace", "pathfinder", "multipathfinder", "vi", "mgvi", "geovi"),
)
MIN_ESS = 1000.0
MAX_SECONDS = 300.0
TESTS = Path(__file__).resolve().parent.parent / "tests" / "crosscheck"


def cpu_seconds() -> float:
    """Time that all threads of this process have worked."""
    return time.process_time()


def measure(reference: Path, name: str, n_warm: int) -> dict[str, Any]:
    """Fit cold and warm in this process."""
    method, options = VARIANTS.get(name, (name, {}))
    options = dict(options)
    sys.path.insert(0, str(TESTS))
    import jax
    from bagpipes_cases import bin_ssp, write_nebular
    from mock_fit import read_mock

    import tengri_ppl as tg
    from tengri_ppl.inference.registry import get_method

    with tempfile.TemporaryDirectory() as folder:
        nebular = write_nebular(Path(folder) / "nebular.h5")
        fitter = read_mock(reference, bin_ssp(tg.load_ssp_data()), nebular).fitter
    fitter.run(method, key=jax.random.key(0), **options)
    cold = time.perf_counter() - START
    is_chain = hasattr(get_method(method).options, "max_samples")
    rows: list[dict[str, Any]] = []
    while len(rows) < n_warm and sum(row["wall"] for row in rows) < MAX_SECONDS:
        row = _fit(fitter, method, jax.random.key(1 + len(rows)), options)
        rows.append(row)
        if is_chain and not row["ess"] >= MIN_ESS:
            factor = min(3.0, 1.2 * MIN_ESS / max(row["ess"], 1.0))
            options["n_samples"] = int(math.ceil(row["draws"] * factor / 100.0) * 100)
    enough = [row for row in rows if row["ess"] >= MIN_ESS and row["converged"]]
    if is_chain and not enough:
        return max(rows, key=lambda row: row["ess"]) | {"cold": cold}
    return min(enough or rows, key=lambda row: row["wall"]) | {"cold": cold}


def _fit(fitter: Any, method: str, key: Any, options: dict[str, Any]) -> dict[str, Any]:
    """Fit once; nothing of the posterior stays in memory."""
    begin, cpu = time.perf_counter(), cpu_seconds()
    posterior = fitter.run(method, key=key, **options)
    verdict = posterior.convergence()
    return {
        "wall": time.perf_counter() - begin,
        "cpu": cpu_seconds() - cpu,
        "ess": verdict.min_ess_bulk,
        "converged": verdict.converged,
        "evaluations": posterior.inference_data.attrs.get("n_evaluations", math.nan),
        "draws": posterior.inference_data.posterior.sizes["draw"],
        "rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
    }


def measure_bagpipes(reference: Path) -> dict[str, Any]:
    """Fit with BAGPIPES and nautilus."""
    import bagpipes
    import numpy as np
    from sedpy.observate import load_filters

    problem = json.loads((reference / "fit_mock_sf.json").read_text())
    flux, error = (np.asarray(problem[k]) for k in ("flux_mujy", "err_mujy"))
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        curves = []
        for band in load_filters(problem["filters"]):
            curves.append(f"{band.name}.dat")
            np.savetxt(curves[-1], np.c_[band.wavelength, band.transmission])
        galaxy = bagpipes.galaxy(
            "mock", lambda _: np.c_[flux, error], spectrum_exists=False, filt_list=curves
        )
        fit = bagpipes.fit(galaxy, _bagpipes_instructions(problem))
        begin, cpu = time.perf_counter(), cpu_seconds()
        fit.fit(verbose=False, sampler="nautilus", n_live=1000)
        wall, used = time.perf_counter() - begin, cpu_seconds() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "wall": wall,
        "cpu": used,
        "ess": math.nan,
        "converged": True,
        "evaluations": math.nan,
        "log_evidence": fit.results["lnz"],
        "log_evidence_error": fit.results["lnz_err"],
        "cold": time.perf_counter() - START,
        "rss": peak / 1e9,
    }


def _bagpipes_instructions(problem: dict[str, Any]) -> dict[str, Any]:
    instructions = {key: value for key, value in problem["fixed"].items()}
    for name, prior in problem["priors"].items():
        component, parameter = name.split(":")
        part = instructions.setdefault(component, {})
        part[parameter] = tuple(prior["limits"])
        part[f"{parameter}_prior"] = prior["prior"]
    return instructions


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("reference", type=Path)
    parser.add_argument("methods", nargs="*", default=METHODS)
    parser.add_argument("--warm", type=int, default=4, help="warm fits of each method")
    parser.add_argument("--bagpipes", action="store_true", help="fit with BAGPIPES as well")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        is_peer = arguments.one == "bagpipes"
        found = (
            measure_bagpipes(arguments.reference)
            if is_peer
            else measure(arguments.reference, arguments.one, arguments.warm)
        )
        print(json.dumps(found))
        return
    print("method              wall [s]   CPU [s]     ESS   evaluations   cold [s]   RSS [GB]")
    names = [*arguments.methods, *(["bagpipes"] if arguments.bagpipes else [])]
    for name in names:
        one = (str(arguments.reference), "--one", name, "--warm", str(arguments.warm))
        found = measure_apart(__file__, *one)
        if "failure" in found:
            print(f"{name:18s}  {found['failure']}", flush=True)
            continue
        print(
            f"{name:18s} {found['wall']:9.2f} {found['cpu']:9.1f} {found['ess']:7.0f} "
            f"{found['evaluations']:13.0f} {found['cold']:10.1f} {found['rss']:10.2f}"
            f"{'' if found['converged'] else '   not converged'}",
            flush=True,
        )


if __name__ == "__main__":
    main()
