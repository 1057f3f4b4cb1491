"""map and laplace: exact for Gaussians, and plain about what they leave out."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from small_targets import Y, conjugate, funnel, regression, two_modes

from tengri_ppl.errors import ParameterError
from tengri_ppl.inference import Target
from tengri_ppl.inference.modes import LaplaceOptions, MAPOptions, run_laplace, run_map


def test_the_mode_of_a_regression_is_its_mean_and_certified():
    result = run_map(Target(regression, (jnp.asarray(Y),)), jax.random.key(0))
    mean, _, _ = conjugate(Y)
    assert result.samples["beta"].shape == (1, 1, 2)
    np.testing.assert_allclose(result.samples["beta"][0, 0], mean, atol=1e-3)
    assert float(result.samples["sum"][0, 0]) == pytest.approx(mean.sum(), abs=2e-3)
    assert result.diagnostics["newton_decrement"] < 0.01
    assert result.diagnostics["n_modes"] == 1
    assert "found by 8 of 8 searches" in result.notes[-1]


def test_laplace_is_exact_for_a_gaussian():
    result = run_laplace(Target(regression, (jnp.asarray(Y),)), jax.random.key(1))
    mean, sd, evidence = conjugate(Y)
    draws = result.samples["beta"][0]
    # 4000 independent draws: 4 standard errors of mean and standard deviation
    np.testing.assert_array_less(np.abs(draws.mean(axis=0) - mean), 4 * sd / np.sqrt(4000))
    np.testing.assert_allclose(draws.std(axis=0), sd, rtol=4 / np.sqrt(8000))
    for name in ("elbo", "log_evidence", "log_evidence_laplace"):
        assert result.diagnostics[name] == pytest.approx(evidence, abs=2e-3)
    assert result.diagnostics["approximation_k"] < 0.3
    assert result.diagnostics["n_flat"] == 0


def test_all_modes_are_named_and_their_shares_estimated():
    result = run_laplace(Target(two_modes), jax.random.key(2))
    assert result.samples["x"].mean() == pytest.approx(-3.0, abs=0.05)
    assert result.diagnostics["n_modes"] == 2
    assert result.diagnostics["mode_share"] == pytest.approx(2 / 3, abs=0.01)
    assert sum("mode with log-density" in note for note in result.notes) == 2


def test_a_posterior_without_a_mode_is_flagged():
    result = run_laplace(Target(funnel), jax.random.key(3))
    assert result.diagnostics["newton_decrement"] > 0.1
    assert "no mode certified" in result.notes[0]
    assert result.diagnostics["approximation_k"] > 0.7
    assert "the approximation is off" in result.notes[-1]
    assert result.diagnostics["log_evidence_error"] == np.inf


def test_directions_that_curve_the_wrong_way_are_counted():
    def saddle():
        x = numpyro.sample("x", dist.Normal(0.0, 2.0))
        y = numpyro.sample("y", dist.Normal(0.0, 1.0))
        numpyro.factor("f", 0.5 * x**2 - 0.001 * x**4 - y**2)

    # one step from the ridge x = 0 stays on it
    options = LaplaceOptions(n_modes=1, max_steps=1, n_samples=500)
    result = run_laplace(Target(saddle), jax.random.key(0), options)
    assert result.diagnostics["n_flat"] == 1
    assert any("no positive curvature" in note for note in result.notes)


@pytest.mark.parametrize("options", [MAPOptions, LaplaceOptions])
@pytest.mark.parametrize("name", ["n_modes", "max_steps"])
def test_options_out_of_range_are_refused(options, name):
    with pytest.raises(ParameterError, match=name):
        options(**{name: 0})
