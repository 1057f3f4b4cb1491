"""How far an approximation is from the posterior, by its draws."""

import numpy as np
import pytest

from tengri_ppl.inference.approximation import MAX_DIVERGENCE, assess

DRAWS = np.random.default_rng(0).normal(size=4000)
LOG_Q = -0.5 * DRAWS**2 - 0.5 * np.log(2.0 * np.pi)


def test_an_exact_approximation_is_found_exact_and_gives_the_evidence():
    found = assess(LOG_Q - 7.0, LOG_Q)
    assert found["approximation_k"] == 0.0
    assert found["kl_divergence"] == pytest.approx(0.0, abs=1e-12)
    assert found["log_evidence"] == pytest.approx(-7.0)


@pytest.mark.parametrize("width", [0.7, 1.5])
def test_the_divergence_of_a_wrong_width_is_that_of_normals(width):
    """KL of N(0, 1) from N(0, w): ln w + 1 / (2 w^2) - 1/2."""
    log_p = -0.5 * (DRAWS / width) ** 2 - np.log(width)
    expected = np.log(width) + 0.5 / width**2 - 0.5
    # the mean of 4000 squares has an error of 2 %, which the factor in front of it scales
    error = 4.0 * np.sqrt(2.0 / 4000) * abs(0.5 / width**2 - 0.5) + 0.02
    assert assess(log_p, LOG_Q)["kl_divergence"] == pytest.approx(expected, abs=error)


@pytest.mark.parametrize("edge", [-2.2, 0.0])
def test_draws_beyond_hard_bounds_count_against_it(edge):
    """A normal for one that is cut off: the importance weights of what is left are equal."""
    log_p = np.where(edge < DRAWS, LOG_Q, -np.inf)
    share = np.mean(edge < DRAWS)
    found = assess(log_p, LOG_Q)
    assert found["kl_divergence"] == pytest.approx(-np.log(share))
    assert (found["kl_divergence"] > MAX_DIVERGENCE) == (edge == 0.0)
    assert found["log_evidence"] == pytest.approx(np.log(share))


def test_draws_that_are_all_impossible_are_infinitely_far():
    found = assess(np.full(4000, -np.inf), LOG_Q)
    assert not found["approximation_k"] < 0.7
    assert not found["kl_divergence"] < MAX_DIVERGENCE
