"""Importance sampling of many posteriors at the same time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tengri_ppl.inference.many import explore_many, sample_many

N, D = 5, 2
MEAN = np.linspace(-3.0, 3.0, N * D).reshape(N, D)
WIDTH = np.geomspace(0.1, 2.0, N)
HEIGHT = np.linspace(-4.0, 4.0, N)
#: Two peaks this far from each other, as wide as before, of which the second holds this share.
APART, SHARE = 6.0, 0.3
N_BATCH, N_ROUNDS = 512, 4


def log_density(x, mean, width, height):
    """Gaussians (n, N), the first with two peaks, whose integrals are exp(height)."""
    scaled = (x - mean) / width[:, None]
    norm = D * jnp.log(width) + 0.5 * D * jnp.log(2.0 * jnp.pi)
    one = -0.5 * jnp.sum(scaled**2, axis=-1)
    other = -0.5 * jnp.sum((scaled - APART) ** 2, axis=-1)
    two = jnp.logaddexp(jnp.log(1.0 - SHARE) + one, jnp.log(SHARE) + other)
    return height - norm + jnp.where(jnp.arange(N) == 0, two, one)


@pytest.fixture(scope="module")
def arguments():
    return tuple(jnp.asarray(x, dtype=float) for x in (MEAN, WIDTH, HEIGHT))


@pytest.fixture(scope="module")
def proposal(arguments):
    spread = 3.0 * WIDTH[:, None] * jax.random.normal(jax.random.key(0), (64, N, D))
    at = jnp.asarray(MEAN + spread)
    return explore_many(log_density, at, jax.random.key(1), 100, 4, *arguments)


@pytest.fixture(scope="module")
def draws(arguments, proposal):
    sizes = N_BATCH, N_ROUNDS
    return sample_many(log_density, proposal, jax.random.key(2), *sizes, *arguments)


def moments(draws):
    """Weights (N, n), means and standard deviations (N, D), effective numbers of draws (N,)."""
    weight = np.exp(np.asarray(draws.log_weight, float))
    weight /= weight.sum(axis=1, keepdims=True)
    x = np.asarray(draws.x, float)
    mean = np.einsum("gn,gnd->gd", weight, x)
    variance = np.einsum("gn,gnd->gd", weight, (x - mean[:, None]) ** 2)
    return weight, mean, np.sqrt(variance), 1.0 / np.sum(weight**2, axis=1)


def test_moments_are_those_of_each_posterior(draws):
    _, mean, sd, ess = moments(draws)
    expected = MEAN + SHARE * APART * WIDTH[:, None] * (np.arange(N) == 0)[:, None]
    spread = np.sqrt(1.0 + SHARE * (1.0 - SHARE) * APART**2 * (np.arange(N) == 0))
    width = (WIDTH * spread)[:, None] * np.ones(D)
    assert np.all(np.abs(mean - expected) < 4.0 * width / np.sqrt(ess)[:, None])
    assert np.all(np.abs(sd / width - 1.0) < 4.0 / np.sqrt(2.0 * ess)[:, None])


def test_most_draws_count(draws):
    *_, ess = moments(draws)
    assert np.all(ess > 0.3 * N_BATCH * N_ROUNDS)


def test_the_mean_weight_is_the_evidence(draws):
    weight, *_, ess = moments(draws)
    log_weight = np.asarray(draws.log_weight, float)
    found = np.logaddexp.reduce(log_weight, axis=1) - np.log(log_weight.shape[1])
    error = np.sqrt(1.0 / ess - 1.0 / weight.shape[1])
    assert np.all(np.abs(found - HEIGHT) < 4.0 * error + 1e-4)


def test_draws_go_on_with_the_last_proposals(draws, arguments):
    sizes = N_BATCH, N_ROUNDS
    more = sample_many(log_density, draws.proposal, jax.random.key(3), *sizes, *arguments)
    *_, ess = moments(more)
    assert np.all(ess > 0.5 * N_BATCH * N_ROUNDS)


def test_points_without_density_have_no_weight(proposal, arguments):
    def half(x, *others):
        return jnp.where(x[..., 0] > others[0][:, 0], log_density(x, *others), jnp.nan)

    found = sample_many(half, proposal, jax.random.key(4), N_BATCH, N_ROUNDS, *arguments)
    weight, mean, _, ess = moments(found)
    outside = np.asarray(found.x)[..., 0] < MEAN[:, :1]
    assert outside.any() and np.all(weight[outside] == 0.0)
    expected = MEAN[1:, 0] + WIDTH[1:] * np.sqrt(2.0 / np.pi)
    assert np.all(np.abs(mean[1:, 0] - expected) < 4.0 * WIDTH[1:] / np.sqrt(ess[1:]))
