"""Emission lines of a model: units, and that they fit into 32 bits."""

import numpy as np
import pytest
from astropy.cosmology import FlatLambdaCDM

import tengri_ppl as tg


@pytest.fixture(scope="module")
def lines(ssp):
    spec = tg.Parameters(
        sfh="constant",
        dust="none",
        nebular="cloudy",
        sfh_constant_log_mass=11.0,
        sfh_constant_age_max_gyr=1.0,
        met_logzsol=0.0,
        neb_logu=-3.0,
        redshift=0.5,
    )
    observation = tg.Observation(photometry=tg.Photometry.from_names(["sdss_r"]))
    return tg.SEDModel(spec, ssp, observation=observation).predict_lines({})


def test_the_flux_is_the_luminosity_over_the_sphere(lines):
    """Without dust; the luminosity [Lsun], for a galaxy of 100 Msun/yr, is finite in 32 bits."""
    distance = FlatLambdaCDM(H0=70, Om0=0.3, Tcmb0=0).luminosity_distance(0.5).to("cm").value
    luminosity = np.asarray(lines.luminosity, dtype=float) * 3.826e33
    bright = luminosity > 1e-6 * luminosity.max()
    expected = luminosity[bright] / (4 * np.pi * distance**2)
    # the analytic distance is good to 1e-6, and 32 bits to a few times that
    np.testing.assert_allclose(np.asarray(lines.flux)[bright], expected, rtol=2e-5)
