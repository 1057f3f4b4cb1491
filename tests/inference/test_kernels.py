"""Kernels in whitened coordinates: adaptation, padding, start points, compilation.

What they draw is checked for every registered engine in ``conformance/``.
"""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

from tengri_ppl.errors import ParameterError
from tengri_ppl.inference.barker import BarkerOptions
from tengri_ppl.inference.flat import FlatTarget
from tengri_ppl.inference.hamiltonian import GHMCOptions, HMCOptions, run_dynamic_hmc, run_ghmc
from tengri_ppl.inference.mclmc import MCLMCOptions, run_mclmc
from tengri_ppl.inference.start import Start, dispersed_points, start_at_mode, start_refined
from tengri_ppl.inference.target import Target
from tengri_ppl.runtime.compilation import count_compilations


def line(scale, y=None):
    """A normal posterior of two correlated coordinates with very different widths."""
    a = numpyro.sample("a", dist.Normal(0.0, 100.0))
    b = numpyro.sample("b", dist.Normal(0.0, 100.0))
    numpyro.sample("y", dist.Normal(a + 10.0 * b * jnp.arange(y.size), scale), obs=y)


def one():
    numpyro.sample("x", dist.Normal(3.0, 0.2))


def two_modes():
    x = numpyro.sample("x", dist.Uniform(-10.0, 10.0))
    numpyro.factor("modes", jnp.logaddexp(-0.5 * (x - 4.0) ** 2, -0.5 * (x + 4.0) ** 2) / 0.01)


def test_step_size_is_adapted_and_other_data_compile_nothing():
    def run(y, n_samples, seed):
        target = Target(line, (jnp.asarray(0.5),), {"y": y})
        return run_dynamic_hmc(target, jax.random.key(seed), HMCOptions(n_samples=n_samples))

    y, other = jnp.arange(6.0), jnp.arange(6.0) ** 2
    first = run(y, 200, 0)
    with count_compilations() as count:
        result = run(other, 260, 1)
    assert count.programs == 0
    stats = result.sample_stats
    assert {"lp", "acceptance_rate", "diverging", "n_steps", "step_size"} <= set(stats)
    assert all(value.shape == (4, 260) for value in stats.values())
    assert len(np.unique(stats["step_size"])) == 1
    # dual averaging aims at 0.95 and may stay above it where the steps per trajectory are few
    assert 0.9 < stats["acceptance_rate"].mean() < 0.995
    assert len(np.unique(stats["n_steps"])) > 1
    evaluations = first.diagnostics["n_evaluations"]
    assert evaluations > first.sample_stats["n_steps"].sum()  # the warm-up counts


def test_log_density_is_that_of_the_draws_in_one_dimension_too():
    """MCLMC adds a coordinate to a single one; neither draws nor ``lp`` may show it."""
    options = MCLMCOptions(n_warmup=100, n_samples=400)
    result = run_mclmc(Target(one), jax.random.key(0), options)
    x = result.samples["x"]
    assert x.shape == (4, 400)
    expected = dist.Normal(3.0, 0.2).log_prob(x)
    np.testing.assert_allclose(result.sample_stats["lp"], expected, rtol=1e-4, atol=1e-4)
    assert abs(x.mean() - 3.0) < 5 * 0.2 / np.sqrt(x.size / 10)


def test_generalised_hmc_survives_points_without_density():
    """A wall that trajectories run into: blackjax's slice would become NaN there for good."""

    def wall():
        x = numpyro.sample("x", dist.Normal(0.0, 1.0))
        numpyro.factor("wall", jnp.where(x > -0.5, 0.0, -jnp.inf))

    options = GHMCOptions(n_warmup=200, n_samples=1000)
    result = run_ghmc(Target(wall), jax.random.key(1), options)
    x = result.samples["x"]
    assert np.all(x.std(axis=1) > 0.3)  # no chain stands still
    mean = float(dist.TruncatedNormal(0.0, 1.0, low=-0.5).mean)
    assert abs(x.mean() - mean) < 0.1


def test_draws_whiten_the_coordinates_anew():
    rng = np.random.default_rng(0)
    covariance = np.array([[4.0, 1.9], [1.9, 1.0]])
    draws = rng.multivariate_normal([1.0, -2.0], covariance, size=(4, 2000))
    old = Start(jnp.zeros(2), jnp.eye(2))
    new = start_refined(old, draws)
    np.testing.assert_allclose(new.mean, [1.0, -2.0], atol=0.1)
    np.testing.assert_allclose(new.covariance, covariance, rtol=0.08)
    # chains that stand still say nothing: then the old coordinates stay
    still = start_refined(old, np.ones((4, 100, 2)) * rng.normal(size=(4, 1, 2)))
    assert np.all(np.linalg.eigvalsh(still.covariance) > 0.5)


def test_whitened_coordinates_are_the_inverse_of_points():
    start = Start(jnp.array([1.0, 2.0]), jnp.array([[2.0, 0.0], [1.0, 0.5]]))
    u = jax.random.normal(jax.random.key(0), (5, 2))
    np.testing.assert_allclose(start.whitened(start.points(u)), u, atol=1e-5)


def test_chains_start_wider_than_the_posterior():
    target = Target(one)
    start = Start(jnp.array([3.0]), jnp.array([[0.2]]))
    x = dispersed_points(FlatTarget(target), start, jax.random.key(0), 2000)
    assert np.std(x) == pytest.approx(1.5 * 0.2, rel=4.0 / np.sqrt(2 * 2000))
    assert np.mean(x) == pytest.approx(3.0, abs=4.0 * 1.5 * 0.2 / np.sqrt(2000))


def test_chains_do_not_start_far_down_the_slopes_of_a_curved_posterior():
    """From there a chain may never get away: single precision stops its steps."""

    def ridge():
        x = numpyro.sample("x", dist.Normal(0.0, 2.0))
        numpyro.sample("y", dist.Normal(x**2, 0.3))

    flat = FlatTarget(Target(ridge))
    # mean and covariance of this posterior: x and y don't correlate, y = 4 +- 4 sqrt(2)
    start = Start(jnp.array([0.0, 4.0]), jnp.diag(jnp.array([2.0, 5.7])))
    x = dispersed_points(flat, start, jax.random.key(0), 200)
    blind = start.points(1.5 * jax.random.normal(jax.random.key(1), (200, 2)))
    assert np.max(-flat.log_density(x)) < 100.0 < np.median(-flat.log_density(blind))
    assert np.std(x[:, 0]) > 2.0


def test_chains_start_at_all_modes_that_matter():
    flat = FlatTarget(Target(two_modes))
    start = start_at_mode(flat, jax.random.key(0))
    x = flat.values(dispersed_points(flat, start, jax.random.key(1), 8))["x"]
    assert np.any(x > 3.0) and np.any(x < -3.0)
    assert np.all(np.abs(np.abs(x) - 4.0) < 1.0)


@pytest.mark.parametrize(
    ("options", "given"),
    [
        (HMCOptions, {"thinning": 0}),
        (HMCOptions, {"trajectory_length": 0.0}),
        (MCLMCOptions, {"max_steps": 0}),
        (GHMCOptions, {"persistence": -1.0}),
        (BarkerOptions, {"target_accept_rate": 1.5}),
    ],
)
def test_options_out_of_range_are_refused(options, given):
    with pytest.raises(ParameterError, match=next(iter(given))):
        options(**given)
