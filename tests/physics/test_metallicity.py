"""Weights over the metallicities of an SSP grid."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from tengri_ppl.errors import ParameterError
from tengri_ppl.physics.metallicity import InterpolatedMetallicity, LognormalMetallicity

ZSUN = 0.02
RELATIVE = np.array([0.005, 0.02, 0.2, 0.4, 1.0, 2.5, 5.0])  # the shipped grid, Z/Zsun
LGMET = np.log10(RELATIVE * ZSUN)
MODELS = [
    InterpolatedMetallicity(),
    InterpolatedMetallicity(space="linear"),
    LognormalMetallicity(),
]


def weights(model, logzsol, **params):
    with jax.enable_x64(True):
        return np.asarray(model.weights(LGMET, ZSUN, {"met_logzsol": logzsol, **params}))


@pytest.mark.parametrize("model", MODELS, ids=["log", "linear", "lognormal"])
@pytest.mark.parametrize("logzsol", [-5.0, -2.3, -1.1, 0.0, 0.33, 0.7, 2.0])
def test_weights_sum_to_one_and_are_not_negative(model, logzsol):
    w = weights(model, logzsol, met_scatter=0.2)
    assert w.sum() == pytest.approx(1.0, abs=1e-14)
    assert w.min() >= 0.0


def test_interpolation_in_log_z_keeps_the_mean_of_log_z():
    for logzsol in (-2.2, -1.3, -0.2, 0.1, 0.6):
        w = weights(InterpolatedMetallicity(), logzsol)
        assert w @ np.log10(RELATIVE) == pytest.approx(logzsol, abs=1e-12)
        assert np.count_nonzero(w > 1e-12) == 2


def test_interpolation_in_z_keeps_the_mean_of_z():
    for relative in (0.01, 0.1, 0.7, 1.6, 4.0):
        w = weights(InterpolatedMetallicity(space="linear"), np.log10(relative))
        assert w @ RELATIVE == pytest.approx(relative, rel=1e-12)
        assert np.count_nonzero(w > 1e-12) == 2


@pytest.mark.parametrize("space", ["log", "linear"])
def test_interpolation_takes_only_bracketing_nodes(space):
    """Z = 0.7 Zsun lies between 0.4 (index 3) and 1 (index 4); by hand 0.5 in Z."""
    w = weights(InterpolatedMetallicity(space=space), np.log10(0.7))
    assert np.flatnonzero(w > 1e-12).tolist() == [3, 4]
    upper = np.log(0.7 / 0.4) / np.log(1.0 / 0.4) if space == "log" else 0.5
    np.testing.assert_allclose(w[3:5], [1.0 - upper, upper], rtol=1e-12)


@pytest.mark.parametrize("space", ["log", "linear"])
def test_interpolation_is_clamped_outside_the_grid(space):
    model = InterpolatedMetallicity(space=space)
    np.testing.assert_array_equal(weights(model, -4.0), np.eye(7)[0])
    np.testing.assert_array_equal(weights(model, 1.5), np.eye(7)[6])


def test_lognormal_weights_are_probabilities_between_midpoints():
    edges = np.concatenate([[-np.inf], 0.5 * np.log10(RELATIVE[1:] * RELATIVE[:-1]), [np.inf]])
    for mean, scatter in ((-0.4, 0.2), (0.3, 0.05), (-1.5, 0.7)):
        expected = np.diff(norm.cdf(edges, mean, scatter))
        w = weights(LognormalMetallicity(), mean, met_scatter=scatter)
        np.testing.assert_allclose(w, expected, atol=1e-14)


@pytest.mark.parametrize("model", MODELS, ids=["log", "linear", "lognormal"])
def test_gradients_agree_with_central_differences(model):
    """Of the mean log Z, inside cells; interpolation has kinks at the nodes only."""

    def mean(logzsol):
        params = {"met_logzsol": logzsol, "met_scatter": 0.2}
        return model.weights(LGMET, ZSUN, params) @ np.log10(RELATIVE)

    with jax.enable_x64(True):
        for value in (-1.9, -0.5, -0.1, 0.2):
            numeric = (mean(value + 1e-6) - mean(value - 1e-6)) / 2e-6
            np.testing.assert_allclose(jax.grad(mean)(value), numeric, rtol=1e-7)


@pytest.mark.parametrize("model", MODELS, ids=["log", "linear", "lognormal"])
@pytest.mark.parametrize("logzsol", [-3.0, np.log10(0.005), 0.0, np.log10(5.0), 1.0])
def test_gradients_are_finite_at_nodes_and_outside(model, logzsol):
    def first(x):
        params = {"met_logzsol": x, "met_scatter": jnp.float32(0.2)}
        return model.weights(jnp.asarray(LGMET, jnp.float32), ZSUN, params)

    assert np.all(np.isfinite(jax.jacfwd(first)(jnp.float32(logzsol))))


def test_unknown_space_is_refused():
    with pytest.raises(ParameterError, match="'log' or 'linear'"):
        InterpolatedMetallicity(space="cubic")
