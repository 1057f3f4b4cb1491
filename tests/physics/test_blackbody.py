"""Grey bodies against astropy, known integrals and da Cunha et al. (2013)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from astropy import units as u
from astropy.modeling.models import BlackBody
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import gamma, zeta

from tengri_ppl.physics.blackbody import (
    H_OVER_K,
    T_CMB_K,
    blackbody,
    cmb_heated,
    grey_body,
    thick_grey_body,
)

C = 2.99792458e18  # Angstrom/s
MICRON = 1e4


def luminosity(spectrum, low=1e3, high=1e12, n=20_001):
    """Integral over frequency by the trapezoidal rule in ln(wavelength)."""
    wave = np.geomspace(low, high, n)
    return np.trapezoid(np.asarray(spectrum(wave)) * C / wave, np.log(wave))


def planck(wave, temperature):
    body = BlackBody(temperature * u.K)(wave * u.AA)
    return body.to_value(u.erg / (u.s * u.cm**2 * u.Hz * u.sr))


@pytest.mark.parametrize("temperature", [10.0, 45.0, 1500.0])
def test_black_body_is_astropys_over_sigma_t4(temperature, x64):
    """pi B / (sigma T^4) has unit luminosity (Stefan & Boltzmann)."""
    sigma = 5.670374419e-5  # erg/s/cm^2/K^4, CODATA 2018
    wave = np.geomspace(0.3, 300.0, 50) * 1.44e8 / temperature  # hc/kT from 0.005 to 5 and beyond
    expected = np.pi * planck(wave, temperature) / (sigma * temperature**4)
    np.testing.assert_allclose(blackbody(wave, temperature), expected, rtol=1e-8)


@pytest.mark.parametrize(("temperature", "beta"), [(15.0, 1.0), (40.0, 1.8), (80.0, 2.5)])
def test_grey_body_is_astropys_black_body_times_a_power_law(temperature, beta, x64):
    """Normalised by Gamma(4 + beta) zeta(4 + beta), from scipy."""
    wave = np.geomspace(5.0, 5000.0, 40) * MICRON
    x = H_OVER_K * C / (wave * temperature)
    factor = gamma(4.0 + beta) * zeta(4.0 + beta) * temperature / H_OVER_K
    # x^3 / (e^x - 1) is the Planck function in units of 2 (kT)^3 / (h c)^2
    k, h, c = 1.380649e-16, 6.62607015e-27, 2.99792458e10
    unit = 2.0 * (k * temperature) ** 3 / (h * c) ** 2
    expected = planck(wave, temperature) / unit * x**beta / factor
    np.testing.assert_allclose(grey_body(wave, temperature, beta), expected, rtol=1e-8)


@settings(max_examples=25, deadline=None)
@given(
    temperature=st.floats(8.0, 300.0),
    beta=st.floats(0.0, 3.0),
    redshift=st.one_of(st.none(), st.floats(0.0, 15.0)),
    lambda_0=st.one_of(st.none(), st.floats(1e5, 1e8)),
)
def test_luminosity_is_one_whatever_the_background(temperature, beta, redshift, lambda_0):
    with jax.enable_x64(True):
        excess = None
        if redshift is not None:
            temperature, excess = cmb_heated(temperature, beta, redshift)

        def spectrum(wave):
            if lambda_0 is None:
                return grey_body(wave, temperature, beta, excess)
            return thick_grey_body(wave, temperature, beta, lambda_0, excess)

        assert luminosity(spectrum) == pytest.approx(1.0, rel=1e-7)


def test_thick_grey_body_agrees_with_quad(x64):
    """Against an adaptive quadrature of the formula in ln(wavelength), in Kelvin and micron."""

    def formula(micron):
        depth = (200.0 / micron) ** 1.6
        return -np.expm1(-depth) * micron**-3.0 / np.expm1(14387.76877 / (micron * 35.0))

    ends = np.log(3.0), np.log(1e6)  # in ln(wavelength)
    energy = quad(lambda s: formula(np.exp(s)) / np.exp(s), *ends, epsabs=0.0, epsrel=1e-10)
    micron = np.array([20.0, 70.0, 100.0, 250.0, 850.0, 3000.0])
    expected = formula(micron) / (energy[0] * 2.99792458e14)
    ours = thick_grey_body(micron * MICRON, 35.0, 1.6, 200.0 * MICRON)
    np.testing.assert_allclose(ours, expected, rtol=1e-7)


def test_limits_of_optical_depth(x64):
    """A turnover far in the blue: the thin grey body; far in the red: a black body."""
    wave = np.geomspace(20.0, 2000.0, 30) * MICRON
    thin = thick_grey_body(wave, 40.0, 1.7, 0.01 * MICRON)
    np.testing.assert_allclose(thin, grey_body(wave, 40.0, 1.7), rtol=1e-5)
    thick = thick_grey_body(wave, 40.0, 1.7, 1e6 * MICRON)
    np.testing.assert_allclose(thick, blackbody(wave, 40.0), rtol=1e-4)


def test_dust_temperature_has_the_limits_of_da_cunha(x64):
    """Eq. 12: T_0 at redshift 0, the background's far above it, always warmer than both."""
    assert float(cmb_heated(35.0, 1.8, 0.0).kelvin) == pytest.approx(35.0, rel=1e-12)
    hot = cmb_heated(18.0, 2.0, np.array([1.0, 5.0, 10.0, 50.0]))
    background = T_CMB_K * np.array([2.0, 6.0, 11.0, 51.0])
    expected = (18.0**6 + background**6 - T_CMB_K**6) ** (1.0 / 6.0)
    np.testing.assert_allclose(hot.kelvin, expected, rtol=1e-12)
    np.testing.assert_allclose(hot.excess, expected / background - 1.0, rtol=1e-9)
    assert float(hot.kelvin[-1]) == pytest.approx(T_CMB_K * 51.0, rel=1e-4)


@pytest.mark.parametrize("redshift", [0.0, 2.0, 6.0])
def test_net_emission_is_the_emission_times_da_cunhas_contrast(redshift, x64):
    """Contrast 1 - B(T_CMB) / B(T), their eq. 18; the grey body is brighter by 1 / its mean."""
    wave = np.geomspace(50.0, 5000.0, 30) * MICRON
    temperature, excess = cmb_heated(30.0, 1.5, redshift)
    background = T_CMB_K * (1.0 + redshift)
    contrast = 1.0 - planck(wave, background) / planck(wave, float(temperature))
    ratio = grey_body(wave, temperature, 1.5, excess) / grey_body(wave, temperature, 1.5)
    mean = 1.0 - (background / float(temperature)) ** 5.5  # of the luminosity
    np.testing.assert_allclose(ratio * mean, contrast, rtol=1e-9)


def test_net_emission_survives_a_background_as_warm_as_the_dust():
    """Dust of 5 K at redshift 20: it is warmer than the background by 1e-7, in 32 bit too."""
    wave = np.geomspace(100.0, 3000.0, 20) * MICRON
    single = grey_body(jnp.float32(wave), *_unpack(cmb_heated(jnp.float32(5.0), 2.0, 20.0)))
    with jax.enable_x64(True):
        double = grey_body(wave, *_unpack(cmb_heated(5.0, 2.0, 20.0)))
        step = 57.0 * 1e-4  # the limit is dB/dT at the temperature of the background
        slope = planck(wave, 57.2355 + step) - planck(wave, 57.2355 - step)
        shape = slope * wave**-2.0
    np.testing.assert_allclose(single, double, rtol=1e-3)
    np.testing.assert_allclose(double / double[0], shape / shape[0], rtol=1e-5)


def _unpack(dust):
    return dust.kelvin, 2.0, dust.excess


def test_values_and_gradients_are_finite_from_x_rays_to_radio_in_single_precision():
    wave = jnp.geomspace(0.1, 1e12, 60, dtype=jnp.float32)

    def spectra(temperature, beta, redshift):
        dust = cmb_heated(temperature, beta, redshift)
        thick = thick_grey_body(wave, dust.kelvin, beta, 2e6, dust.excess)
        thin = grey_body(wave, dust.kelvin, beta, dust.excess)
        return jnp.concatenate([thick, thin, grey_body(wave, temperature, beta)]) * 1e12

    jacobian = jax.jit(jax.jacfwd(spectra, argnums=(0, 1, 2)))
    for arguments in ((8.0, 0.0, 0.0), (15.0, 1.0, 12.0), (80.0, 2.5, 3.0), (1500.0, 1.5, 0.5)):
        arguments = tuple(map(jnp.float32, arguments))
        assert np.isfinite(spectra(*arguments)).all()
        assert all(np.isfinite(j).all() for j in jacobian(*arguments))
