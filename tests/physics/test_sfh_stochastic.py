"""The stochastic field: its covariance against the analytic one, its mean, its integrals."""

from functools import partial
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tengri_ppl.physics.composite import (
    age_intervals,
    count_fine,
    form_mass,
    star_formation_rate,
)
from tengri_ppl.physics.sfh import (
    BurstSFH,
    DampedRandomWalk,
    DoublePowerLawSFH,
    ExtendedRegulator,
    Matern,
    StochasticSFH,
)
from tengri_ppl.physics.sfh.processes import damped_random_walk, regulator_process
from tengri_ppl.physics.sfh.stochastic import cut_intervals

LOWER, UPPER = age_intervals(-2.95 + np.arange(-1, 124) / 30.0, "linear")
AGE = 9.0  # of the universe [Gyr]
DPL = {"sfh_dpl_tau_gyr": 3.0, "sfh_dpl_alpha": 2.5, "sfh_dpl_beta": 0.8}
FIELD = {
    "sfh_field_psd_sigma": 0.4,
    "sfh_field_psd_tau_myr": 150.0,
    "sfh_field_psd_tau_eq_myr": 500.0,
    "sfh_field_psd_sigma_dyn": 0.1,
    "sfh_field_psd_tau_dyn_myr": 20.0,
}
FIELDS = [DampedRandomWalk(), Matern(), ExtendedRegulator()]
every_field = pytest.mark.parametrize("field", FIELDS, ids=[f.name for f in FIELDS])
LATENT = ("psd_xi", "psd_xi_dyn")


def step(field, cosmic_age=AGE):
    """Time between the centres of neighbouring cells [Myr]."""
    edges = 1e3 * cosmic_age * field.grid
    return np.diff(0.5 * (edges[1:] + edges[:-1]))


def regulator(t, tau_in, tau_eq):
    """Auto-covariance of the regulator, Iyer et al. (2024)."""
    if tau_in == tau_eq:
        return (1 + t / tau_in) * np.exp(-t / tau_in)
    return (tau_in * np.exp(-t / tau_in) - tau_eq * np.exp(-t / tau_eq)) / (tau_in - tau_eq)


def covariance(field, t):
    """Analytic covariance at time differences t [Myr]."""
    sigma2, tau = FIELD["sfh_field_psd_sigma"] ** 2, FIELD["sfh_field_psd_tau_myr"]
    if field.name == "drw":
        return sigma2 * np.exp(-t / tau)
    if field.name == "matern":
        x = np.sqrt(3.0) * t / tau
        return sigma2 * (1.0 + x) * np.exp(-x)
    clouds = FIELD["sfh_field_psd_sigma_dyn"] ** 2 * np.exp(-t / 20.0)
    return sigma2 * regulator(t, tau, 500.0) + clouds


def draw(field, key, **values):
    keys = jax.random.split(key, 2)
    xi = {n: jax.random.normal(k, (field.n_cells,)) for n, k in zip(LATENT, keys, strict=True)}
    return FIELD | xi | values


def lags(field):
    centre = np.concatenate([[0.0], np.cumsum(step(field))])
    return np.abs(centre[:, None] - centre)


@every_field
def test_covariance_of_the_linear_map_is_the_analytic_one(field):
    """The field is linear in its normals, s = L xi, so that L L^T is its exact covariance."""
    with jax.enable_x64(True):

        def latent_to_field(xi):
            return field.log_rate(FIELD | dict(zip(LATENT, xi, strict=True)), step(field))[0]

        zero = (jnp.zeros(field.n_cells), jnp.zeros(field.n_cells))
        factors = jax.jacrev(latent_to_field)(zero)
    got = sum(np.asarray(f) @ np.asarray(f).T for f in factors)
    np.testing.assert_allclose(got, covariance(field, lags(field)), atol=1e-9)


@every_field
def test_covariance_of_draws_is_the_analytic_one(field):
    """Of 20,000 draws in 32 bit, at four cells and between them, within five standard errors."""
    keys = jax.random.split(jax.random.key(1), 20_000)
    steps = np.float32(step(field))
    draws = jax.jit(jax.vmap(lambda k: field.log_rate(draw(field, k), steps)[0]))(keys)
    cells = [0, 5, 40, 120]
    got = np.cov(np.asarray(draws, float)[:, cells].T)
    expected = covariance(field, lags(field)[np.ix_(cells, cells)])
    variance = covariance(field, np.zeros(()))
    error = np.sqrt((variance**2 + expected**2) / 20_000)
    assert np.all(np.abs(got - expected) < 5.0 * error)


@every_field
def test_variance_is_told(field):
    with jax.enable_x64(True):
        _, variance = field.log_rate(draw(field, jax.random.key(0)), step(field))
    assert float(variance) == pytest.approx(float(covariance(field, np.zeros(()))), rel=1e-12)


@settings(max_examples=40, deadline=None)
@given(
    tau_in=st.floats(0.5, 5000.0),
    ratio=st.floats(0.02, 50.0),
    first=st.floats(0.05, 5.0),
    seed=st.integers(0, 1000),
)
def test_regulator_is_its_cholesky_factor_in_both_precisions(tau_in, ratio, first, seed):
    """Against numpy's Cholesky factor in 64 bit; in 32 bit the field is good to 1 % of sigma."""
    steps = first * 1.1 ** np.arange(60)
    xi = np.random.default_rng(seed).normal(size=61)
    centre = np.concatenate([[0.0], np.cumsum(steps)])
    lag = np.abs(centre[:, None] - centre)
    # a ratio of one within rounding has an expression of its own
    tau_eq = tau_in * (1.0 if abs(ratio - 1.0) < 1e-4 else ratio)
    exact = regulator(lag, tau_in, tau_eq)
    with jax.enable_x64(True):
        double = np.asarray(regulator_process(xi, steps, tau_in, tau_eq))
        factor = np.asarray(jax.jacfwd(regulator_process)(jnp.zeros(61), steps, tau_in, tau_eq))
    np.testing.assert_allclose(factor @ factor.T, exact, atol=1e-6)
    single = regulator_process(np.float32(xi), np.float32(steps), np.float32(tau_in), tau_eq)
    assert single.dtype == jnp.float32
    np.testing.assert_allclose(single, double, atol=0.01 * max(1.0, np.abs(double).max()))


def test_damped_random_walk_is_the_recursion():
    """s_0 = xi_0, s_i = rho_i s_(i-1) + sqrt(1 - rho_i^2) xi_i."""
    rng = np.random.default_rng(0)
    xi, steps = rng.normal(size=30), rng.uniform(0.01, 3.0, 29)
    expected = [xi[0]]
    for x, rho in zip(xi[1:], np.exp(-steps), strict=True):
        expected.append(rho * expected[-1] + np.sqrt(1.0 - rho**2) * x)
    with jax.enable_x64(True):
        np.testing.assert_allclose(damped_random_walk(xi, steps), expected, rtol=1e-12)


def test_cells_are_narrow_recently_and_wide_long_ago():
    width = 13.5e3 * np.diff(DampedRandomWalk().grid)  # Myr, today
    assert width[0] == pytest.approx(2.2, abs=0.1)
    assert np.all(np.diff(width) > 0)
    assert width[-1] < 200.0


# -- on a history --------------------------------------------------------------------------------


@partial(jax.jit, static_argnums=0)
def compiled_form_mass(sfh, params, cosmic_age):
    return form_mass(sfh, params, cosmic_age, LOWER, UPPER, count_fine(LOWER))


@partial(jax.jit, static_argnums=0)
def compiled_rate(sfh, params, cosmic_age, lookback):
    return star_formation_rate(sfh, params, cosmic_age, lookback, LOWER, UPPER, count_fine(LOWER))


@pytest.fixture
def _double():
    with jax.enable_x64(True):
        yield


@pytest.mark.usefixtures("_double")
def test_without_amplitude_the_field_changes_nothing():
    sfh = StochasticSFH()
    values = DPL | draw(sfh.field, jax.random.key(0), sfh_field_psd_sigma=0.0)
    got = compiled_form_mass(sfh, values | {"sfh_dpl_log_mass": 10.0}, AGE)
    plain = compiled_form_mass(sfh.base, DPL | {"sfh_dpl_log_mass": 10.0}, AGE)
    # the smooth history is integrated over smaller pieces: the coarse rule is good to 1e-6
    np.testing.assert_allclose(got.mass, plain.mass, rtol=1e-5, atol=1e-6 * 1e10)
    np.testing.assert_allclose(got.moment, plain.moment, rtol=1e-5, atol=1e-6 * 1e10)


@pytest.mark.usefixtures("_double")
def test_masses_are_the_integral_of_the_rate():
    """Peak amplitude, so that nothing is normalised; 2,000 points in every interval and cell."""
    sfh = StochasticSFH(base=DoublePowerLawSFH(amplitude="log_peak_sfr"))
    values = DPL | draw(sfh.field, jax.random.key(2)) | {"sfh_dpl_log_peak_sfr": 0.3}
    got = jax.tree.map(np.asarray, compiled_form_mass(sfh, values, AGE))
    cuts = np.unique(np.concatenate([LOWER[LOWER < AGE], AGE * sfh.field.grid]))
    mass, moment = np.zeros(LOWER.size), np.zeros(LOWER.size)
    rule, weight = np.polynomial.legendre.leggauss(20)
    for a, b in pairwise(cuts):
        t = a + (b - a) * (0.5 + 0.5 * rule)
        rate = np.asarray(compiled_rate(sfh, values, AGE, t))
        i = np.searchsorted(LOWER, 0.5 * (a + b)) - 1
        mass[i] += 0.5e9 * (b - a) * (weight @ rate)
        moment[i] += 0.5e9 * (b - a) * (weight @ (rate * (t - LOWER[i]))) / (UPPER[i] - LOWER[i])
    total = mass.sum()
    np.testing.assert_allclose(got.mass, mass, rtol=1e-6, atol=1e-6 * total)
    np.testing.assert_allclose(got.moment, moment, rtol=1e-6, atol=1e-6 * total)


@pytest.mark.usefixtures("_double")
def test_total_mass_is_the_amplitude_whatever_the_field():
    sfh = StochasticSFH(field=Matern())
    values = DPL | draw(sfh.field, jax.random.key(3)) | {"sfh_dpl_log_mass": 10.5}
    assert float(compiled_form_mass(sfh, values, AGE).mass.sum()) == pytest.approx(
        10.0**10.5, rel=1e-12
    )


def test_mean_of_the_rate_is_the_smooth_rate():
    """Over 4,000 draws in 32 bit; the factor's standard error is sqrt(exp(v) - 1) / sqrt(n)."""
    base = DoublePowerLawSFH(amplitude="log_peak_sfr")
    sfh = StochasticSFH(base=base)
    smooth = DPL | {"sfh_dpl_log_peak_sfr": 0.0}
    lookback = np.float32([0.001, 0.1, 1.0, 5.0])
    lower, upper = np.float32(LOWER), np.float32(UPPER)

    def rate(key):
        values = smooth | draw(sfh.field, key)
        return star_formation_rate(sfh, values, AGE, lookback, lower, upper)

    rates = jax.jit(jax.vmap(rate))(jax.random.split(jax.random.key(5), 4000))
    plain = star_formation_rate(base, smooth, AGE, lookback, lower, upper)
    error = np.sqrt(np.expm1((0.4 * np.log(10.0)) ** 2) / 4000)
    np.testing.assert_allclose(np.asarray(rates).mean(axis=0) / plain, 1.0, atol=5.0 * error)


def test_a_field_and_a_burst_keep_the_names_of_the_family():
    sfh = BurstSFH(base=StochasticSFH(field=ExtendedRegulator(n_cells=32)))
    names = [p.name for p in sfh.parameters]
    assert names[0] == sfh.amplitude_name == "sfh_dpl_log_mass"
    assert {"psd_xi", "psd_xi_dyn", "sfh_field_psd_tau_myr", "sfh_burst_fraction"} <= set(names)
    assert {p.shape for p in sfh.parameters if p.name in LATENT} == {(32,)}
    assert len(names) == len(set(names))


def test_age_intervals_are_cut_at_the_edges_of_cells():
    """Every piece lies in the interval and in the cell that it is counted to."""
    lower, upper = np.array([0.0, 0.5, 2.0]), np.array([0.5, 2.0, 100.0])
    edges = np.array([0.0, 0.2, 0.5, 1.0, 7.0, 13.0])
    cuts, home, inside = map(np.asarray, cut_intervals(*map(jnp.asarray, (lower, upper, edges))))
    np.testing.assert_allclose(cuts, [0.0, 0.2, 0.5, 0.5, 1.0, 2.0, 7.0, 100.0], rtol=1e-6)
    middle = 0.5 * (cuts[1:] + cuts[:-1])
    real = np.diff(cuts) > 0
    np.testing.assert_array_equal(home[real], (np.searchsorted(lower, middle) - 1)[real])
    expected = np.minimum(np.searchsorted(edges, middle) - 1, edges.size - 2)
    np.testing.assert_array_equal(inside[real], expected[real])
