import hashlib

import h5py
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tengri_ppl._resources import resource_path
from tengri_ppl.errors import DataError
from tengri_ppl.physics.ssp import DEFAULT_SSP, SSPData, load_ssp_data


@pytest.fixture(scope="module")
def embedded():
    return load_ssp_data()


def valid_contents():
    """A small grid in the layout of DSPS; the fluxes have a plausible size and no meaning."""
    lgmet, lg_age = np.array([-3.0, -2.0, -1.5]), np.linspace(-4.0, 1.15, 5)
    wave = np.geomspace(91.0, 1e6, 40)
    flux = 1e-15 * (1.0 + np.arange(600.0).reshape(3, 5, 40))
    return {"ssp_lgmet": lgmet, "ssp_lg_age_gyr": lg_age, "ssp_wave": wave, "ssp_flux": flux}


def write(path, contents, **attributes):
    with h5py.File(path, "w") as file:
        for name, values in contents.items():
            file[name] = values
        file.attrs.update(attributes)
    return path


def test_embedded_grid_has_the_axes_of_bc03_miles(embedded):
    assert embedded.ssp_flux.dtype == np.float32
    assert embedded.ssp_flux.shape == (
        len(embedded.ssp_lgmet),
        len(embedded.ssp_lg_age_gyr),
        len(embedded.ssp_wave),
    )
    np.testing.assert_allclose(
        10**embedded.ssp_lgmet / embedded.zsun, [0.005, 0.02, 0.2, 0.4, 1.0, 2.5, 5.0]
    )
    assert (embedded.zsun, embedded.lsun_erg_s) == (0.02, 3.826e33)
    assert embedded.ssp_wave[0] == pytest.approx(5.6)
    assert embedded.ssp_wave[-1] == pytest.approx(3.6e8)
    assert embedded.ssp_lg_age_gyr[-1] == pytest.approx(1.15)
    assert "Kroupa" in embedded.imf
    assert not embedded.has_nebular
    assert embedded.sha256 == hashlib.sha256(resource_path(DEFAULT_SSP).read_bytes()).hexdigest()


def test_embedded_grid_has_the_known_light_and_mass_of_stars(embedded):
    """Rough values of a solar population: about 1000 Lsun/Msun at 3 Myr, a surviving
    M/L_V of 3 at 10 Gyr. They catch a wrong unit or axis. The surviving mass is the source grid's.
    """
    solar, frequency = 4, 2.99792458e18 / embedded.ssp_wave
    flux = embedded.ssp_flux[solar].astype(float)
    bolometric = -np.trapezoid(flux, frequency, axis=-1)
    age = np.interp([6.5, 9.0, 10.0], embedded.ssp_lg_age_gyr + 9.0, np.arange(len(bolometric)))
    young, gyr, old = bolometric[np.round(age).astype(int)]
    assert 700.0 < young < 2000.0
    assert 1.5 < gyr < 5.0
    assert 0.15 < old < 0.6
    v_band = np.interp(5500.0, embedded.ssp_wave, flux[np.round(age[2]).astype(int)])
    v_magnitude = -2.5 * np.log10(v_band * 3.826e33 / (4 * np.pi * 3.0857e19**2)) - 48.6
    mass = embedded.ssp_mass_remaining[solar]
    light = 10 ** (-0.4 * (v_magnitude - 4.83))
    assert mass[np.round(age[2]).astype(int)] / light == pytest.approx(3.0, rel=0.2)
    assert mass[0] == pytest.approx(1.0, abs=1e-3)
    assert mass[np.round(age[2]).astype(int)] == pytest.approx(0.459, abs=0.003)  # Kroupa IMF


def test_arrays_are_leaves_and_the_rest_is_static(embedded):
    leaves, structure = jax.tree.flatten(embedded)
    assert len(leaves) == 5
    assert all(isinstance(leaf, np.ndarray | jax.Array) for leaf in leaves)
    assert isinstance(embedded.ssp_flux, jax.Array)  # one copy, shared by all models
    hash(structure)
    total = jax.jit(lambda ssp: jnp.sum(ssp.ssp_mass_remaining) * ssp.zsun)(embedded)
    assert float(total) == pytest.approx(embedded.ssp_mass_remaining.sum() * 0.02, rel=1e-5)
    assert jax.tree.map(jnp.asarray, embedded).name == embedded.name


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dsps_file_without_attributes_gets_the_conventions_of_fsps(tmp_path, dtype):
    contents = valid_contents()
    contents["ssp_flux"] = contents["ssp_flux"].astype(dtype)
    contents["ssp_resolution_kms"] = np.full(40, 70.0)
    ssp = load_ssp_data(write(tmp_path / "ssp_data_fsps_v3.2.h5", contents))
    assert isinstance(ssp, SSPData)
    expected = contents["ssp_flux"].astype(jax.dtypes.canonicalize_dtype(dtype))
    assert ssp.ssp_flux.dtype == expected.dtype  # at most JAX's default precision
    np.testing.assert_array_equal(ssp.ssp_flux, expected)
    assert ssp.ssp_mass_remaining is None
    assert (ssp.lsun_erg_s, ssp.zsun) == (3.839e33, 0.0142)
    assert (ssp.name, ssp.imf, ssp.has_nebular) == ("ssp_data_fsps_v3.2", "unknown", False)


def test_attributes_and_surviving_mass_are_read(tmp_path):
    contents = valid_contents() | {"ssp_mass_remaining": np.full((3, 5), 0.7)}
    path = write(tmp_path / "a_wNE.h5", contents, name="mine", imf=b"Chabrier", zsun=0.019)
    ssp = load_ssp_data(path)
    assert (ssp.name, ssp.imf, ssp.zsun, ssp.has_nebular) == ("mine", "Chabrier", 0.019, True)
    assert ssp.ssp_mass_remaining.shape == (3, 5)
    write(path, contents, has_nebular=False, lsun_erg_s=3.9e33)
    assert load_ssp_data(str(path)).has_nebular is False
    assert load_ssp_data(path).lsun_erg_s == 3.9e33
    assert load_ssp_data(path) is load_ssp_data(str(path))  # an unchanged file is read once


def test_first_age_may_be_zero(tmp_path):
    contents = valid_contents()
    contents["ssp_lg_age_gyr"][0] = -np.inf
    assert load_ssp_data(write(tmp_path / "zero.h5", contents)).ssp_lg_age_gyr[0] == -np.inf


def replaced(name, change):
    def corrupt(contents):
        contents[name] = change(contents[name])

    return corrupt


def renamed(contents):
    contents["ssp_wavelength"] = contents.pop("ssp_wave")


def with_value(index, value):
    def change(values):
        values = values.copy()
        values[index] = value
        return values

    return change


def mass_of(values):
    def corrupt(contents):
        contents["ssp_mass_remaining"] = values

    return corrupt


@pytest.mark.parametrize(
    ("corrupt", "message"),
    [
        (renamed, r"no dataset 'ssp_wave'.*did you mean 'ssp_wavelength'"),
        (replaced("ssp_flux", lambda f: f[:, :, :-1]), r"shape \(3, 5, 39\).*\(3, 5, 40\)"),
        (replaced("ssp_flux", lambda f: f.T), r"shape \(40, 5, 3\).*\(3, 5, 40\)"),
        (replaced("ssp_flux", with_value((1, 2, 3), np.nan)), r"not finite.*\(1, 2, 3\): nan"),
        (replaced("ssp_flux", with_value((0, 0, 7), -1e-15)), r"negative.*\(0, 0, 7\): -1e-15"),
        (replaced("ssp_flux", lambda f: 0.0 * f), "zero everywhere"),
        (replaced("ssp_flux", lambda f: f * 3.8e33), "erg/s"),
        (replaced("ssp_flux", lambda f: f * 1e11), "per Angstrom"),
        (replaced("ssp_flux", lambda f: f.astype("S8")), "numbers are expected"),
        (replaced("ssp_wave", lambda w: w[::-1]), "'ssp_wave'.*must increase"),
        (replaced("ssp_wave", with_value(5, np.inf)), "'ssp_wave'.*not finite.*index 5"),
        (replaced("ssp_wave", lambda w: w[:, None]), r"'ssp_wave'.*\(40, 1\)"),
        (replaced("ssp_wave", lambda w: w * 1e-4), "Angstrom is expected.*micron"),
        (replaced("ssp_wave", lambda w: np.geomspace(9.1, 2000.0, 40)), "nm"),
        (replaced("ssp_wave", np.log), "Angstrom is expected"),
        (replaced("ssp_wave", lambda w: w - 91.0), "logarithm or an index"),
        (replaced("ssp_lg_age_gyr", lambda a: a + 9.0), r"log10\(age/yr\)"),
        (replaced("ssp_lg_age_gyr", lambda a: 10**a), "linear age"),
        (replaced("ssp_lg_age_gyr", lambda a: 10 ** (a + 9)), "linear age"),
        (replaced("ssp_lg_age_gyr", with_value(2, 0.9)), "'ssp_lg_age_gyr'.*must increase"),
        (replaced("ssp_lg_age_gyr", with_value(1, -np.inf)), "not finite"),
        (replaced("ssp_lg_age_gyr", lambda a: a[0]), r"shape \(\)"),
        (replaced("ssp_lgmet", lambda m: m + 1.85), r"log10\(Z/Zsun\)"),
        (replaced("ssp_lgmet", lambda m: 10**m), "logarithm"),
        (mass_of(np.ones((5, 3))), r"\(5, 3\).*\(3, 5\)"),
        (mass_of(np.full((3, 5), 1.4)), "at most 1"),
        (mass_of(np.full((3, 5), -0.1)), "negative"),
    ],
)
def test_faulty_files_are_refused_with_the_reason(tmp_path, corrupt, message):
    contents = valid_contents()
    corrupt(contents)
    path = write(tmp_path / "faulty.h5", contents)
    with pytest.raises(DataError, match=message) as caught:
        load_ssp_data(path)
    assert "faulty.h5" in str(caught.value)


def test_missing_foreign_and_truncated_files_are_refused(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        load_ssp_data(tmp_path / "nowhere.h5")
    text = tmp_path / "table.h5"
    text.write_text("wave flux\n")
    with pytest.raises(DataError, match="not an HDF5 file"):
        load_ssp_data(text)
    whole = write(tmp_path / "whole.h5", valid_contents()).read_bytes()
    cut = tmp_path / "cut.h5"
    cut.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="complete"):
        load_ssp_data(cut)


@pytest.mark.parametrize("attribute", [{"zsun": -0.02}, {"lsun_erg_s": "solar"}])
def test_meaningless_attributes_are_refused(tmp_path, attribute):
    path = write(tmp_path / "odd.h5", valid_contents(), **attribute)
    with pytest.raises(DataError, match="positive number is expected"):
        load_ssp_data(path)
