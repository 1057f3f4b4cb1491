"""Populations from draws of their galaxies: a Gaussian population, of which all is known."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import tengri_ppl as tg
from tengri_ppl.models import reweighting
from tengri_ppl.models.reweighting import (
    InterimDraws,
    check_reweightable,
    effective_draws,
    reweighting_model,
)

MASS, TAU, DUST = "sfh_delayed_log_mass", "sfh_delayed_tau_gyr", "dust_tau_diff"
N_GALAXY, N_DRAW = 30, 1000
LOC, SCALE, ERROR = 10.0, 0.5, 0.3


@pytest.fixture(scope="module")
def population():
    return tg.Population(
        tg.NormalPopulation(MASS, loc=dist.Uniform(8.0, 12.0), scale=dist.HalfNormal(1.0))
    )


@pytest.fixture(scope="module")
def observed():
    """Masses of galaxies with Gaussian errors."""
    rng = np.random.default_rng(0)
    return LOC + SCALE * rng.normal(size=N_GALAXY) + ERROR * rng.normal(size=N_GALAXY)


@pytest.fixture(scope="module")
def interim(delayed_spec, population, observed):
    """Their posteriors are Gaussians around them, because the prior is flat."""
    noise = np.random.default_rng(1).normal(size=(N_DRAW, N_GALAXY))
    return InterimDraws.from_draws(delayed_spec, population, {}, {MASS: observed + ERROR * noise})


def test_weights_are_the_density_under_the_population_over_the_prior(interim):
    shared = {f"{MASS}_loc": jnp.asarray(9.8), f"{MASS}_scale": jnp.asarray(0.4)}
    found = interim.log_weights(shared)
    gaussian = dist.TruncatedNormal(9.8, 0.4, low=7.0, high=12.5)
    expected = gaussian.log_prob(interim.values[MASS]) + np.log(12.5 - 7.0)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_vectors_of_parameters_and_relations_have_weights_too(delayed_spec, key):
    together = tg.MultivariateNormalPopulation((MASS, TAU))
    line = tg.ScalingRelation(DUST, on=MASS, pivot=10.0)
    population = tg.Population(together, line)
    draws = jax.tree.map(lambda x: x.reshape(50, 2), delayed_spec.sample_batch(key, 100))
    interim = InterimDraws.from_draws(delayed_spec, population, {}, draws)
    shared = {
        **{f"{MASS}_loc": 10.0, f"{MASS}_scale": 0.5, f"{TAU}_loc": 2.0, f"{TAU}_scale": 1.0},
        "correlation_cholesky": jnp.array([[1.0, 0.0], [0.6, 0.8]]),
        **{f"{DUST}_intercept": 0.5, f"{DUST}_slope_{MASS}": 0.3, f"{DUST}_scatter": 0.2},
    }
    shared = {name: jnp.asarray(x) for name, x in shared.items()}
    covariance = np.array([[0.25, 0.3], [0.3, 1.0]])
    members = dist.MultivariateNormal(np.array([10.0, 2.0]), covariance)
    dust = dist.TruncatedNormal(0.5 + 0.3 * (draws[MASS] - 10.0), 0.2, low=0.0, high=2.0)
    expected = members.log_prob(jnp.stack([draws[MASS], draws[TAU]], axis=-1))
    expected += dust.log_prob(draws[DUST]) + np.log(5.5 * 4.7 * 2.0)
    found = interim.log_weights(shared)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("at_once", [1, 7 * N_GALAXY, N_DRAW * N_GALAXY])
def test_means_of_weights_are_the_same_in_parts(interim, monkeypatch, at_once):
    monkeypatch.setattr(reweighting, "_AT_ONCE", at_once)
    shared = {f"{MASS}_loc": jnp.asarray(9.8), f"{MASS}_scale": jnp.asarray(0.4)}
    weights = np.exp(np.asarray(interim.log_weights(shared), float))
    np.testing.assert_allclose(interim.log_means(shared), np.log(weights.mean(0)), atol=1e-4)


def test_the_posterior_is_that_by_quadrature(observed, interim):
    posterior = tg.infer(reweighting_model, (interim,), None, "mcmc_nuts", jax.random.key(2))
    assert posterior.convergence().converged
    loc, scale = np.meshgrid(np.linspace(9.0, 11.0, 201), np.linspace(0.01, 2.0, 200))
    width = np.hypot(scale, ERROR)[..., None]
    z = (observed - loc[..., None]) / width
    log_density = -0.5 * np.sum(z**2 + 2.0 * np.log(width), axis=-1) - 0.5 * scale**2
    weight = np.exp(log_density - log_density.max())
    weight /= weight.sum()
    ess = posterior.effective_sample_size()
    for name, grid in ((f"{MASS}_loc", loc), (f"{MASS}_scale", scale)):
        mean = np.sum(weight * grid)
        sd = np.sqrt(np.sum(weight * (grid - mean) ** 2))
        x = posterior.samples[name]
        # the sums over 1000 draws shift the posterior by about 0.05 of its width
        assert abs(x.mean() - mean) < (4.0 / np.sqrt(ess[name]) + 0.1) * sd, name
        assert x.std() == pytest.approx(sd, rel=0.1), name


def test_effective_draws_are_those_of_kish():
    weights = np.array([[1.0, 1.0], [1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    np.testing.assert_allclose(effective_draws(jnp.log(weights)), [4.0, 1.0], rtol=1e-5)


def test_what_all_galaxies_have_in_common_is_refused(population):
    check_reweightable(population)
    shared = [tg.Shared(name) for name in ("dust_slope", DUST, TAU)]
    check_reweightable(tg.Population(*shared[:2], *population.relations))
    with pytest.raises(tg.ParameterError, match="dust_slope is the same for all galaxies"):
        check_reweightable(tg.Population(shared[0], *population.relations), in_batches=True)
    with pytest.raises(
        tg.ParameterError, match=r"dust_slope, .* are the same for all .* at most 2"
    ):
        check_reweightable(tg.Population(*shared))
    calibration = tg.Calibration(floor=dist.HalfNormal(0.1))
    with pytest.raises(tg.ParameterError, match="a calibration changes the data"):
        check_reweightable(tg.Population(*population.relations, calibration=calibration))
    with pytest.raises(tg.ParameterError, match="no relations"):
        check_reweightable(tg.Population())
