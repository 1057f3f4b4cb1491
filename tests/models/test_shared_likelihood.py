"""What galaxies that were fitted one by one say of a parameter that they have in common."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tengri_ppl as tg
from tengri_ppl.models.shared_likelihood import tabulate_shared

MASS, TAU, DUST = "sfh_delayed_log_mass", "sfh_delayed_tau_gyr", "dust_tau_diff"
N_GALAXY, N_DRAW = 3, 4
ERROR = 0.1


@pytest.fixture(scope="module")
def sed(delayed_spec, ssp, sdss):
    spec = delayed_spec.replace(
        redshift=0.1, met_logzsol=-0.2, sfh_delayed_tau_gyr=tg.LogUniform(1.0, 5.0)
    )
    return tg.SEDModel(spec, ssp, sdss)


@pytest.fixture(scope="module")
def truth():
    return {
        MASS: np.array([9.5, 10.0, 10.5]),
        TAU: np.array([1.6, 2.0, 3.0]),
        DUST: np.array([0.3, 1.0, 1.5]),
    }


@pytest.fixture(scope="module")
def draws(truth):
    rng = np.random.default_rng(0)
    near = {name: x + 0.02 * rng.normal(size=(N_DRAW, N_GALAXY)) for name, x in truth.items()}
    return {name: jnp.asarray(x, dtype=float) for name, x in near.items()}


def log_likelihood(sed, flux, error, params):
    """Without a constant, in 64 bits."""
    expected = np.asarray(sed.predict_photometry(params), float)
    return -0.5 * np.sum(((expected - flux) / error) ** 2, axis=-1)


@pytest.fixture(scope="module")
def data(sed, truth):
    flux = np.asarray(sed.predict_photometry(truth), float)
    return flux * (1.0 + ERROR * np.random.default_rng(1).normal(size=flux.shape)), ERROR * flux


def tabulated(sed, data, draws, names, share=1.0):
    flux, error = data
    noise = tg.GaussianNoise(sigma=jnp.asarray(share * error, dtype=float))
    return tabulate_shared(sed, noise, jnp.asarray(flux, dtype=float), draws, names)


def test_ratios_of_one_parameter_are_those_by_quadrature(sed, data, draws):
    """Likelihood over its mean under the flat prior, at values between the points of the table."""
    table = tabulated(sed, data, draws, (DUST,))
    grid = np.linspace(0.0, 2.0, 401)
    every = np.stack([log_likelihood(sed, *data, draws | {DUST: jnp.asarray(s)}) for s in grid])
    mean = np.logaddexp.reduce(every[:-1], axis=0) - np.log(len(grid) - 1)
    for i in (60, 203, 296):
        found = table(sed.spec.priors, {DUST: jnp.asarray(grid[i], dtype=float)})
        expected = every[i] - mean
        close = expected > -10.0
        assert close.any()
        np.testing.assert_allclose(np.asarray(found)[close], expected[close], atol=0.03)


def test_tables_of_flat_priors_reach_their_ends(sed, data, draws):
    """A hundred-thousandth of a flat prior is more than four widths of a normal from its middle."""
    share, ends = 4.0, (2e-5, 0.02)
    table = tabulated(sed, data, draws, (DUST,), share)
    wide = data[0], share * data[1]
    found = [table(sed.spec.priors, {DUST: jnp.asarray(s)}) for s in ends]
    expected = [log_likelihood(sed, *wide, draws | {DUST: jnp.asarray(s)}) for s in ends]
    close = np.asarray(found[0]) > -20.0
    assert close.any()
    difference = np.asarray(found[0] - found[1])[close]
    np.testing.assert_allclose(difference, (expected[0] - expected[1])[close], atol=0.05)


def test_differences_of_two_parameters_are_those_of_the_model(sed, data, draws):
    table = tabulated(sed, data, draws, (DUST, TAU))
    shared = [{DUST: jnp.asarray(s), TAU: jnp.asarray(t)} for s, t in ((0.9, 1.9), (1.05, 2.1))]
    found = [np.asarray(table(sed.spec.priors, each)) for each in shared]
    expected = [log_likelihood(sed, *data, draws | each) for each in shared]
    close = (found[0] > -10.0) & (found[1] > -10.0)
    assert close.any()
    np.testing.assert_allclose(
        (found[1] - found[0])[close], (expected[1] - expected[0])[close], atol=0.05
    )


def test_there_are_gradients_and_an_end_of_the_table(sed, data, draws):
    table = tabulated(sed, data, draws, (DUST,))

    def total(s):
        return table(sed.spec.priors, {DUST: s})[:, 1].sum()

    step = 1e-2
    slope = (total(0.9 + step) - total(0.9 - step)) / (2.0 * step)
    assert jax.grad(total)(0.9) == pytest.approx(float(slope), rel=0.02)
    assert np.all(np.isfinite(table(sed.spec.priors, {DUST: jnp.asarray(1e-6)})))


def test_what_a_galaxy_knows_too_well_is_refused(sed, data, draws):
    """At errors of half a per mille the likelihood is narrower than the table's steps."""
    with pytest.raises(tg.DataError, match=r"vary too much with dust_tau_diff .* fit all galaxies"):
        tabulated(sed, data, draws, (DUST,), share=0.005)
