"""Gaussian errors with a floor, in 32 bits and with masked bands, and the check of fluxes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tengri_ppl.errors import DataError, ParameterError
from tengri_ppl.observation.noise import (
    GaussianNoise,
    clean_photometry,
    systematic_floor,
    validate_fluxes,
)
from tengri_ppl.observation.observation import Observation
from tengri_ppl.observation.photometry import Photometry

NAMES = ("sdss_g", "sdss_r", "IRAC1")
FLUX = np.array([1e-29, 3e-29, 5e-29])
SIGMA = np.array([1e-31, 4e-31, 2e-30])


@pytest.mark.parametrize("unit", [1e-35, 1e-30, 1e-22, 1e-12])
def test_scale_neither_underflows_nor_overflows_in_32_bits(unit):
    # A 3-4-5 triangle: hypot(3, 0.4 * 10) = 5. The squares of 1e-30 are zero in 32 bits.
    noise = GaussianNoise(sigma=jnp.float32(3.0 * unit), floor=jnp.float32(0.4))
    total = noise.scale(jnp.float32(-10.0 * unit))
    assert total.dtype == jnp.float32
    assert float(total) / unit == pytest.approx(5.0, rel=1e-6)


def test_scale_has_the_analytic_gradient():
    # d hypot(s, f x)/dx = f^2 x / hypot = 0.16 * 10 / 5.
    noise = GaussianNoise(sigma=3e-30, floor=0.4)
    assert float(jax.grad(noise.scale)(1e-29)) == pytest.approx(0.32, rel=1e-5)
    assert float(jax.grad(noise.scale)(0.0)) == 0.0
    assert float(jax.grad(GaussianNoise(sigma=3e-30).scale)(1e-29)) == 0.0


def test_scale_broadcasts_over_galaxies():
    noise = GaussianNoise(sigma=SIGMA, floor=np.array([0.05, 0.05, 0.1]))
    flux = np.tile(FLUX, (4, 1))
    expected = np.sqrt((SIGMA * 1e30) ** 2 + (noise.floor * flux * 1e30) ** 2)
    np.testing.assert_allclose(noise.scale(flux) * 1e30, expected, rtol=1e-6)


def test_resolved_noise_is_finite_in_masked_bands():
    mask = np.array([True, False, False])
    flux = np.array([1e-29, np.nan, np.inf])
    noise = GaussianNoise(sigma=np.array([3e-30, np.nan, 0.0]), floor=0.4, mask=mask)
    resolved = noise.resolved(flux)
    np.testing.assert_allclose(resolved.sigma * 1e30, [5.0, 10.0, 10.0], rtol=1e-6)
    assert resolved.floor == 0.0
    np.testing.assert_array_equal(resolved.mask, mask)
    np.testing.assert_allclose(resolved.scale(2.0 * FLUX) * 1e30, [5.0, 10.0, 10.0], rtol=1e-6)


def test_gradient_passes_masked_nan():
    mask = np.array([True, False])
    noise = GaussianNoise(sigma=jnp.array([3e-30, jnp.nan]), floor=0.4, mask=mask)
    flux = jnp.array([1e-29, jnp.nan])
    # The used band: 0.16 * 10 / 5, as above; the masked one has no influence.
    gradient = jax.grad(lambda f: jnp.sum(noise.resolved(f).sigma))(flux)
    np.testing.assert_allclose(gradient, [0.32, 0.0], rtol=1e-5)
    assert np.all(np.isfinite(jax.grad(lambda f: jnp.sum(noise.scale(f)))(jnp.full(2, 1e-29))))


def test_noise_is_a_pytree():
    noise = GaussianNoise(sigma=SIGMA, floor=0.1, mask=np.array([True, True, False]))
    assert len(jax.tree.leaves(noise)) == 3
    total = jax.jit(lambda n, f: n.scale(f))(noise, FLUX)
    np.testing.assert_allclose(total, noise.scale(FLUX), rtol=1e-6)
    batch = jax.tree.map(lambda leaf: jnp.stack([jnp.asarray(leaf)] * 5), noise)
    assert jax.vmap(lambda n: n.scale(FLUX))(batch).shape == (5, 3)


def test_floors_by_band():
    noise = GaussianNoise.from_floors(SIGMA, NAMES)
    np.testing.assert_array_equal(noise.floor, [0.05, 0.05, 0.10])
    np.testing.assert_array_equal(systematic_floor(["irac_ch1", "k"], 0.02, 0.2), [0.2, 0.02])
    with pytest.raises(ParameterError, match=r"optical=5.*written 0\.05"):
        GaussianNoise.from_floors(SIGMA, NAMES, optical=5)
    with pytest.raises(DataError, match=r"\(\.\.\., 3\)"):
        GaussianNoise.from_floors(SIGMA[:2], NAMES)


def test_clean_photometry_fills_masked_bands():
    flux, error = FLUX.copy(), SIGMA.copy()
    flux[1], error[1] = np.nan, -99.0
    clean, noise = clean_photometry(flux, error, NAMES, mask=np.isfinite(flux), floor=0.05)
    np.testing.assert_array_equal(clean, [1e-29, 0.0, 5e-29])
    np.testing.assert_array_equal(noise.sigma, [1e-31, 1e-29, 2e-30])
    np.testing.assert_array_equal(noise.floor, [0.05] * 3)
    np.testing.assert_array_equal(noise.mask, [True, False, True])


def test_clean_photometry_of_a_catalogue_has_one_structure():
    flux = np.tile(FLUX, (4, 1))
    clean, noise = clean_photometry(flux, SIGMA, NAMES)
    assert clean.shape == noise.sigma.shape == noise.mask.shape == (4, 3)
    _, masked = clean_photometry(flux, SIGMA, NAMES, mask=np.array([True, False, True]))
    assert jax.tree.structure(noise) == jax.tree.structure(masked)
    assert masked.mask.shape == (4, 3)


@pytest.mark.parametrize("floor", [-0.1, np.nan, [0.1, 0.1]])
def test_meaningless_floor_is_refused(floor):
    with pytest.raises(DataError, match="floor"):
        clean_photometry(FLUX, SIGMA, NAMES, floor=floor)


@pytest.mark.parametrize(
    ("flux", "error", "mask", "message"),
    [
        (FLUX[:2], SIGMA, None, r"flux has shape \(2,\)"),
        (FLUX, SIGMA[:2], None, r"error has shape \(2,\)"),
        (FLUX, SIGMA, [True, False], r"mask has shape \(2,\)"),
        (FLUX, SIGMA, [1, 0, 1], "expected booleans"),
        ([1e-29, np.nan, 1e-29], SIGMA, None, "flux of band 'sdss_r' is nan; mask it"),
        ([1e-29, 1e-29, -np.inf], SIGMA, None, "flux of band 'IRAC1' is -inf"),
        (FLUX, [1e-31, 0.0, 1e-31], None, "error of band 'sdss_r' is 0"),
        (FLUX, [1e-31, 1e-31, np.nan], None, "error of band 'IRAC1' is nan"),
        ([22.0, 21.5, 20.0], SIGMA, None, r"'sdss_g' is 22 \(and 2 more\).*ab_flux"),
        (FLUX, [0.02, 0.02, 0.1], None, "ab_flux_error"),
        (FLUX, SIGMA, [False] * 3, "every band is masked"),
        (np.tile([1e-29, np.nan, 1e-29], (2, 1)), SIGMA, None, "'sdss_r' of galaxy 0 is nan"),
        (np.tile(FLUX, (2, 1)), SIGMA, [[True] * 3, [False] * 3], "every band of galaxy 1"),
    ],
)
def test_bad_photometry_is_refused_by_name(flux, error, mask, message):
    with pytest.raises(DataError, match=message):
        validate_fluxes(flux, error, 3, NAMES, mask)


def test_bands_without_names_are_counted():
    with pytest.raises(DataError, match="band number 1 is nan"):
        validate_fluxes([1e-29, np.nan], [1e-30, 1e-30], 2)
    with pytest.raises(DataError, match="3 names for 2 bands"):
        validate_fluxes([1e-29, 1e-29], [1e-30, 1e-30], 2, NAMES)


def test_valid_photometry_passes():
    validate_fluxes(-FLUX, SIGMA, 3, NAMES)  # negative fluxes are measurements too
    validate_fluxes([1e-29, np.nan, -99.0], [1e-31, -1.0, 0.0], 3, NAMES, [True, False, False])


def test_observation_holds_photometry():
    bands = Photometry(["sdss_g"])
    assert Observation(photometry=bands).bands is bands
    with pytest.raises(DataError, match="spectroscopy is not supported yet"):
        Observation()
    with pytest.raises(DataError, match="photometry is a list"):
        Observation(["sdss_g"])
