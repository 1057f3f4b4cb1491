"""Sets of bands, their quadrature against exact integrals and sedpy, and AB magnitudes."""

import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from sedpy import observate

from tengri_ppl.errors import DataError, ParameterError
from tengri_ppl.observation.filter_library import load_filter
from tengri_ppl.observation.filters import Filter
from tengri_ppl.observation.photometry import (
    Photometry,
    ab_flux,
    ab_flux_error,
    ab_magnitude,
    band_quadrature,
)
from tengri_ppl.physics.constants import C_ANGSTROM_PER_S

NAMES = [
    "galex_FUV",
    "galex_NUV",
    "sdss_u0",
    "sdss_g0",
    "sdss_r0",
    "sdss_i0",
    "sdss_z0",
    "twomass_J",
    "twomass_H",
    "twomass_Ks",
    "acs_wfc_f435w",
    "acs_wfc_f814w",
    "wfc3_ir_f160w",
    "jwst_f150w",
    "jwst_f444w",
    "spitzer_irac_ch1",
    "wise_w1",
    "wise_w3",
    "herschel_pacs_160",
    "herschel_spire_500",
    "vlt_vimos_U",
    "subaru_suprimecam_ia527",
]
REPOSITORY = Path(__file__).resolve().parents[2]
VALIDATION_DATA = Path(
    os.environ.get("TENGRI_PPL_VALIDATION_DATA", REPOSITORY.parent / "shared" / "data")
)


@pytest.fixture(scope="module")
def bands():
    return Photometry.from_names(NAMES)


@pytest.fixture(scope="module")
def quadrature(bands):
    return band_quadrature(bands)


def band_means(quadrature, spectrum):
    """Sum in float64, without JAX, so that the tolerances test the rule and not the precision."""
    return np.sum(quadrature.weight * spectrum(quadrature.wave), axis=-1)


def exact_mean(band, spectrum, n=2_000_001):
    """Dense trapezoid in ln(lambda) over the whole curve."""
    wave = np.exp(np.linspace(np.log(band.wave[0]), np.log(band.wave[-1]), n))
    transmission = np.interp(wave, band.wave, band.transmission)
    return np.sum(transmission * spectrum(wave)) / np.sum(transmission)


def test_names_and_sizes():
    photometry = Photometry(
        ["sdss_u", load_filter("2mass_j"), ("mine", [4000.0, 5000.0, 6000.0], [0.0, 1.0, 0.0])]
    )
    assert photometry.names == ("sdss_u", "2mass_j", "mine")
    assert photometry.n_band == len(photometry) == len(list(photometry)) == 3
    assert photometry.pivot_wavelengths.shape == (3,)
    assert repr(photometry) == "Photometry(3 bands, 3557-12355 A: sdss_u, 2mass_j, mine)"
    assert repr(photometry.subset("mine")).startswith("Photometry(1 band, 49")


def test_subset_keeps_the_order_asked_for(bands):
    part = bands.subset(["wise_w1", "sdss_u0"])
    assert part.names == ("wise_w1", "sdss_u0")
    with pytest.raises(ParameterError, match="did you mean 'sdss_u0'"):
        part.subset(["sdss_u"])


@pytest.mark.parametrize(
    ("filters", "error", "message"),
    [
        ([], DataError, "without any band"),
        ("sdss_u", ParameterError, "expected a list"),
        (["sdss_u", "sdss_u"], ParameterError, "'sdss_u' occurs 2 times"),
        (["sdss_u", "sdss_u0"], ParameterError, "are the same filter"),
        ([load_filter("sdss_u"), "sdss_u"], ParameterError, "occurs 2 times"),
        (["sdss_q0"], ParameterError, "did you mean"),
        ([3.5], ParameterError, "given as float"),
        ([()], ParameterError, "given as tuple"),
    ],
)
def test_what_is_no_set_of_bands_is_refused(filters, error, message):
    with pytest.raises(error, match=message):
        Photometry(filters)


def test_pivot_wavelengths_agree_with_sedpy(bands):
    # sedpy integrates T lam and T/lam by the trapezoid on the curve's own points; ours is exact for
    # a curve linear between them. 1e-3 covers the coarsest of these curves.
    theirs = [observate.Filter(name).wave_pivot for name in NAMES]
    np.testing.assert_allclose(bands.pivot_wavelengths, theirs, rtol=1e-3)


@pytest.mark.crosscheck
def test_pivot_wavelengths_agree_with_the_bagpipes_table():
    path = VALIDATION_DATA / "bagpipes_reference" / "reference_dev.npz"
    if not path.is_file():
        pytest.skip(f"no reference table at {path}")
    with np.load(path) as table:
        names, theirs = table["filter_names"].tolist(), table["pivot_wav_A"]
    ours = Photometry.from_names(names).pivot_wavelengths
    # Their table comes from curves resampled to steps of 0.5 %; observed agreement is 2e-5.
    np.testing.assert_allclose(ours, theirs, rtol=1e-4)


def test_quadrature_shape_padding_and_step(bands, quadrature):
    wave, weight = quadrature.wave, quadrature.weight
    assert wave.shape == weight.shape and wave.shape[0] == bands.n_band
    assert wave.dtype == weight.dtype == np.float64
    for band, row, share in zip(bands, wave, weight, strict=True):
        n = 1 + np.argmax(row)
        assert np.all(row[n:] == row[n - 1]) and np.all(share[n:] == 0.0)
        step = np.diff(np.log(row[:n]))
        assert np.all(step > 0.0) and step.max() <= (1.0 + 1e-9) / 3000.0
        assert row[0] >= band.wave_min * (1 - 1e-12) and row[n - 1] <= band.wave_max * (1 + 1e-12)


def test_trimmed_wings_hold_less_than_a_millionth(bands, quadrature):
    for band, row in zip(bands, quadrature.wave, strict=True):
        fine = np.exp(np.linspace(np.log(band.wave_min), np.log(band.wave_max), 400_001))
        transmission = np.interp(fine, band.wave, band.transmission)
        for outside in (fine < row[0], fine > row[-1]):
            assert transmission[outside].sum() / transmission.sum() < 1e-6


def test_flat_spectrum_is_returned(quadrature):
    np.testing.assert_allclose(band_means(quadrature, np.ones_like), 1.0, rtol=1e-13)


@pytest.mark.parametrize("slope", [-3.0, 1.0, 2.5])
def test_power_law_against_dense_trapezoid(bands, quadrature, slope):
    means = band_means(quadrature, lambda wave: (wave / 1e4) ** slope)
    exact = [exact_mean(band, lambda wave: (wave / 1e4) ** slope, 400_001) for band in bands]
    np.testing.assert_allclose(means, exact, rtol=1e-5)


def test_power_law_against_adaptive_quadrature():
    band = Filter("triangle", np.array([4000.0, 5000.0, 6500.0]), np.array([0.0, 0.8, 0.0]))

    def integral(power):
        def integrand(wave):
            return np.interp(wave, band.wave, band.transmission) * wave ** (power - 1.0)

        return quad(integrand, 4000.0, 6500.0, points=[5000.0], epsabs=0.0, epsrel=1e-12)[0]

    mean = band_means(band_quadrature([band]), lambda wave: wave**2.0)
    # Error of a piecewise linear f_nu: (2/3000)^2/12 = 4e-8; the wings add about 1e-7.
    np.testing.assert_allclose(mean, integral(2.0) / integral(0.0), rtol=3e-7)


def test_jagged_curve_needs_no_finer_grid():
    # A comb far below the grid's step: the rule stays exact for a spectrum linear in ln(lambda).
    wave = np.linspace(5000.0, 5500.0, 20_001)
    comb = np.where(np.arange(wave.size) % 7 < 3, 1.0, 0.0) * (wave - 4900.0)
    band = Filter("comb", wave, comb)
    mean = band_means(band_quadrature([band], resolution=100.0), np.log)
    np.testing.assert_allclose(mean, exact_mean(band, np.log), rtol=1e-6)


def test_blackbody_magnitudes_agree_with_sedpy(bands, quadrature):
    def f_nu(wave):
        return 1e-20 * (1e4 / wave) ** 3 / np.expm1(1.43877e8 / (wave * 5800.0))

    wave = np.exp(np.linspace(np.log(900.0), np.log(8e6), 400_000))
    f_lambda = f_nu(wave) * C_ANGSTROM_PER_S / wave**2
    theirs = observate.getSED(wave, f_lambda, [observate.Filter(name) for name in NAMES])
    ours = -2.5 * np.log10(band_means(quadrature, f_nu)) - 48.60
    # sedpy's zero point is 3.631e-20 and c = 2.998e18: -0.0001 mag. Its zero-point counts are a
    # trapezoid on the curve's own points, which costs up to 0.002 mag on coarse curves.
    np.testing.assert_allclose(ours, theirs, atol=3e-3)


def test_quadrature_is_a_pytree(quadrature):
    flux = jnp.ones((4, *quadrature.wave.shape))
    means = jax.jit(lambda rule, f: rule.mean(f))(quadrature, flux)
    assert means.shape == (4, len(NAMES))
    np.testing.assert_allclose(means, 1.0, rtol=1e-5)  # sums of 10^3 float32 terms


@pytest.mark.parametrize("resolution", [0.0, -10.0, float("nan"), float("inf")])
def test_meaningless_resolution_is_refused(resolution):
    with pytest.raises(ParameterError, match="positive"):
        band_quadrature([load_filter("sdss_g")], resolution=resolution)


@st.composite
def curves(draw):
    n = draw(st.integers(2, 12))
    steps = draw(st.lists(st.floats(1e-3, 3e3), min_size=n, max_size=n))
    values = draw(st.lists(st.floats(0.0, 1.0), min_size=n, max_size=n))
    peak = draw(st.integers(0, n - 1))
    values[peak] = 1.0
    return Filter("drawn", 1000.0 + np.cumsum(steps), np.array(values))


@settings(max_examples=60, deadline=None)
@given(curves=st.lists(curves(), min_size=1, max_size=3), resolution=st.floats(1.0, 2000.0))
def test_any_curve_gives_a_valid_rule(curves, resolution):
    rule = band_quadrature(curves, resolution=resolution)
    np.testing.assert_allclose(rule.weight.sum(axis=1), 1.0, rtol=1e-12)
    # Hat functions and transmissions are not negative; rounding leaves -1e-16.
    assert rule.weight.min() >= -1e-12
    assert np.all(np.diff(rule.wave, axis=1) >= 0.0)
    for band, row in zip(curves, rule.wave, strict=True):
        assert row[0] >= band.wave_min * (1 - 1e-12) and row[-1] <= band.wave_max * (1 + 1e-12)


def test_ab_magnitudes():
    # 3631 Jy is magnitude 0 up to the rounding of 48.60 (Oke & Gunn 1983): 48.5999 exactly.
    assert float(ab_magnitude(3631e-23)) == pytest.approx(0.0, abs=2e-4)
    magnitudes = np.array([15.0, 24.0, 31.0])
    np.testing.assert_allclose(ab_magnitude(ab_flux(magnitudes)), magnitudes, rtol=2e-6)
    assert ab_flux(np.ones((3, 2))).shape == (3, 2)


def test_ab_flux_error_is_the_derivative():
    magnitude, error = 22.0, 0.01
    derivative = jax.grad(lambda m: ab_flux(m) * 1e29)(magnitude)
    assert float(ab_flux_error(magnitude, error) * 1e29) == pytest.approx(
        float(-derivative) * error, rel=1e-5
    )
