"""X-ray emission against published relations and tables."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from emission_cases import LSUN_ERG_S, draws, galaxy, midpoint
from scipy.integrate import quad

from tengri_ppl.errors import ParameterError
from tengri_ppl.physics.agn import AGN
from tengri_ppl.physics.xray import (
    KEV_ANGSTROM,
    Lehmer2016XRay,
    alpha_ox,
    cutoff_power_law,
    photoelectric_cross_section,
    xray_binaries,
)

HZ_PER_KEV = 2.417989242e17


@pytest.fixture(autouse=True)
def _double_precision():
    with jax.enable_x64(True):
        yield


def band_luminosity(xray, params, home, low, high):
    """Luminosity in a band [erg/s]; trapezoidal rule in energy."""
    energy = np.geomspace(low, high, 4001)
    l_nu = np.asarray(xray.smooth(KEV_ANGSTROM / energy, params, home))
    return np.trapezoid(l_nu, energy) * HZ_PER_KEV * LSUN_ERG_S


def test_binaries_of_lehmer():
    """log alpha_0 = 29.37, log beta_0 = 39.28 (2-10 keV), 29.04 and 39.38 (0.5-2 keV) at z = 0."""
    low, high = xray_binaries(1e10, 10.0, 0.0)
    np.testing.assert_allclose(np.log10([low * LSUN_ERG_S, high * LSUN_ERG_S]), [39.37, 40.28])
    low, high = xray_binaries(1e10, 10.0, 0.0, band="0.5-2")
    np.testing.assert_allclose(np.log10([low * LSUN_ERG_S, high * LSUN_ERG_S]), [39.04, 40.38])


def test_binaries_evolve():
    """(1+z)^2.03 and (1+z)^1.31 in 2-10 keV; (1+z)^3.78 and (1+z)^0.99 in 0.5-2 keV."""
    for band, powers in (("2-10", (2.03, 1.31)), ("0.5-2", (3.78, 0.99))):
        now = np.array(xray_binaries(1e10, 10.0, 0.0, band))
        then = np.array(xray_binaries(1e10, 10.0, 1.0, band))
        np.testing.assert_allclose(np.log2(then / now), powers, rtol=1e-9)


@pytest.mark.parametrize("band", ["2-10", "0.5-2"])
def test_spectrum_of_binaries_has_their_luminosity_in_the_band(band):
    """Without gas, absorption taken off; hot gas is subtracted by its published luminosity."""
    xray = Lehmer2016XRay(band=band)
    params = midpoint(xray) | {"xray_log_nh": 10.0}
    old = galaxy(redshift=0.7, sfr=0.0)
    low, high = (float(e) for e in band.split("-"))
    expected = sum(float(x) for x in xray_binaries(1e10, 0.0, 0.7, band)) * LSUN_ERG_S
    assert band_luminosity(xray, params, old, low, high) == pytest.approx(expected, rel=1e-5)
    young = galaxy(redshift=0.7, stellar_mass=0.0, sfr=2.0)
    expected = float(xray_binaries(0.0, 2.0, 0.7, band)[1]) * LSUN_ERG_S
    gas = (
        2.0
        * 8.3e38
        * (
            1.0
            if band == "0.5-2"
            else quad(lambda e: np.exp(-e), 2, 10)[0] / quad(lambda e: np.exp(-e), 0.5, 2)[0]
        )
    )
    total = band_luminosity(xray, params, young, low, high)
    assert total == pytest.approx(expected + gas, rel=1e-5)


@pytest.mark.parametrize(("index", "cutoff"), [(1.0, 1.0), (1.8, 300.0), (2.4, 20.0)])
def test_cutoff_power_law_has_unit_luminosity_in_its_band(index, cutoff):
    def per_kev(e):
        return float(cutoff_power_law(e, index, cutoff, (2.0, 10.0))) * HZ_PER_KEV

    assert quad(per_kev, 2.0, 10.0)[0] == pytest.approx(1.0, rel=1e-8)
    expected = 5.0 ** (1.0 - index) * np.exp(-4.0 / cutoff)
    assert per_kev(5.0) / per_kev(1.0) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize(
    ("energy", "expected"),
    [
        # (c0 + c1 E + c2 E^2) / E^3 with the coefficients of Morrison & McCammon (1983), by hand
        (0.05, 338640.0),  # (17.3 + 30.405 - 5.375) / 1.25e-4
        (0.5, 735.6),  # (71.4 + 33.4 - 12.85) / 0.125
        (1.0, 242.2),  # 120.6 + 169.3 - 47.7
        (2.0, 43.0125),  # (202.7 + 209.4 - 68) / 8
        (5.0, 3.5252),  # (433.9 - 12 + 18.75) / 125
        (8.0, 1.711328),  # (629 + 247.2) / 512
    ],
)
def test_cross_section_by_hand(energy, expected):
    assert float(photoelectric_cross_section(energy)) == pytest.approx(expected, rel=1e-6)


def test_cross_section_joins_its_ranges_and_has_the_edge_of_iron():
    for energy, jump in ((0.1, 1.0), (10.0, 1.0), (7.111, 1.8663)):  # 848.7 / 454.8 at 7.111 keV
        below, above = photoelectric_cross_section(energy * (1 + 1e-9 * np.array([-1, 1])))
        assert float(above / below) == pytest.approx(jump, rel=1e-3)
    assert float(photoelectric_cross_section(20.0)) == pytest.approx(953.2 / 8000.0, rel=1e-9)


@pytest.mark.parametrize(("log_l", "expected"), [(30.0, -1.472), (32.0, -1.746), (28.0, -1.198)])
def test_alpha_ox_of_just(log_l, expected):
    assert float(alpha_ox(10**log_l / LSUN_ERG_S)) == pytest.approx(expected, abs=1e-9)


def test_corona_is_tied_to_the_disc_at_2_kev():
    """alpha_ox = 0.3838 log10(L_2keV / L_2500), of the disc before dust, plus the deviation."""
    agn = AGN()
    xray = Lehmer2016XRay(agn=agn)
    params = midpoint(agn, xray) | {"xray_agn_log_nh": 10.0, "agn_torus_ebv": 4.0}
    params |= {"xray_agn_delta_alpha_ox": 0.1}
    dark = galaxy(sfr=0.0, stellar_mass=0.0)
    l_2500 = float(agn.l_nu_2500(params, dark))
    l_2kev = float(xray.smooth(KEV_ANGSTROM / 2.0, params, dark))
    slope = 0.3838 * np.log10(l_2kev / l_2500)
    assert slope == pytest.approx(float(alpha_ox(l_2500)) + 0.1, abs=1e-9)
    one, ten = np.asarray(xray.smooth(KEV_ANGSTROM / np.array([1.0, 10.0]), params, dark))
    assert ten / one == pytest.approx(10**-0.8 * np.exp(-9.0 / 300.0), rel=1e-9)


def test_bolometric_correction_of_the_corona_is_that_of_quasars():
    """L_bol / L(2-10 keV) is about 20 at 10^12 Lsun and rises (Duras et al. 2020, A&A 636, A73).

    Their fit is 10.96 (1 + (log10(L_bol/Lsun) / 11.93)^17.79), with a scatter of 0.26 dex.
    """
    agn = AGN()
    xray = Lehmer2016XRay(agn=agn)
    for log_l in (11.5, 12.0, 12.5):
        params = midpoint(agn, xray) | {"agn_log_lbol": log_l, "xray_agn_log_nh": 10.0}
        dark = galaxy(sfr=0.0, stellar_mass=0.0)
        l_x = band_luminosity(xray, params, dark, 2.0, 10.0) / LSUN_ERG_S
        duras = 10.96 * (1.0 + (log_l / 11.93) ** 17.79)
        assert np.log10(10**log_l / l_x) == pytest.approx(np.log10(duras), abs=0.45)


def test_gas_absorbs_soft_light_of_what_is_behind_it():
    agn = AGN()
    xray = Lehmer2016XRay(agn=agn)
    dark = galaxy(sfr=0.0, stellar_mass=0.0)
    wave = KEV_ANGSTROM / np.array([1.0, 8.0])
    clear = midpoint(agn, xray) | {"xray_agn_log_nh": 10.0}
    ratio = np.asarray(xray.smooth(wave, clear | {"xray_agn_log_nh": 22.0}, dark))
    ratio = ratio / np.asarray(xray.smooth(wave, clear, dark))
    np.testing.assert_allclose(ratio, np.exp([-2.422, -0.01711328]), rtol=1e-5)
    ratio = xray.smooth(wave, clear | {"xray_log_nh": 23.0}, dark)
    np.testing.assert_allclose(ratio, xray.smooth(wave, clear, dark), rtol=1e-12)


def test_nothing_outside_the_range_and_breaks_lie_inside():
    xray = Lehmer2016XRay()
    low, high = xray.coverage
    wave = np.array([0.9 * low, 1.1 * high, 5e3, 1e10])
    assert not np.any(xray.smooth(wave, midpoint(xray), galaxy()))
    assert list(xray.breaks) == sorted(xray.breaks)
    assert xray.breaks[0] == low
    assert xray.breaks[-1] == high


def test_unknown_band_is_refused():
    with pytest.raises(ParameterError, match=r"0\.5-2"):
        Lehmer2016XRay(band="0.5-8")


@pytest.mark.parametrize("precise", [False, True], ids=["32", "64"])
def test_light_and_gradients_are_finite_over_the_prior(precise):
    agn = AGN(amplitude="frac")
    xray = Lehmer2016XRay(agn=agn)
    with jax.enable_x64(precise):
        wave = KEV_ANGSTROM / jnp.asarray(
            [500.0, 200.0, 50.0, 7.111, 2.0, 0.5, 0.3, 0.1, 1e-3, 1e-9]
        )
        params = {k: jnp.asarray(v, wave.dtype) for k, v in draws(200, agn, xray).items()}

        def light(p, home):
            return jnp.sum(xray.smooth(wave, p, home))

        run = jax.jit(jax.vmap(jax.value_and_grad(light, (0, 1)), (0, None)))
        for home in (galaxy(), galaxy(0.0, 0.0, 0.0, 1e6), galaxy(8.0, 1e13, 1e4, 1e12)):
            value, gradients = run(params, home)
            assert np.all(np.isfinite(value))
            assert np.all(np.asarray(value) > 0.0)
            for g in jax.tree.leaves(gradients):
                assert np.all(np.isfinite(g))
