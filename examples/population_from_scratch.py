"""A population model of one's own: masses of galaxies and how their dust depends on them.

The model is plain NumPyro around two parts of this package, ``sed.sample()`` and
``sed.predict_photometry()``. Draws the model with its plates and the relation that was found; run
it with ``--output DIR`` to choose where the figures go.
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import numpyro
import numpyro.distributions as dist

import tengri_ppl as tg

BANDS = ["galex_NUV", "sdss_u", "sdss_g", "sdss_r", "sdss_i", "sdss_z", "twomass_J", "twomass_Ks"]
MASS, DUST = "sfh_delayed_log_mass", "dust_tau_diff"
MICROJANSKY = 1e-29  # erg/s/cm^2/Hz; fluxes of order one suit 32-bit arithmetic
TRUTH = {"mean": 10.0, "spread": 0.5, "slope": 0.8, "scatter": 0.15}


def model(sed, error, flux=None):
    """Gaussian masses; the logarithm of the optical depth rises with mass, with scatter."""
    mean = numpyro.sample("mean", dist.Normal(10.0, 1.0))
    spread = numpyro.sample("spread", dist.HalfNormal(1.0))
    slope = numpyro.sample("slope", dist.Normal(0.0, 1.0))
    scatter = numpyro.sample("scatter", dist.HalfNormal(0.5))
    with numpyro.plate("galaxy", len(error)):
        params = sed.sample(skip=(MASS, DUST))
        mass = numpyro.sample(MASS, dist.Normal(mean, spread))
        offset = numpyro.sample("offset", dist.Normal(0.0, 1.0))
        dust = jnp.exp(-1.0 + slope * (mass - 10.0) + scatter * offset)
        params |= {MASS: mass, DUST: numpyro.deterministic(DUST, dust)}
        expected = sed.predict_photometry(params) / MICROJANSKY
        numpyro.sample("flux", dist.Normal(expected, error).to_event(1), obs=flux)


def build_sed():
    """Return the forward model of every galaxy; the priors span what occurs."""
    spec = tg.Parameters(
        sfh="delayed",
        dust="single",
        dust_law="calzetti",
        redshift=0.1,
        sfh_delayed_log_mass=tg.Uniform(7.0, 12.5),
        sfh_delayed_tau_gyr=3.0,
        sfh_delayed_age_gyr=8.0,
        met_logzsol=-0.2,
        dust_tau_diff=tg.Uniform(0.0, 4.0),
    )
    photometry = tg.Photometry.from_names(BANDS)
    return tg.SEDModel(spec, tg.load_ssp_data(), tg.Observation(photometry=photometry))


def simulate(sed, n):
    """Make n galaxies with errors of 5 %."""
    truth = numpyro.handlers.condition(model, {k: jnp.asarray(v) for k, v in TRUTH.items()})
    seeded = numpyro.handlers.seed(truth, jax.random.key(1))
    trace = numpyro.handlers.trace(seeded).get_trace(sed, jnp.ones((n, len(BANDS))))
    flux = trace["flux"]["fn"].mean  # without noise
    error = 0.05 * flux
    return error, flux + error * jax.random.normal(jax.random.key(2), flux.shape)


def plot_relation(posterior, path):
    """Plot the galaxies and the relations of a hundred draws."""
    found = posterior.samples
    figure, axes = plt.subplots(figsize=(5, 3.5), layout="constrained")
    x = np.linspace(8.5, 11.5, 50)
    for slope in found["slope"][:: len(found["slope"]) // 100]:
        axes.plot(x, np.exp(-1.0 + slope * (x - 10.0)), color="C0", alpha=0.05)
    dust = posterior.inference_data.posterior[DUST].values.reshape(len(found["mean"]), -1)
    low, mid, high = (np.quantile(dust, q, axis=0) for q in (0.16, 0.5, 0.84))
    mass = np.median(found[MASS], axis=0)
    axes.errorbar(mass, mid, [mid - low, high - mid], np.std(found[MASS], axis=0), fmt="k.")
    axes.plot(x, np.exp(-1.0 + TRUTH["slope"] * (x - 10.0)), "C1--", label="truth")
    axes.set(xlabel="log10 of the mass formed [Msun]", ylabel="optical depth at 5500 A")
    axes.legend()
    figure.savefig(path, dpi=150)


def main():
    """Simulate, fit, and print what was found beside the truth."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("build/examples"))
    folder = parser.parse_args().output
    folder.mkdir(parents=True, exist_ok=True)
    sed = build_sed()
    error, flux = simulate(sed, 20)
    try:
        graph = numpyro.render_model(model, (sed, error, flux))
        (folder / "population.dot").write_text(graph.source)
    except ImportError:
        print("the drawing of the model needs: pip install graphviz")
    posterior = tg.infer(model, (sed, error, flux), method="mcmc_nuts", key=jax.random.key(0))
    for name, value in TRUTH.items():
        draws = posterior.samples[name]
        print(f"{name:8s} {draws.mean():6.2f} +- {draws.std():.2f}   truth {value}")
    print(posterior.convergence().message)
    plot_relation(posterior, folder / "population_relation.png")


if __name__ == "__main__":
    main()
