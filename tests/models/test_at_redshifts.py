"""Tables for galaxies of known redshifts: predictions are those of the spectra of each."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from model_cases import INFRARED, observation, thin_grid

import tengri_ppl as tg

REDSHIFTS = np.array([0.31, 0.05, 0.31, 0.44])


@pytest.fixture(scope="module")
def sed(ssp):
    spec = tg.Parameters(
        sfh="delayed",
        dust="two_component",
        nebular="cloudy",
        dust_emission="modified_blackbody",
        agn="nucleus",
        redshift=tg.Uniform(0.01, 0.5),
        sfh_delayed_tau_gyr=tg.Uniform(0.3, 5.0),
        dust_tau_diff=tg.Uniform(0.0, 2.0),
    )
    return tg.SEDModel(spec, thin_grid(ssp), observation(INFRARED))


@pytest.fixture(scope="module")
def params(sed):
    return {**sed.spec.sample_batch(jax.random.key(0), 4), "redshift": REDSHIFTS}


def test_photometry_is_that_of_the_spectra(sed, params):
    exact = sed.predict_photometry(params, mode="exact")
    error = np.abs(sed.at_redshifts(REDSHIFTS).predict_photometry(params) / exact - 1.0)
    interpolated = np.abs(sed.predict_photometry(params) / exact - 1.0)
    assert error.max() < 1e-3
    assert error.max() < interpolated.max()


def test_draws_come_before_galaxies(sed, params):
    own = sed.at_redshifts(REDSHIFTS)
    one = own.predict_photometry(params)
    several = {k: jnp.stack([v, v[::-1], v]) for k, v in params.items()} | {"redshift": REDSHIFTS}
    batch = own.predict_photometry(several)
    assert batch.shape == (3, 4, sed.n_band)
    np.testing.assert_allclose(batch[2], one, rtol=1e-5)
    common = {**{k: v[0] for k, v in params.items()}, "redshift": REDSHIFTS}
    assert own.predict_photometry(common).shape == (4, sed.n_band)


def test_what_scales_with_the_mass_and_what_is_added(sed, params):
    own = sed.at_redshifts(REDSHIFTS)
    host = own.unit_host(params).scaled(10.0 ** params[sed.spec.amplitude])
    flux = (host.flux + own.added_flux(params, host.galaxy)) * 1e-29
    np.testing.assert_allclose(flux, own.predict_photometry(params), rtol=1e-4)


def test_what_does_not_fit_is_refused(sed, params):
    own = sed.at_redshifts(REDSHIFTS)
    with pytest.raises(tg.ParameterError, match=r"the 4 galaxies of at_redshifts.*dust_tau_diff"):
        own.predict_photometry({**params, "dust_tau_diff": jnp.ones(3)})
    with pytest.raises(tg.ParameterError, match=r"redshift 0\.7 is outside of the support"):
        sed.at_redshifts([0.1, 0.7])
    with pytest.raises(tg.ParameterError, match="call it outside of jit"):
        jax.jit(lambda sed: sed.at_redshifts(REDSHIFTS).n_band)(sed)
    fixed = sed.spec.replace(redshift=0.1)
    with pytest.raises(tg.ParameterError, match="redshift is fixed"):
        tg.SEDModel(fixed, sed._ssp, sed.observation).at_redshifts(REDSHIFTS)
