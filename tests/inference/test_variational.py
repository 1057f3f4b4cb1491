"""Variational inference with NumPyro's guides, and NUTS on a trained flow."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from numpyro.infer.autoguide import AutoDelta
from small_targets import Y, conjugate, regression, ridge, ridge_moments, two_modes

from tengri_ppl.errors import ParameterError
from tengri_ppl.inference import Target
from tengri_ppl.inference.convergence import worst_rhat_and_ess
from tengri_ppl.inference.neutra import NeuTraOptions, run_neutra
from tengri_ppl.inference.start import Start
from tengri_ppl.inference.variational import VIOptions, run_vi

#: Too narrow and beside the posterior, so that a guide has something to learn.
START = Start(jnp.array([0.6, -1.0]), 0.05 * jnp.eye(2))


def test_a_full_covariance_guide_learns_a_gaussian_and_its_bound_the_evidence():
    target = Target(regression, (jnp.asarray(Y),))
    result = run_vi(target, jax.random.key(0), start=START)
    mean, sd, evidence = conjugate(Y)
    draws = result.samples["beta"][0]
    # four standard errors of 4000 draws, and a per cent for the noise of the training
    np.testing.assert_array_less(np.abs(draws.mean(axis=0) - mean), 0.08 * sd)
    np.testing.assert_allclose(draws.std(axis=0), sd, rtol=0.06)
    assert result.diagnostics["elbo"] == pytest.approx(evidence, abs=0.01)
    elbo = result.traces["elbo"]
    assert elbo.size == result.diagnostics["n_steps"]
    assert elbo[:50].mean() < evidence - 0.3
    assert elbo[-250:].mean() == pytest.approx(evidence, abs=0.05)
    assert result.notes == ()


def test_a_guide_of_independent_normals_is_too_narrow_for_a_ridge_and_says_so():
    options = VIOptions(guide="normal", optimizer=optax.adam(0.02), max_steps=1000)
    result = run_vi(Target(ridge, (3.0,)), jax.random.key(0), options)
    _, sd, _ = ridge_moments(3.0)
    assert np.all(result.samples["x"][0].std(axis=0) < 0.6 * sd)
    assert any("the approximation is off" in note for note in result.notes)


@pytest.mark.parametrize(("guide", "n"), [("delta", 1), (AutoDelta, 1), ("dais", 200)])
def test_guides_without_a_density_say_that_nothing_judges_them(guide, n):
    options = VIOptions(guide=guide, n_samples=200, max_steps=250, n_particles=2)
    target = Target(regression, (jnp.asarray(Y),))
    start = Start(START.mean, 0.1 * jnp.eye(2))
    result = run_vi(target, jax.random.key(0), options, start=start)
    assert result.samples["beta"].shape == (1, n, 2)
    assert np.isnan(result.diagnostics["approximation_k"])
    assert any("has no density for its draws" in note for note in result.notes)


@pytest.mark.slow
def test_a_flow_bends_along_a_ridge_and_nuts_on_it_is_exact():
    target, key = Target(ridge, (3.0,)), jax.random.key(0)
    mean, sd, evidence = ridge_moments(3.0)
    fitted = run_vi(target, key, VIOptions(guide="iaf"))
    # what a small flow of three layers leaves: its tails are too short
    np.testing.assert_allclose(fitted.samples["x"][0].std(axis=0), sd, rtol=0.2)
    assert fitted.diagnostics["elbo"] == pytest.approx(evidence, abs=0.1)
    # the flow's short tails cost draws: 3000 a chain are 400 to 2800 independent ones of all four
    result = run_neutra(target, key, NeuTraOptions(n_samples=3000, max_steps=4000))
    draws = result.samples["x"]
    rhat, ess = worst_rhat_and_ess({"x": draws})
    assert rhat < 1.02
    error = sd / np.sqrt(ess)
    np.testing.assert_array_less(np.abs(draws.mean(axis=(0, 1)) - mean), 4 * error)
    np.testing.assert_allclose(draws.std(axis=(0, 1)), sd, rtol=4 / np.sqrt(2 * ess) + 0.02)
    assert result.traces["elbo"].size <= 4000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"guide": "multivarite"}, "did you mean 'multivariate'"),
        ({"guide": dict}, "expected a name"),
        ({"optimizer": "adamm"}, "did you mean 'adam'"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"n_particles": 0}, "n_particles"),
    ],
)
@pytest.mark.parametrize("kind", [VIOptions, NeuTraOptions])
def test_options_out_of_range_are_refused(kind, options, message):
    with pytest.raises(ParameterError, match=message):
        kind(**options)


def test_draws_without_a_density_have_no_weights():
    with pytest.raises(ParameterError, match="reweight=True needs the density"):
        VIOptions(guide="dais", reweight=True)


def test_flows_need_two_coordinates_and_neutra_a_transformation():
    key = jax.random.key(0)
    start = Start(jnp.zeros(1), jnp.eye(1))
    with pytest.raises(ParameterError, match="only one"):
        run_vi(Target(two_modes), key, VIOptions(guide="iaf"), start=start)
    with pytest.raises(ParameterError, match="'iaf' or 'bnaf'"):
        run_neutra(Target(two_modes), key, NeuTraOptions(guide="dais"), start=start)
