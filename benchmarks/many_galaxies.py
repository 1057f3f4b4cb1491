"""Populations of a thousand to a hundred thousand galaxies: time and memory of fits in batches.

Usage::

    python benchmarks/many_galaxies.py [N ...] [--draws 400] [--batch 500]

Galaxies have draws of their own posteriors in a file, Gaussians of a width that is known, so that
the posterior of the mean and the width of their population is known as well, by sums over a grid.
Every size is a process of its own. Columns: seconds to make the file, seconds of
``run_two_step(method="vi", batch_size=...)`` with compilation, passes through all galaxies, the
largest deviations of means [posterior widths] and widths from the exact ones, the error that the
number of draws leaves by its own estimate, and the peak of the resident memory [GB].

The first step of such a fit, draws of the galaxies, takes as long for each of them as in the
workload ``sampled`` of ``population.py``.
"""

from __future__ import annotations

import os

os.environ.setdefault("NPROC", "4")

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from apart import measure_apart

MASS = "sfh_delayed_log_mass"
LOC, SCALE, ERROR = 10.1, 0.3, 0.25


def make_fitter(n: int) -> Any:
    """Return a population whose fluxes are not looked at."""
    import numpyro.distributions as dist

    import tengri_ppl as tg

    spec = tg.Parameters(
        sfh="delayed",
        sfh_delayed_log_mass=tg.Uniform(7.0, 13.0),
        sfh_delayed_tau_gyr=3.0,
        sfh_delayed_age_gyr=8.0,
        redshift=0.1,
    )
    bands = tg.Observation(tg.Photometry.from_names(["sdss_g", "sdss_r"]))
    sed = tg.SEDModel(spec, tg.load_ssp_data(), bands)
    flux = np.full(2, 1e-28)
    galaxies = [{"id": i, "flux_obs": flux, "noise": 0.1 * flux} for i in range(n)]
    relation = tg.NormalPopulation(MASS, dist.Uniform(9.0, 11.0), dist.HalfNormal(1.0))
    return tg.PopulationFitter(sed, galaxies, population=tg.Population(relation))


def write_draws(fitter: Any, observed: np.ndarray, n_draws: int, path: Path) -> Any:
    """Write draws of all galaxies to a file."""
    import tengri_ppl as tg

    rng = np.random.default_rng(1)
    sample = tg.InterimSample.create(fitter.ids, {MASS: ()}, n_draws, path)
    for index in np.array_split(np.arange(len(observed)), max(1, len(observed) // 1000)):
        x = observed[index, None] + ERROR * rng.normal(size=(len(index), n_draws))
        sample.put(index, {MASS: x}, np.full(len(index), n_draws), np.zeros(len(index)))
    sample.close()
    return tg.InterimSample.open(path)


def exact(observed: np.ndarray) -> dict[str, tuple[float, float]]:
    """Means and widths of the hyper-parameters, by sums over a grid."""
    n, mean, square = len(observed), observed.mean(), np.mean(observed**2)
    width = 8.0 * np.hypot(SCALE, ERROR) / np.sqrt(n)
    loc = np.linspace(LOC - width, LOC + width, 401)[:, None]
    scale = np.linspace(max(0.01, SCALE - 2 * width), SCALE + 2 * width, 801)[None]
    variance = scale**2 + ERROR**2
    squares = square - 2.0 * loc * mean + loc**2
    log_p = -0.5 * n * (np.log(variance) + squares / variance) - 0.5 * scale**2
    p = np.exp(log_p - log_p.max())
    p /= p.sum()
    out = {}
    for name, x in ((f"{MASS}_loc", loc), (f"{MASS}_scale", scale)):
        centre = np.sum(p * x)
        out[name] = float(centre), float(np.sqrt(np.sum(p * (x - centre) ** 2)))
    return out


def measure(n: int, n_draws: int, batch_size: int) -> dict[str, float]:
    """Run one size in this process."""
    import jax

    observed = np.random.default_rng(0).normal(LOC, np.hypot(SCALE, ERROR), n)
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        fitter = make_fitter(n)
        sample = write_draws(fitter, observed, n_draws, Path(folder) / "draws.h5")
        middle = time.perf_counter()
        posterior = fitter.run_two_step(
            jax.random.key(0), posteriors=sample, method="vi", batch_size=batch_size
        )
        seconds = time.perf_counter() - middle
    off, wide = [], []
    for name, (mean, width) in exact(observed).items():
        draws = posterior.shared_samples[name].astype(float)
        off.append(abs(draws.mean() - mean) / width)
        wide.append(abs(draws.std() / width - 1.0))
    attrs = posterior.inference_data.attrs
    return {
        "first": middle - begin,
        "seconds": seconds,
        "passes": float(attrs["n_passes"]),
        "off": max(off),
        "wide": max(wide),
        "noise": float(attrs["draws_error"]),
        "rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", nargs="*", type=int, default=[1000, 10_000, 100_000])
    parser.add_argument("--draws", type=int, default=400, help="draws of each galaxy")
    parser.add_argument("--batch", type=int, default=500, help="galaxies of a batch")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(arguments.sizes[0], arguments.draws, arguments.batch)))
        return
    print("galaxies  file [s]  fit [s]  passes   mean  width  noise  RSS [GB]")
    for n in arguments.sizes:
        options = (str(n), "--draws", str(arguments.draws), "--batch", str(arguments.batch))
        found = measure_apart(__file__, "--one", *options)
        if "failure" in found:
            print(f"{n:8d}  {found['failure']}", flush=True)
            continue
        print(
            f"{n:8d} {found['first']:9.1f} {found['seconds']:8.1f} {found['passes']:7.1f} "
            f"{found['off']:6.2f} {found['wide']:6.2f} {found['noise']:6.2f} {found['rss']:9.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
