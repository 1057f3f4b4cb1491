"""Simulation-based calibration of engines on a photometric model with seven free parameters.

Usage::

    python benchmarks/sbc.py [METHOD ...] [-n 200] [--figures FOLDER] [--keep FOLDER]
    python benchmarks/sbc.py mcmc_nuts --options '{"n_leaps": 32}'

Truths are drawn from the priors of a delayed star formation history with metallicity and two dust
screens; ten bands from GALEX FUV to IRAC 2 get errors of 5 % of a bright galaxy's flux (the 84th
percentile): signal-to-noise ratios are 1 to 100, and at most 9 for half of the galaxies. Every
galaxy is fitted, and the truth is ranked among 99 of the draws: for every parameter, the log-
likelihood, and the surviving mass. The table says whether the distribution of the ranks stays in
the band that contains 99 % of uniform ones, how often central intervals contain the truth, and how
many fits the engine's own verdict calls converged. Vectorised engines are not needed: all fits of
an engine share their compiled programs.
"""

from __future__ import annotations

import os
import time

os.environ.setdefault("NPROC", "4")

import argparse
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import tengri_ppl as tg
from tengri_ppl.models.likelihoods import flux_distribution
from tengri_ppl.physics.constants import MICROJANSKY_CGS
from tengri_ppl.results.calibration import Calibration, calibrate
from tengri_ppl.results.plots.calibration import plot_calibration

METHODS = ("auto", "mcmc_nuts", "laplace", "vi", "geovi")
BANDS = [
    *("galex_FUV", "galex_NUV", "sdss_u", "sdss_g", "sdss_r", "sdss_i", "sdss_z"),
    *("twomass_J", "twomass_Ks", "spitzer_irac_ch2"),
]
#: Every draw of geoVI solves for a curve; 99 are ranked.
OPTIONS: dict[str, dict[str, Any]] = {"geovi": {"n_samples": 400}, "mgvi": {"n_samples": 400}}
LOG_LIKELIHOOD, MASS = "log_likelihood", "log_stellar_mass"


def make_model(bands: list[str] = BANDS, **others: Any) -> tg.SEDModel:
    """Seven free parameters, and those of other components."""
    delayed = {
        "sfh_delayed_log_mass": tg.Uniform(9.5, 11.0),
        "sfh_delayed_tau_gyr": tg.Uniform(0.3, 8.0),
        "sfh_delayed_age_gyr": tg.Uniform(1.0, 12.0),
    }
    spec = tg.Parameters(
        **({} if "sfh" in others else {"sfh": "delayed", **delayed}),
        **{"redshift": 0.1, **others},
        dust="two_component",
        met_logzsol=tg.Uniform(-1.5, 0.3),
        dust_tau_bc=tg.Uniform(0.0, 2.0),
        dust_tau_diff=tg.Uniform(0.0, 2.0),
        dust_slope=tg.Uniform(-1.2, -0.4),
    )
    return tg.SEDModel(spec, tg.load_ssp_data(), tg.Observation(tg.Photometry.from_names(bands)))


def label(method: str, options: dict[str, Any]) -> str:
    """Name an engine and its options in the names of files."""
    return "_".join([method, *(f"{name}_{value}" for name, value in sorted(options.items()))])


class Simulation:
    """Draw galaxies from the model, and fit them."""

    def __init__(self, method: str, options: dict[str, Any], keep: Path | None) -> None:
        self.method, self.options, self.keep = method, options, keep
        self.sed = make_model()
        others = self.sed.predict_photometry(self.sed.spec.sample_batch(jax.random.key(99), 1000))
        self.noise = tg.GaussianNoise(sigma=0.05 * jnp.percentile(others, 84.0, axis=0))
        self.n_converged = self.n_fits = 0

    def log_likelihood(self, flux: Any, data: Any) -> np.ndarray:
        """Of the data given fluxes, both [erg/s/cm^2/Hz]; shape (...)."""
        expected = flux_distribution(jnp.asarray(flux) / MICROJANSKY_CGS, self.noise, data)
        return np.asarray(expected.log_prob(data).sum(axis=-1))

    def simulate(self, key: jax.Array) -> tuple[dict[str, Any], jax.Array]:
        """Draw parameters and data."""
        key_truth, key_noise = jax.random.split(key)
        truth = self.sed.spec.sample(key_truth)
        flux = self.sed.predict_photometry(truth)
        data = flux + self.noise.sigma * jax.random.normal(key_noise, flux.shape)
        mass = jnp.log10(self.sed.derived(truth)["stellar_mass"])
        return {**truth, LOG_LIKELIHOOD: self.log_likelihood(flux, data), MASS: mass}, data

    def fit(self, data: jax.Array, key: jax.Array) -> dict[str, Any]:
        """Fit, or read an earlier fit; return the draws of what is ranked."""
        self.n_fits += 1
        path = self.keep and self.keep / f"{label(self.method, self.options)}_{self.n_fits}.npz"
        if path and path.is_file():
            with np.load(path) as file:
                found = dict(file)
        else:
            found = self._fit(data, key)
            if path:
                np.savez(path, **found)
        self.n_converged += int(found.pop("converged"))
        return found

    def _fit(self, data: jax.Array, key: jax.Array) -> dict[str, Any]:
        posterior = tg.Fitter(self.sed, data, self.noise).run(self.method, key=key, **self.options)
        found = posterior.inference_data
        names = [*self.sed.spec.free_params, MASS]
        draws = {name: found.posterior[name].values for name in names}
        draws[LOG_LIKELIHOOD] = found.log_likelihood["flux"].sum("band").values
        return draws | {"converged": np.asarray(posterior.convergence().converged)}


def run(
    method: str, n: int, options: dict[str, Any], keep: Path | None
) -> tuple[Calibration, int, float]:
    """Calibrate one engine."""
    simulation = Simulation(method, options, keep)
    start = time.perf_counter()
    result = calibrate(simulation.simulate, simulation.fit, n, jax.random.key(0))
    return result, simulation.n_converged, time.perf_counter() - start


def main() -> None:
    """Print a table per engine."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("methods", nargs="*", default=METHODS)
    parser.add_argument("-n", type=int, default=200, help="simulated galaxies")
    parser.add_argument("--figures", type=Path, help="folder for a figure per engine")
    parser.add_argument("--options", type=json.loads, default={}, help="of the methods, in JSON")
    parser.add_argument("--keep", type=Path, help="folder for fits, to go on after an interruption")
    arguments = parser.parse_args()
    if arguments.keep:
        arguments.keep.mkdir(parents=True, exist_ok=True)
    for method in arguments.methods:
        options = OPTIONS.get(method, {}) | arguments.options
        result, n_converged, seconds = run(method, arguments.n, options, arguments.keep)
        print(
            f"\n{method} {options or ''}: {arguments.n} galaxies in {seconds:.0f} s, "
            f"{n_converged} converged by their own verdict\n{result.summary()}",
            flush=True,
        )
        if arguments.figures:
            arguments.figures.mkdir(parents=True, exist_ok=True)
            figure = plot_calibration(result, title=method)
            figure.savefig(arguments.figures / f"sbc_{label(method, options)}.png", dpi=150)


if __name__ == "__main__":
    main()
