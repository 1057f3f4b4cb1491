import jax
import jax.numpy as jnp
import numpy as np
import pytest
from astropy.cosmology import FlatLambdaCDM

from tengri_ppl.physics.cosmology import (
    age_gyr,
    lookback_time_gyr,
    luminosity_distance_mpc,
    redshift_at_age,
)

REDSHIFTS = np.array([1e-4, 1e-3, 0.01, 0.1, 0.5, 1.0, 2.0, 4.0, 7.0, 12.0, 20.0])
UNIVERSES = [(70.0, 0.3), (67.4, 0.315), (50.0, 0.05), (100.0, 0.9), (72.0, 0.15)]
FLOAT32 = 3e-6  # the sum of 12 quadrature terms and a power, at 6e-8 each


@pytest.mark.parametrize(("h0", "om0"), UNIVERSES)
def test_double_precision_agrees_with_astropy(h0, om0):
    astropy = FlatLambdaCDM(h0, om0, Tcmb0=0.0)
    with jax.enable_x64(True):
        age = age_gyr(REDSHIFTS, h0, om0)
        distance = luminosity_distance_mpc(REDSHIFTS, h0, om0)
        lookback = lookback_time_gyr(REDSHIFTS, h0, om0)
    np.testing.assert_allclose(age, astropy.age(REDSHIFTS).value, rtol=1e-12)
    np.testing.assert_allclose(lookback, astropy.lookback_time(REDSHIFTS).value, rtol=1e-9)
    np.testing.assert_allclose(distance, astropy.luminosity_distance(REDSHIFTS).value, rtol=1e-8)


@pytest.mark.parametrize(("h0", "om0"), UNIVERSES)
def test_single_precision_is_enough_for_photometry(h0, om0):
    astropy = FlatLambdaCDM(h0, om0, Tcmb0=0.0)
    z = jnp.asarray(REDSHIFTS, dtype=jnp.float32)
    exact_z = np.asarray(z, dtype=np.float64)
    age, distance = age_gyr(z, h0, om0), luminosity_distance_mpc(z, h0, om0)
    np.testing.assert_allclose(age, astropy.age(exact_z).value, rtol=FLOAT32)
    np.testing.assert_allclose(distance, astropy.luminosity_distance(exact_z).value, rtol=FLOAT32)


def test_redshift_at_age_inverts_age():
    with jax.enable_x64(True):
        z = redshift_at_age(age_gyr(REDSHIFTS, 68.0, 0.25), 68.0, 0.25)
        np.testing.assert_allclose(z, REDSHIFTS, rtol=1e-10)
        assert abs(float(redshift_at_age(age_gyr(0.0)))) < 1e-12


def test_lookback_time_and_age_add_up_to_the_age_today():
    total = age_gyr(2.5, 70.0, 0.3) + lookback_time_gyr(2.5, 70.0, 0.3)
    np.testing.assert_allclose(total, age_gyr(0.0), rtol=FLOAT32)


def test_distance_vanishes_linearly_at_redshift_zero():
    assert float(luminosity_distance_mpc(0.0)) == 0.0
    hubble_distance = 299792.458 / 70.0
    np.testing.assert_allclose(
        jax.grad(luminosity_distance_mpc)(0.0), hubble_distance, rtol=FLOAT32
    )


@pytest.mark.parametrize(
    "function", [age_gyr, lookback_time_gyr, luminosity_distance_mpc, redshift_at_age]
)
def test_gradients_agree_with_central_differences(function):
    with jax.enable_x64(True):
        point = np.array([1.3, 71.0, 0.28])
        gradient = jax.grad(lambda x: function(*x))(point)
        for k, step in enumerate((1e-5, 1e-3, 1e-6)):
            shift = step * np.eye(3)[k]
            numeric = (function(*(point + shift)) - function(*(point - shift))) / (2 * step)
            np.testing.assert_allclose(gradient[k], numeric, rtol=1e-7)


def test_all_functions_broadcast_and_work_under_jit_and_vmap():
    z, h0 = jnp.linspace(0.1, 3.0, 4)[:, None], jnp.array([60.0, 70.0, 80.0])
    for function in (age_gyr, lookback_time_gyr, luminosity_distance_mpc, redshift_at_age):
        table = function(z, h0, 0.3)
        assert table.shape == (4, 3)
        column = jax.jit(jax.vmap(lambda x, f=function: f(x, 70.0, 0.3)))(z[:, 0])
        np.testing.assert_allclose(column, table[:, 1], rtol=FLOAT32)
