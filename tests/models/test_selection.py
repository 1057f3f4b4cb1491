"""Selected samples: what was left out doesn't shift the population."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from numpyro import handlers
from scipy import stats

import tengri_ppl as tg
from tengri_ppl.models.reweighting import InterimDraws, reweighting_model

MASS = "sfh_delayed_log_mass"
LOC, SCALE, LIMIT, WIDTH = 9.8, 0.5, 10.0, 0.1
N_DRAW = 1000
SHORT = {"n_warmup": 200, "n_samples": 400, "num_chains": 1}


@pytest.fixture(scope="module")
def population():
    return tg.Population(
        tg.NormalPopulation(MASS, loc=dist.Uniform(8.0, 12.0), scale=dist.HalfNormal(1.0))
    )


@pytest.fixture(scope="module")
def masses():
    """Masses, known exactly, of galaxies that were kept, a third of all."""
    rng = np.random.default_rng(0)
    every = LOC + SCALE * rng.normal(size=100)
    return every[every + WIDTH * rng.normal(size=every.size) > LIMIT]


def by_quadrature(masses, *, selected):
    """Mean and standard deviation of the posterior of the mean."""
    loc, scale = np.meshgrid(np.linspace(8.0, 12.0, 401), np.linspace(0.02, 3.0, 299))
    log_density = stats.halfnorm.logpdf(scale)
    log_density = log_density + stats.norm.logpdf(masses[:, None, None], loc, scale).sum(axis=0)
    if selected:
        kept = stats.norm.logcdf((loc - LIMIT) / np.hypot(scale, WIDTH))
        log_density = log_density - len(masses) * kept
    weight = np.exp(log_density - log_density.max())
    weight /= weight.sum()
    mean = np.sum(weight * loc)
    return mean, np.sqrt(np.sum(weight * (loc - mean) ** 2))


def test_the_population_is_found_that_the_sample_was_selected_from(
    delayed_spec, population, masses
):
    """Against quadrature; without the selection its mean is far from the truth."""
    draws = {MASS: np.broadcast_to(masses, (2, len(masses)))}
    interim = InterimDraws.from_draws(delayed_spec, population, {}, draws)
    prior = {MASS: jax.random.uniform(jax.random.key(1), (N_DRAW, len(masses)), float, 7.0, 12.5)}
    kept = InterimDraws.from_draws(delayed_spec, population, {}, prior).selected(
        jax.scipy.stats.norm.logcdf((prior[MASS] - LIMIT) / WIDTH)
    )
    posterior = tg.infer(
        reweighting_model, (interim, kept), method="mcmc_nuts", key=jax.random.key(2), **SHORT
    )
    loc = posterior.samples[f"{MASS}_loc"]
    mean, sd = by_quadrature(masses, selected=True)
    ess = min(posterior.effective_sample_size().values())
    assert abs(loc.mean() - mean) < 4 * sd / np.sqrt(ess) + 0.1 * sd
    assert loc.std() == pytest.approx(sd, rel=4 / np.sqrt(2 * ess) + 0.1)
    assert abs(mean - LOC) < 2.5 * sd
    naive, naive_sd = by_quadrature(masses, selected=False)
    assert naive - LOC > 5 * naive_sd


def test_fluxes_at_the_limit_are_kept_half_of_the_time():
    limit = tg.FluxLimit("sdss_r", 3e-29, 1e-29)
    flux = jnp.array([[1.0, 3e-29], [1.0, 4e-29], [1.0, 0.0]])
    found = limit.log_probability(flux, ["sdss_g", "sdss_r"])
    np.testing.assert_allclose(np.exp(found), stats.norm.cdf([0.0, 1.0, -3.0]), rtol=1e-5)
    with pytest.raises(tg.ParameterError, match=r"'sdss_r', which is no band.*sdss_rr"):
        limit.log_probability(flux, ["sdss_g", "sdss_rr"])


def test_fits_of_all_galaxies_together_refuse_a_selection(delayed_spec, ssp, sdss):
    sed = tg.SEDModel(delayed_spec, ssp, sdss)
    population = tg.Population(
        tg.NormalPopulation(MASS), selection=tg.FluxLimit("sdss_r", 1e-29, 1e-30)
    )
    noise = tg.GaussianNoise(sigma=jnp.ones((2, 5)))
    with pytest.raises(tg.ParameterError, match="needs a fit in two steps: use run_two_step"):
        handlers.seed(tg.population_model, 0)(sed, noise, population=population)
