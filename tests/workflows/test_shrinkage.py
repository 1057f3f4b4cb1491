"""Galaxies borrow strength from their population: errors shrink as theory says."""

import jax
import numpy as np
import numpyro.distributions as dist
import pytest

import tengri_ppl as tg

MASS = "sfh_delayed_log_mass"
N, MEAN, WIDTH, ERROR = 300, 10.0, 0.03, 0.15
GRID = np.linspace(9.5, 10.5, 2001)


@pytest.fixture(scope="module")
def simulated(ssp, sdss, delayed_spec):
    """A fitter, the true masses, and the fluxes in units of those of a mass of one."""
    spec = delayed_spec.replace(
        sfh_delayed_tau_gyr=2.0, met_logzsol=-0.2, dust_tau_diff=0.4, redshift=0.1
    )
    sed = tg.SEDModel(spec, ssp, sdss)
    rng = np.random.default_rng(11)
    mass = rng.normal(MEAN, WIDTH, N)
    flux = np.asarray(sed.predict_photometry({MASS: mass}), float)
    error = ERROR * np.median(flux, axis=0)
    noisy = flux + error * rng.normal(size=flux.shape)
    galaxies = [{"id": i, "flux_obs": noisy[i], "noise": error} for i in range(N)]
    population = tg.Population(
        tg.NormalPopulation(MASS, loc=dist.Normal(10.0, 1.0), scale=dist.HalfNormal(0.5))
    )
    unit = flux / 10.0 ** mass[:, None]
    return (
        tg.PopulationFitter(sed, galaxies, population=population),
        mass,
        noisy / error,
        unit / error,
    )


def alone(noisy, unit):
    """Means and variances of the galaxies' own posteriors, whose prior is flat, by quadrature."""
    chi = noisy[:, None] - unit[:, None] * 10.0 ** GRID[None, :, None]
    energy = 0.5 * np.sum(chi**2, axis=2)
    weight = np.exp(energy.min(axis=1, keepdims=True) - energy)
    weight /= weight.sum(axis=1, keepdims=True)
    mean = weight @ GRID
    return mean, weight @ GRID**2 - mean**2


@pytest.mark.slow
@pytest.mark.optimised
def test_errors_shrink_by_the_factor_of_theory(simulated, measured):
    """A galaxy with variance v in a population of width w keeps the variance v / (1 + v / w^2).

    Errors are small enough for Gaussian likelihoods. With 300 galaxies the ratio of the mean
    squared errors scatters by 8 %.
    """
    fitter, mass, noisy, unit = simulated
    posterior = fitter.run(
        "mcmc_nuts", jax.random.key(1), n_warmup=100, n_samples=150, num_chains=2
    )
    shared = posterior.population_diagnostics()["shared"]
    assert max(entry["rhat"] for entry in shared.values()) < 1.05
    assert posterior.shared_params[f"{MASS}_loc"] == pytest.approx(MEAN, abs=0.01)
    assert posterior.shared_params[f"{MASS}_scale"] == pytest.approx(WIDTH, abs=0.01)
    together = posterior.inference_data.posterior[MASS].mean(("chain", "draw")).values
    own, variance = alone(noisy, unit)
    ratio = np.mean((together - mass) ** 2) / np.mean((own - mass) ** 2)
    theory = np.mean(variance / (1.0 + variance / WIDTH**2)) / np.mean(variance)
    measured("shrinkage: factor of the mean squared error", ratio)
    measured("shrinkage: factor by theory", theory)
    assert theory < 0.7
    assert ratio == pytest.approx(theory, rel=0.2)
