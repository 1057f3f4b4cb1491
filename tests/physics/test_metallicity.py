"""Weights over the metallicities of an SSP grid."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from tengri_ppl.errors import ParameterError
from tengri_ppl.physics.composite import (
    age_intervals,
    count_fine,
    form_mass,
    node_masses,
    share_among_metallicities,
)
from tengri_ppl.physics.metallicity import (
    ClosedBoxMetallicity,
    InterpolatedMetallicity,
    LinearMetallicity,
    LognormalMetallicity,
    TabulatedMetallicity,
    TwoStepMetallicity,
)
from tengri_ppl.physics.sfh import ConstantSFH, DoublePowerLawSFH

ZSUN = 0.02
RELATIVE = np.array([0.005, 0.02, 0.2, 0.4, 1.0, 2.5, 5.0])  # the shipped grid, Z/Zsun
LGMET = np.log10(RELATIVE * ZSUN)
MODELS = [
    InterpolatedMetallicity(),
    InterpolatedMetallicity(space="linear"),
    LognormalMetallicity(),
]


def weights(model, logzsol, **params):
    with jax.enable_x64(True):
        return np.asarray(model.weights(LGMET, ZSUN, {"met_logzsol": logzsol, **params}))


@pytest.mark.parametrize("model", MODELS, ids=["log", "linear", "lognormal"])
@pytest.mark.parametrize("logzsol", [-5.0, -2.3, -1.1, 0.0, 0.33, 0.7, 2.0])
def test_weights_sum_to_one_and_are_not_negative(model, logzsol):
    w = weights(model, logzsol, met_scatter=0.2)
    assert w.sum() == pytest.approx(1.0, abs=1e-14)
    assert w.min() >= 0.0


def test_interpolation_in_log_z_keeps_the_mean_of_log_z():
    for logzsol in (-2.2, -1.3, -0.2, 0.1, 0.6):
        w = weights(InterpolatedMetallicity(), logzsol)
        assert w @ np.log10(RELATIVE) == pytest.approx(logzsol, abs=1e-12)
        assert np.count_nonzero(w > 1e-12) == 2


def test_interpolation_in_z_keeps_the_mean_of_z():
    for relative in (0.01, 0.1, 0.7, 1.6, 4.0):
        w = weights(InterpolatedMetallicity(space="linear"), np.log10(relative))
        assert w @ RELATIVE == pytest.approx(relative, rel=1e-12)
        assert np.count_nonzero(w > 1e-12) == 2


@pytest.mark.parametrize("space", ["log", "linear"])
def test_interpolation_takes_only_bracketing_nodes(space):
    """Z = 0.7 Zsun lies between 0.4 (index 3) and 1 (index 4); by hand 0.5 in Z."""
    w = weights(InterpolatedMetallicity(space=space), np.log10(0.7))
    assert np.flatnonzero(w > 1e-12).tolist() == [3, 4]
    upper = np.log(0.7 / 0.4) / np.log(1.0 / 0.4) if space == "log" else 0.5
    np.testing.assert_allclose(w[3:5], [1.0 - upper, upper], rtol=1e-12)


@pytest.mark.parametrize("space", ["log", "linear"])
def test_interpolation_is_clamped_outside_the_grid(space):
    model = InterpolatedMetallicity(space=space)
    np.testing.assert_array_equal(weights(model, -4.0), np.eye(7)[0])
    np.testing.assert_array_equal(weights(model, 1.5), np.eye(7)[6])


def test_lognormal_weights_are_probabilities_between_midpoints():
    edges = np.concatenate([[-np.inf], 0.5 * np.log10(RELATIVE[1:] * RELATIVE[:-1]), [np.inf]])
    for mean, scatter in ((-0.4, 0.2), (0.3, 0.05), (-1.5, 0.7)):
        expected = np.diff(norm.cdf(edges, mean, scatter))
        w = weights(LognormalMetallicity(), mean, met_scatter=scatter)
        np.testing.assert_allclose(w, expected, atol=1e-14)


@pytest.mark.parametrize("model", MODELS, ids=["log", "linear", "lognormal"])
def test_gradients_agree_with_central_differences(model):
    """Of the mean log Z, inside cells; interpolation has kinks at the nodes only."""

    def mean(logzsol):
        params = {"met_logzsol": logzsol, "met_scatter": 0.2}
        return model.weights(LGMET, ZSUN, params) @ np.log10(RELATIVE)

    with jax.enable_x64(True):
        for value in (-1.9, -0.5, -0.1, 0.2):
            numeric = (mean(value + 1e-6) - mean(value - 1e-6)) / 2e-6
            np.testing.assert_allclose(jax.grad(mean)(value), numeric, rtol=1e-7)


@pytest.mark.parametrize("model", MODELS, ids=["log", "linear", "lognormal"])
@pytest.mark.parametrize("logzsol", [-3.0, np.log10(0.005), 0.0, np.log10(5.0), 1.0])
def test_gradients_are_finite_at_nodes_and_outside(model, logzsol):
    def first(x):
        params = {"met_logzsol": x, "met_scatter": jnp.float32(0.2)}
        return model.weights(jnp.asarray(LGMET, jnp.float32), ZSUN, params)

    assert np.all(np.isfinite(jax.jacfwd(first)(jnp.float32(logzsol))))


def test_unknown_space_is_refused():
    with pytest.raises(ParameterError, match="'log' or 'linear'"):
        InterpolatedMetallicity(space="cubic")


# -- metallicities that depend on the time of formation --------------------------------------------

LG_AGE = -2.95 + np.arange(-1, 124) / 30.0  # log10(age/Gyr) of the shipped grid
LOWER, UPPER = age_intervals(LG_AGE, "linear")
AGE = 9.0  # of the universe [Gyr]
DPL = {"sfh_dpl_tau_gyr": 3.0, "sfh_dpl_alpha": 2.5, "sfh_dpl_beta": 0.8, "sfh_dpl_log_mass": 0.0}


@pytest.fixture(scope="module")
def formed():
    """A double power law and, for what is known by hand, a constant rate since the Big Bang."""
    constant = {
        "sfh_constant_age_max_gyr": AGE,
        "sfh_constant_age_min_gyr": 0.0,
        "sfh_constant_log_mass": 0.0,
    }
    with jax.enable_x64(True):
        return {
            sfh.name: form_mass(sfh, params, AGE, LOWER, UPPER, count_fine(LOWER))
            for sfh, params in ((DoublePowerLawSFH(), DPL), (ConstantSFH(), constant))
        }


def histories():
    time = np.array([0.5, 4.0, 8.0])
    table = {"met_tabulated_time_gyr": time, "met_tabulated_logzsol": np.array([-2.0, -0.5, 0.1])}
    start = {"met_logzsol": 0.1, "met_logzsol_start": -1.5}
    return [
        (TwoStepMetallicity(), {"met_logzsol": 0.1, "met_logzsol_old": -0.8, "met_step_gyr": 1.3}),
        (LinearMetallicity(), start),
        (ClosedBoxMetallicity(), start | {"met_yield": 0.02}),
        (TabulatedMetallicity(n_time=3), table),
    ]


NAMES = [model.name for model, _ in histories()]
every_history = pytest.mark.parametrize(("model", "params"), histories(), ids=NAMES)


def shares(model, params, formed):
    with jax.enable_x64(True):
        return np.asarray(model.weights(LGMET, ZSUN, params, formed))


def mean_logz(model, params, formed):
    """Mean log Z/Zsun in each interval, which weights linear in log Z keep."""
    return np.log10(RELATIVE) @ shares(model, params, formed)


@every_history
def test_shares_in_every_interval_sum_to_one(model, params, formed):
    share = shares(model, params, formed["dpl"])
    assert share.shape == (7, LOWER.size)
    np.testing.assert_allclose(share.sum(axis=0), 1.0, rtol=1e-12)
    assert share.min() >= 0.0


@every_history
def test_masses_of_the_ssps_are_conserved(model, params, formed):
    """The sum over the metallicities is what one metallicity would give."""
    with jax.enable_x64(True):
        share = model.weights(LGMET, ZSUN, params, formed["dpl"])
        masses = np.asarray(share_among_metallicities(formed["dpl"], share, "linear"))
        expected = np.asarray(node_masses(formed["dpl"], "linear"))
    assert masses.shape == (7, LG_AGE.size)
    np.testing.assert_allclose(masses.sum(axis=0), expected, atol=1e-15)


def test_two_steps_split_the_mass_at_the_step(formed):
    """Constant rate: 1.3 of 9 Gyr at the metallicity of the young."""
    model, params = histories()[0]
    mass = np.asarray(formed["constant"].mass)
    mean = mean_logz(model, params, formed["constant"]) @ mass
    assert mean == pytest.approx((1.3 * 0.1 + 7.7 * -0.8) / 9.0, rel=1e-10)
    young, old = UPPER < 1.2, LOWER > 1.4
    logz = mean_logz(model, params, formed["constant"])
    np.testing.assert_allclose(logz[young], 0.1, atol=1e-12)
    np.testing.assert_allclose(logz[old], -0.8, atol=1e-12)


def test_linear_metallicity_is_linear_in_cosmic_time(formed):
    model, params = histories()[1]
    logz = mean_logz(model, params, formed["dpl"])
    middle = 0.5 * (LOWER + np.minimum(UPPER, AGE))
    forming = LOWER < AGE
    z0, z1 = 10**-1.5, 10**0.1
    expected = z0 + (z1 - z0) * (AGE - middle[forming]) / AGE
    np.testing.assert_allclose(10 ** logz[forming], expected, rtol=1e-10)


def test_closed_box_is_the_solution_of_its_differential_equation(formed):
    """dZ = -y dmu/mu, integrated in 100,000 steps over the constant history, against the model.

    The gas that is left is what makes the final metallicity come out.
    """
    model, params = histories()[2]
    logz = mean_logz(model, params, formed["constant"])
    start, final, yields = 10**-1.5, 10**0.1, 0.02 / ZSUN
    n = 100_000
    stars = (np.arange(n) + 0.5) / n * (1.0 - np.exp(-(final - start) / yields))
    z = start + np.concatenate([[0.0], np.cumsum(yields * np.diff(stars) / (1.0 - stars[:-1]))])
    assert z[-1] == pytest.approx(final, rel=1e-3)
    forming = LOWER < AGE
    middle = 0.5 * (LOWER + np.minimum(UPPER, AGE))[forming]
    expected = np.interp(AGE - middle, AGE * (np.arange(n) + 0.5) / n, z)
    np.testing.assert_allclose(10 ** logz[forming], expected, rtol=1e-3)


def test_closed_box_with_a_large_yield_is_linear_in_the_mass_formed(formed):
    """-ln mu = M/M_gas where little of the gas is used."""
    params = histories()[1][1] | {"met_yield": 100.0}
    logz = mean_logz(ClosedBoxMetallicity(), params, formed["dpl"])
    mass = np.asarray(formed["dpl"].mass)
    before = 1.0 - np.cumsum(mass) + 0.5 * mass
    expected = 10**-1.5 + (10**0.1 - 10**-1.5) * before
    forming = mass > 0
    np.testing.assert_allclose(10 ** logz[forming], expected[forming], rtol=1e-4)


def test_tables_are_interpolated_in_cosmic_time(formed):
    model, params = histories()[3]
    logz = mean_logz(model, params, formed["dpl"])
    middle = 0.5 * (LOWER + np.minimum(UPPER, AGE))
    forming = LOWER < AGE
    expected = np.interp(AGE - middle[forming], [0.5, 4.0, 8.0], [-2.0, -0.5, 0.1])
    np.testing.assert_allclose(logz[forming], expected, atol=1e-12)


@pytest.mark.parametrize("met_yield", [1e-3, 0.03, 1.0])
@pytest.mark.parametrize("final", [-2.0, -1.0, 0.4])
def test_closed_box_is_finite_in_single_precision(met_yield, final):
    """Also where all gas is used up, and where the metallicity falls."""
    lower, upper = np.float32(LOWER), np.float32(UPPER)

    def total(params):
        mass = form_mass(DoublePowerLawSFH(), DPL, 9.0, lower, upper, count_fine(LOWER))
        lgmet = jnp.asarray(LGMET, jnp.float32)
        share = ClosedBoxMetallicity().weights(lgmet, ZSUN, params, mass)
        return jnp.sum(jnp.arange(7.0) @ share)

    params = {"met_logzsol": final, "met_logzsol_start": -1.0, "met_yield": met_yield}
    gradient = jax.grad(total)({k: jnp.float32(v) for k, v in params.items()})
    assert all(np.isfinite(g) for g in gradient.values())
