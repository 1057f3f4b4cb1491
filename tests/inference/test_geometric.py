"""MGVI and geoVI: exact for Gaussians, and geoVI for what a change of coordinates makes one."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from small_targets import Y, conjugate, regression, ridge, ridge_moments

from tengri_ppl.errors import ParameterError
from tengri_ppl.inference import Target
from tengri_ppl.inference.geometric import GeometricOptions, run_geovi, run_mgvi
from tengri_ppl.inference.start import Start


@pytest.mark.parametrize("run", [run_mgvi, run_geovi])
def test_a_gaussian_is_exact(run):
    start = Start(jnp.array([2.0, 2.0]), jnp.eye(2))
    result = run(Target(regression, (jnp.asarray(Y),)), jax.random.key(0), start=start)
    mean, sd, evidence = conjugate(Y)
    draws = result.samples["beta"][0]
    # mirrored pairs have the mean itself; four standard errors of 4000 draws
    np.testing.assert_allclose(draws.mean(axis=0), mean, atol=1e-3)
    np.testing.assert_allclose(draws.std(axis=0), sd, rtol=4 / np.sqrt(8000))
    np.testing.assert_allclose(result.samples["sum"][0], draws.sum(axis=1), rtol=1e-4, atol=1e-5)
    assert result.diagnostics["elbo"] == pytest.approx(evidence, abs=2e-3)
    assert result.diagnostics["log_evidence"] == pytest.approx(evidence, abs=2e-3)
    assert result.notes == ()


@pytest.mark.parametrize("run", [run_mgvi, run_geovi])
def test_more_coordinates_than_data_are_exact_too(run):
    """Five data on a line of forty Gaussian weights: the others keep their prior."""
    design = np.random.default_rng(3).normal(size=(5, 40))
    y = design @ np.random.default_rng(4).normal(size=40)
    result = run(Target(underdetermined, (jnp.asarray(design), jnp.asarray(y))), jax.random.key(0))
    marginal = design @ design.T + np.eye(5)
    mean = design.T @ np.linalg.solve(marginal, y)
    covariance = np.eye(40) - design.T @ np.linalg.solve(marginal, design)
    evidence = -0.5 * (y @ np.linalg.solve(marginal, y) + np.linalg.slogdet(marginal)[1])
    draws = result.samples["w"][0]
    np.testing.assert_allclose(draws.mean(axis=0), mean, atol=2e-3)
    assert np.max(np.abs(np.cov(draws, rowvar=False) - covariance)) < 5 / np.sqrt(4000)
    expected = evidence - 2.5 * np.log(2 * np.pi)
    assert result.diagnostics["elbo"] == pytest.approx(expected, abs=0.01)
    assert result.diagnostics["kl_divergence"] < 0.01


def underdetermined(design, y=None):
    weights = numpyro.sample("w", dist.Normal(0.0, 1.0).expand([design.shape[1]]).to_event(1))
    numpyro.sample("y", dist.Normal(design @ weights, 1.0).to_event(1), obs=y)


def test_geovi_follows_a_curved_ridge_and_knows_its_own_density():
    mean, sd, evidence = ridge_moments(3.0)
    result = run_geovi(Target(ridge, (3.0,)), jax.random.key(1))
    draws = result.samples["x"][0]
    np.testing.assert_array_less(np.abs(draws.mean(axis=0) - mean), 0.05 * sd)
    np.testing.assert_allclose(draws.std(axis=0), sd, rtol=0.1)
    assert result.diagnostics["unsolved_share"] == 0
    assert result.diagnostics["approximation_k"] < 0.5
    # only a normalised density gives the evidence
    assert result.diagnostics["log_evidence"] == pytest.approx(evidence, abs=0.02)
    assert result.diagnostics["kl_divergence"] < 0.05


@pytest.mark.parametrize("key", range(4))
def test_the_mean_does_not_slide_along_the_ridge(key):
    mean, sd, _ = ridge_moments(3.0)
    draws = run_geovi(Target(ridge, (3.0,)), jax.random.key(key)).samples["x"][0]
    np.testing.assert_array_less(np.abs(draws.mean(axis=0) - mean), 0.05 * sd)


def test_mgvi_on_a_curved_ridge_is_off_and_says_so():
    _, sd, _ = ridge_moments(3.0)
    result = run_mgvi(Target(ridge, (3.0,)), jax.random.key(1))
    assert np.max(np.abs(result.samples["x"][0].std(axis=0) / sd - 1.0)) > 0.2
    assert any("the approximation is off" in note for note in result.notes)


def test_geovi_says_where_the_prior_along_the_curve_matters():
    """The curved coordinates straighten the likelihood; the prior they take as it is at the mean.

    With a smaller sum the ridge bends away from the bulk of the prior, which cuts its ends off.
    """
    _, sd, evidence = ridge_moments(0.6)
    result = run_geovi(Target(ridge, (0.6,)), jax.random.key(1))
    assert np.max(np.abs(result.samples["x"][0].std(axis=0) / sd - 1.0)) > 0.1
    assert result.diagnostics["approximation_k"] < 0.7  # draws that spread too far weigh well
    assert result.diagnostics["log_evidence"] == pytest.approx(evidence, abs=0.05)
    assert "its divergence from the posterior" in result.notes[-1]


def test_reweighted_draws_are_exact():
    mean, sd, _ = ridge_moments(0.6)
    result = run_geovi(Target(ridge, (0.6,)), jax.random.key(2), GeometricOptions(reweight=True))
    draws, n = result.samples["x"][0], result.diagnostics["n_effective"]
    assert result.diagnostics["pareto_k"] < 0.5
    assert 1000 < n < 4000
    np.testing.assert_array_less(np.abs(draws.mean(axis=0) - mean), 4 * sd / np.sqrt(n))
    np.testing.assert_allclose(draws.std(axis=0), sd, rtol=4 / np.sqrt(2 * n))


@pytest.mark.parametrize(
    "options", [{"n_samples": 3}, {"n_pairs": 0}, {"max_iterations": 0}, {"tolerance": 0.0}]
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ParameterError, match=next(iter(options))):
        GeometricOptions(**options)
