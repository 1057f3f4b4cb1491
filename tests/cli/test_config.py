"""Reading a galaxy's TOML file."""

import numpy as np
import numpyro.distributions as dist
import pytest

from tengri_ppl.cli.config import read_galaxy
from tengri_ppl.errors import DataError, ParameterError

GOOD = """
[galaxy]
name = "test"
redshift = 0.1
bands = ["sdss_u", "sdss_g", "spitzer_irac_ch1"]
magnitudes = [20.0, 19.0, 18.0]
errors = [0.1, 0.05, 0.02]

[noise]
floor = { default = 0.05, irac = 0.10 }

[model]
sfh = "delayed"
dust_law = "calzetti"

[priors]
sfh_delayed_tau_gyr = { dist = "LogUniform", low = 0.1, high = 10.0 }
met_logzsol = 0.0

[sampler]
n_warmup = 100
"""


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "galaxy.toml"
        path.write_text(text)
        return path

    return write


def test_magnitudes_floors_priors_and_choices_are_read(write):
    config = read_galaxy(write(GOOD))
    # AB: 10**(-0.4 (m + 48.6)); first-order error f ln(10)/2.5 dm
    np.testing.assert_allclose(config.flux, 10 ** (-0.4 * (np.array([20, 19, 18]) + 48.6)), 1e-5)
    np.testing.assert_allclose(
        config.noise.sigma, config.flux * np.array([0.1, 0.05, 0.02]) * np.log(10) / 2.5, 1e-5
    )
    np.testing.assert_allclose(config.noise.floor, [0.05, 0.05, 0.10])
    sed = config.build()
    assert sed.spec.structure.sfh.name == "delayed"
    assert isinstance(sed.spec["sfh_delayed_tau_gyr"], dist.LogUniform)
    assert float(sed.spec.fixed["met_logzsol"]) == 0.0
    assert float(sed.spec.fixed["redshift"]) == pytest.approx(0.1)
    assert config.sampler == {"n_warmup": 100}


def test_fluxes_come_with_a_unit_and_nan_is_masked(write):
    text = GOOD.replace(
        "magnitudes = [20.0, 19.0, 18.0]", 'fluxes = [1.0, nan, 3.0]\nflux_unit = "microjansky"'
    )
    config = read_galaxy(write(text))
    np.testing.assert_allclose(config.flux[[0, 2]], [1e-29, 3e-29])
    np.testing.assert_array_equal(config.mask, [True, False, True])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[noise]", "[nois]", r"\[nois\] is unknown; did you mean 'noise'"),
        ("redshift = 0.1\n", "", "lacks 'redshift'"),
        ("errors = [0.1, 0.05, 0.02]", "errors = [0.1, 0.05]", "3 bands, but 2 errors"),
        ("errors = [0.1, 0.05, 0.02]", 'errors = "small"', "list of numbers"),
        ("magnitudes", "magnitude", "did you mean 'magnitudes'"),
        ("magnitudes", "fluxes", "flux_unit is None"),
        ("irac = 0.10", "mips = 0.10", "no band's name contains 'mips'"),
        ('dist = "LogUniform"', 'dist = "LogUnifrom"', "did you mean 'LogUniform'"),
        ("low = 0.1, ", "", "sfh_delayed_tau_gyr: LogUniform"),
        ("low = 0.1, high = 10.0", "low = 10.0, high = 0.1", "has no support between"),
        ("[galaxy]", "[galaxy", "not valid TOML"),
        ("met_logzsol = 0.0", "redshift = 0.2", r"redshift in \[galaxy\]"),
    ],
)
def test_mistakes_are_named(write, old, new, message):
    assert old in GOOD
    with pytest.raises((DataError, ParameterError), match=message):
        read_galaxy(write(GOOD.replace(old, new))).build()


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"nothing\.toml: can't be read"):
        read_galaxy(tmp_path / "nothing.toml")
