"""Galaxies at redshift one as a population: which form stars, and what follows from their masses.

Which galaxies form stars is found by a mixture of two classes. Those that do give the main
sequence, the relation of their specific star formation rates with mass, and that of dust with mass.
Galaxies are fitted one by one, and the fits serve both populations. Relations are between
parameters, so that the history here is one that has the specific rate as a parameter.

``--data FOLDER`` takes the 181 galaxies of GOODS-S of Pacifici et al. (2023, ApJ 944, 141), with
photometry of Guo et al. (2013, ApJS 207, 24), as benchmarks/goodss.py does; without it galaxies are
made. ``--limit N`` takes the first N, ``--draws N`` uses so many draws of each, of which many
galaxies need more, and ``--output DIR`` says where the figures go.
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from matplotlib.figure import Figure

import tengri_ppl as tg
from tengri_ppl.physics.component import Parameter, register
from tengri_ppl.physics.sfh import SFH

MASS, SSFR, DUST = "sfh_rate_log_mass", "sfh_rate_log_ssfr", "dust_tau_diff"
BANDS = ["vlt_vimos_U", "acs_wfc_f435w", "acs_wfc_f606w", "acs_wfc_f775w", "acs_wfc_f850lp"]
BANDS += ["wfc3_ir_f105w", "wfc3_ir_f125w", "wfc3_ir_f160w", "vlt_isaac_Ks"]
BANDS += ["spitzer_irac_ch1", "spitzer_irac_ch2"]
RATE_LABEL = "log10 of SFR over mass formed [1/yr]"
TRUTH = {"sequence": -9.3, "slope": -0.2, "scatter": 0.25, "dust": 1.05, "dust_slope": 0.5}
MADE = 16  # galaxies, where there is no catalogue
SCATTER = dist.LogNormal(-1.4, 0.5)  # a quarter of a dex, and not zero
#: Classes that overlap make curved posteriors with long tails, which are nothing for chains, and
#: gradients of sums over many draws of many galaxies are expensive.
PROPOSALS = {"method": "importance", "n_walk": 20, "n_batch": 1024}
PROPOSALS |= {"min_ess": 600.0, "n_samples": 2000}
X = np.setdiff1d(np.linspace(-80.0, 20.0, 4000), 0.0)
LOG_S = np.log10(X / np.expm1(X))


@register("sfh", "rate")
@dataclass(frozen=True)
class RateSFH(SFH):
    r"""Exponential since the onset, falling or rising, by the specific rate that it ends with.

    With :math:`SFR \propto e^{-x t / T}`, T the time since the onset, the final rate over the mass
    formed is :math:`x / (e^x - 1) / T`.
    """

    citations = ()

    @property
    def shape_parameters(self):
        """log_ssfr, age_fraction."""
        return (
            Parameter(
                "log_ssfr", "dex(1/yr)", "log10 of the final SFR over the mass", (-13.0, -8.0)
            ),
            Parameter("age_fraction", "1", "time since the onset over cosmic time", (0.2, 1.0)),
        )

    def window(self, cosmic_age, **params):
        """See :meth:`SFH.window`."""
        return 0.0, params["age_fraction"] * cosmic_age

    def log_shape(self, lookback, cosmic_age, **params):
        """See :meth:`SFH.log_shape`."""
        age = params["age_fraction"] * cosmic_age
        x = jnp.interp(params["log_ssfr"] + 9.0 + jnp.log10(age), LOG_S[::-1], X[::-1])
        return -x * (1.0 - lookback / age) - jnp.maximum(-x, 0.0)


def build_sed(bands):
    """Return the forward model of every galaxy; the priors span what occurs."""
    spec = tg.Parameters(
        sfh="rate",
        dust="single",
        dust_law="calzetti",
        redshift=tg.Uniform(0.7, 1.4),
        sfh_rate_log_mass=tg.Uniform(8.0, 12.5),
        sfh_rate_log_ssfr=tg.Uniform(-12.5, -8.0),
        met_logzsol=tg.Uniform(-1.0, 0.4),
        dust_tau_diff=tg.Uniform(0.0, 4.0),
    )
    return tg.SEDModel(spec, tg.load_ssp_data(), tg.Observation(bands))


def simulate(n):
    """Make n galaxies, every third one quiescent; return their model and data."""
    sed, rng = build_sed(tg.Photometry.from_names(BANDS)), np.random.default_rng(1)
    quiescent = np.arange(n) % 3 == 0
    mass = rng.normal(10.3, 0.5, n) + 0.3 * quiescent
    rate = TRUTH["sequence"] + TRUTH["slope"] * (mass - 10.5) + rng.normal(0.0, TRUTH["scatter"], n)
    dust = TRUTH["dust"] + TRUTH["dust_slope"] * (mass - 10.5) + rng.normal(0.0, 0.2, n)
    truth = {
        "redshift": rng.uniform(0.8, 1.2, n),
        MASS: mass,
        SSFR: np.where(quiescent, rng.normal(-11.3, 0.3, n), rate),
        DUST: np.where(quiescent, 0.2, np.maximum(dust, 0.05)),
        "sfh_rate_age_fraction": rng.uniform(0.4, 0.9, n),
        "met_logzsol": rng.uniform(-0.4, 0.1, n),
    }
    flux = np.asarray(sed.at_redshifts(truth["redshift"]).predict_photometry(truth), float)
    error = np.hypot(0.05 * flux, tg.ab_flux(27.0))
    flux = flux + error * rng.normal(size=flux.shape)
    rows = zip(flux, error, truth["redshift"], strict=True)
    return sed, [{"flux_obs": f, "noise": e, "redshift": z} for f, e, z in rows]


def read(folder, n):
    """Read the first n galaxies; return their model and data, with the usual floors of errors."""
    sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))
    import goodss

    names, rows = goodss.read_galaxies(folder)
    medians = goodss.read_medians(folder)
    galaxies = []
    compared = {row["id"]: row for row in rows if row["id"] in medians}
    for row in list(compared.values())[:n]:
        used = row["error"] > 0.0
        magnitude, error = (np.where(used, row[k], 25.0) for k in ("magnitude", "error"))
        flux = tg.ab_flux(magnitude)
        noise = tg.GaussianNoise.from_floors(tg.ab_flux_error(magnitude, error), names)
        known = {"id": row["id"], "redshift": row["redshift"]}
        galaxies.append({"flux_obs": flux, "noise": noise.scale(flux), "mask": used, **known})
    return build_sed(goodss.read_bands(folder, names)), galaxies


def classes():
    """Return the population of quiescent and star-forming galaxies."""
    kinds = ("quiescent", "star-forming")
    return tg.Population(tg.MixturePopulation((SSFR,), kinds, scale={SSFR: SCATTER}))


def relations():
    """Return the population of star-forming galaxies."""
    return tg.Population(
        tg.NormalPopulation(MASS, loc=dist.Normal(10.0, 1.0), scale=dist.LogNormal(-0.7, 0.5)),
        tg.ScalingRelation(SSFR, on=MASS, pivot=10.5, scatter=SCATTER),
        tg.ScalingRelation(DUST, on=MASS, pivot=10.5, scatter=SCATTER),
    )


def plot_classes(posterior, posteriors):
    """Return a figure of specific rates against masses, coloured by the probability of a class."""
    forming = posterior.class_probabilities.sel({"class": "star-forming"})
    figure = Figure(figsize=(5.0, 4.0), layout="constrained")
    axes = figure.subplots()
    x, y = (
        [np.quantile(p.samples[name], (0.16, 0.5, 0.84)) for p in posteriors]
        for name in (MASS, SSFR)
    )
    for (left, a, right), (low, b, high) in zip(x, y, strict=True):
        axes.plot([left, right], [b, b], [a, a], [low, high], color="0.8", lw=0.7, zorder=0)
    points = axes.scatter(
        [q[1] for q in x], [q[1] for q in y], c=forming, cmap="coolwarm_r", vmin=0.0, vmax=1.0, s=16
    )
    figure.colorbar(points, label="probability of forming stars")
    axes.set(xlabel="log10 of the mass formed [Msun]", ylabel=RATE_LABEL)
    return figure


def print_shared(posterior):
    """Print means and standard deviations of what galaxies share."""
    for name, draws in posterior.shared_samples.items():
        mean, deviation = (f(draws, axis=0, dtype=float).round(2) for f in (np.mean, np.std))
        print(f"{name:40s} {mean} +- {deviation}")
    print(posterior.convergence().message)


def main():
    """Fit galaxies and populations, print what they share, and save figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder with the catalogues")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--draws", type=int, default=500)
    parser.add_argument("--output", type=Path, default=Path("build/examples"))
    arguments = parser.parse_args()
    folder = arguments.output
    folder.mkdir(parents=True, exist_ok=True)
    if arguments.data is None:
        sed, galaxies = simulate(arguments.limit or MADE)
        print(f"truth: {TRUTH}")
    else:
        sed, galaxies = read(arguments.data, arguments.limit)

    fitter = tg.PopulationFitter(sed, galaxies, population=classes())
    posteriors = fitter.fit_galaxies(key=jax.random.key(0))
    options = {"n_draws": arguments.draws, "posteriors": posteriors}
    mixture = fitter.run_two_step(jax.random.key(1), **PROPOSALS, **options)
    print_shared(mixture)
    plot_classes(mixture, posteriors).savefig(folder / "goodss_classes.png", dpi=150)

    probability = mixture.class_probabilities.sel({"class": "star-forming"}).values
    forming = np.flatnonzero(probability > 0.5)
    print(f"{len(forming)} of {len(galaxies)} galaxies form stars")
    fitter = tg.PopulationFitter(sed, [galaxies[i] for i in forming], population=relations())
    options["posteriors"] = [posteriors[i] for i in forming]
    sequence = fitter.run_two_step(jax.random.key(2), **PROPOSALS, **options)
    print_shared(sequence)
    figure = sequence.plot_relation(SSFR)
    figure.axes[0].set_ylabel(RATE_LABEL)
    figure.savefig(folder / "goodss_main_sequence.png", dpi=150)
    sequence.plot_relation(DUST).savefig(folder / "goodss_dust.png", dpi=150)


if __name__ == "__main__":
    main()
