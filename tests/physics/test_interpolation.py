"""Interpolation as weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tengri_ppl.physics.interpolation import linear_weights

NODES = np.array([-2.0, -1.5, 0.0, 0.3])


@pytest.mark.parametrize("x", [-np.inf, -3.0, -2.0, -1.9, -1.5, -0.2, 0.3, 5.0])
def test_weights_interpolate_linearly_and_are_constant_outside(x):
    weights = linear_weights(x, NODES)
    values = np.array([3.0, -1.0, 4.0, 1.5])
    assert float(weights @ values) == pytest.approx(np.interp(x, NODES, values), abs=1e-5)
    assert float(weights.sum()) == pytest.approx(1.0)
    assert np.count_nonzero(weights) <= 2 and weights.min() >= 0.0


def test_weights_have_the_slope_of_the_interval():
    slope = jax.jacfwd(linear_weights)(-0.5, jnp.asarray(NODES))
    np.testing.assert_allclose(slope, [0.0, -1 / 1.5, 1 / 1.5, 0.0], rtol=1e-6)
