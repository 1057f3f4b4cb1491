"""Small matrices, written out, against LAPACK."""

import jax.numpy as jnp
import numpy as np
import pytest

from tengri_ppl.models.small_matrices import cholesky, solve_lower, solve_upper


@pytest.mark.parametrize("dimension", [0, 1, 2, 5])
def test_factors_and_solutions_are_those_of_lapack(dimension):
    rng = np.random.default_rng(dimension)
    a = rng.normal(size=(3, 4, dimension, dimension))
    matrix = a @ np.swapaxes(a, -1, -2) + np.eye(dimension)
    b = rng.normal(size=(3, 4, dimension))
    expected = np.linalg.cholesky(matrix)
    factor = cholesky(jnp.asarray(matrix))
    np.testing.assert_allclose(factor, expected, rtol=1e-4, atol=1e-5)
    for solve, lower in ((solve_lower, expected), (solve_upper, np.swapaxes(expected, -1, -2))):
        x = np.linalg.solve(lower, b[..., None])[..., 0]
        np.testing.assert_allclose(solve(factor, jnp.asarray(b)), x, rtol=1e-3, atol=1e-4)
