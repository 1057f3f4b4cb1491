"""Geometries other than a screen, against the integrals and sums that they stand for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from tengri_ppl.physics.attenuation import (
    CalzettiLaw,
    ClumpyScreen,
    DustScreen,
    FractionObscured,
    MixedSlab,
    PowerLaw,
    SingleScreen,
    TwoComponentDust,
    clumpy_screen_transmission,
    mixed_slab_transmission,
)
from tengri_ppl.physics.component import component_names, make_component

GEOMETRIES = component_names("dust")
WAVE = np.array([100.0, 912.0, 1500.0, 5500.0, 2e4, 1e6])
PARAMS = {
    "dust_tau_diff": 0.6,
    "dust_tau_bc": 1.1,
    "dust_t_bc_gyr": 0.01,
    "dust_n_clumps": 3.0,
    "dust_frac_unobscured": 0.2,
    "dust_slope": -0.7,
}


@pytest.mark.parametrize("tau", [0.0, 1e-6, 1e-3, 0.019, 0.021, 0.5, 3.0, 200.0])
def test_mixed_slab_is_the_mean_over_the_depths_of_the_stars(tau):
    expected = integrate.quad(lambda depth: np.exp(-tau * depth), 0.0, 1.0, limit=200)[0]
    with jax.enable_x64(True):
        value, gradient = jax.value_and_grad(mixed_slab_transmission)(tau)
        assert float(value) == pytest.approx(expected, rel=2e-8)  # of the series below 0.02
    slope = -integrate.quad(lambda depth: depth * np.exp(-tau * depth), 0.0, 1.0, limit=200)[0]
    assert float(gradient) == pytest.approx(slope, rel=1e-5)
    single = jax.grad(mixed_slab_transmission)(jnp.float32(tau))
    assert float(single) == pytest.approx(slope, rel=1e-4)


@pytest.mark.parametrize("n_clumps", [0.3, 2.0, 12.0])
@pytest.mark.parametrize("tau", [0.0, 0.4, 5.0])
def test_clumpy_screen_is_the_mean_over_the_number_of_clumps(n_clumps, tau):
    numbers = np.arange(200)
    through = np.exp(-numbers * tau / n_clumps)
    expected = np.sum(stats.poisson.pmf(numbers, n_clumps) * through)
    with jax.enable_x64(True):
        value = float(clumpy_screen_transmission(tau, n_clumps))
    assert value == pytest.approx(expected, rel=1e-12)


def test_clumpy_screen_between_a_uniform_screen_and_holes():
    with jax.enable_x64(True):
        assert float(clumpy_screen_transmission(2.0, 1e9)) == pytest.approx(np.exp(-2.0), rel=1e-8)
        assert float(clumpy_screen_transmission(1e6, 3.0)) == pytest.approx(np.exp(-3.0), rel=1e-12)


def test_without_free_light_the_fraction_obscured_is_the_two_component_model():
    laws = {"law": PowerLaw(), "law_bc": PowerLaw()}
    patchy, uniform = FractionObscured(**laws), TwoComponentDust(**laws)
    with jax.enable_x64(True):
        screens = uniform.transmission(WAVE, PARAMS)
        for free in (0.0, 0.35, 1.0):
            shares = patchy.transmission(WAVE, PARAMS | {"dust_frac_unobscured": free})
            for share, screen in zip(shares, screens, strict=True):
                np.testing.assert_allclose(share, free + (1 - free) * screen, rtol=1e-14)
    assert patchy.birth_cloud_age(PARAMS) == 0.01
    assert patchy.parameters[0].name == "dust_frac_unobscured"
    assert patchy.parameters[1:] == uniform.parameters


def test_slab_and_clumps_take_the_optical_depth_of_the_screen():
    law = CalzettiLaw()
    with jax.enable_x64(True):
        tau, _ = SingleScreen(law=law).optical_depths(WAVE, PARAMS)
        young, old = MixedSlab(law=law).transmission(WAVE, PARAMS)
        np.testing.assert_allclose(young, mixed_slab_transmission(tau), rtol=1e-14)
        np.testing.assert_array_equal(young, old)
        young, old = ClumpyScreen(law=law).transmission(WAVE, PARAMS)
        np.testing.assert_allclose(young, clumpy_screen_transmission(tau, 3.0), rtol=1e-14)
        np.testing.assert_array_equal(young, old)


@pytest.mark.parametrize("name", GEOMETRIES)
def test_optical_depths_and_transmission_say_the_same(name):
    dust = make_component(DustScreen, name)
    with jax.enable_x64(True):
        depths, shares = dust.optical_depths(WAVE, PARAMS), dust.transmission(WAVE, PARAMS)
    for depth, share in zip(depths, shares, strict=True):
        assert np.all((np.asarray(share) > 0) & (np.asarray(share) <= 1))
        np.testing.assert_allclose(np.exp(-np.asarray(depth)), share, rtol=1e-12)


@pytest.mark.parametrize("name", GEOMETRIES)
def test_gradients_are_finite_without_dust_and_with_much(name):
    """In 32 bit, through the transmission and through the effective optical depth."""
    dust = make_component(DustScreen, name)
    wave = jnp.asarray(WAVE, jnp.float32)

    def both(params):
        depths = jnp.stack(dust.optical_depths(wave, params))
        return jnp.exp(-depths).sum() + jnp.stack(dust.transmission(wave, params)).sum()

    gradient = jax.jit(jax.value_and_grad(both))
    for tau in (0.0, 4.0, 1e3):
        for free in (0.0, 1.0):
            changed = {"dust_tau_diff": tau, "dust_tau_bc": tau, "dust_frac_unobscured": free}
            params = {k: jnp.float32(v) for k, v in (PARAMS | changed).items()}
            value, slopes = gradient(params)
            assert np.isfinite(value)
            assert all(np.isfinite(g) for g in slopes.values())


@pytest.mark.parametrize("name", GEOMETRIES)
def test_more_dust_lets_less_light_out(name):
    dust = make_component(DustScreen, name)
    little = dust.transmission(WAVE, PARAMS)
    much = dust.transmission(WAVE, PARAMS | {"dust_tau_diff": 2.0, "dust_tau_bc": 3.0})
    for share, less in zip(little, much, strict=True):
        assert np.all(np.asarray(less) <= np.asarray(share))


def test_breaks_are_those_of_the_laws():
    for dust in (MixedSlab(), ClumpyScreen(), FractionObscured()):
        assert dust.breaks == CalzettiLaw.breaks
