"""Simulation-based calibration of populations: what galaxies share, learnt in two steps.

Usage::

    python benchmarks/population_sbc.py [POPULATION ...] [-n 100] [--keep FOLDER] [--figures FOLDER]
        [--part I N]

Hyper-parameters are drawn from their priors, 50 galaxies from the population, and data in eight
bands with errors of 10 %. The galaxies are sampled one by one (``sample_galaxies``), and the
hyper-parameters are drawn from these samples (``run_two_step``). ``normal`` has Gaussians of mass
and dust, by NUTS; ``mixture`` two classes that differ in how fast their star formation declines, by
importance sampling, because classes that overlap make curved posteriors with long tails; ``field``
stochastic star formation histories, 128 latent normals in every galaxy, with an amplitude and a
time scale that all galaxies have in common. The truth is ranked among 99 of the draws. The table
says whether the distribution of the ranks stays in the band that contains 99 % of uniform ones, and
how often central intervals contain the truth. ``--part I N`` fits every N-th population only, from
number I on, and keeps the fits, so that several processes can share the work.
"""

from __future__ import annotations

import os

os.environ.setdefault("NPROC", "4")

import argparse
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro import handlers

import tengri_ppl as tg
from tengri_ppl.errors import DataError
from tengri_ppl.inference.pareto import MAX_PARETO_K
from tengri_ppl.models.population import population_model
from tengri_ppl.results.calibration import calibrate
from tengri_ppl.results.plots.calibration import plot_calibration

MASS, TAU, DUST = "sfh_delayed_log_mass", "sfh_delayed_tau_gyr", "dust_tau_diff"
AMPLITUDE, TIME = "sfh_field_psd_sigma", "sfh_field_psd_tau_myr"
BANDS = [
    *("galex_NUV", "sdss_u", "sdss_g", "sdss_r", "sdss_i", "sdss_z"),
    *("twomass_J", "twomass_Ks"),
]
N_GALAXIES, ERROR = 50, 0.1
POPULATIONS = {
    "normal": tg.Population(
        tg.NormalPopulation(MASS, dist.Normal(10.0, 0.5), dist.Gamma(4.0, 10.0)),
        tg.NormalPopulation(DUST, dist.Uniform(0.4, 1.2), dist.Gamma(4.0, 14.0)),
    ),
    "mixture": tg.Population(
        tg.NormalPopulation(MASS, dist.Normal(10.0, 0.5), dist.Gamma(4.0, 10.0)),
        tg.MixturePopulation(
            (TAU,), ("quiescent", "star_forming"), scale={TAU: dist.Gamma(4.0, 4.0)}
        ),
    ),
    "field": tg.Population(tg.Shared(AMPLITUDE), tg.Shared(TIME)),
}
FEW = {"n_walkers": 64, "n_steps": 100, "n_components": 6, "chunk_size": N_GALAXIES}
FIELD = {"min_ess": 50.0, "chunk_size": N_GALAXIES}
#: Draws of each galaxy, and how they are made; where that is refused, for too few effective draws,
#: the second way is used.
TRIES: dict[str, list[tuple[int, dict[str, Any]]]] = {
    "normal": [(800, FEW), (3200, FEW)],
    "mixture": [(800, FEW), (3200, FEW)],
    "field": [(800, FIELD | {"n_prior": 2**19}), (3200, FIELD | {"n_prior": 2**21})],
}
ENGINES: dict[str, dict[str, Any]] = {
    "normal": {"method": "mcmc_nuts", "n_warmup": 200, "n_samples": 250, "num_chains": 2},
    "mixture": {
        "method": "importance",
        **{"n_walk": 20, "n_batch": 1024, "min_ess": 300.0, "n_samples": 500},
    },
    "field": {
        "method": "importance",
        **{"n_walk": 10, "n_batch": 512, "min_ess": 400.0, "n_samples": 500},
    },
}


def make_model(with_field: bool) -> tg.SEDModel:
    """Mass and dust are free, and the decline of star formation or a field on it."""
    history: dict[str, Any] = {"sfh_delayed_tau_gyr": tg.Uniform(0.3, 8.0)}
    if with_field:
        history = {
            "sfh_field": "drw",
            "sfh_delayed_tau_gyr": 3.0,
            AMPLITUDE: tg.Uniform(0.05, 0.6),
            TIME: tg.LogUniform(30.0, 3000.0),
        }
    spec = tg.Parameters(
        sfh="delayed",
        sfh_delayed_log_mass=tg.Uniform(7.5, 12.5),
        sfh_delayed_age_gyr=8.0,
        redshift=0.1,
        dust="two_component",
        met_logzsol=-0.1,
        dust_tau_bc=0.5,
        dust_tau_diff=tg.Uniform(0.0, 2.0),
        dust_slope=-0.7,
        **history,
    )
    return tg.SEDModel(spec, tg.load_ssp_data(), tg.Observation(tg.Photometry.from_names(BANDS)))


def components(values: dict[str, Any]) -> dict[str, Any]:
    """Give those of two classes names of their own; the fraction of one class is enough."""
    out = {}
    for name, x in values.items():
        if name != "class_fraction" and x.shape[-1:] != (2,):
            out[name] = x
            continue
        for i in range(1 if name == "class_fraction" else 2):
            out[f"{name}_{i}"] = x[..., i]
    return out


class Simulation:
    """Draw populations, and learn what their galaxies share."""

    def __init__(self, name: str, keep: Path | None) -> None:
        self.name, self.keep = name, keep
        self.population, self.sed = POPULATIONS[name], make_model(name == "field")
        self.n_fits = self.n_refused = self.n_poor = 0
        self.shared = [s for r in self.population.relations for s in r.shared_sites()]

    def simulate(self, key: jax.Array) -> tuple[dict[str, Any], np.ndarray]:
        """Draw hyper-parameters and data."""
        key_model, key_noise = jax.random.split(key)
        exact = tg.GaussianNoise(sigma=jnp.ones((N_GALAXIES, self.sed.n_band)))
        model = handlers.seed(population_model, key_model)
        trace = handlers.trace(model).get_trace(self.sed, exact, population=self.population)
        values = {name: site["value"] for name, site in trace.items()}
        priors = self.sed.spec.priors
        flux = self.sed.predict_photometry(
            {
                name: jnp.broadcast_to(values[name], (N_GALAXIES, *prior.shape()))
                for name, prior in priors.items()
            }
        )
        data = flux * (1.0 + ERROR * jax.random.normal(key_noise, flux.shape))
        truth = components({name: values[name] for name in self.shared})
        return truth, np.stack([data, ERROR * flux], axis=-1)

    def fit(self, data: np.ndarray, key: jax.Array) -> dict[str, Any]:
        """Fit, or read an earlier fit; return the draws of what is ranked."""
        self.n_fits += 1
        path = self.keep and self.keep / f"{self.name}_{self.n_fits}.npz"
        if path and path.is_file():
            with np.load(path) as file:
                return dict(file)
        galaxies = [{"flux_obs": d[:, 0], "noise": d[:, 1]} for d in data]
        fitter = tg.PopulationFitter(self.sed, galaxies, population=self.population)
        posterior = self._posterior(fitter, key)
        draws = posterior.inference_data.posterior
        found = components({name: draws[name].values for name in self.shared})
        if path:
            np.savez(path, **found)
        return found

    def _posterior(self, fitter: tg.PopulationFitter, key: jax.Array) -> Any:
        for n_draws, options in TRIES[self.name]:
            sampling = {"n_batch": max(1024, n_draws)} | options
            try:
                found = fitter.run_two_step(
                    key, n_draws=n_draws, sampling=sampling, **ENGINES[self.name]
                )
            except DataError:
                self.n_refused += 1
                continue
            self.n_poor += int(found.inference_data.attrs.get("pareto_k", 0.0) > MAX_PARETO_K)
            return found
        raise RuntimeError(f"{n_draws} draws of each galaxy are not enough")


def fit_part(simulation: Simulation, n: int, part: tuple[int, int]) -> None:
    """Make some of the fits that :func:`calibrate` is going to read."""
    for i, key in enumerate(jax.random.split(jax.random.key(0), n)):
        if i % part[1] == part[0]:
            key_truth, key_fit = jax.random.split(key)
            simulation.n_fits = i
            simulation.fit(simulation.simulate(key_truth)[1], key_fit)


def main() -> None:
    """Print a table per population."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("populations", nargs="*", default=list(POPULATIONS))
    parser.add_argument("-n", type=int, default=100, help="simulated populations")
    parser.add_argument("--figures", type=Path, help="folder for a figure per population")
    parser.add_argument("--keep", type=Path, help="folder for fits, to go on after an interruption")
    parser.add_argument("--part", type=int, nargs=2, metavar=("I", "N"), help="see above")
    arguments = parser.parse_args()
    if arguments.part and not arguments.keep:
        parser.error("--part needs a folder to --keep its fits in")
    for folder in (arguments.keep, arguments.figures):
        if folder:
            folder.mkdir(parents=True, exist_ok=True)
    for name in arguments.populations:
        simulation, start = Simulation(name, arguments.keep), time.perf_counter()
        if arguments.part:
            fit_part(simulation, arguments.n, arguments.part)
            continue
        result = calibrate(simulation.simulate, simulation.fit, arguments.n, jax.random.key(0))
        seconds = time.perf_counter() - start
        print(
            f"\n{name}: {arguments.n} populations in {seconds:.0f} s, {simulation.n_refused} "
            f"with {TRIES[name][1][0]} draws of each galaxy, {simulation.n_poor} with poor k-hats\n"
            f"{result.summary()}",
            flush=True,
        )
        if arguments.figures:
            figure = plot_calibration(result, title=name)
            figure.savefig(arguments.figures / f"sbc_population_{name}.png", dpi=150)


if __name__ == "__main__":
    main()
