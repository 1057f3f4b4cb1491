"""Adaptive importance sampling: known moments and evidences, and honesty where it fails."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from small_targets import SIGMA, X, Y, funnel, regression, two_modes

from tengri_ppl.errors import ParameterError
from tengri_ppl.inference import Target
from tengri_ppl.inference.flat import FlatTarget
from tengri_ppl.inference.importance import ImportanceOptions, run_importance
from tengri_ppl.inference.laplace import curvature
from tengri_ppl.inference.mixture import StudentTMixture
from tengri_ppl.inference.optimize import find_modes


def conjugate(y):
    """Mean, covariance and log-evidence of :func:`regression`."""
    design = np.stack([np.ones_like(X), X], axis=1)
    covariance = np.linalg.inv(design.T @ design / SIGMA**2 + np.eye(2))
    marginal = design @ design.T + SIGMA**2 * np.eye(X.size)
    evidence = -0.5 * (y @ np.linalg.solve(marginal, y) + np.linalg.slogdet(marginal)[1])
    return (
        covariance @ design.T @ y / SIGMA**2,
        covariance,
        evidence - 0.5 * X.size * np.log(2 * np.pi),
    )


def ill_conditioned():
    """A Gaussian whose widths differ a hundredfold, along rotated axes."""
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(5, 5)))[0]
    covariance = (rotation * np.logspace(0.0, -4.0, 5)) @ rotation.T
    numpyro.sample("x", dist.MultivariateNormal(jnp.ones(5), jnp.asarray(covariance)))


def moments(result, name):
    draws = result.samples[name][0]
    return draws.mean(axis=0), np.cov(draws, rowvar=False)


def test_conjugate_regression_has_the_known_posterior_and_evidence():
    mean, covariance, evidence = conjugate(Y)
    result = run_importance(Target(regression, (jnp.asarray(Y),)), jax.random.key(0))
    got_mean, got_covariance = moments(result, "beta")
    sd = np.sqrt(np.diag(covariance))
    # 4000 draws of a few thousand effective ones: Monte-Carlo errors of 2 and 3 %
    np.testing.assert_array_less(np.abs(got_mean - mean), 0.1 * sd)
    np.testing.assert_allclose(np.sqrt(np.diag(got_covariance)), sd, rtol=0.08)
    error = result.diagnostics["log_evidence_error"]
    assert error < 0.05
    assert abs(result.diagnostics["log_evidence"] - evidence) < 4 * error
    assert result.diagnostics["pareto_k"] < 0.5


def test_ill_conditioned_gaussian_is_sampled_along_its_axes():
    result = run_importance(Target(ill_conditioned), jax.random.key(1))
    mean, covariance = moments(result, "x")
    eigenvalues = np.linalg.eigvalsh(covariance)
    np.testing.assert_allclose(eigenvalues, np.logspace(-4.0, 0.0, 5), rtol=0.15)
    np.testing.assert_allclose(mean, 1.0, atol=0.1)
    assert abs(result.diagnostics["log_evidence"]) < 0.05


def test_both_modes_get_their_share():
    result = run_importance(Target(two_modes), jax.random.key(2))
    right = result.samples["x"][0] > 0
    assert right.mean() == pytest.approx(1 / 3, abs=0.03)
    assert result.samples["x"][0][right].std() == pytest.approx(0.25, rel=0.1)
    assert abs(result.diagnostics["log_evidence"]) < 0.1


def test_a_posterior_out_of_reach_is_flagged():
    options = ImportanceOptions(max_rounds=3, n_batch=2048)
    result = run_importance(Target(funnel), jax.random.key(3), options)
    assert result.diagnostics["pareto_k"] > 0.7 or result.diagnostics["n_effective"] < 400


def test_modes_are_found_with_a_small_gradient_and_the_right_curvature():
    flat = FlatTarget(Target(regression, (jnp.asarray(Y),)))
    mean, covariance, _ = conjugate(Y)
    modes = find_modes(flat, jnp.array([[3.0, -3.0], [0.0, 2.0]]))
    np.testing.assert_allclose(modes.x, np.broadcast_to(mean, (2, 2)), atol=1e-3)
    assert float(modes.gradient_norm.max()) < 1e-2
    bend = curvature(flat, modes.x)
    np.testing.assert_allclose(bend.covariance[0], covariance, rtol=1e-3, atol=1e-6)
    assert int(bend.n_flat[0]) == 0


def test_directions_without_curvature_are_counted_and_kept_finite():
    def saddle():
        x = numpyro.sample("x", dist.Normal(0.0, 2.0))
        y = numpyro.sample("y", dist.Normal(0.0, 1.0))
        numpyro.factor("f", 0.5 * x**2 - y**2)

    bend = curvature(FlatTarget(Target(saddle)), jnp.zeros((1, 2)))
    assert int(bend.n_flat[0]) == 1
    assert np.all(np.linalg.eigvalsh(bend.covariance[0]) > 0)


def test_mixture_integrates_to_one_and_draws_what_it_says():
    mixture = StudentTMixture(
        log_weight=jnp.log(jnp.array([0.3, 0.7])),
        mean=jnp.array([[-2.0], [1.0]]),
        factor=jnp.array([[[0.5]], [[1.0]]]),
        nu=jnp.asarray(5.0),
    )
    grid = jnp.linspace(-60.0, 60.0, 20001)
    density = jnp.exp(mixture.log_density(grid[:, None]))
    assert float(jnp.trapezoid(density, grid)) == pytest.approx(1.0, abs=1e-3)
    draws = np.asarray(mixture.sample(jax.random.key(0), 20000))[:, 0]
    cumulative = np.interp(draws, grid, np.cumsum(np.asarray(density)) * float(grid[1] - grid[0]))
    ranks = np.sort(cumulative)
    worst = np.abs(ranks - (np.arange(20000) + 0.5) / 20000).max()
    assert worst < 1.63 / np.sqrt(20000)  # 1 % of Kolmogorov's distribution


def test_refit_keeps_components_that_no_point_speaks_for():
    mixture = StudentTMixture(
        jnp.log(jnp.full(2, 0.5)),
        jnp.array([[0.0], [100.0]]),
        jnp.ones((2, 1, 1)),
        jnp.asarray(5.0),
    )
    x = jax.random.normal(jax.random.key(0), (1000, 1))
    new = mixture.refitted(x, jnp.zeros(1000))
    np.testing.assert_allclose(new.mean[1], 100.0, rtol=1e-3)
    assert float(jnp.exp(new.log_weight[1])) > 0.02
    assert np.all(np.isfinite(new.factor))


@pytest.mark.parametrize("option", ["n_samples", "n_batch", "max_rounds", "n_modes"])
def test_options_out_of_range_are_refused(option):
    with pytest.raises(ParameterError, match=option):
        ImportanceOptions(**{option: 0})
