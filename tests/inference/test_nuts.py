"""NUTS on problems with known answers; options; compilation."""

import arviz as az
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

from tengri_ppl.errors import ParameterError
from tengri_ppl.inference.convergence import chains_converged, worst_rhat_and_ess
from tengri_ppl.inference.nuts import NUTSOptions, _mass_matrix, run_nuts
from tengri_ppl.inference.registry import get_method, list_methods, make_options
from tengri_ppl.inference.target import Target
from tengri_ppl.runtime.compilation import count_compilations


def correlated(covariance, data=None):
    x = numpyro.sample("x", dist.MultivariateNormal(jnp.zeros(3), covariance))
    numpyro.deterministic("sum", x.sum())


def conjugate(sigma, y=None):
    mean = numpyro.sample("mean", dist.Normal(0.0, 2.0))
    with numpyro.plate("data", y.size):
        numpyro.sample("y", dist.Normal(mean, sigma), obs=y)


def bounded():
    numpyro.sample("u", dist.Uniform(2.0, 5.0))


COVARIANCE = np.array([[1.0, 0.9, 0.0], [0.9, 4.0, 0.05], [0.0, 0.05, 0.01]])


@pytest.fixture(scope="module")
def gaussian():
    return run_nuts(
        Target(correlated, (COVARIANCE,)), jax.random.key(0), NUTSOptions(n_samples=1000)
    )


def test_correlated_gaussian_has_the_right_moments(gaussian):
    x = gaussian.samples["x"]
    assert x.shape == (4, 1000, 3)
    for i in range(3):
        sd = np.sqrt(COVARIANCE[i, i])
        assert abs(x[..., i].mean()) < 5 * float(az.mcse(x[..., i]))
        assert abs(x[..., i].std() - sd) < 5 * float(az.mcse(x[..., i], method="sd"))
    np.testing.assert_allclose(gaussian.samples["sum"], x.sum(axis=-1), rtol=1e-4, atol=1e-4)


def stretched(factor):
    x = numpyro.sample("x", dist.MultivariateNormal(jnp.zeros(60), scale_tril=factor))
    numpyro.deterministic("sum", x.sum())


def test_many_coordinates_are_whitened_by_the_curvature():
    """Widths from 0.01 to 2 along oblique axes, which no adapted variances know."""
    widths = np.geomspace(0.01, 2.0, 60)
    axes = np.linalg.qr(np.random.default_rng(0).normal(size=(60, 60)))[0]
    factor = np.linalg.cholesky(axes @ np.diag(widths**2) @ axes.T)
    options = NUTSOptions(n_warmup=100, n_samples=500)
    result = run_nuts(Target(stretched, (jnp.asarray(factor),)), jax.random.key(0), options)
    x = result.samples["x"]
    u = x @ axes / widths
    assert u.shape == (4, 500, 60)
    (_, ess), (_, ess_of_squares) = (worst_rhat_and_ess({"": y}) for y in (u, u**2))
    assert min(ess, ess_of_squares) > 400
    assert np.max(np.abs(u.mean(axis=(0, 1)))) < 5 / np.sqrt(ess)
    assert np.max(np.abs(u.std(axis=(0, 1)) - 1.0)) < 5 / np.sqrt(2 * ess_of_squares)
    assert result.sample_stats["n_steps"].max() <= 63  # 255 if it were not whitened
    np.testing.assert_allclose(result.samples["sum"], x.sum(axis=-1), rtol=1e-3, atol=0.05)


def test_statistics_are_those_of_the_draws(gaussian):
    stats = gaussian.sample_stats
    assert {"lp", "energy", "diverging", "acceptance_rate", "n_steps"} <= set(stats)
    assert all(value.shape == (4, 1000) for value in stats.values())
    assert stats["diverging"].dtype == bool and not stats["diverging"].any()
    # the step size was adapted to accept 97 %
    assert abs(stats["acceptance_rate"].mean() - 0.97) < 0.05
    expected = dist.MultivariateNormal(jnp.zeros(3), COVARIANCE).log_prob(gaussian.samples["x"])
    np.testing.assert_allclose(stats["lp"], expected, rtol=1e-3, atol=1e-3)


def test_chains_share_one_mass_matrix(gaussian):
    steps = gaussian.sample_stats["step_size"][:, -1]
    assert steps.max() / steps.min() < 2.0


def test_conjugate_normal_posterior():
    y = np.array([0.3, 1.2, 0.7, 1.9])
    precision = 1 / 4.0 + 4 / 0.25
    result = run_nuts(
        Target(conjugate, (0.5,), {"y": y}), jax.random.key(1), NUTSOptions(n_samples=1000)
    )
    mean = result.samples["mean"]
    assert abs(mean.mean() - y.sum() / 0.25 / precision) < 5 * float(az.mcse(mean))
    assert mean.std() == pytest.approx(precision**-0.5, rel=0.08)


def test_bounds_of_a_uniform_are_respected_and_reached():
    result = run_nuts(Target(bounded), jax.random.key(2), NUTSOptions(n_samples=1000))
    u = result.samples["u"]
    assert u.min() > 2.0 and u.max() < 5.0
    assert abs(u.mean() - 3.5) < 5 * float(az.mcse(u))
    assert u.std() == pytest.approx(3 / np.sqrt(12), rel=0.06)


def test_other_data_and_other_lengths_compile_nothing():
    def run(y, n_samples, seed):
        target = Target(conjugate, (jnp.asarray(0.5),), {"y": y})
        options = NUTSOptions(n_warmup=100, n_samples=n_samples)
        return run_nuts(target, jax.random.key(seed), options)

    first, second = jnp.arange(4.0), jnp.arange(4.0) ** 2
    run(first, 120, 0)
    with count_compilations() as count:
        run(second, 260, 1)
    assert count.programs == 0


def test_without_a_length_chains_run_until_converged():
    result = run_nuts(Target(correlated, (COVARIANCE,)), jax.random.key(3), NUTSOptions())
    n_draws = result.samples["x"].shape[1]
    assert 500 <= n_draws <= 4000
    assert chains_converged(result.samples)


def test_length_is_bounded():
    options = NUTSOptions(n_warmup=20, max_samples=30)
    result = run_nuts(Target(correlated, (COVARIANCE,)), jax.random.key(3), options)
    assert result.samples["x"].shape == (4, 30, 3)


def test_same_key_gives_the_same_draws_and_progress_is_reported():
    calls = []
    options = NUTSOptions(n_warmup=60, n_samples=70)
    target = Target(bounded)
    one = run_nuts(target, jax.random.key(5), options, progress=lambda *a: calls.append(a))
    two = run_nuts(target, jax.random.key(5), options)
    np.testing.assert_array_equal(one.samples["u"], two.samples["u"])
    assert calls[-1][:3] == ("sample", 70, 70)
    assert [c for c in calls if c[0] == "warmup"][-1][1:3] == (60, 60)


def test_dense_mass_matrix_is_the_root_of_the_inverse_covariance():
    rng = np.random.default_rng(0)
    draws = rng.multivariate_normal(np.zeros(3), COVARIANCE, size=4000)
    covariance, root, inverse = _mass_matrix(draws, True)
    np.testing.assert_allclose(root @ root.T, np.linalg.inv(covariance), rtol=1e-8)
    np.testing.assert_allclose(root @ inverse, np.eye(3), atol=1e-8)
    variance, scale, _ = _mass_matrix(draws, False)
    np.testing.assert_allclose(scale**-2, variance)


def test_convergence_needs_agreeing_chains():
    rng = np.random.default_rng(1)
    good = rng.normal(size=(4, 500))
    assert chains_converged({"a": good})
    shifted = good + np.array([0, 0, 0, 1.0])[:, None]
    assert not chains_converged({"a": good, "b": shifted})
    rhat, ess = worst_rhat_and_ess({"b": shifted})
    assert rhat > 1.1 and ess < 100
    assert not chains_converged({"frozen": np.ones((4, 500))})


@pytest.mark.parametrize(
    "options",
    [{"n_warmup": 5}, {"n_samples": 0}, {"num_chains": 0}, {"target_accept_rate": 1.0}],
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ParameterError, match=next(iter(options))):
        NUTSOptions(**options)


def test_registry_finds_methods_by_name_and_alias_and_suggests():
    assert get_method("nuts") is get_method("mcmc_nuts")
    names = [method.name for method in list_methods()]
    assert names[:3] == ["auto", "mcmc_nuts", "importance"]
    assert len(set(names)) == len(names)
    with pytest.raises(ParameterError, match="did you mean 'mcmc_nuts'"):
        get_method("mcmc_nutz")
    with pytest.raises(ParameterError, match="did you mean 'n_samples'"):
        make_options(get_method("nuts"), {"n_sample": 10})
