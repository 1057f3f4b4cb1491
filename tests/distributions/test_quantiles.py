"""Quantile functions of the normal cdf, against SciPy's."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import stats

from tengri_ppl.distributions.standard import from_standard, to_standard

XI = np.linspace(-4.0, 4.0, 17)


def quantiles(loc, scale, low, high):
    a, b = (low - loc) / scale, (high - loc) / scale
    below = stats.truncnorm.ppf(stats.norm.cdf(XI), a, b, loc, scale)
    above = stats.truncnorm.isf(stats.norm.sf(XI), a, b, loc, scale)
    return np.where(XI < 0.0, below, above)


@pytest.mark.parametrize(
    ("loc", "scale", "low", "high"),
    [
        *[(0.0, 1.0, -1.0, 2.0), (10.0, 0.5, 7.0, 12.5), (0.0, 100.0, -1.0, 1.0)],
        *[(12.4, 0.3, 7.0, 12.5), (6.0, 0.5, 7.0, 12.5), (13.5, 0.3, 7.0, 12.5)],
    ],
)
def test_truncated_normals_and_their_derivatives(loc, scale, low, high):
    """Also where the mean is at an edge or outside of the support."""

    def value(xi, loc, scale):
        return from_standard("x", dist.TruncatedNormal(loc, scale, low=low, high=high), xi)

    xi, step = jnp.asarray(XI, dtype=float), 1e-4 * scale
    got, expected = value(xi, loc, scale), quantiles(loc, scale, low, high)
    np.testing.assert_allclose(got, expected, atol=1e-4 * scale)
    slopes = jax.vmap(jax.grad(value, (1, 2)), (0, None, None))(xi, loc, scale)
    for i, slope in enumerate(slopes):
        shift = step * np.eye(2)[i]
        more, less = (quantiles(loc + s[0], scale + s[1], low, high) for s in (shift, -shift))
        np.testing.assert_allclose(slope, (more - less) / (2.0 * step), atol=2e-3)


def test_a_normal_that_is_truncated_on_one_side():
    half = dist.TruncatedNormal(1.0, 1.0, low=0.0)
    expected = stats.truncnorm.ppf(stats.norm.cdf(XI), -1.0, np.inf, 1.0, 1.0)
    x = from_standard("x", half, jnp.asarray(XI, dtype=float))
    np.testing.assert_allclose(x, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(to_standard(half, x[2:-4]), XI[2:-4], atol=2e-3)
