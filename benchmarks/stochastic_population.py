"""Populations of galaxies with stochastic star formation histories, fitted by geoVI together.

Usage::

    python benchmarks/stochastic_population.py [N ...] [--draws 16] [--iterations 5]

Every galaxy has seven parameters and a field of 128 latent normals on its star formation history;
amplitude and time scale of the field are the same for all. Ten bands have errors of 10 %, redshifts
are known. Every size is a process of its own. Columns: seconds of the first fit, compilation
included, and of a second one of other data; mean and width of the amplitude [dex] (truth 0.3) and
of log10 of the time scale [Myr] (truth 2.3); root mean square of the deviations of mass and dust
from the truth [posterior widths]; share of the draws without a solution; and the peak of the
resident memory [GB].
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

SIGMA, TAU = 0.3, 200.0
NAMES = ("sfh_field_psd_sigma", "sfh_field_psd_tau_myr")
ERROR = 0.1
#: Galaxies whose photometry is simulated at a time.
CHUNK = 500


def simulate(n: int, seed: int) -> tuple[Any, dict[str, np.ndarray]]:
    """Return a fitter of n galaxies, and their parameters."""
    import jax
    from sbc import make_model

    import tengri_ppl as tg

    sed = make_model(sfh_field="drw", redshift=tg.Uniform(0.05, 0.15))
    drawn = sed.spec.sample_batch(jax.random.key(seed), n)
    truth = {name: np.asarray(x, float) for name, x in drawn.items()}
    truth["redshift"] = np.linspace(0.06, 0.14, n)
    truth |= {name: np.full(n, x) for name, x in zip(NAMES, (SIGMA, TAU), strict=True)}
    parts = [{k: x[i : i + CHUNK] for k, x in truth.items()} for i in range(0, n, CHUNK)]
    flux = np.concatenate([np.asarray(sed.predict_photometry(p), float) for p in parts])
    data = flux * (1.0 + ERROR * np.random.default_rng(seed).normal(size=flux.shape))
    galaxies = [
        {"flux_obs": d, "noise": ERROR * f, "redshift": z}
        for d, f, z in zip(data, flux, truth["redshift"], strict=True)
    ]
    return tg.PopulationFitter(sed, galaxies), truth


def measure(n: int, n_draws: int, n_iterations: int) -> dict[str, float]:
    """Fit a population of n galaxies, and another one, in this process."""
    import jax

    options = {"n_samples": n_draws, "max_iterations": n_iterations}
    seconds = []
    for seed in (1, 2):
        fitter, truth = simulate(n, seed)
        begin = time.perf_counter()
        posterior = fitter.run("geovi", jax.random.key(seed), **options)
        seconds.append(time.perf_counter() - begin)
    found = posterior.inference_data.posterior
    out = {"cold": seconds[0], "warm": seconds[1]}
    sigma, tau = (posterior.shared_samples[name].astype(float) for name in NAMES)
    for name, x in (("sigma", sigma), ("log_tau", np.log10(tau))):
        out |= {name: float(x.mean()), f"{name}_width": float(x.std())}
    for name in ("sfh_delayed_log_mass", "dust_tau_diff"):
        x = found[name]
        pull = (x.mean(("chain", "draw")).values - truth[name]) / x.std(("chain", "draw")).values
        out[name] = float(np.sqrt(np.mean(pull**2)))
    out["unsolved"] = float(posterior.inference_data.attrs["unsolved_share"])
    out["rss"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    return out


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", nargs="*", type=int, default=[10, 1000])
    parser.add_argument("--draws", type=int, default=16, help="draws of the posterior")
    parser.add_argument("--iterations", type=int, default=5, help="rounds of drawing and moving")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(arguments.sizes[0], arguments.draws, arguments.iterations)))
        return
    print(
        "galaxies  first [s]  second [s]  amplitude    log time     mass  dust  unsolved  RSS [GB]"
    )
    for n in arguments.sizes:
        options = ("--draws", str(arguments.draws), "--iterations", str(arguments.iterations))
        found = measure_apart(__file__, "--one", str(n), *options)
        if "failure" in found:
            print(f"{n:8d}  {found['failure']}", flush=True)
            continue
        print(
            f"{n:8d} {found['cold']:10.1f} {found['warm']:11.1f}  "
            f"{found['sigma']:.2f}+-{found['sigma_width']:.2f}  "
            f"{found['log_tau']:5.2f}+-{found['log_tau_width']:.2f} "
            f"{found['sfh_delayed_log_mass']:7.2f} {found['dust_tau_diff']:5.2f} "
            f"{found['unsolved']:9.1%} {found['rss']:9.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
