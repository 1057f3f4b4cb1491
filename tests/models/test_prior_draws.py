"""Draws of the priors with weights for galaxies, against quadrature over mass and dust."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tengri_ppl as tg
from tengri_ppl.models.prior_draws import weigh_prior

MASS, TAU, DUST = "sfh_delayed_log_mass", "sfh_delayed_tau_gyr", "dust_tau_diff"
N_DRAW = 20_000
TRUTH = {MASS: np.array([9.5, 10.5, 8.0]), DUST: np.array([0.3, 1.5, 1.0])}
#: Of the three galaxies; the last one is not detected.
ERROR = np.array([0.1, 0.2, 3.0])[:, None]


@pytest.fixture(scope="module")
def sed(delayed_spec, ssp, sdss):
    spec = delayed_spec.replace(
        redshift=0.1,
        met_logzsol=-0.2,
        sfh_delayed_tau_gyr=2.0,
        sfh_delayed_log_mass=tg.Uniform(7.0, 11.0),
    )
    return tg.SEDModel(spec, ssp, sdss)


@pytest.fixture(scope="module")
def photometry(sed):
    """Fluxes and errors; the third galaxy has no second band, which holds anything."""
    flux = np.asarray(sed.predict_photometry(TRUTH), float)
    data = flux * (1.0 + ERROR * np.random.default_rng(2).normal(size=flux.shape))
    mask = np.ones(flux.shape, bool)
    mask[2, 1], data[2, 1] = False, 1e-25
    return data, ERROR * flux, mask


def problem(photometry):
    data, error, mask = photometry
    noise = tg.GaussianNoise(sigma=jnp.asarray(error, dtype=float), mask=jnp.asarray(mask))
    return noise, jnp.asarray(data, dtype=float)


def moments_by_quadrature(sed, photometry, galaxy, masses, depths):
    """Means and standard deviations of mass and dust under flat priors, in 64 bits."""
    data, error, mask = (x[galaxy] for x in photometry)
    flux = np.asarray(
        sed.predict_photometry({MASS: jnp.full(len(depths), 10.0), DUST: depths}), float
    )
    model = 10.0 ** (masses[:, None, None] - 10.0) * flux
    chi2 = np.sum(np.where(mask, (model - data) / error, 0.0) ** 2, axis=-1)
    weight = np.exp(-0.5 * (chi2 - chi2.min()))
    weight /= weight.sum()
    out = {}
    for name, x in ((MASS, masses[:, None]), (DUST, depths[None])):
        mean = np.sum(weight * x)
        out[name] = mean, np.sqrt(np.sum(weight * (x - mean) ** 2))
    return out


def check_moments(found, values, expected):
    """Within four standard errors of the effective number of draws."""
    weight = np.exp(found - found.max())
    weight /= weight.sum()
    ess = 1.0 / np.sum(weight**2)
    assert ess > 200.0
    for name, (mean, sd) in expected.items():
        x = np.asarray(values[name], float)
        centre = np.sum(weight * x)
        assert abs(centre - mean) < 4.0 * sd / np.sqrt(ess), name
        spread = np.sqrt(np.sum(weight * (x - centre) ** 2))
        assert spread == pytest.approx(sd, rel=4.0 / np.sqrt(ess)), name


def test_weighted_draws_are_the_posterior_of_every_galaxy(sed, photometry):
    """Of a galaxy that is not detected as well, whose mass has an upper limit only."""
    found = weigh_prior(sed, *problem(photometry), {}, jax.random.key(0), N_DRAW)
    assert found.log_weight.shape == found.log_amplitude.shape == (3, N_DRAW)
    grids = np.linspace(7.0, 11.0, 801), np.linspace(0.0, 2.0, 201)
    for i in range(3):
        expected = moments_by_quadrature(sed, photometry, i, *grids)
        values = {MASS: found.log_amplitude[i], DUST: found.values[DUST]}
        check_moments(np.asarray(found.log_weight[i], float), values, expected)


def test_galaxies_at_known_redshifts_have_predictions_of_their_own(sed, photometry, delayed_spec):
    """Two equal galaxies; one of them is believed at its redshift, the other one elsewhere."""
    far = 0.2
    free = tg.SEDModel(
        sed.spec.replace(redshift=tg.Uniform(0.05, 0.3)), tg.load_ssp_data(), sed.observation
    )
    redshifts = jnp.array([0.1, far])
    twins = tuple(x[[0, 0]] for x in photometry)
    located = free.at_redshifts(redshifts)
    known = {"redshift": redshifts}
    found = weigh_prior(located, *problem(twins), known, jax.random.key(1), N_DRAW)
    assert set(found.values) == {MASS, DUST}
    there = tg.SEDModel(sed.spec.replace(redshift=far), tg.load_ssp_data(), sed.observation)
    grids = np.linspace(7.0, 11.0, 801), np.linspace(0.0, 2.0, 201)
    for i, model in enumerate((sed, there)):
        values = {MASS: found.log_amplitude[i], DUST: found.values[DUST]}
        expected = moments_by_quadrature(model, twins, i, *grids)
        check_moments(np.asarray(found.log_weight[i], float), values, expected)


def test_known_masses_need_no_amplitude(sed, photometry):
    """The weights are the likelihoods then."""
    known = tg.SEDModel(
        sed.spec.replace(sfh_delayed_log_mass=9.5), tg.load_ssp_data(), sed.observation
    )
    found = weigh_prior(known, *problem(photometry), {}, jax.random.key(0), 50)
    assert found.log_amplitude is None
    data, error, _ = photometry
    flux = np.asarray(known.predict_photometry(found.values), float)
    chi2 = np.sum(((flux - data[0]) / error[0]) ** 2, axis=-1)
    np.testing.assert_allclose(found.log_weight[0], -0.5 * chi2, rtol=1e-4, atol=1e-3)
