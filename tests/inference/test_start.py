"""Where engines begin: approximations from draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tengri_ppl as tg
from tengri_ppl.inference.start import start_from_draws


def test_draws_give_their_mean_and_covariance(key):
    scale = jnp.array([1e-2, 1.0, 1e2])
    x = 5.0 + scale * jax.random.normal(key, (400, 3))
    start = start_from_draws(x)
    assert np.allclose(start.mean, x.mean(axis=0))
    assert np.allclose(start.covariance, np.cov(x, rowvar=False), rtol=1e-4, atol=1e-8)


def test_coordinates_that_are_equal_or_constant_are_no_obstacle(key):
    """Their covariance is singular, and rounding would make it indefinite."""
    x = 1e3 * jax.random.normal(key, (400, 2))
    start = start_from_draws(jnp.concatenate([x, x, x, jnp.full((400, 1), 7.0)], axis=1))
    assert np.all(np.isfinite(start.factor)) and np.all(np.diag(start.factor) > 0)


def test_too_few_draws_are_refused(key):
    with pytest.raises(tg.ParameterError, match="3 draws don't give a covariance of 3"):
        start_from_draws(jax.random.normal(key, (3, 3)))
