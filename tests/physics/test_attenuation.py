"""Attenuation laws against their papers, and the two-component geometry."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tengri_ppl.physics.attenuation import (
    MAG_PER_TAU,
    CalzettiLaw,
    NoDust,
    PowerLaw,
    SalimLaw,
    SingleScreen,
    TwoComponentDust,
    calzetti,
    power_law,
    salim,
)

WAVE = np.geomspace(500.0, 5e4, 400)


def published_calzetti(wave):
    """Calzetti et al. (2000), eq. 4: k(lambda) / R_V; valid in 0.12-2.2 micron."""
    micron = wave / 1e4
    blue = 2.659 * (-2.156 + 1.509 / micron - 0.198 / micron**2 + 0.011 / micron**3) + 4.05
    red = 2.659 * (-1.857 + 1.040 / micron) + 4.05
    return np.where(micron < 0.63, blue, red) / 4.05


def test_calzetti_is_the_published_curve_in_its_range():
    wave = np.linspace(1200.0, 22000.0, 500)
    with jax.enable_x64(True):
        np.testing.assert_allclose(calzetti(wave), published_calzetti(wave), rtol=1e-12)


@pytest.mark.parametrize(
    ("wave", "expected"),
    [
        # k(lambda) / 4.05 by hand, five digits
        (1500.0, 10.33391 / 4.05),  # 2.659 (-2.156 + 10.06 - 8.8 + 3.259259) + 4.05
        (5500.0, 4.04789 / 4.05),  # 2.659 (-2.156 + 2.743636 - 0.654545 + 0.066116) + 4.05
        (10000.0, 1.87760 / 4.05),  # 2.659 (-1.857 + 1.040) + 4.05
        (20000.0, 0.49492 / 4.05),  # 2.659 (-1.857 + 0.520) + 4.05
    ],
)
def test_calzetti_at_single_wavelengths(wave, expected):
    assert float(calzetti(wave)) == pytest.approx(expected, rel=1e-5)


def test_calzetti_goes_on_as_bagpipes_does():
    """Below 1200 A a power law of -0.77, zero above 3.1 micron where the red branch ends."""
    with jax.enable_x64(True):
        edge = float(calzetti(1200.0))
        np.testing.assert_allclose(calzetti(600.0), edge * 0.5**-0.77, rtol=1e-12)
        np.testing.assert_allclose(calzetti(1199.999999), edge, rtol=1e-8)
        red = np.array([3.1e4, 3.2e4, 1e6])
        assert np.all(np.asarray(calzetti(red)) <= 1.1e-3)  # the red branch at 3.1 micron
        assert np.all(np.asarray(calzetti(red[1:])) == 0.0)


def test_power_law_is_one_at_5500_angstrom_with_its_slope():
    with jax.enable_x64(True):
        np.testing.assert_allclose(power_law(5500.0, -0.7), 1.0, rtol=1e-14)
        np.testing.assert_allclose(power_law(2750.0, -1.3), 2.0**1.3, rtol=1e-12)


def test_salim_without_slope_and_bump_is_calzetti():
    with jax.enable_x64(True):
        np.testing.assert_allclose(salim(WAVE), calzetti(WAVE), rtol=1e-12, atol=1e-15)


def test_salim_bump_has_the_amplitude_width_and_place_of_the_paper():
    """Drude: B / R_V at 2175 A, with full width at half maximum 350 A."""
    wave = np.linspace(1500.0, 3200.0, 17_001)
    with jax.enable_x64(True):
        for slope in (-0.5, 0.0, 0.3):
            bump = np.asarray(salim(wave, slope, 3.0) - salim(wave, slope, 0.0))
            r_v = 4.05 / (5.05 * (4400.0 / 5500.0) ** slope - 4.05)  # Salim et al., eq. 4
            assert wave[bump.argmax()] == pytest.approx(2175.0, abs=0.1)  # step of the grid
            assert bump.max() == pytest.approx(3.0 / r_v, rel=1e-6)
            half = wave[bump > 0.5 * bump.max()]
            assert half[-1] - half[0] == pytest.approx(350.0, abs=0.3)


def test_salim_slope_multiplies_the_calzetti_curve():
    with jax.enable_x64(True):
        ratio = salim(1500.0, -0.8) / salim(1500.0, 0.0)
    assert float(ratio) == pytest.approx((1500.0 / 5500.0) ** -0.8, rel=1e-12)


def test_magnitudes_per_optical_depth():
    assert pytest.approx(2.5 * np.log10(np.e), rel=1e-15) == MAG_PER_TAU


PARAMS = {"dust_tau_diff": 0.6, "dust_tau_bc": 1.1, "dust_t_bc_gyr": 0.01, "dust_slope": -0.7}


def test_young_stars_see_both_screens_and_old_ones_the_diffuse_dust():
    """Charlot & Fall (2000) with one law; A_V = 1.086 tau."""
    dust = TwoComponentDust(law=PowerLaw(), law_bc=PowerLaw())
    with jax.enable_x64(True):
        young, old = dust.optical_depths(np.array([5500.0, 2750.0]), PARAMS)
    np.testing.assert_allclose(old, [0.6, 0.6 * 2**0.7], rtol=1e-12)
    np.testing.assert_allclose(young, [1.7, 1.7 * 2**0.7], rtol=1e-12)
    assert dust.birth_cloud_age(PARAMS) == 0.01
    assert [p.name for p in dust.parameters] == [
        "dust_tau_bc",
        "dust_tau_diff",
        "dust_t_bc_gyr",
        "dust_slope",
    ]


def test_birth_clouds_may_have_a_law_of_their_own():
    dust = TwoComponentDust(law=CalzettiLaw(), law_bc=PowerLaw(suffix="_bc"))
    assert "dust_slope_bc" in {p.name for p in dust.parameters}
    params = PARAMS | {"dust_slope_bc": -1.3}
    with jax.enable_x64(True):
        young, old = dust.optical_depths(np.array([2750.0]), params)
        expected = 0.6 * published_calzetti(np.array([2750.0]))
    np.testing.assert_allclose(old, expected, rtol=1e-12)
    np.testing.assert_allclose(young - old, [1.1 * 2**1.3], rtol=1e-12)


def test_single_screen_and_no_dust():
    wave = np.array([5500.0, 2750.0])
    with jax.enable_x64(True):
        young, old = SingleScreen(law=PowerLaw()).optical_depths(wave, PARAMS)
        np.testing.assert_allclose(young, [0.6, 0.6 * 2**0.7], rtol=1e-12)
        np.testing.assert_array_equal(young, old)
    assert SingleScreen(law=PowerLaw()).birth_cloud_age(PARAMS) == 0.0
    assert not np.any(NoDust().optical_depths(wave, {}))


@pytest.mark.parametrize("law", [CalzettiLaw(), PowerLaw(), SalimLaw()], ids=lambda x: x.name)
@pytest.mark.parametrize("wave", [1.0, 912.0, 1200.0, 2175.0, 6300.0, 3.1e4, 1e7])
def test_gradients_are_finite_at_the_bounds_and_at_breaks_of_the_laws(law, wave):
    """In 32 bit; slopes and bumps at both ends of their default priors, no dust and much."""
    dust = TwoComponentDust(law=law, law_bc=law)

    def transmission(p):
        young, old = dust.optical_depths(jnp.asarray(wave, jnp.float32), p)
        return jnp.exp(-young) + jnp.exp(-old)

    for tau in (0.0, 4.0):
        for slope, bump in ((-1.2, 0.0), (0.4, 4.0)):
            params = {"dust_tau_diff": tau, "dust_tau_bc": tau, "dust_t_bc_gyr": 0.01}
            params |= {"dust_slope": slope, "dust_bump": bump}
            value, gradient = jax.value_and_grad(transmission)(
                {k: jnp.float32(v) for k, v in params.items()}
            )
            assert 0.0 <= value <= 2.0
            assert all(np.isfinite(g) for g in gradient.values())
