"""Active nuclei against tables of other codes.

* ``temple.txt``: continuum of Temple, Hewett & Banerji (2021) as prospector ships it, without hot
  dust.
* ``Nenkova08_y010_torusg_n10_q2.0.dat``: clumpy tori of Nenkova et al. (2008) as FSPS ships them,
  each normalised to unit luminosity.
"""

import jax
import numpy as np
import pytest

from tengri_ppl.physics.agn import TemplateTorus, Temple2021Disc, TwoBlackbodyTorus
from tengri_ppl.physics.blackbody import blackbody
from tengri_ppl.physics.constants import C_ANGSTROM_PER_S
from tengri_ppl.physics.templates import import_templates

pytestmark = pytest.mark.crosscheck
NENKOVA = "Nenkova08_y010_torusg_n10_q2.0.dat"
CONTINUUM = {"agn_disc_slope_uv": -0.349, "agn_disc_slope_optical": 0.593, "agn_disc_balmer": 0.0}


@pytest.fixture(autouse=True)
def _double_precision():
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="module")
def tables(validation_data):
    return validation_data / "physics_tables" / "agn"


def test_quasar_continuum_is_that_of_prospector(tables):
    """To 1e-4: the table's values are rounded where it was pieced together."""
    wave, expected = np.loadtxt(tables / "temple.txt", unpack=True)
    inside = wave <= 1e7
    l_nu = np.asarray(Temple2021Disc().l_nu(wave[inside], CONTINUUM))
    ratio = l_nu / expected[inside]
    np.testing.assert_allclose(ratio / np.median(ratio), 1.0, atol=1.5e-4)


def test_hot_dust_of_the_quasar_model_is_a_torus_that_covers_a_fifth_of_the_sky():
    """Its height is 3.961 times the power law at 5500 A, at 2 micron and 1243.6 K.

    As a black body over a disc of unit luminosity that is a covering factor of 0.18.
    """
    height = 3.961 * float(Temple2021Disc().l_nu(5500.0, CONTINUUM))
    covering = height / float(blackbody(2e4, 1243.6))
    assert covering == pytest.approx(0.177, abs=1e-3)
    torus = {"agn_torus_t_hot": 1243.6, "agn_torus_t_warm": 300.0, "agn_torus_warm_fraction": 0.0}
    wave = np.array([1e4, 2e4, 3e4])
    x = 1.43877735e8 / 1243.6 / wave
    expected = height * (wave / 2e4) ** -3 * np.expm1(x[1]) / np.expm1(x)
    light = covering * np.asarray(TwoBlackbodyTorus().smooth(wave, torus))
    np.testing.assert_allclose(light, expected, rtol=5e-6)  # digits of h c / k


def test_clumpy_tori_keep_their_shape_and_their_unit_luminosity(tables, tmp_path):
    """The table says that its spectra have a luminosity of one, which holds to 1e-3 in frequency.

    Read as linear in wavelength, as templates are, its coarse points hold up to 0.6 % less.
    """
    path = tmp_path / "torus.h5"
    import_templates("nenkova2008", tables / NENKOVA, path)
    lines = [x for x in (tables / NENKOVA).read_text().splitlines() if not x.startswith("#")]
    depths = np.array(lines[0].split(), dtype=float)
    wave, *spectra = np.loadtxt(lines[1:], unpack=True)
    torus = TemplateTorus(path=str(path))
    (axis,) = torus.parameters
    grid = torus.load()
    np.testing.assert_allclose(grid.axes[0], depths)
    for depth, expected in zip(depths, spectra, strict=True):
        weights = np.asarray(torus.weights({axis.name: depth}, grid))
        scale = np.sum(weights @ grid.spectra) / np.sum(expected)
        np.testing.assert_allclose(weights @ grid.spectra, scale * expected, rtol=1e-9)
        assert scale == pytest.approx(1.0, abs=7e-3)
        assert abs(np.trapezoid(expected, -C_ANGSTROM_PER_S / wave) - 1.0) < 1e-3


def test_two_black_bodies_follow_a_clumpy_torus_of_low_depth(tables):
    """The best pair for tau = 10 stays within 20 % of the peak from 2 to 60 micron."""
    lines = [x for x in (tables / NENKOVA).read_text().splitlines() if not x.startswith("#")]
    wave, _, expected = np.loadtxt(lines[1:], unpack=True)[:3]
    near = (wave > 2e4) & (wave < 6e5)
    wave, expected = wave[near], (expected * C_ANGSTROM_PER_S / wave)[near]
    params = {"agn_torus_t_hot": 693.0, "agn_torus_t_warm": 245.0, "agn_torus_warm_fraction": 0.33}
    model = np.asarray(TwoBlackbodyTorus().smooth(wave, params)) * C_ANGSTROM_PER_S / wave
    assert np.max(np.abs(model - expected)) < 0.2 * expected.max()
