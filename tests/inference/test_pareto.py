"""Shapes of the tails of weights."""

import numpy as np
import pytest

from tengri_ppl.inference.pareto import effective_draws, smooth_weights


@pytest.fixture(scope="module")
def some():
    """Weights of a Gaussian likelihood and a flat prior three times as wide, of 2000 draws."""
    x = np.random.default_rng(0).uniform(-3.0, 3.0, 2000)
    return -0.5 * x**2


@pytest.fixture(scope="module")
def all_of_them(some):
    """The same among 200,000 draws, of which all others are far off."""
    far = -50.0 - 1000.0 * np.random.default_rng(1).uniform(size=198_000)
    return np.concatenate([some, far])


def test_draws_far_off_say_nothing_of_the_tail_of_a_wide_proposal(some, all_of_them):
    alone, among = (smooth_weights(x, from_prior=True)[1] for x in (some, all_of_them))
    assert among == pytest.approx(alone, abs=0.1)
    assert among < 0.0  # the weights have a largest one


def test_smoothed_weights_are_normalised_and_nearly_what_they_were(all_of_them):
    smoothed, _ = smooth_weights(all_of_them, from_prior=True)
    assert np.logaddexp.reduce(smoothed) == pytest.approx(0.0, abs=1e-6)
    raw = all_of_them - np.logaddexp.reduce(all_of_them)
    assert 0.5 * np.sum(np.abs(np.exp(smoothed) - np.exp(raw))) < 0.02


def test_a_heavy_tail_is_found_among_draws_far_off():
    """Of weights with a Pareto tail of infinite variance."""
    heavy = 0.9 * np.random.default_rng(2).exponential(size=2000)
    among = np.concatenate([heavy, np.full(100_000, -200.0)])
    assert smooth_weights(among, from_prior=True)[1] > 0.5


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_equal_weights_have_no_tail_whatever_their_rounding(share):
    """The draws of an approximation that is exact, or of one that is too wide for hard bounds."""
    rng = np.random.default_rng(3)
    rounding = 1e-6 * rng.integers(-1, 2, size=4000) * (rng.uniform(size=4000) < 0.01)
    weight = np.where(np.arange(4000) < share * 4000, rounding - 123.0, -np.inf)
    smoothed, k = smooth_weights(weight)
    assert k == 0.0
    assert effective_draws(smoothed) == pytest.approx(share * 4000)
