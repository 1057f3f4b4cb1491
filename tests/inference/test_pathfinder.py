"""Pathfinder with one path and with many."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from blackjax.vi.pathfinder import PathfinderState
from small_targets import Y, conjugate, funnel, regression, two_modes

from tengri_ppl.errors import ParameterError
from tengri_ppl.inference import Target
from tengri_ppl.inference.pathfinder import (
    MultipathfinderOptions,
    _gaussian,
    run_multipathfinder,
    run_pathfinder,
)


@pytest.mark.parametrize("run", [run_pathfinder, run_multipathfinder])
def test_a_gaussian_is_found_with_its_evidence(run):
    result = run(Target(regression, (jnp.asarray(Y),)), jax.random.key(0))
    mean, sd, evidence = conjugate(Y)
    draws = result.samples["beta"][0]
    assert draws.shape == (4000, 2)
    # 4 standard errors of 4000 draws, and 5 % for a Hessian made of a few quasi-Newton steps
    np.testing.assert_array_less(np.abs(draws.mean(axis=0) - mean), 0.07 * sd)
    np.testing.assert_allclose(draws.std(axis=0), sd, rtol=0.05 + 4 / np.sqrt(8000))
    assert result.diagnostics["log_evidence"] == pytest.approx(evidence, abs=0.02)


def test_a_gaussian_of_a_path_has_its_mean_a_newton_step_downhill():
    """For a quadratic with the right inverse Hessian, that is the mode, from anywhere."""
    inverse = np.array([[0.5, 0.1], [0.1, 0.3]])
    point, mode = np.array([3.0, -4.0]), np.array([1.0, 2.0])
    state = PathfinderState(
        elbo=jnp.zeros(()),
        position=jnp.asarray(point),
        grad_position=jnp.asarray(np.linalg.solve(inverse, point - mode)),
        alpha=jnp.diag(inverse),
        beta=jnp.eye(2),
        gamma=jnp.asarray(inverse - np.diag(np.diag(inverse))),
    )
    gaussian = _gaussian(state)
    np.testing.assert_allclose(gaussian.mean, mode, atol=1e-4)
    np.testing.assert_allclose(gaussian.covariance, inverse, rtol=1e-5)


def test_many_paths_give_each_mode_its_share():
    result = run_multipathfinder(Target(two_modes), jax.random.key(0))
    right = result.samples["x"][0] > 0
    # effective draws: some thousands, so a standard error of 0.01
    assert right.mean() == pytest.approx(1 / 3, abs=0.04)
    assert result.samples["x"][0][right].std() == pytest.approx(0.25, rel=0.1)
    assert result.diagnostics["log_evidence"] == pytest.approx(0.0, abs=0.05)
    assert result.diagnostics["pareto_k"] < 0.5


def test_a_posterior_unlike_a_gaussian_is_flagged():
    result = run_pathfinder(Target(funnel), jax.random.key(1))
    assert result.diagnostics["approximation_k"] > 0.7
    assert "the approximation is off" in result.notes[-1]


@pytest.mark.parametrize("name", ["n_samples", "max_steps", "history", "n_elbo", "n_paths"])
def test_options_out_of_range_are_refused(name):
    with pytest.raises(ParameterError, match=name):
        MultipathfinderOptions(**{name: 0})
