"""Radio emission against published relations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from emission_cases import C_ANGSTROM_PER_S, LSUN_ERG_S, draws, galaxy, midpoint

from tengri_ppl.physics.agn import AGN
from tengri_ppl.physics.radio import FIRRadio, free_free, q_infrared

RADIO = FIRRadio()


@pytest.fixture(autouse=True)
def _double_precision():
    with jax.enable_x64(True):
        yield


def ghz(frequency):
    """Wavelength [Angstrom] of a frequency [GHz]."""
    return C_ANGSTROM_PER_S / (np.asarray(frequency) * 1e9)


@pytest.mark.parametrize(("z", "expected"), [(0.0, 2.88), (1.0, 2.525), (3.0, 2.213)])
def test_q_falls_with_redshift(z, expected):
    """Delhaize et al. (2017): (2.88 +- 0.03) (1+z)^(-0.19 +- 0.01), by hand."""
    assert float(q_infrared(z)) == pytest.approx(expected, abs=5e-4)


@pytest.mark.parametrize("z", [0.0, 0.5, 3.0])
def test_total_at_1_4_ghz_is_that_of_the_correlation(z):
    """Where the star formation rate is that of the infrared luminosity (Murphy et al. 2011, eq. 4).

    L_1.4 = L_IR / 3.75e12 Hz / 10^q.
    """
    absorbed = 1e11
    home = galaxy(z, absorbed, sfr=3.88e-44 * absorbed * LSUN_ERG_S)
    expected = absorbed / 3.75e12 / 10 ** (2.88 * (1 + z) ** -0.19)
    at = float(RADIO.smooth(ghz(1.4), midpoint(RADIO), home))
    assert at == pytest.approx(expected, rel=1e-9)
    watt = at * LSUN_ERG_S * 1e-7
    if z == 0.0:  # 3.828e37 W / 3.75e12 Hz / 10^2.88
        assert watt == pytest.approx(1.3457e22, rel=1e-4)


def test_free_free_is_that_of_murphy():
    """SFR = 4.6e-28 nu^0.1 L_nu: 1 Msun/yr gives 2.17e27 erg/s/Hz at 1 GHz, 1.53e27 at 33 GHz."""
    cgs = np.asarray(free_free(ghz([1.0, 33.0]), 1.0)) * LSUN_ERG_S
    np.testing.assert_allclose(cgs, [2.174e27, 1.532e27], rtol=1e-3)


def test_thermal_share_is_about_a_tenth_at_1_4_ghz():
    """Condon (1992, ARA&A 30, 575): thermal emission is 10 % or so at 1.4 GHz, for q = 2.64."""
    home = galaxy(0.0, 1e10, sfr=3.88e-44 * 1e10 * LSUN_ERG_S)
    params = midpoint(RADIO) | {"radio_q_ir": 2.64}
    thermal = free_free(ghz(1.4), home.sfr) / RADIO.smooth(ghz(1.4), params, home)
    assert 0.08 < float(thermal) < 0.15


def test_slopes():
    params = midpoint(RADIO) | {"radio_slope": 0.8}
    no_stars, no_dust = galaxy(sfr=0.0), galaxy(absorbed=0.0)
    for home, slope in ((no_stars, -0.8), (no_dust, -0.1)):
        low, high = np.asarray(RADIO.smooth(ghz([1.0, 10.0]), params, home))
        assert np.log10(high / low) == pytest.approx(slope, abs=1e-9)


def test_core_has_its_loudness_and_slope():
    """R = L_nu(5 GHz) / L_nu(2500 A) of the disc before dust."""
    agn = AGN()
    radio = FIRRadio(agn=agn)
    params = midpoint(agn, radio) | {"radio_agn_loudness": 1.5, "agn_torus_ebv": 5.0}
    home = galaxy(absorbed=0.0, sfr=0.0)
    low, high = np.asarray(radio.smooth(ghz([5.0, 50.0]), params, home))
    assert low / float(agn.l_nu_2500(params, home)) == pytest.approx(10**1.5, rel=1e-9)
    assert high / low == pytest.approx(10**-0.7, rel=1e-9)


def test_scales_with_the_galaxy_and_begins_at_100_micron():
    wave = np.array([5e3, 9.9e5, 1.1e6, 1e9])
    one = np.asarray(RADIO.smooth(wave, midpoint(RADIO), galaxy()))
    ten = np.asarray(RADIO.smooth(wave, midpoint(RADIO), galaxy(absorbed=1e12, sfr=100.0)))
    assert np.all(one[:2] == 0.0)
    assert np.all(one[2:] > 0.0)
    np.testing.assert_allclose(ten, 10.0 * one, rtol=1e-12)


@pytest.mark.parametrize("precise", [False, True], ids=["32", "64"])
def test_light_and_gradients_are_finite_over_the_prior(precise):
    agn = AGN()
    radio = FIRRadio(agn=agn)
    with jax.enable_x64(precise):
        wave = jnp.asarray([0.1, 5e3, 1e6, 1e7, 2.1e9, 1e11])
        params = {k: jnp.asarray(v, wave.dtype) for k, v in draws(200, agn, radio).items()}

        def light(p, home):
            return jnp.sum(radio.smooth(wave, p, home))

        run = jax.jit(jax.vmap(jax.value_and_grad(light, (0, 1)), (0, None)))
        for home in (galaxy(), galaxy(0.0, 0.0, 0.0, 1e6)):
            value, gradients = run(params, home)
            assert np.all(np.isfinite(value))
            assert np.all(np.asarray(value) > 0.0)
            for g in jax.tree.leaves(gradients):
                assert np.all(np.isfinite(g))
