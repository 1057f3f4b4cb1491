"""Fit the three GOODS-S galaxies of examples/: time to convergence, memory, stellar mass.

Run on two cores with ``taskset -c 0,1 python benchmarks/three_galaxies.py``. The first fit of a
fresh process pays for the imports and the compilation (no persistent cache is used); then every
galaxy is fitted warm, and five more fits follow to see whether memory grows. Times are printed
beside the limits that the project sets itself, never asserted.
"""

from __future__ import annotations

import os
import time

START = time.perf_counter()
os.environ.setdefault("NPROC", "4")

import argparse
from pathlib import Path

import jax

from tengri_ppl.cli.config import read_galaxy
from tengri_ppl.runtime.memory import peak_rss_bytes
from tengri_ppl.workflows.fitter import Fitter

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
#: log10 of the stellar mass: median of eight codes (Pacifici et al. 2023, ApJ 944, 141).
PUBLISHED = {"7886": 10.71, "4062": 10.93, "4376": 10.93}
LIMIT_WARM_S, LIMIT_COLD_S, LIMIT_RSS_GB = 15.0, 60.0, 1.2


def fit(identifier: str, seed: int, method: str):
    """Fit one galaxy from its file, the model built anew; return the posterior and the time."""
    start = time.perf_counter()
    config = read_galaxy(EXAMPLES / f"goodss_{identifier}.toml")
    options = {k: v for k, v in config.sampler.items() if k != "method"}
    fitter = Fitter(config.build(), config.flux, config.noise, data_mask=config.mask)
    posterior = fitter.run(method, key=jax.random.key(seed), **options)
    return posterior, time.perf_counter() - start


def row(identifier: str, label: str, posterior, seconds: float, limit: float) -> str:
    """One line of the table."""
    verdict = posterior.convergence()
    mass = posterior.inference_data.posterior["log_stellar_mass"]
    offset = float(mass.median()) - PUBLISHED[identifier]
    draws = mass.sizes["draw"]
    return (
        f"{identifier}  {label:6s} {seconds:6.1f} s ({seconds / limit:4.2f} of the limit) "
        f"R-hat {verdict.max_rhat:.4f}  ess_bulk {verdict.min_ess_bulk:5.0f}  "
        f"divergent {verdict.divergences:.4f}  {draws} draws/chain  "
        f"log M* - published {offset:+.2f}  {'converged' if verdict.converged else 'NOT converged'}"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="warm fits of each galaxy")
    parser.add_argument("--method", default="mcmc_nuts", help="engine")
    arguments = parser.parse_args()
    n_seeds, method = arguments.seeds, arguments.method
    posterior, _ = fit("7886", 0, method)
    cold = time.perf_counter() - START
    print(row("7886", "cold", posterior, cold, LIMIT_COLD_S), flush=True)
    for seed in range(1, n_seeds + 1):
        for identifier in PUBLISHED:
            print(row(identifier, "warm", *fit(identifier, seed, method), LIMIT_WARM_S), flush=True)
    before = peak_rss_bytes() / 1e9
    for seed in range(5):
        fit("7886", 100 + seed, method)
    after = peak_rss_bytes() / 1e9
    print(
        f"peak RSS {before:.2f} GB ({before / LIMIT_RSS_GB:.2f} of the limit); "
        f"after five more fits {after:.2f} GB ({after / before - 1:+.1%})"
    )


if __name__ == "__main__":
    main()
