"""Simulation-based calibration, on posteriors that are right or wrong in known ways."""

import jax
import numpy as np
import pytest

from tengri_ppl.errors import DataError
from tengri_ppl.results.calibration import calibrate
from tengri_ppl.results.plots.calibration import plot_calibration

N = 300


def simulate(key):
    """A standard normal and a datum with an error of one: the posterior is N(d / 2, 1 / 2)."""
    truth, noise = np.asarray(jax.random.normal(key, (2,)))
    return {"x": truth}, truth + noise


def posterior(shift=0.0, width=1.0):
    def fit(data, key):
        draws = np.asarray(jax.random.normal(key, (4, 100)))
        return {"x": data / 2 + shift + width * np.sqrt(0.5) * draws}

    return fit


def run(**wrong):
    return calibrate(simulate, posterior(**wrong), N, jax.random.key(1))


def test_the_exact_posterior_is_calibrated():
    result = run()
    assert result.uniform("x")
    # standard errors: 1 / sqrt(12 n) and about 1 / sqrt(5 n) of the spread, binomial coverage
    assert result.share("x").mean() == pytest.approx(0.5, abs=3 / np.sqrt(12 * N))
    assert result.overconfidence("x") == pytest.approx(1.0, abs=3 / np.sqrt(5 * N))
    assert result.coverage("x", 0.68) == pytest.approx(0.68, abs=3 * np.sqrt(0.68 * 0.32 / N))


@pytest.mark.parametrize(
    ("wrong", "sign"), [({"width": 0.6}, 1), ({"width": 1.7}, -1), ({"shift": 0.4}, 0)]
)
def test_wrong_widths_and_biases_are_seen(wrong, sign):
    result = run(**wrong)
    assert not result.uniform("x")
    assert "NO" in result.summary()
    if sign:
        assert sign * (result.overconfidence("x") - 1.0) > 0.1
        assert sign * (result.coverage("x", 0.68) - 0.68) < -0.05
    else:
        assert result.share("x").mean() < 0.4


def test_the_band_holds_uniform_ranks_as_often_as_it_says():
    rng = np.random.default_rng(0)
    result = run()
    n_trials = 400
    inside = 0
    for _ in range(n_trials):
        ranks = {"x": rng.integers(0, result.n_draws + 1, N)}
        inside += type(result)(ranks, result.n_draws).uniform("x", 0.9)
    # the binomial standard error is 0.015
    assert inside / n_trials == pytest.approx(0.9, abs=0.05)


def test_what_can_not_be_ranked_is_refused_by_name():
    with pytest.raises(DataError, match="no draws of 'x'; it has y"):
        calibrate(simulate, lambda data, key: {"y": np.zeros(200)}, 1, jax.random.key(0))
    with pytest.raises(DataError, match=r"x: 1 true value.* 20 draws"):
        calibrate(simulate, lambda data, key: {"x": np.zeros(20)}, 1, jax.random.key(0))


def test_the_figure_has_a_curve_per_quantity(tmp_path):
    figure = plot_calibration(run(), title="exact")
    figure.savefig(tmp_path / "calibration.png")
    assert len(figure.axes[0].lines) == 2
