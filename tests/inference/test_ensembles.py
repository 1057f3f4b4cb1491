"""Samplers without gradients, and many chains at once."""

import arviz as az
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from scipy import stats

from tengri_ppl.errors import ParameterError
from tengri_ppl.inference.chees import ChEESOptions, run_chees
from tengri_ppl.inference.elliptical import EllipticalOptions, run_elliptical
from tengri_ppl.inference.ensemble import AIESOptions, SliceOptions, run_aies, run_slice
from tengri_ppl.inference.target import Target


def plane(covariance):
    numpyro.sample("x", dist.MultivariateNormal(jnp.zeros(2), covariance))


def heavy():
    numpyro.sample("x", dist.StudentT(3.0, 1.0, 2.0))


def two_modes(distance):
    """A third of the probability in the left one of two normals of width one."""
    x = numpyro.sample("x", dist.Uniform(-20.0, 20.0))
    left = -0.5 * (x + distance) ** 2 + jnp.log(0.5)
    numpyro.factor("modes", jnp.logaddexp(left, -0.5 * (x - distance) ** 2))


COVARIANCE = np.array([[4.0, 0.9], [0.9, 0.25]])


@pytest.mark.parametrize(
    ("run", "options"),
    [
        (run_aies, AIESOptions(n_samples=200, n_warmup=100, n_walkers=16)),
        (run_slice, SliceOptions(n_samples=200, n_warmup=100, n_walkers=16)),
    ],
    ids=["aies", "slice"],
)
def test_each_walker_is_a_chain(run, options):
    target = Target(plane, (jnp.asarray(COVARIANCE),))
    result = run(target, jax.random.key(0), options)
    x = result.samples["x"]
    assert x.shape == (32, 200, 2)
    assert all(value.shape == (32, 200) for value in result.sample_stats.values())
    expected = dist.MultivariateNormal(jnp.zeros(2), COVARIANCE).log_prob(x)
    np.testing.assert_allclose(result.sample_stats["lp"], expected, rtol=1e-3, atol=1e-3)
    # a walker moves on from where it is: were walkers exchanged, they would forget at once
    assert all(float(az.ess(x[k : k + 1, :, 0])) > 10 for k in range(4))
    sd = x.std(axis=(0, 1))
    np.testing.assert_allclose(sd, np.sqrt(np.diag(COVARIANCE)), rtol=0.1)


def test_walkers_exchange_modes_and_share_them_rightly():
    options = AIESOptions(n_warmup=200, n_samples=1000)
    result = run_aies(Target(two_modes, (6.0,)), jax.random.key(1), options)
    left = (result.samples["x"] < 0).astype(float)
    assert abs(left.mean() - 1 / 3) < 4 * float(az.mcse(left)) < 0.1


def test_elliptical_slices_reach_heavy_tails():
    """Quantiles of a t distribution with 3 degrees of freedom, from its own function."""
    options = EllipticalOptions(n_samples=5000)
    x = run_elliptical(Target(heavy), jax.random.key(2), options).samples["x"]
    for level in (0.01, 0.1, 0.5, 0.9, 0.99):
        inside = (x < stats.t(3, 1, 2).ppf(level)).astype(float)
        assert abs(inside.mean() - level) < 4 * float(az.mcse(inside))


def test_chains_of_chees_take_trajectories_of_one_length():
    target = Target(plane, (jnp.asarray(COVARIANCE),))
    result = run_chees(target, jax.random.key(3), ChEESOptions(n_samples=200, num_chains=8))
    n_steps = result.sample_stats["n_steps"]
    assert n_steps.shape == (8, 200)
    assert np.all(n_steps == n_steps[:1]) and len(np.unique(n_steps)) > 1
    assert result.diagnostics["n_evaluations"] > n_steps.sum()
    # harmonic means are below the arithmetic one that is checked here
    assert 0.6 < result.sample_stats["acceptance_rate"].mean() < 0.97


def test_too_few_walkers_are_refused():
    target = Target(plane, (jnp.asarray(COVARIANCE),))
    with pytest.raises(ParameterError, match="need at least 4"):
        run_aies(target, jax.random.key(0), AIESOptions(n_walkers=2))
    with pytest.raises(ParameterError, match="even number"):
        SliceOptions(n_walkers=7)
