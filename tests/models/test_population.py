"""Populations: what galaxies share enters the model as written, and fillers don't."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from numpyro import handlers
from scipy import stats

import tengri_ppl as tg
from tengri_ppl.inference import Target
from tengri_ppl.models.mixture import MixturePopulation
from tengri_ppl.models.population import (
    Calibration,
    Population,
    population_model,
    population_sampling_model,
)
from tengri_ppl.models.relations import (
    MultivariateNormalPopulation,
    NormalPopulation,
    ScalingRelation,
    Shared,
)

MASS, MET, DUST = "sfh_delayed_log_mass", "met_logzsol", "dust_tau_diff"
SLOPE = f"{MET}_slope_{MASS}"
REDSHIFT = np.array([0.05, 0.1, 0.2, 0.12])
N = len(REDSHIFT)


@pytest.fixture(scope="module")
def sed(delayed_spec, ssp, sdss):
    return tg.SEDModel(delayed_spec, ssp, sdss)


@pytest.fixture(scope="module")
def population():
    return Population(
        Shared(DUST),
        NormalPopulation(MASS, loc=dist.Normal(10.0, 1.0), scale=dist.HalfNormal(1.0)),
        ScalingRelation(MET, on=MASS, pivot=10.0),
    )


@pytest.fixture(scope="module")
def galaxies(sed):
    """Truths, fluxes and errors of four galaxies."""
    truth = {
        DUST: jnp.asarray(0.4),
        f"{MASS}_loc": jnp.asarray(10.1),
        f"{MASS}_scale": jnp.asarray(0.6),
        f"{MET}_intercept": jnp.asarray(-0.3),
        SLOPE: jnp.asarray(0.4),
        f"{MET}_scatter": jnp.asarray(0.2),
        MASS: jnp.array([9.5, 10.0, 10.4, 10.9]),
        MET: jnp.array([-0.6, -0.2, -0.2, 0.1]),
        "sfh_delayed_tau_gyr": jnp.array([1.0, 4.0, 2.0, 0.6]),
    }
    flux = sed.predict_photometry({**truth, "redshift": REDSHIFT})
    sigma = 0.1 * flux
    return truth, flux + sigma * jax.random.normal(jax.random.key(0), flux.shape), sigma


def test_the_density_is_that_of_its_parts(sed, population, galaxies):
    truth, data, sigma = galaxies
    noise, columns = tg.GaussianNoise(sigma=sigma), {"redshift": REDSHIFT}
    model = handlers.seed(handlers.condition(population_model, truth), 0)
    trace = handlers.trace(model).get_trace(
        sed, noise, data, population=population, columns=columns
    )
    got = {
        name: np.asarray(site["fn"].log_prob(site["value"]))
        for name, site in trace.items()
        if site["type"] == "sample"
    }
    flux = np.asarray(sed.predict_photometry({**truth, "redshift": REDSHIFT}), float)
    z = (np.asarray(data, float) - flux) / np.asarray(sigma, float)
    expected = np.sum(-0.5 * z**2 - np.log(np.asarray(sigma, float) * np.sqrt(2 * np.pi)), axis=1)
    np.testing.assert_allclose(got.pop("flux"), expected, rtol=1e-5)
    mean = -0.3 + 0.4 * (np.asarray(truth[MASS]) - 10.0)
    a, b = (-1.5 - mean) / 0.2, (0.3 - mean) / 0.2
    relation = stats.truncnorm.logpdf(truth[MET], a, b, loc=mean, scale=0.2)
    np.testing.assert_allclose(got.pop(MET), relation, rtol=1e-4)
    a, b = (7.0 - 10.1) / 0.6, (12.5 - 10.1) / 0.6
    masses = stats.truncnorm.logpdf(truth[MASS], a, b, loc=10.1, scale=0.6)
    np.testing.assert_allclose(got.pop(MASS), masses, rtol=1e-4)
    np.testing.assert_allclose(got.pop("sfh_delayed_tau_gyr"), np.full(N, -np.log(4.7)), rtol=1e-5)
    assert set(got) == set(truth) - {MET, MASS, "sfh_delayed_tau_gyr"}
    assert got[DUST] == pytest.approx(-np.log(2.0))
    assert got[SLOPE] == pytest.approx(stats.norm.logpdf(0.4))
    assert got[f"{MET}_scatter"] == pytest.approx(
        stats.halfnorm.logpdf(0.2, scale=1.8 / np.sqrt(12)), rel=1e-5
    )


def test_coordinates_for_samplers_are_those_of_the_same_model(sed, population, galaxies):
    """Mapped back, draws of the prior have the same moments, and points the same likelihood."""
    _, data, sigma = galaxies
    arguments = (sed, tg.GaussianNoise(sigma=sigma), data)
    options = {"population": population, "columns": {"redshift": REDSHIFT}}
    plain = Target(population_model, arguments, options)
    moved = Target(population_sampling_model, arguments, options)
    assert {f"{MET}_std", "sfh_delayed_tau_gyr_std", MASS} < set(moved.sites)
    z = jax.tree.map(lambda x: x[0], moved.initial(jax.random.key(1), 1))
    values = moved.constrain(z)
    back = plain.unconstrain({name: values[name] for name in plain.sites})
    assert float(moved.log_likelihood(z)) == pytest.approx(
        float(plain.log_likelihood(back)), rel=1e-4
    )

    def draw(model, key):
        trace = handlers.trace(handlers.seed(model, key)).get_trace(*arguments[:2], **options)
        return jnp.stack([trace[name]["value"] for name in (MASS, MET)])

    keys = jax.random.split(jax.random.key(2), 4000)
    one, two = (
        np.array(jax.jit(jax.vmap(lambda k, m=model: draw(m, k)))(keys)).transpose(1, 0, 2)
        for model in (population_model, population_sampling_model)
    )
    # NumPyro's draws leave the support of a Gaussian that is truncated 13 widths from its mean
    low, high = (float(x) for x in (sed.spec[MET].low, sed.spec[MET].high))
    one[1] = np.clip(one[1], low, high)
    for a, b in zip(one.reshape(2, -1), two.reshape(2, -1), strict=True):
        # galaxies of a draw share hyper-parameters: 4000 independent values, four errors
        assert abs(a.mean() - b.mean()) < 4 * a.std() * np.sqrt(2 / 4000)
        assert a.std() / b.std() == pytest.approx(1.0, abs=4 / np.sqrt(4000))


@pytest.mark.parametrize("model", [population_model, population_sampling_model])
@pytest.mark.parametrize(
    "relation",
    [None, MultivariateNormalPopulation((MASS, MET)), MixturePopulation((MASS,), ("a", "b"))],
)
def test_fillers_contribute_nothing_to_what_is_shared(sed, population, galaxies, model, relation):
    _, data, sigma = galaxies
    if relation:
        population = Population(relation)
    options = {"population": population, "columns": {"redshift": REDSHIFT}}
    alone = Target(model, (sed, tg.GaussianNoise(sigma=sigma), data), options)
    filler = jnp.full((2, sed.n_band), jnp.nan)
    filled = Target(
        model,
        (sed, tg.GaussianNoise(sigma=jnp.concatenate([sigma, filler])), jnp.vstack([data, filler])),
        {
            "population": population,
            "columns": {"redshift": np.append(REDSHIFT, [0.1, 0.1])},
            "present": np.arange(N + 2) < N,
        },
    )
    z = jax.tree.map(lambda x: x[0], alone.initial(jax.random.key(3), 1))
    more = {
        name: jnp.concatenate([x, 0.5 + x[:2]]) if x.shape[:1] == (N,) else x
        for name, x in z.items()
    }
    expected, got = jax.grad(alone.potential)(z), jax.grad(filled.potential)(more)
    for name, slope in expected.items():
        every = slope.shape[:1] == (N,)
        np.testing.assert_allclose(got[name][:N] if every else got[name], slope, rtol=1e-4)
    other = {n: x.at[N:].add(0.2) if x.shape[:1] == (N,) else x for n, x in more.items()}
    change = jax.grad(filled.potential)(other)
    for name, x in z.items():
        if x.shape[:1] != (N,):
            np.testing.assert_array_equal(change[name], got[name])


def test_missing_bands_may_hold_anything(sed, population, galaxies):
    _, data, sigma = galaxies
    mask = np.ones((N, sed.n_band), bool)
    mask[0, 1:], mask[1, 0], mask[2] = False, False, False  # the third galaxy was not observed
    hidden = jnp.where(mask, data, jnp.nan), jnp.where(mask, sigma, jnp.nan)
    options = {"population": population, "columns": {"redshift": REDSHIFT}}
    zeros = jnp.where(mask, data, 0.0), jnp.where(mask, sigma, 1.0)
    z, slopes = None, []
    for values, errors in (hidden, zeros):
        noise = tg.GaussianNoise(sigma=errors, mask=jnp.asarray(mask))
        target = Target(population_sampling_model, (sed, noise, values), options)
        z = z or jax.tree.map(lambda x: x[0], target.initial(jax.random.key(4), 1))
        slopes.append(jax.grad(target.potential)(z))
    for a, b in zip(*map(jax.tree.leaves, slopes), strict=True):
        assert np.all(np.isfinite(a))
        np.testing.assert_allclose(a, b, rtol=1e-5)


def test_zero_points_and_a_floor_are_shared(sed, galaxies):
    truth, data, sigma = galaxies
    calibration = Calibration(zero_point=dist.Normal(0.0, 0.02), floor=dist.HalfNormal(0.1))
    offset = jnp.linspace(-0.1, 0.1, sed.n_band)
    values = {**truth, "zero_point": offset, "floor": jnp.asarray(0.05)}
    model = handlers.seed(handlers.condition(population_model, values), 0)
    population = Population(Shared(DUST), calibration=calibration)
    trace = handlers.trace(model).get_trace(
        sed,
        tg.GaussianNoise(sigma=sigma),
        data,
        population=population,
        columns={"redshift": REDSHIFT},
    )
    flux = np.asarray(sed.predict_photometry({**truth, "redshift": REDSHIFT}), float)
    flux = flux * 10 ** (-0.4 * np.asarray(offset, float))
    error = np.hypot(np.asarray(sigma, float), 0.05 * np.abs(np.asarray(data, float)))
    expected = stats.norm.logpdf(np.asarray(data, float) / error, flux / error) - np.log(error)
    got = trace["flux"]["fn"].log_prob(trace["flux"]["value"])
    np.testing.assert_allclose(got, expected.sum(axis=1), rtol=1e-5)
    assert trace["zero_point"]["value"].shape == (sed.n_band,)


def test_several_parameters_are_correlated(sed, galaxies):
    _, _, sigma = galaxies
    population = Population(
        MultivariateNormalPopulation((MASS, MET), loc={MASS: dist.Normal(10.0, 0.5)})
    )
    fixed = {
        f"{MASS}_loc": jnp.asarray(10.0),
        f"{MET}_loc": jnp.asarray(-0.3),
        f"{MASS}_scale": jnp.asarray(0.5),
        f"{MET}_scale": jnp.asarray(0.1),
        "correlation_cholesky": jnp.array([[1.0, 0.0], [0.8, 0.6]]),
    }

    def draw(key):
        conditioned = handlers.condition(population_sampling_model, fixed)
        trace = handlers.trace(handlers.seed(conditioned, key)).get_trace(
            sed,
            tg.GaussianNoise(sigma=sigma),
            population=population,
            columns={"redshift": REDSHIFT},
        )
        return jnp.stack([trace[name]["value"] for name in (MASS, MET)])

    keys = jax.random.split(jax.random.key(5), 2000)
    drawn = np.asarray(jax.jit(jax.vmap(draw))(keys)).transpose(1, 0, 2).reshape(2, -1)
    n = drawn.shape[1]
    np.testing.assert_allclose(drawn.mean(axis=1), [10.0, -0.3], atol=4 * 0.5 / np.sqrt(n))
    np.testing.assert_allclose(drawn.std(axis=1), [0.5, 0.1], rtol=4 / np.sqrt(2 * n))
    assert np.corrcoef(drawn)[0, 1] == pytest.approx(0.8, abs=4 * 0.36 / np.sqrt(n))


@pytest.mark.parametrize(
    ("relations", "columns", "message"),
    [
        ((Shared("dust_tau"),), (), "no parameter of the model.*dust_tau_diff"),
        ((Shared(DUST), NormalPopulation(DUST)), (), "two relations sample it"),
        ((Shared("redshift"),), ("redshift",), "redshift: known for each galaxy"),
        (
            (MultivariateNormalPopulation((MASS, MET)), MultivariateNormalPopulation((DUST,))),
            (),
            "correlation: two relations sample it",
        ),
        ((), ("sfh_delayed_age_gyr",), "a column of the data and fixed"),
        ((ScalingRelation(MET, on="mass"),), (), "depends on 'mass'"),
        ((ScalingRelation(MET, on=DUST), NormalPopulation(DUST)), (), "earlier relation"),
        ((ScalingRelation(MET, on=MASS, pivot=(1.0, 2.0)),), (), "pivot has 2 entries"),
    ],
)
def test_relations_that_cannot_be_are_refused(sed, galaxies, relations, columns, message):
    _, data, sigma = galaxies
    columns = dict.fromkeys(columns, REDSHIFT)
    with pytest.raises(tg.ParameterError, match=message):
        handlers.trace(handlers.seed(population_model, 0)).get_trace(
            sed,
            tg.GaussianNoise(sigma=sigma),
            data,
            population=Population(*relations),
            columns=columns,
        )


def test_a_prior_of_unknown_width_asks_for_one(sed):
    spec = sed.spec.replace(met_logzsol=dist.ImproperUniform(dist.constraints.real, (), ()))
    with pytest.raises(tg.ParameterError, match="met_logzsol: the variance of its prior"):
        handlers.seed(NormalPopulation(MET, loc=dist.Normal(0.0, 1.0)).sample_shared, 0)(spec)


def test_what_is_no_relation_is_refused():
    with pytest.raises(tg.ParameterError, match="'dust_tau_diff' is no relation"):
        Population("dust_tau_diff")


def test_a_population_is_a_pytree(population):
    leaves, structure = jax.tree.flatten(population)
    again = jax.tree.unflatten(structure, leaves)
    assert again.names == population.names == (DUST, MASS, MET)
    assert again.shared_parameters() == (DUST,)
    other = Population(
        Shared(DUST),
        NormalPopulation(MASS, loc=dist.Normal(11.0, 1.0), scale=dist.HalfNormal(1.0)),
        replace(population.relations[2]),
    )
    assert jax.tree.structure(other) == structure
