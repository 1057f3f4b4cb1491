"""Stochastic histories of several galaxies: the amplitude that their fields have in common."""

import jax
import numpy as np
import pytest

import tengri_ppl as tg
from tengri_ppl.models.prior_draws import weigh_prior
from tengri_ppl.physics.sfh.stochastic import DampedRandomWalk

MASS, AMPLITUDE = "sfh_delayed_log_mass", "sfh_field_psd_sigma"
N, N_CELLS, ERROR, TRUTH = 12, 16, 0.05, 0.4
N_PRIOR, N_DRAWS = 16_384, 400


def make_model(ssp, bands, amplitude):
    spec = tg.Parameters(
        sfh="delayed",
        sfh_field=DampedRandomWalk(n_cells=N_CELLS),
        dust="single",
        redshift=0.1,
        sfh_delayed_log_mass=tg.Uniform(8.0, 12.0),
        sfh_delayed_tau_gyr=3.0,
        sfh_delayed_age_gyr=8.0,
        met_logzsol=-0.2,
        dust_tau_diff=0.5,
        dust_slope=-0.7,
        sfh_field_psd_sigma=amplitude,
        sfh_field_psd_tau_myr=300.0,
    )
    return tg.SEDModel(spec, ssp, bands)


@pytest.fixture(scope="module")
def fitter(ssp, sdss):
    sed = make_model(ssp, sdss, tg.Uniform(0.05, 0.8))
    fields = np.random.default_rng(0).normal(size=(N, N_CELLS))
    truth = {MASS: np.linspace(9.5, 11.0, N), AMPLITUDE: np.full(N, TRUTH), "psd_xi": fields}
    flux = np.asarray(sed.predict_photometry(truth), float)
    noisy = flux * (1.0 + ERROR * np.random.default_rng(1).normal(size=flux.shape))
    galaxies = [{"flux_obs": d, "noise": ERROR * f} for d, f in zip(noisy, flux, strict=True)]
    return tg.PopulationFitter(sed, galaxies, population=tg.Population(tg.Shared(AMPLITUDE)))


@pytest.fixture(scope="module")
def by_draws_of_the_prior(fitter, ssp, sdss):
    """Mean and standard deviation of the amplitude, from evidences of the galaxies on a grid."""
    grid = np.linspace(0.05, 0.8, 16)
    _, noise, data, columns = fitter.galaxies_at(np.arange(N))
    total = []
    for x in grid:
        sed = make_model(ssp, sdss, float(x))
        found = weigh_prior(sed, noise, data, columns, jax.random.key(3), N_PRIOR)
        means = np.logaddexp.reduce(np.asarray(found.log_weight, float), axis=1)
        total.append(means.sum())
    fine = np.linspace(grid[0], grid[-1], 1501)
    log_density = np.interp(fine, grid, total)
    weight = np.exp(log_density - log_density.max())
    weight /= weight.sum()
    mean = np.sum(weight * fine)
    return mean, np.sqrt(np.sum(weight * (fine - mean) ** 2))


def test_the_amplitude_of_all_fields_is_learnt_in_two_steps(fitter, by_draws_of_the_prior):
    """Both are from sums over draws, whose noise is known of one."""
    found = fitter.run_two_step(
        jax.random.key(5),
        n_draws=N_DRAWS,
        sampling={"n_prior": N_PRIOR, "min_ess": 30.0},
        method="importance",
        **{"n_walk": 10, "n_batch": 256},
    )
    fields = found.inference_data.posterior["psd_xi"]
    assert fields.dims == ("chain", "draw", "galaxy", "psd_xi_dim_1")
    assert fields.shape[2:] == (N, N_CELLS)
    mean, sd = by_draws_of_the_prior
    x = found.shared_samples[AMPLITUDE].astype(float)
    effective = found.inference_data.constant_data["effective_draws"].values
    noise = np.sqrt(np.sum(1.0 / effective))
    assert abs(x.mean() - mean) < (0.2 + noise) * sd
    assert x.std() == pytest.approx(sd, rel=0.2 + noise)
    assert abs(x.mean() - TRUTH) < 4.0 * x.std()


def test_a_field_that_all_galaxies_have_in_common_is_refused(fitter):
    """It is no number."""
    model, population = fitter.model, tg.Population(tg.Shared("psd_xi"))
    rows = zip(np.asarray(fitter.data, float), np.asarray(fitter.noise.sigma, float), strict=True)
    galaxies = [{"flux_obs": d, "noise": e} for d, e in rows]
    several = tg.PopulationFitter(model, galaxies, population=population)
    values = {
        name: np.zeros((N, 10, *model.spec[name].shape()), np.float32) for name in model.spec.priors
    }
    sample = tg.InterimSample(several.ids, values, np.full(N, 10.0), np.full(N, 0.0))
    with pytest.raises(tg.ParameterError, match=r"psd_xi has the shape \(16,\).*fit them together"):
        several.run_two_step(posteriors=sample, n_draws=10)
