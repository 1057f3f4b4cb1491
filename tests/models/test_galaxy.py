"""The galaxy as a NumPyro model: sites, handlers, plates, coordinates."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro import handlers
from numpyro.infer import MCMC, NUTS, Predictive, log_likelihood
from numpyro.infer.reparam import LocScaleReparam
from numpyro.infer.util import log_density
from scipy import stats

import tengri_ppl as tg
from tengri_ppl.models.amplitude import best_log_amplitude, sample_decentred
from tengri_ppl.models.galaxy import sampling_model


@pytest.fixture(scope="module")
def problem(ssp, sdss):
    spec = tg.Parameters(
        sfh="delayed",
        dust_law="calzetti",
        sfh_delayed_log_mass=tg.Uniform(8, 12),
        met_logzsol=tg.Normal(0.0, 0.2),
        redshift=0.1,
    )
    sed = tg.SEDModel(spec, ssp, observation=sdss)
    truth = spec.sample(jax.random.key(1))
    flux = sed.predict_photometry(truth)
    return sed, truth, flux, tg.GaussianNoise(sigma=0.05 * flux)


def _sites(trace, observed):
    return [
        name
        for name, site in trace.items()
        if site["type"] == "sample" and site["is_observed"] is observed
    ]


def test_trace_has_a_site_per_free_parameter_and_the_flux(problem):
    sed, _, flux, noise = problem
    with handlers.seed(rng_seed=0):
        trace = handlers.trace(tg.galaxy_model).get_trace(sed, noise, flux)
    assert _sites(trace, False) == sed.spec.free_params
    assert _sites(trace, True) == ["flux"]
    assert trace["band"]["args"][0] == 5
    assert all("/" not in name for name in trace)


def test_log_density_is_prior_plus_gaussian_by_hand(problem):
    sed, truth, flux, noise = problem
    params = {**truth, "met_logzsol": jnp.asarray(0.1)}
    value, _ = log_density(tg.galaxy_model, (sed, noise, flux), {}, params)
    model = np.asarray(sed.predict_photometry(params), dtype=float)
    sigma = np.asarray(noise.sigma, dtype=float)
    expected = stats.norm.logpdf(np.asarray(flux, dtype=float), model, sigma).sum()
    for name, prior in sed.spec.priors.items():
        expected += float(prior.log_prob(params[name]))
    # 32-bit sums of five terms of order 70
    assert float(value) == pytest.approx(expected, rel=1e-5)


def test_condition_substitute_and_do_set_a_parameter(problem):
    sed, truth, flux, noise = problem
    value = jnp.asarray(10.5)
    expected = sed.predict_photometry({**truth, "sfh_delayed_log_mass": value})
    others = {k: v for k, v in truth.items() if k != "sfh_delayed_log_mass"}
    for handler in (handlers.condition, handlers.substitute, handlers.do):
        model = handler(tg.galaxy_model, data={"sfh_delayed_log_mass": value})
        with handlers.seed(rng_seed=0), handlers.substitute(data=others):
            returned = model(sed, noise)
        np.testing.assert_allclose(returned, expected, rtol=1e-5)
    conditioned = handlers.condition(tg.galaxy_model, data={"sfh_delayed_log_mass": value})
    with handlers.seed(rng_seed=0):
        trace = handlers.trace(conditioned).get_trace(sed, noise, flux)
    assert trace["sfh_delayed_log_mass"]["is_observed"]


def test_block_hides_and_mask_silences_sites(problem):
    sed, _, flux, noise = problem
    blocked = handlers.block(tg.galaxy_model, hide=["flux"])
    with handlers.seed(rng_seed=0):
        trace = handlers.trace(blocked).get_trace(sed, noise, flux)
    assert "flux" not in trace and "met_logzsol" in trace
    params = sed.spec.sample(jax.random.key(2))
    silent = handlers.mask(tg.galaxy_model, mask=False)
    assert float(log_density(silent, (sed, noise, flux), {}, params)[0]) == 0.0


def test_scope_prefixes_every_site(problem):
    sed, _, flux, noise = problem
    scoped = handlers.scope(tg.galaxy_model, prefix="a", divider=".")
    with handlers.seed(rng_seed=0):
        trace = handlers.trace(scoped).get_trace(sed, noise, flux)
    assert {f"a.{name}" for name in [*sed.spec.free_params, "flux"]} <= set(trace)


def test_reparam_of_a_prior_leaves_the_model_intact(problem):
    sed, _, flux, noise = problem
    model = handlers.reparam(tg.galaxy_model, config={"met_logzsol": LocScaleReparam(0.0)})
    with handlers.seed(rng_seed=0):
        trace = handlers.trace(model).get_trace(sed, noise, flux)
    assert "met_logzsol_decentered" in trace
    assert trace["met_logzsol"]["type"] == "deterministic"


def test_predictive_gives_prior_and_posterior_predictive_draws(problem):
    sed, truth, _, noise = problem
    prior = Predictive(tg.galaxy_model, num_samples=7)(jax.random.key(0), sed, noise)
    assert prior["flux"].shape == (7, 5) and prior["met_logzsol"].shape == (7,)
    samples = {name: jnp.broadcast_to(value, (2000,)) for name, value in truth.items()}
    draws = Predictive(tg.galaxy_model, samples)(jax.random.key(0), sed, noise)["flux"]
    pull = (draws - sed.predict_photometry(truth)) / noise.sigma
    # standard errors for 2000 draws: 0.022 of the mean, 0.016 of the standard deviation
    assert np.all(np.abs(pull.mean(axis=0)) < 5 * 0.022)
    assert np.all(np.abs(pull.std(axis=0) - 1) < 5 * 0.016)
    pointwise = log_likelihood(tg.galaxy_model, samples, sed, noise, draws[0])
    assert pointwise["flux"].shape == (2000, 5)


def test_render_model_draws_the_plate(problem):
    pytest.importorskip("graphviz")
    sed, _, flux, noise = problem
    graph = numpyro.render_model(tg.galaxy_model, model_args=(sed, noise, flux))
    assert "cluster_band" in graph.source and "met_logzsol" in graph.source


def test_sample_and_predict_inside_a_galaxy_plate(problem):
    sed, *_ = problem

    def population(n, data=None):
        mean = numpyro.sample("mean", dist.Normal(0.0, 0.2))
        with numpyro.plate("galaxy", n):
            params = sed.sample(skip=("met_logzsol",))
            params["met_logzsol"] = numpyro.sample("met_logzsol", dist.Normal(mean, 0.1))
            flux = sed.predict_photometry(params)
            observed = dist.Normal(flux * 1e29, 1.0).to_event(1)
            numpyro.sample("flux", observed, obs=data)
        return flux

    with handlers.seed(rng_seed=0):
        trace = handlers.trace(population).get_trace(4)
    assert trace["sfh_delayed_log_mass"]["value"].shape == (4,)
    assert trace["flux"]["value"].shape == (4, 5)


def test_a_users_own_model_runs_with_numpyro_mcmc(problem):
    """The mass of a galaxy with everything else known: sd = 0.05 / (sqrt(5) ln 10) = 0.0097."""
    sed, truth, flux, noise = problem

    def model(sed, error, flux=None):
        with handlers.condition(data={k: v for k, v in truth.items() if "mass" not in k}):
            params = sed.sample()
        mu = sed.predict_photometry(params)
        with numpyro.plate("band", sed.n_band):
            numpyro.sample("flux", dist.Normal(mu / error, 1.0), obs=flux)

    mcmc = MCMC(NUTS(model), num_warmup=200, num_samples=400, progress_bar=False)
    mcmc.run(jax.random.key(0), sed, noise.sigma, flux / noise.sigma)
    mass = np.asarray(mcmc.get_samples()["sfh_delayed_log_mass"])
    expected = 0.05 / np.sqrt(5) / np.log(10)
    # about 150 effective draws: standard error 0.08 sd of the mean, 6 % of the sd
    assert abs(mass.mean() - float(truth["sfh_delayed_log_mass"])) < 0.4 * expected
    assert mass.std() == pytest.approx(expected, rel=0.3)


def test_masked_bands_contribute_nothing(problem):
    sed, truth, flux, noise = problem
    mask = jnp.array([True, True, False, True, True])
    values = []
    for third in (1.0, 100.0):
        data = flux.at[2].multiply(third)
        masked = tg.GaussianNoise(sigma=noise.sigma, mask=mask)
        for decentre in (False, True):
            with handlers.seed(rng_seed=0), handlers.substitute(data=truth):
                trace = handlers.trace(tg.galaxy_model).get_trace(
                    sed, masked, data, decentre=decentre
                )
            values.append(trace["flux"]["fn"].log_prob(trace["flux"]["value"])[2])
    assert [float(v) for v in values] == [0.0] * 4


def test_sampling_coordinates_leave_the_posterior_as_it_is(problem):
    """The density over the coordinates is the plain one times the Jacobian of the change.

    Checked through a ratio that the Jacobian drops out of: prior draws in the coordinates have
    the distribution of prior draws of the parameters (two-sample Kolmogorov-Smirnov test).
    """
    sed, _, flux, noise = problem
    plain = Predictive(tg.galaxy_model, num_samples=2000)(jax.random.key(0), sed, noise)

    def draw(key):
        with handlers.seed(rng_seed=key):
            trace = handlers.trace(sampling_model).get_trace(sed, noise, flux)
        return {name: trace[name]["value"] for name in sed.spec.free_params}

    changed = jax.vmap(draw)(jax.random.split(jax.random.key(1), 2000))
    for name in sed.spec.free_params:
        test = stats.ks_2samp(np.asarray(plain[name]), np.asarray(changed[name]))
        assert test.pvalue > 1e-3, name


def test_decentred_density_equals_the_plain_density():
    """log p(u) = log p(x(u)) + log |dx/du|, the derivative taken by JAX."""
    prior, location, scale = dist.Uniform(7.0, 12.0), 10.3, 0.02

    def model():
        return sample_decentred("x", prior, location, scale)

    def x_of(u):
        with handlers.substitute(data={"x_decentred": u}):
            return model()

    for u in (-3.0, 0.0, 2.5):
        value, _ = log_density(model, (), {}, {"x_decentred": jnp.asarray(u)})
        x, slope = x_of(jnp.asarray(u)), jax.grad(x_of)(jnp.asarray(u))
        assert float(value) == pytest.approx(float(prior.log_prob(x) + jnp.log(slope)), abs=1e-4)
        assert float(slope) == pytest.approx(scale, rel=0.05)


def test_best_amplitude_is_the_least_squares_solution():
    rng = np.random.default_rng(0)
    template, sigma = rng.uniform(1, 2, 6), rng.uniform(0.1, 0.2, 6)
    data = 30.0 * template + sigma * rng.normal(size=6)
    expected = np.sum(template * data / sigma**2) / np.sum(template**2 / sigma**2)
    value = best_log_amplitude(jnp.asarray(template), jnp.asarray(data), jnp.asarray(sigma))
    assert float(value) == pytest.approx(np.log10(expected), abs=1e-5)
    noise_only = best_log_amplitude(jnp.asarray(template), -jnp.asarray(data), jnp.asarray(sigma))
    assert np.isfinite(float(noise_only))
