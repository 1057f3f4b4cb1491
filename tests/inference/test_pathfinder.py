"""Pathfinder with one path and with many."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from blackjax.optimizers.lbfgs import LBFGSHistory
from small_targets import Y, conjugate, funnel, regression, two_modes

from tengri_ppl.errors import ParameterError
from tengri_ppl.inference import Target
from tengri_ppl.inference.pathfinder import (
    MultipathfinderOptions,
    _gaussians,
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
    """On a quadratic, steps in conjugate directions tell the whole Hessian: the step is exact."""
    inverse = np.array([[0.5, 0.1], [0.1, 0.3]])
    hessian, mode = np.linalg.inv(inverse), np.array([1.0, 2.0])
    first = np.array([-1.0, 2.0])
    second = inverse @ np.array([2.0, 1.0])  # first @ hessian @ second = 0
    points = np.cumsum([[3.0, -4.0], first, second], axis=0)
    path = LBFGSHistory(
        x=jnp.asarray(points),
        f=jnp.zeros(3),
        g=jnp.asarray((points - mode) @ hessian),
        alpha=jnp.full((3, 2), 0.7),
        update_mask=jnp.array([[False] * 2, [True] * 2, [True] * 2]),
    )
    first, _, last = (jax.tree.map(lambda a, i=i: a[i], _gaussians(path, 4)) for i in range(3))
    np.testing.assert_allclose(first.covariance, 0.7 * np.eye(2), rtol=1e-6)
    np.testing.assert_allclose(last.mean, mode, atol=1e-4)
    np.testing.assert_allclose(last.covariance, inverse, rtol=1e-4)


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
