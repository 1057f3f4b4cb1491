"""Observed spectra of 13 galaxies against BAGPIPES 1.3.6, before any instrument's resolution.

``spectrum_hires`` runs from 3600 to 9500 Angstrom in steps of 5 Angstrom. All 13 galaxies are at
z <= 0.45, where nothing observed lies blueward of Lyman-alpha, so the IGM does not matter.

BAGPIPES samples the spectrum at R = 5000 (0.4 to 0.9 Angstrom), convolves it with the velocity
dispersion, if there is one, and averages over the pixels. Here, the spectrum is integrated over
pixels; stars and gas have no width of their own (``neb_line_width_kms`` is 0), and the velocity
dispersion is applied to both, as BAGPIPES does.

Lines: BAGPIPES gives each to one sample, half a sample off at most; here it is a triangle as wide
as two steps of the SSP grid (1.8 Angstrom, 20 Angstrom beyond 9000, where BC03 is that coarse).
So a line near the edge of a pixel may have its light in one pixel there and in two here: single
pixels differ by any factor. Their sums over complexes of lines do not.
"""

import numpy as np
import pytest
from bagpipes_cases import AREA, FREQUENCY, read_cases

from tengri_ppl.physics.constants import C_ANGSTROM_PER_S, C_KM_PER_S, MPC_CM
from tengri_ppl.physics.cosmology import luminosity_distance_mpc

pytestmark = [pytest.mark.crosscheck, pytest.mark.slow]

STEP = 5.0
#: Rest-frame windows around [O II], H beta, [O III], and H alpha with [N II] [Angstrom].
COMPLEXES = ((3710.0, 3745.0), (4835.0, 4890.0), (4930.0, 5040.0), (6510.0, 6620.0))
#: What each case is allowed in its worst 5 %: pixels at lines, see above.
AT_LINES = {"B04": 2.5e-2, "E06": 2.5e-2, "E07": 2.5e-2}


def cumulative(wave, flux):
    """Integral from the first wavelength on of a function linear between wavelengths."""
    return np.concatenate([[0.0], np.cumsum(0.5 * (flux[1:] + flux[:-1]) * np.diff(wave))])


def average(wave, flux, edges):
    """Mean between edges of a function linear between wavelengths."""
    left = np.clip(np.searchsorted(wave, edges) - 1, 0, wave.size - 2)
    step = edges - wave[left]
    slope = (np.diff(flux) / np.diff(wave))[left]
    integral = cumulative(wave, flux)[left] + step * (flux[left] + 0.5 * slope * step)
    return np.diff(integral) / np.diff(edges)


def convolve(wave, flux, dispersion_kms):
    """Gaussian in ln(wavelength), on pixels of 10 km/s."""
    step = 10.0 / C_KM_PER_S
    edges = np.exp(np.arange(np.log(3300.0), np.log(9900.0), step))
    sigma = dispersion_kms / C_KM_PER_S / step
    offset = np.arange(-round(6 * sigma), round(6 * sigma) + 1)
    kernel = np.exp(-0.5 * (offset / sigma) ** 2)
    smooth = np.convolve(average(wave, flux, edges), kernel / kernel.sum(), "same")
    return np.sqrt(edges[1:] * edges[:-1]), smooth


def observed(prediction, components, centres):
    """F_lambda [erg/s/cm^2/Angstrom] in pixels, with BAGPIPES' constants."""
    redshift = components["redshift"]
    wave = prediction.wave * (1.0 + redshift)
    area = 4.0 * np.pi * (float(luminosity_distance_mpc(redshift)) * MPC_CM) ** 2
    flux = prediction.parts["total"] * C_ANGSTROM_PER_S / prediction.wave**2
    flux *= AREA / FREQUENCY / (area * (1.0 + redshift))
    if "veldisp" in components:
        wave, flux = convolve(wave, flux, components["veldisp"])
    edges = np.concatenate([centres - 0.5 * STEP, centres[-1:] + 0.5 * STEP])
    return average(wave, flux, edges)


@pytest.fixture(scope="module")
def spectra(bagpipes, predicted):
    """(components, our pixels, their pixels) by case."""
    return {
        case.name: (
            case.components,
            observed(predicted[case.name], case.components, bagpipes["spec_wavs_A"]),
            bagpipes["spectrum_hires"][i],
        )
        for i, case in enumerate(read_cases(bagpipes))
        if bagpipes["has_spec"][i]
    }


def test_spectra_agree(spectra, measured):
    """Required: 1 % in the median. Reached: 0.1 % at most (E04), 0.02 % in most cases."""
    assert len(spectra) == 13
    for name, (_, ours, theirs) in spectra.items():
        error = np.abs(ours / theirs - 1.0)
        measured("BAGPIPES spectra, median of each", np.median(error))
        assert np.median(error) < 1.5e-3, name
        assert np.percentile(error, 95) < AT_LINES.get(name, 4e-3), name


def test_spectra_of_stars_agree_in_every_pixel(spectra):
    """To 2.5 %: blueward of 3500 Angstrom at rest the shipped grid has steps of 1 Angstrom."""
    stars = {name: x for name, x in spectra.items() if "nebular" not in x[0]}
    assert len(stars) == 6
    for name, (_, ours, theirs) in stars.items():
        assert np.abs(ours / theirs - 1.0).max() < 2.5e-2, name


def test_line_complexes_have_the_same_light(spectra, bagpipes):
    """Stars and lines of a complex together, to 0.5 %, where gas shines."""
    compared = 0
    for name, (components, ours, theirs) in spectra.items():
        rest = bagpipes["spec_wavs_A"] / (1.0 + components["redshift"])
        for low, high in COMPLEXES if "nebular" in components else ():
            inside = (rest > low) & (rest < high)
            if rest[0] < low and high < rest[-1]:
                assert abs(ours[inside].sum() / theirs[inside].sum() - 1.0) < 5e-3, (name, low)
                compared += 1
    assert compared > 20
