"""Histories through mass quantiles: the curve against SciPy, the quantiles against the input."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.interpolate import PchipInterpolator

from tengri_ppl.physics.composite import age_intervals, count_fine, form_mass
from tengri_ppl.physics.sfh import DenseBasisSFH
from tengri_ppl.physics.sfh.dense_basis import monotone_curve, monotone_slopes

LOWER, UPPER = age_intervals(-2.95 + np.arange(-1, 124) / 30.0, "linear")
AGE = 9.0
FRACTIONS = np.array([0.35, 0.1, 0.3, 0.25])  # oldest first


@pytest.fixture(autouse=True)
def _double_precision():
    with jax.enable_x64(True):
        yield


@partial(jax.jit, static_argnums=0)
def compiled_form_mass(sfh, params):
    return form_mass(sfh, params, AGE, LOWER, UPPER, count_fine(LOWER))


def formed(fractions=FRACTIONS, ratio=0.7):
    sfh = DenseBasisSFH(n_quantiles=len(fractions) - 1)
    names = ("log_mass", "time_fractions", "recent_sfr_ratio")
    values = (0.0, jnp.asarray(fractions), jnp.asarray(ratio))
    params = {sfh.prefix + k: v for k, v in zip(names, values, strict=True)}
    return jax.tree.map(np.asarray, compiled_form_mass(sfh, params))


def test_inner_slopes_are_those_of_scipy():
    """PchipInterpolator has other slopes at the ends, so only the inner ones are compared."""
    rng = np.random.default_rng(3)
    knots, values = np.cumsum(rng.uniform(0.1, 1.0, 7)), np.cumsum(rng.uniform(0.1, 1.0, 7))
    reference = PchipInterpolator(knots, values)
    ends = reference(knots[[0, -1]], 1)
    slopes = monotone_slopes(jnp.asarray(knots), jnp.asarray(values), *jnp.asarray(ends))
    np.testing.assert_allclose(slopes, reference(knots, 1), rtol=1e-12)
    x = np.linspace(knots[0], knots[-1], 200)
    points = (jnp.asarray(v) for v in (x, knots, values))
    curve, derivative = monotone_curve(*points, slopes)
    np.testing.assert_allclose(curve, reference(x), atol=1e-12)
    np.testing.assert_allclose(derivative, reference(x, 1), atol=1e-12)


@pytest.mark.parametrize("ratio", [0.0, 0.7, 3.0])
def test_shares_of_the_mass_form_in_the_fractions_of_time(ratio):
    """The times t_x are put at the edges of three age intervals."""
    index = [np.searchsorted(LOWER, t) for t in (1.0, 3.0, 5.0)]
    cosmic = 1.0 - LOWER[index][::-1] / AGE
    got = formed(np.diff([0.0, *cosmic, 1.0]), ratio)
    older = [got.mass[i:].sum() for i in index][::-1]
    # the fractions are kept above 1e-4
    np.testing.assert_allclose(older, [0.25, 0.5, 0.75], atol=5e-4)
    assert got.mass.sum() == pytest.approx(1.0, rel=1e-12)


def test_masses_and_positions_are_the_integral_of_the_rate():
    """Trapezoidal rule with 1 Myr steps over each interval of more than 30 Myr."""
    got = formed()
    sfh, names = DenseBasisSFH(), ("time_fractions", "recent_sfr_ratio")
    params = dict(zip(names, (jnp.asarray(FRACTIONS), jnp.asarray(0.7)), strict=True))
    for i in np.flatnonzero((UPPER - LOWER > 0.03) & (LOWER < AGE)):
        t = np.linspace(LOWER[i], min(UPPER[i], AGE), 1001)
        rate = np.exp(np.asarray(sfh.log_shape(t, AGE, **params))) / AGE
        mass = np.trapezoid(rate, t)
        position = np.trapezoid(rate * (t - t[0]), t) / mass / (UPPER[i] - LOWER[i])
        assert got.mass[i] == pytest.approx(mass, rel=1e-4)
        assert got.moment[i] / got.mass[i] == pytest.approx(position, abs=1e-3)


@pytest.mark.parametrize("ratio", [0.0, 1.3])
def test_final_rate_is_the_ratio_times_the_recent_mean(ratio):
    sfh = DenseBasisSFH()
    params = {"time_fractions": jnp.asarray(FRACTIONS), "recent_sfr_ratio": jnp.asarray(ratio)}
    shape = np.exp(np.asarray(sfh.log_shape(np.array([1e-9, AGE - 1e-9]), AGE, **params)))
    recent_mean = 0.25 / FRACTIONS[-1]  # relative to the mean over all time
    # the fractions are kept above 1e-4
    assert shape[0] == pytest.approx(ratio * recent_mean, rel=2e-3, abs=1e-6)
    assert shape[1] == pytest.approx(0.0, abs=1e-6)  # nothing forms at the Big Bang


def test_even_times_and_the_mean_rate_are_nearly_constant_star_formation():
    """Constant, but for the rise from zero in the first of eight intervals."""
    got = formed(np.full(8, 1 / 8), 1.0)
    recent = UPPER < 0.7 * AGE
    rate = got.mass[recent] / (UPPER - LOWER)[recent]
    np.testing.assert_allclose(rate, 1.0 / AGE, rtol=1e-6)


def test_a_time_fraction_of_zero_stays_finite_in_single_precision():
    lower, upper = np.float32(LOWER), np.float32(UPPER)
    with jax.enable_x64(False):
        params = {
            "sfh_dense_basis_log_mass": jnp.float32(0.0),
            "sfh_dense_basis_time_fractions": jnp.array([0.0, 0.5, 0.5, 0.0], jnp.float32),
            "sfh_dense_basis_recent_sfr_ratio": jnp.float32(0.0),
        }

        def mean_age(p):
            return form_mass(DenseBasisSFH(), p, 9.0, lower, upper, count_fine(lower)).mean_age()

        value, gradient = jax.value_and_grad(mean_age)(params)
    assert 0.0 < value < AGE
    assert all(np.all(np.isfinite(g)) for g in gradient.values())
