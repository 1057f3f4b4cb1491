"""Decentred populations: the same posterior, in coordinates that know the data."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from numpyro import handlers

import tengri_ppl as tg
from tengri_ppl.distributions.layout import length
from tengri_ppl.inference import Target
from tengri_ppl.models.decentred import (
    GALAXY_COORDINATES,
    Coordinates,
    can_decentre,
    collapsed_model,
    decentred_population_model,
)
from tengri_ppl.models.galaxy_likelihoods import approximate_likelihoods
from tengri_ppl.models.mixture import MixturePopulation
from tengri_ppl.models.population import Calibration, Population, population_model
from tengri_ppl.models.relations import (
    MultivariateNormalPopulation,
    NormalPopulation,
    ScalingRelation,
    Shared,
)

MASS, MET, DUST, TAU = "sfh_delayed_log_mass", "met_logzsol", "dust_tau_diff", "sfh_delayed_tau_gyr"
REDSHIFT = np.array([0.05, 0.1, 0.2, 0.12])
N = len(REDSHIFT)
KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def sed(delayed_spec, ssp, sdss):
    return tg.SEDModel(delayed_spec, ssp, sdss)


@pytest.fixture(scope="module")
def photometry(sed):
    params = {
        DUST: jnp.array([0.2, 0.5, 0.9, 0.4]),
        MASS: jnp.array([9.5, 10.0, 10.4, 10.9]),
        MET: jnp.array([-0.6, -0.2, -0.2, 0.1]),
        TAU: jnp.array([1.0, 4.0, 2.0, 0.6]),
    }
    flux = sed.predict_photometry({**params, "redshift": REDSHIFT})
    return flux * (1.0 + 0.1 * jax.random.normal(KEY, flux.shape)), 0.1 * flux


POPULATIONS = {
    "line on another relation": Population(
        Shared(DUST),
        NormalPopulation(MASS, loc=dist.Normal(10.0, 1.0), scale=dist.HalfNormal(1.0)),
        ScalingRelation(MET, on=MASS, pivot=10.0),
        calibration=Calibration(zero_point=dist.Normal(0.0, 0.05), floor=dist.HalfNormal(0.1)),
    ),
    "line on a free parameter": Population(ScalingRelation(MET, on=TAU, pivot=2.0)),
    "correlated": Population(MultivariateNormalPopulation((MASS, MET))),
}


@pytest.mark.parametrize("population", POPULATIONS.values(), ids=POPULATIONS)
def test_the_posterior_is_that_of_the_population(sed, photometry, population):
    """Its density at the parameters, times the volume of their coordinates there."""
    data, sigma = photometry
    noise = tg.GaussianNoise(sigma=sigma, mask=jnp.ones((N, sed.n_band), bool))
    columns = {"redshift": jnp.asarray(REDSHIFT)}
    options = {"population": population, "columns": columns}
    likelihoods = approximate_likelihoods(sed, noise, data, population, columns, KEY)
    arguments = (sed, noise, data)
    model = handlers.seed(decentred_population_model, 1)
    trace = handlers.trace(model).get_trace(*arguments, likelihoods, **options)
    sampled = {
        name: site["value"]
        for name, site in trace.items()
        if site["type"] == "sample" and not site["is_observed"]
    }
    epsilon = 0.5 * jax.random.normal(jax.random.key(2), sampled[GALAXY_COORDINATES].shape)
    others = {name: value for name, value in sampled.items() if name != GALAXY_COORDINATES}
    names = tuple(n for n in sed.spec.priors if n != "redshift" and n not in others)

    def at(epsilon):
        values = {**others, GALAXY_COORDINATES: epsilon}
        seeded = handlers.seed(handlers.substitute(decentred_population_model, values), 0)
        return handlers.trace(seeded).get_trace(*arguments, likelihoods, **options)

    def parameters(epsilon):
        trace = at(epsilon)
        return jnp.stack([trace[name]["value"] for name in names], axis=-1)

    def total(trace):
        sites = [site for site in trace.values() if site["type"] == "sample"]
        return sum(float(jnp.sum(site["fn"].log_prob(site["value"]))) for site in sites)

    moved = at(epsilon)
    values = {**others, **{name: moved[name]["value"] for name in names}}
    if "members" in population.relations[0].sites():
        values["members"] = jnp.stack([values[n] for n in (MASS, MET)], axis=-1)
    plain = handlers.trace(handlers.seed(handlers.substitute(population_model, values), 0))
    expected = total(plain.get_trace(*arguments, **options))
    jacobian = np.asarray(jax.jacobian(parameters)(epsilon), float)
    volume = sum(np.linalg.slogdet(jacobian[i, :, i])[1] for i in range(N))
    assert np.count_nonzero(jacobian.sum(axis=(1, 3)) * (1 - np.eye(N))) == 0
    assert total(moved) == pytest.approx(expected + volume, abs=2e-3 * abs(expected) ** 0.5)


class LinearSED:
    """Bands that are linear in the standard normals of the parameters."""

    n_band = 5

    def __init__(self, spec, response):
        self.spec, self.response = spec, response

    def predict_photometry(self, params):
        x = jnp.stack(jnp.broadcast_arrays(params[DUST], params[MASS], params[TAU]), axis=-1)
        return x @ self.response * 1e-29


jax.tree_util.register_pytree_node(
    LinearSED, lambda s: ((s.spec, s.response), None), lambda _, children: LinearSED(*children)
)


@pytest.fixture(scope="module")
def linear(delayed_spec):
    spec = delayed_spec.replace(
        **{DUST: dist.Normal(0.0, 1.0), MASS: dist.Normal(9.0, 2.0), TAU: dist.Normal(1.0, 1.0)},
        met_logzsol=0.0,
        redshift=0.1,
    )
    population = Population(
        Shared(DUST), NormalPopulation(MASS, dist.Normal(9.0, 1.0), dist.HalfNormal(1.0))
    )
    response = jax.random.normal(jax.random.key(4), (3, LinearSED.n_band))
    data = 1e-29 * (9.0 + jax.random.normal(jax.random.key(5), (N, LinearSED.n_band)))
    noise = tg.GaussianNoise(sigma=jnp.full(data.shape, 0.7e-29), mask=jnp.ones(data.shape, bool))
    sed = LinearSED(spec, response)
    likelihoods = approximate_likelihoods(sed, noise, data, population, {}, KEY)
    options = {"population": population, "columns": {}}
    return sed, noise, data, likelihoods, options


SHARED = [
    {DUST: 0.3, f"{MASS}_loc": 9.5, f"{MASS}_scale": 0.2},
    {DUST: -1.0, f"{MASS}_loc": 8.0, f"{MASS}_scale": 2.5},
]


@pytest.mark.parametrize("shared", SHARED)
def test_galaxies_of_a_linear_model_are_standard_normals(linear, shared):
    """Given what is shared the density of their coordinates is exactly that."""
    sed, noise, data, likelihoods, options = linear
    target = Target(decentred_population_model, (sed, noise, data, likelihoods), options)
    epsilon = jax.random.normal(jax.random.key(6), (20, N, 2))
    z = target.unconstrain({**jax.tree.map(jnp.asarray, shared), GALAXY_COORDINATES: epsilon[0]})
    energy = np.array([float(target.potential({**z, GALAXY_COORDINATES: e})) for e in epsilon])
    expected = 0.5 * np.sum(np.asarray(epsilon, float) ** 2, axis=(1, 2))
    np.testing.assert_allclose(energy - energy[0], expected - expected[0], atol=2e-3)


def test_the_collapsed_posterior_of_a_linear_model_is_exact(linear):
    """Differences of its density are those of a multivariate normal in the data."""
    sed, noise, data, likelihoods, options = linear
    target = Target(collapsed_model, (sed.spec, noise, likelihoods), options)
    a, mass, own = np.asarray(sed.response, float)
    found, expected = [], []
    for shared in SHARED:
        z = target.unconstrain(jax.tree.map(jnp.asarray, shared))
        found.append(float(target.log_likelihood(z)))
        mean = shared[DUST] * a + shared[f"{MASS}_loc"] * mass + own
        covariance = (
            0.7**2 * np.eye(len(a))
            + shared[f"{MASS}_scale"] ** 2 * np.outer(mass, mass)
            + np.outer(own, own)
        )
        residual = np.asarray(data, float) * 1e29 - mean
        expected.append(
            -0.5 * np.sum(residual * np.linalg.solve(covariance, residual.T).T)
            - 0.5 * N * np.linalg.slogdet(covariance)[1]
        )
    assert found[1] - found[0] == pytest.approx(expected[1] - expected[0], rel=1e-3)


def test_what_is_no_function_of_normals_is_not_decentred(sed):
    spec, columns = sed.spec, {"redshift": REDSHIFT}
    assert can_decentre(spec, Population(NormalPopulation(MASS)), columns)
    assert not can_decentre(spec, Population(MixturePopulation((MASS,), ("a", "b"))), columns)
    unknown = spec.replace(**{MASS: dist.ImproperUniform(dist.constraints.real, (), ())})
    assert not can_decentre(unknown, Population(NormalPopulation(MASS)), columns)
    layout = Coordinates.of(spec, POPULATIONS["line on a free parameter"], columns)
    assert [name for name, _ in layout.needed] == [TAU]
    assert [name for name, _ in layout.moved] == [TAU, MET]
    assert length(layout.own) == 2
    assert layout.shared == ()


def test_fillers_contribute_nothing_to_what_is_shared(sed, photometry):
    data, sigma = photometry
    population = POPULATIONS["line on another relation"]
    present = jnp.arange(N + 2) < N
    columns = {"redshift": jnp.append(REDSHIFT, jnp.full(2, 0.1))}
    mask = jnp.broadcast_to(present[:, None], (N + 2, sed.n_band))
    filled = jnp.vstack([data, jnp.zeros((2, sed.n_band))])
    errors = jnp.vstack([sigma, jnp.full((2, sed.n_band), 1e-29)])
    noise = tg.GaussianNoise(sigma=errors, mask=mask)
    likelihoods = approximate_likelihoods(sed, noise, filled, population, columns, KEY)
    for unknown in (likelihoods.information, likelihoods.precision):
        np.testing.assert_array_equal(unknown[N:], 0.0)

    def slopes(n, shift=0.0):
        some = tg.GaussianNoise(sigma=errors[:n], mask=mask[:n])
        arguments = (sed, some, filled[:n])
        options = {
            "population": population,
            "columns": {"redshift": columns["redshift"][:n]},
            "present": present[:n],
        }
        known = jax.tree.map(lambda x: x[:n], likelihoods)
        target = Target(decentred_population_model, (*arguments, known), options)
        z = {name: jnp.full(site.unconstrained_shape, 0.3) for name, site in target.sites.items()}
        z[GALAXY_COORDINATES] = z[GALAXY_COORDINATES].at[N:].add(shift)
        found = jax.grad(target.potential)(z)
        return found | {GALAXY_COORDINATES: found[GALAXY_COORDINATES][:N]}

    alone, padded, moved = slopes(N), slopes(N + 2), slopes(N + 2, 1.0)
    for name, slope in alone.items():
        np.testing.assert_array_equal(moved[name], padded[name])
        np.testing.assert_allclose(padded[name], slope, rtol=1e-3)
