"""Other codes' template files, against what their own tables say about them."""

import numpy as np
import pytest
from astropy.io import fits

from tengri_ppl.citations import find_references
from tengri_ppl.errors import DataError, ParameterError
from tengri_ppl.physics.templates import import_templates, integrate_spectra, load_templates

C = 2.99792458e18  # Angstrom/s


@pytest.fixture(scope="module")
def tables(validation_data):
    folder = validation_data / "physics_tables"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    return folder


@pytest.fixture
def imported(tmp_path):
    """Import, and read the file back."""

    def run(format, path, **options):
        import_templates(format, path, tmp_path / "out.h5", **options)
        return load_templates(tmp_path / "out.h5")

    return run


def at(content, micron):
    """L_nu at wavelengths [micron], (n_template, n)."""
    spectra = content.spectra.reshape(-1, content.wave.size)
    return np.stack([np.interp(np.asarray(micron) * 1e4, content.wave, s) for s in spectra])


@pytest.mark.crosscheck
def test_dale2014_has_the_far_infrared_colours_of_its_calibration(tables, imported):
    """dhcal.dat lists log f_nu(60) / f_nu(100) in the IRAS bands; here at the wavelengths."""
    content = imported("dale2014", tables / "dale2014")
    calibration = np.loadtxt(tables / "dale2014" / "dhcal.dat")
    np.testing.assert_array_equal(content.axes[0].values, calibration[:, 1])
    assert content.spectra.shape[0] == 64
    colour = np.log10(np.divide(*at(content, [60.0, 100.0]).T))
    np.testing.assert_allclose(colour, calibration[:, 2], atol=0.04)  # width of the bands


@pytest.mark.crosscheck
def test_dale2014_is_the_published_spectrum_where_stars_do_not_matter(tables, imported):
    content = imported("dale2014", tables / "dale2014")
    table = np.loadtxt(tables / "dale2014" / "spectra.0.00AGN.dat")
    far = (table[:, 0] > 30.0) & (table[:, 0] < 1.5e5)
    published = 10.0 ** table[far, 1:].T * table[far, 0]  # nu f_nu to f_nu
    ratio = at(content, table[far, 0]) / published
    np.testing.assert_allclose(ratio / ratio[:, :1], 1.0, rtol=1e-3)  # out to 15 cm


@pytest.mark.crosscheck
def test_dale2014_lost_its_stars_by_the_published_recipe(tables, imported):
    """Stars scaled to the eighth row and subtracted from L_lambda; up to their table's end."""
    content = imported("dale2014", tables / "dale2014")
    table = np.loadtxt(tables / "dale2014" / "spectra.0.00AGN.dat")
    stars = np.loadtxt(tables / "dale2014" / "stellar_SED_age13Gyr_tau10Gyr.spec")
    micron = table[:, 0]
    light = np.interp(micron * 1e4, stars[:, 0], stars[:, 1])
    near = (micron >= 2.0) & (micron < 160.0)
    for k in (1, 30, 64):
        with_stars = 10.0 ** table[:, k] / micron
        dust = (with_stars - light * with_stars[7] / light[7])[near]
        ours = at(content, micron[near])[k - 1] / micron[near] ** 2
        np.testing.assert_allclose(ours / ours[-1], dust / dust[-1], rtol=1e-9)
        assert dust[0] / with_stars[near][0] < 0.8  # they matter at 2 micron


@pytest.mark.crosscheck
def test_schreiber2016_has_the_luminosities_of_its_own_table(tables, imported):
    """LIR is the luminosity at 8-1000 micron per mass of dust.

    Their sum ends on a template's step of 0.6 to 2 % in wavelength, in a PAH feature at 8 micron:
    within 0.5 % for the continuum, 4.5 % for the PAHs.
    """
    content = imported("schreiber2016", tables / "schreiber2016")
    inside = (content.wave >= 8e4) & (content.wave <= 1e7)
    luminosity = integrate_spectra(content.wave[inside], content.spectra[..., inside]) / C * 1e4
    for k, (name, tolerance) in enumerate((("dust", 5e-3), ("pah", 4.5e-2))):
        with fits.open(tables / "schreiber2016" / f"g15_{name}.fits") as hdus:
            row = hdus[1].data[0]
            np.testing.assert_array_equal(content.axes[0].values, row["TDUST"])
            np.testing.assert_allclose(luminosity[:, k], row["LIR"], rtol=tolerance)
    assert [axis.name for axis in content.axes] == ["temperature", "f_pah"]
    assert content.normalisation == "relative"


@pytest.mark.crosscheck
def test_schreiber2016_temperatures_follow_wiens_law(tables, imported):
    """The dust is a mixture of temperatures: its peak is that of TDUST within 20 %."""
    content = imported("schreiber2016", tables / "schreiber2016")
    temperature = content.axes[0].values
    warm = (temperature > 20.0) & (temperature < 60.0)
    # a grey body of slope 1.5 peaks in L_nu at x = 4.47, hc / k T = 14388 micron K / T
    peak = content.wave[content.spectra[warm, 0].argmax(axis=-1)] * 1e-4
    np.testing.assert_allclose(14388.0 / (4.47 * temperature[warm]), peak, rtol=0.2)


@pytest.mark.crosscheck
def test_nenkova2008_is_the_table(tables, imported):
    name = "Nenkova08_y010_torusg_n10_q2.0"
    content = imported("nenkova2008", tables / "agn" / f"{name}.dat")
    assert (content.kind, content.name) == ("agn_torus", name)
    np.testing.assert_array_equal(
        content.axes[0].values, [5.0, 10.0, 20.0, 30.0, 40.0, 60.0, 80.0, 100.0, 150.0]
    )
    # "flux: fnu normalized to unity": each has the same luminosity in the unit of the table
    total = integrate_spectra(content.wave, content.spectra)
    np.testing.assert_allclose(total, total.mean(), rtol=0.02)


@pytest.mark.crosscheck
def test_temple2021_is_the_table(tables, imported):
    content = imported("temple2021", tables / "agn" / "temple.txt")
    table = np.loadtxt(tables / "agn" / "temple.txt")
    np.testing.assert_array_equal(content.wave, table[:, 0])
    np.testing.assert_array_equal(content.spectra, table[:, 1])
    assert content.kind == "agn_disc"


@pytest.fixture
def columns(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text("# micron, two spectra\n1 2 3\n2 4 5\n\n4 1 1\n")
    return path


@pytest.mark.parametrize(
    ("quantity", "factor"),
    [("f_nu", [1.0, 1.0, 1.0]), ("nu_f_nu", [1.0, 2.0, 4.0]), ("f_lambda", [1.0, 4.0, 16.0])],
)
def test_columns_become_spectra_per_unit_frequency(columns, imported, quantity, factor):
    content = imported(
        "ascii",
        columns,
        quantity=quantity,
        wave_unit="micron",
        axis="age",
        values=[1, 3],
        unit="Myr",
        kind="shock",
        normalisation="absolute",
        reference="me",
    )
    np.testing.assert_allclose(content.wave, [1e4, 2e4, 4e4])
    np.testing.assert_allclose(content.spectra, np.array([[2, 4, 1], [3, 5, 1]]) * factor)
    (axis,) = content.axes
    assert (axis.name, axis.unit, axis.values.tolist()) == ("age", "Myr", [1.0, 3.0])
    assert (content.kind, content.normalisation, content.reference) == ("shock", "absolute", "me")


def test_two_columns_are_one_spectrum(tmp_path, imported):
    (tmp_path / "one.txt").write_text("1e4 1\n2e4 2\n")
    content = imported("ascii", tmp_path / "one.txt")
    assert content.axes == ()
    np.testing.assert_array_equal(content.spectra, [1.0, 2.0])


@pytest.mark.parametrize(
    ("format", "options", "error", "message"),
    [
        ("dale2015", {}, ParameterError, "did you mean 'dale2014'"),
        ("ascii", {"wave_units": "nm"}, ParameterError, "did you mean 'wave_unit'"),
        ("temple2021", {"kind": "agn"}, ParameterError, r"no option 'kind'.*\(options: none\)"),
        ("ascii", {"wave_unit": "parsec"}, ParameterError, "wave_unit='parsec': expected one of"),
        ("ascii", {"values": [1.0]}, DataError, "2 spectra, but 1 values"),
        ("dale2014", {}, DataError, r"spectra\.0\.00AGN\.dat can't be read"),
        ("schreiber2016", {}, DataError, r"g15_dust\.fits: expected a FITS table"),
        ("nenkova2008", {}, DataError, r"expected 4 columns"),
    ],
)
def test_what_can_not_be_imported_is_named(columns, imported, format, options, error, message):
    with pytest.raises(error, match=message):
        imported(format, columns, **options)


@pytest.mark.parametrize(
    ("text", "message"),
    [("# only\n", "is empty"), ("1 a\n", "columns of numbers"), ("1\n2\n", "at least one")],
)
def test_text_without_spectra_is_refused(tmp_path, imported, text, message):
    (tmp_path / "bad.txt").write_text(text)
    with pytest.raises(DataError, match=message):
        imported("ascii", tmp_path / "bad.txt")


@pytest.mark.crosscheck
@pytest.mark.parametrize(
    ("format", "path", "key"),
    [
        ("dale2014", "dale2014", "Dale2014"),
        ("schreiber2016", "schreiber2016", "Schreiber2018"),
        ("nenkova2008", "agn/Nenkova08_y010_torusg_n10_q2.0.dat", "Nenkova2008"),
        ("temple2021", "agn/temple.txt", "Temple2021"),
    ],
)
def test_published_libraries_name_paper_and_licence(tables, imported, format, path, key):
    content = imported(format, tables / path)
    assert [r.key for text in content.citations for r in find_references(text)] == [key]
    assert content.licence
