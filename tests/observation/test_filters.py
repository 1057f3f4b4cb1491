"""Filter curves: loading by name, cleaning, units, and what is refused."""

import subprocess
import sys

import numpy as np
import pytest
from astropy import units
from astropy.table import QTable, Table

from tengri_ppl.errors import DataError, ParameterError
from tengri_ppl.observation.filter_library import (
    canonical_filter_name,
    list_filters,
    load_filter,
)
from tengri_ppl.observation.filters import Filter


def triangle(name="t", low=4000.0, mid=5000.0, high=6000.0):
    return Filter(name, np.array([low, mid, high]), np.array([0.0, 1.0, 0.0]))


@pytest.mark.parametrize(
    ("typed", "sedpy"),
    [
        ("sdss_u", "sdss_u0"),
        ("SDSS_R", "sdss_r0"),
        ("vlt_vimos_U", "vlt_vimos_U"),
        ("vlt_isaac_Ks", "vlt_isaac_Ks"),
        ("acs_wfc_f435w", "acs_wfc_f435w"),
        ("acs_f606w", "acs_wfc_f606w"),
        ("hst_acs_f850lp", "acs_wfc_f850lp"),
        ("wfc3_ir_f105w", "wfc3_ir_f105w"),
        ("wfc3_f160w", "wfc3_ir_f160w"),
        ("wfc3_f275w", "wfc3_uvis_f275w"),
        ("irac_ch4", "spitzer_irac_ch4"),
        ("irac1", "spitzer_irac_ch1"),
        ("2mass_j", "twomass_J"),
        ("2MASS Ks", "twomass_Ks"),
        ("galex_fuv", "galex_FUV"),
        ("wise_w1", "wise_w1"),
        ("jwst_f090w", "jwst_f090w"),
        ("nircam_f150w2", "jwst_f150w2"),
        ("jwst_miri_f770w", "jwst_f770w"),
        ("lsst_y", "lsst_baseline_y"),
    ],
)
def test_alias_means_the_sedpy_filter(typed, sedpy):
    assert canonical_filter_name(typed) == sedpy


def test_every_listed_filter_is_its_own_canonical_name():
    names = list_filters()
    assert names == sorted(set(names))
    assert [canonical_filter_name(name) for name in names] == names


def test_loaded_filter_keeps_the_typed_name_and_the_sedpy_curve():
    from sedpy.observate import Filter as SedpyFilter

    band, theirs = load_filter("2mass_j"), SedpyFilter("twomass_J")
    assert band.name == "2mass_j"
    np.testing.assert_array_equal(band.wave, theirs.wavelength)
    np.testing.assert_array_equal(band.transmission, theirs.transmission)


def test_unknown_name_is_refused_with_a_suggestion():
    with pytest.raises(
        ParameterError, match=r"'sdss_q0' is unknown; did you mean 'sdss_.0'.*lists"
    ):
        load_filter("sdss_q0")
    with pytest.raises(ParameterError, match=r"'zzzzzz' is unknown\. `tengri_ppl.list_filters"):
        load_filter("zzzzzz")


def test_import_does_not_load_sedpy():
    code = "import sys, tengri_ppl.observation.filters; assert 'sedpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_pivot_and_width_of_a_top_hat():
    # Closed forms: int T lam dlam = (b^2 - a^2)/2, int T/lam dlam = ln(b/a), width = b - a.
    low, high = 3000.0, 9000.0
    band = Filter("box", np.array([low, high]), np.array([0.7, 0.7]))
    expected = np.sqrt((high**2 - low**2) / 2.0 / np.log(high / low))
    assert band.pivot_wavelength == pytest.approx(expected, rel=1e-10)
    assert band.effective_width == pytest.approx(high - low, rel=1e-10)
    assert (band.wave_min, band.wave_max) == (low, high)


def test_curve_is_cleaned():
    wave = [7000.0, 4000.0, 5000.0, 5000.0, 6000.0, np.nan, 6500.0, 3000.0, 5500.0]
    transmission = [0.0, 0.0, 0.5, 0.9, 1.0, 0.3, 0.0, -0.1, np.nan]
    band = Filter("messy", np.array(wave), np.array(transmission))
    np.testing.assert_array_equal(band.wave, [4000.0, 5000.0, 6000.0, 6500.0])
    np.testing.assert_array_equal(band.transmission, [0.0, 0.5, 1.0, 0.0])
    with pytest.raises(ValueError, match="read-only"):
        band.wave[0] = 1.0


def test_energy_counting_curve_is_divided_by_wavelength():
    wave = np.linspace(4000.0, 8000.0, 401)
    photon = np.exp(-0.5 * ((wave - 6000.0) / 500.0) ** 2)
    from_energy = Filter.from_arrays("x", wave, photon * wave, kind="energy")
    ratio = from_energy.transmission / photon
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-12)
    with pytest.raises(ParameterError, match="'photon' or 'energy'"):
        Filter.from_arrays("x", wave, photon, kind="counts")


@pytest.mark.parametrize(
    ("wave", "transmission", "message"),
    [
        ([5000.0], [1.0], "at least 2"),
        ([5000.0, 5000.0], [1.0, 1.0], "at least 2"),
        ([4000.0, 5000.0], [0.0, 0.0], "nowhere positive"),
        ([4000.0, 5000.0], [-1.0, -2.0], "nowhere positive"),
        ([-4000.0, 5000.0], [1.0, 1.0], "> 0 Angstrom"),
        ([0.4, 0.5], [1.0, 1.0], "expected Angstrom.*micron"),
        ([4000.0, 5000.0, 6000.0], [1.0, 1.0], "equal length"),
    ],
)
def test_invalid_curve_is_refused(wave, transmission, message):
    with pytest.raises(DataError, match=message):
        Filter.from_arrays("bad", wave, transmission)


def test_nanometres_without_a_unit_draw_a_warning():
    with pytest.warns(UserWarning, match="wave_unit='nm'"):
        Filter.from_arrays("g", [400.0, 550.0], [1.0, 1.0])


def test_units_are_honoured():
    in_micron = Filter.from_arrays("k", [2.0, 2.2, 2.4], [0.0, 1.0, 0.0], wave_unit="micron")
    quantity = Filter.from_arrays("k", [2.0, 2.2, 2.4] * units.um, [0.0, 1.0, 0.0])
    for band in (in_micron, quantity):
        np.testing.assert_allclose(band.wave, [20000.0, 22000.0, 24000.0])
    for unit in ("second", "furlong_of_light"):
        with pytest.raises(ParameterError, match="no unit of length"):
            Filter.from_arrays("k", [2.0, 2.4], [1.0, 1.0], wave_unit=unit)


def test_an_x_ray_band_may_be_given_in_photon_energies():
    soft = Filter.from_arrays("soft", [0.5, 1.0, 2.0], [1.0, 1.0, 1.0], wave_unit="keV")
    np.testing.assert_allclose(soft.wave, [6.19921, 12.39842, 24.79684], rtol=1e-6)


@pytest.mark.parametrize("kind", [Table, QTable])
def test_table_with_units(kind):
    table = kind({"lam": [400.0, 500.0, 600.0] * units.nm, "T": [0.0, 1.0, 0.0]})
    band = Filter.from_table(table, name="t")
    np.testing.assert_allclose(band.wave, triangle().wave)
    with pytest.raises(ParameterError, match="needs a name"):
        Filter.from_table(table)
    with pytest.raises(DataError, match="two columns"):
        Filter.from_table(table[["lam"]], name="t")


def test_text_file(tmp_path):
    path = tmp_path / "HAWKI_KS.dat"
    path.write_text("lambda response\n# in percent\n4000 0\n5000, 100 # peak\n\n6000 0\n")
    band = Filter.from_table(path)
    assert band.name == "HAWKI_KS"
    np.testing.assert_array_equal(band.wave, triangle().wave)
    in_nm = Filter.from_table(str(path), name="other", wave_unit="nm")
    assert in_nm.wave_max == pytest.approx(60000.0)


def test_table_file(tmp_path):
    path = tmp_path / "g.ecsv"
    Table({"lam": [0.4, 0.5, 0.6] * units.um, "T": [0.0, 1.0, 0.0]}).write(path)
    np.testing.assert_allclose(Filter.from_table(path).wave, triangle().wave)


def test_bad_file_is_refused(tmp_path):
    with pytest.raises(DataError, match="no filter file"):
        Filter.from_table(tmp_path / "absent.dat")
    path = tmp_path / "bad.dat"
    path.write_text("4000 0\n5000 one\n")
    with pytest.raises(DataError, match="line 2"):
        Filter.from_table(path)
    path.write_text("# nothing\n")
    with pytest.raises(DataError, match="at least 2"):
        Filter.from_table(path)
