"""Priors restricted to an interval, for every kind of prior that has a standard normal."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from tengri_ppl.distributions.restricted import Restricted
from tengri_ppl.distributions.standard import from_standard, to_standard

LOW, HIGH = -0.8, 1.3
PRIORS = {
    "flat": dist.Uniform(2.0, 5.0),
    "flat in the logarithm": dist.LogUniform(0.1, 10.0),
    "Gaussian": dist.Normal(1.0, 2.0),
    "half a Gaussian": dist.HalfNormal(3.0),
}


@pytest.fixture(params=PRIORS, scope="module")
def pair(request):
    prior = PRIORS[request.param]
    return prior, Restricted(prior, LOW, HIGH)


def ends(prior):
    return tuple(float(from_standard("", prior, jnp.asarray(z))) for z in (LOW, HIGH))


def test_its_density_is_that_of_the_prior_inside_and_integrates_to_one(pair):
    prior, restricted = pair
    low, high = ends(prior)
    support = restricted.support
    assert (support.lower_bound, support.upper_bound) == pytest.approx((low, high), rel=1e-5)
    x = np.linspace(low, high, 20_001)
    log_density = np.asarray(restricted.log_prob(jnp.asarray(x)), float)
    assert np.trapezoid(np.exp(log_density), x) == pytest.approx(1.0, abs=1e-3)
    assert np.ptp(log_density - np.asarray(prior.log_prob(jnp.asarray(x)), float)) < 1e-4


def test_draws_follow_it(pair, key):
    """Their probability integral transforms are uniform (Kolmogorov-Smirnov, 1e-4)."""
    prior, restricted = pair
    x = np.sort(np.asarray(restricted.sample(key, (4000,)), float))
    low, high = ends(prior)
    assert low <= x[0] * (1 + 1e-5) and x[-1] <= high * (1 + 1e-5)
    mass = np.asarray(prior.cdf(jnp.asarray(x)), float)
    begin, end = (float(prior.cdf(jnp.asarray(e))) for e in (low, high))
    share = (mass - begin) / (end - begin)
    assert np.max(np.abs(share - (np.arange(4000) + 0.5) / 4000)) < 2.23 / np.sqrt(4000)


def test_it_is_a_function_of_a_standard_normal(pair):
    _, restricted = pair
    z = jnp.linspace(-2.5, 2.5, 11)
    values = from_standard("x", restricted, z)
    np.testing.assert_allclose(to_standard(restricted, values), z, atol=2e-3)
    np.testing.assert_allclose(restricted.icdf(restricted.cdf(values)), values, rtol=1e-4)


def test_it_is_a_pytree_of_arrays(pair):
    """Other limits need no other program."""
    _, restricted = pair
    moved = jax.tree.map(lambda x: x, restricted)
    assert float(moved.low) == pytest.approx(LOW)
    assert jax.tree.structure(moved) == jax.tree.structure(restricted)
