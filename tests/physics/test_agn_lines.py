"""Lines of the nucleus: profiles, and fluxes against the composite of SDSS quasars."""

import jax
import numpy as np
import pytest
from emission_cases import C_ANGSTROM_PER_S, midpoint

from tengri_ppl.physics.agn import BROAD_LINES, NARROW_LINES, QuasarLines, line_templates
from tengri_ppl.physics.templates import integrate_spectra

C_KMS = 299792.458
LINES = QuasarLines()
#: Vanden Berk et al. (2001), table 2: flux in units of a hundredth of Ly alpha.
RELATIVE_FLUX = {"Si_IV_O_IV]": 8.916, "C_IV": 25.291, "C_III]": 15.943, "Mg_II": 14.725}
RELATIVE_FLUX |= {"H_gamma": 2.616, "H_beta": 8.649}


@pytest.fixture(autouse=True)
def _double_precision():
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="module")
def grid():
    return LINES.load()


def spectrum(grid, broad, bolometric, **changes):
    weights = LINES.weights(broad, bolometric, midpoint(LINES) | changes)
    return np.asarray(weights) @ np.asarray(grid.spectra)


def moments(wave, l_nu, around, kms=15000.0):
    """Luminosity, mean wavelength and FWHM [km/s] of a Gaussian line by its moments."""
    fine = around * np.exp(np.linspace(-1, 1, 20_001) * kms / C_KMS)
    x, density = np.log(fine), np.interp(fine, wave, l_nu) * C_ANGSTROM_PER_S / fine
    total = np.trapezoid(density, x)
    mean = np.trapezoid(density * x, x) / total
    variance = np.trapezoid(density * (x - mean) ** 2, x) / total
    return total, np.exp(mean), 2.35482 * np.sqrt(variance) * C_KMS


def test_every_template_has_one_solar_luminosity(grid):
    luminosity = integrate_spectra(grid.wave, grid.spectra)
    np.testing.assert_allclose(luminosity, 1.0, rtol=1e-12)


def test_luminosities_add_up(grid):
    broad = np.linspace(1.0, 2.0, LINES.broad_wave.size)
    weights = LINES.weights(broad, 3500.0, midpoint(LINES))
    narrow = sum(ratio for _, ratio in NARROW_LINES.values())
    assert float(weights.sum()) == pytest.approx(broad.sum() + narrow, rel=1e-12)


@pytest.mark.parametrize("fwhm", [1000.0, 3300.0, 5000.0, 16000.0])
def test_flux_centre_and_width_of_a_broad_line(grid, fwhm):
    """Profiles are linear between points, which widens them by up to 1.5 %."""
    broad = np.zeros(LINES.broad_wave.size)
    broad[list(BROAD_LINES).index("Mg_II")] = 7.0
    l_nu = spectrum(grid, broad, 0.0, agn_line_broad_fwhm_kms=fwhm)
    total, mean, width = moments(grid.wave, l_nu, 2798.75, kms=35000.0)
    assert total == pytest.approx(7.0, rel=1e-5)
    # the Gaussian is one of L_nu: its centre by energy is bluer by the square of the dispersion
    assert mean == pytest.approx(2798.75 * (1 - (fwhm / 2.35482 / C_KMS) ** 2), rel=1e-4)
    assert width == pytest.approx(fwhm, rel=0.015)


def test_narrow_lines_follow_the_bolometric_luminosity(grid):
    """L([O III]) = L_bol / 3500 (Heckman et al. 2004)."""
    none = np.zeros(LINES.broad_wave.size)
    total, mean, width = moments(grid.wave, spectrum(grid, none, 3500.0), 5008.24, kms=1400.0)
    assert total == pytest.approx(1.0, rel=1e-5)
    assert mean == pytest.approx(5008.24, rel=1e-4)
    assert width == pytest.approx(500.0, rel=0.015)
    brighter = spectrum(grid, none, 3500.0, agn_line_narrow=0.5)
    np.testing.assert_allclose(brighter, 10**0.5 * spectrum(grid, none, 3500.0), rtol=1e-12)


@pytest.mark.parametrize("name", RELATIVE_FLUX)
def test_line_ratios_of_the_composite_over_its_own_continuum(name):
    """Equivalent widths times the composite's f_lambda ~ lambda^-1.56 give its line ratios.

    To 15 %: the published widths are over local continua. Ly alpha is left out, whose continuum
    the intergalactic medium absorbs.
    """
    nu_l_nu = LINES.broad_wave ** (1.0 - 1.56)
    flux = dict(zip(BROAD_LINES, np.asarray(LINES.broad(nu_l_nu, midpoint(LINES))), strict=False))
    expected = RELATIVE_FLUX[name] / RELATIVE_FLUX["C_IV"]
    assert flux[name] / flux["C_IV"] == pytest.approx(expected, rel=0.15)


def test_equivalent_width_is_line_over_continuum():
    """EW = L_line / L_lambda, with L_lambda = nu L_nu / lambda."""
    nu_l_nu = np.full(LINES.broad_wave.size, 5.0)
    params = midpoint(LINES) | {"agn_line_iron": 0.0, "agn_line_broad": 2.0}
    luminosity = np.asarray(LINES.broad(nu_l_nu, params))
    index = list(BROAD_LINES).index("H_alpha")
    assert luminosity[index] / (5.0 / 6564.61) == pytest.approx(2.0 * 194.52, rel=1e-12)
    assert not np.any(luminosity[len(BROAD_LINES) :])


def test_o_iii_matches_the_equivalent_width_of_the_composite():
    """13.23 A (Vanden Berk) and L_bol = 9.3 lambda L_lambda(5100 A) agree with L_bol / 3500."""
    from_width = 13.23 / 5008.24 / 9.3
    assert from_width == pytest.approx(1.0 / 3500.0, rel=0.05)


def test_templates_of_one_line_resolve_all_widths():
    wave, spectra = line_templates([5000.0, 5000.0], [1e-4, 1e-2])
    for sigma, row in zip((1e-4, 1e-2), spectra, strict=True):
        inside = np.abs(np.log(wave / 5000.0)) < sigma
        assert inside.sum() > 5
        assert np.argmax(row) == np.argmin(np.abs(wave - 5000.0))
