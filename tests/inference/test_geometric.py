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
from tengri_ppl.inference.expansions import mirrored
from tengri_ppl.inference.geometric import GeometricOptions, run_geovi, run_mgvi
from tengri_ppl.inference.metric import SOLVED, draw_around, reached_density
from tengri_ppl.inference.standard import StandardTarget
from tengri_ppl.inference.start import Start

CORNER_ERROR = 0.1


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


CORNER = 0.5, 5.0
#: No whole number of pairs around each mean.
SEVERAL = GeometricOptions(n_samples=3998, reweight=True, n_expansions=4)


def corner(y, sharpness):
    """Two ridges that meet at a right angle: the larger of two variables is known."""
    x = numpyro.sample("x", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
    larger = jax.nn.logsumexp(sharpness * x) / sharpness
    numpyro.sample("y", dist.Normal(larger, CORNER_ERROR), obs=y)


def corner_moments(y, sharpness):
    """Mean, standard deviation of each variable, and log-evidence, by quadrature on a grid."""
    axis = np.linspace(-6.0, 6.0, 1601)
    x, z = np.meshgrid(axis, axis, indexing="ij")
    residual = (np.logaddexp(sharpness * x, sharpness * z) / sharpness - y) / CORNER_ERROR
    weight = np.exp(-0.5 * (x**2 + z**2 + residual**2))
    norm = weight.sum()
    mean = (weight * x).sum() / norm
    sd = np.sqrt((weight * x**2).sum() / norm - mean**2)
    return mean, sd, np.log(norm * (axis[1] - axis[0]) ** 2 / (2 * np.pi) ** 1.5 / CORNER_ERROR)


@pytest.mark.parametrize("key", [0, 1])
def test_draws_around_several_means_reach_what_those_around_one_do_not(key):
    target, key = Target(corner, CORNER), jax.random.key(key)
    one = run_geovi(target, key, GeometricOptions(reweight=True)).diagnostics
    assert one["pareto_k"] > 0.7 and one["n_effective"] < 300
    found = run_geovi(target, key, SEVERAL)
    figures = found.diagnostics
    assert figures["pareto_k"] < 0.7 and figures["n_effective"] > 1000
    assert figures["unseen_share"] < 0.01
    mean, sd, evidence = corner_moments(*CORNER)
    draws = found.samples["x"][0]
    assert len(draws) == SEVERAL.n_samples
    # draws that count, of which as many were taken with equal weights
    error = np.sqrt(1.0 / figures["n_effective"] + 1.0 / len(draws))
    np.testing.assert_allclose(draws.mean(axis=0), mean, atol=4.0 * error * sd)
    np.testing.assert_allclose(draws.std(axis=0), sd, rtol=4.0 * error)
    assert abs(figures["log_evidence"] - evidence) < 4.0 * figures["log_evidence_error"]


@pytest.mark.parametrize("curved", [True, False])
def test_densities_of_draws_are_found_from_the_points_alone(curved):
    view = StandardTarget(Target(corner, CORNER))
    static = corner, view.layout, curved
    mean = jnp.array([0.4, -1.0])
    draws = draw_around(*static, mean, mirrored(jax.random.key(0), 200, 2), *view.arguments)
    solved = np.asarray(draws.residual) < SOLVED
    found, _ = reached_density(*static, mean, draws.x, *view.arguments)
    # normals are known to the size of the residual; for a few that makes another draw
    again = solved & np.isfinite(found)
    assert again.sum() > 0.95 * solved.sum() > 0.5 * len(solved)
    np.testing.assert_allclose(found[again], draws.log_q[again], atol=0.01)


def square(y):
    x = numpyro.sample("x", dist.Normal(0.0, 1.0).expand([1]).to_event(1))
    numpyro.sample("y", dist.Normal(x[0] ** 2, 0.2), obs=y)


def test_points_behind_a_fold_are_not_reached():
    view = StandardTarget(Target(square, (1.0,)))
    at = jnp.array([[0.9], [-0.9]])
    found, _ = reached_density(square, view.layout, True, jnp.ones(1), at, *view.arguments)
    assert np.isfinite(found).tolist() == [True, False]


def test_means_beyond_the_first_need_weights():
    with pytest.raises(ParameterError, match=r"n_expansions=3: .*give reweight=True"):
        GeometricOptions(n_expansions=3)


@pytest.mark.parametrize(
    "options", [{"n_samples": 3}, {"n_pairs": 0}, {"max_iterations": 0}, {"tolerance": 0.0}]
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ParameterError, match=next(iter(options))):
        GeometricOptions(**options)
