"""Populations of one galaxy, of equal ones, with one that is unlike all others."""

import jax
import numpy as np
import numpyro.distributions as dist
import pytest

import tengri_ppl as tg

MASS, DUST = "sfh_delayed_log_mass", "dust_tau_diff"
N, ERROR = 5, 0.1
SHORT = {"n_warmup": 150, "n_samples": 150, "num_chains": 1}
#: log10 of masses formed.
POPULATIONS = {
    "one": np.array([10.0]),
    "equal": np.full(N, 10.0),
    "outlier": np.array([9.9, 10.0, 10.0, 10.1, 12.0]),
}


@pytest.fixture(scope="module")
def sed(delayed_spec, ssp, sdss):
    spec = delayed_spec.replace(
        redshift=0.1,
        met_logzsol=-0.2,
        sfh_delayed_tau_gyr=2.0,
        sfh_delayed_log_mass=tg.Uniform(8.0, 13.0),
    )
    return tg.SEDModel(spec, ssp, sdss)


@pytest.fixture(params=POPULATIONS, scope="module")
def fitter(request, sed):
    mass = POPULATIONS[request.param]
    flux = np.asarray(sed.predict_photometry({MASS: mass, DUST: np.full(len(mass), 1.0)}), float)
    galaxies = [{"flux_obs": f, "noise": ERROR * f} for f in flux]
    population = tg.Population(
        tg.NormalPopulation(MASS, loc=dist.Normal(10.0, 1.0), scale=dist.HalfNormal(1.0))
    )
    return request.param, tg.PopulationFitter(sed, galaxies, population=population, n_pad=N)


def check(name, posterior, measured, how):
    """The mean is that of the galaxies, and the width knows whether there are several."""
    mass = POPULATIONS[name]
    loc, scale = (posterior.shared_samples[f"{MASS}_{k}"].astype(float) for k in ("loc", "scale"))
    assert np.all(np.isfinite(loc)) and np.all(scale > 0.0)
    assert abs(loc.mean() - mass.mean()) < 3.0 * loc.std()
    own = posterior.inference_data.posterior[MASS].mean(("chain", "draw")).values
    np.testing.assert_allclose(own, mass, atol=0.15)
    middle = np.median(scale)
    label = f"unusual galaxies, {name}, {how}"
    measured(f"{label}: mean of the population [widths]", (loc.mean() - mass.mean()) / loc.std())
    measured(f"{label}: masses of the galaxies [dex]", own - mass)
    measured(f"{label}: scatter of the population [dex]", middle)
    if name == "equal":
        assert middle < 0.15
    elif name == "outlier":
        assert 0.5 < middle < 1.6
    else:
        assert 0.3 < middle < 1.1  # the median of the prior is 0.67


def test_they_are_fitted_in_two_steps(fitter, measured):
    name, population = fitter
    found = population.run_two_step(
        jax.random.key(0), n_draws=1000, sampling={"n_prior": 32_768, "max_passes": 0}, **SHORT
    )
    check(name, found, measured, "two steps")


def test_they_are_fitted_together(fitter, measured):
    name, population = fitter
    check(name, population.run("mcmc_nuts", jax.random.key(1), **SHORT), measured, "NUTS")
