"""The amplitude integrated out, against integrals by brute force."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from numpyro import handlers
from scipy import stats

import tengri_ppl as tg
from tengri_ppl.inference import Target
from tengri_ppl.models.galaxy import can_marginalize, marginal_model
from tengri_ppl.models.marginal import AmplitudeMarginal, amplitude_range, draw_log_amplitude

MICROJANSKY = 1e-29
TEMPLATE = np.array([0.3, 1.0, 2.0, 4.0, 3.0]) * 1e-10
PRIORS = {
    "flat": dist.Uniform(7.0, 12.5),
    "normal": dist.Normal(10.0, 0.8),
    "truncated": dist.TruncatedNormal(10.0, 1.0, low=8.0),
}
#: log10 of the amplitude that the data have, and their signal-to-noise ratio in each band.
DATA = {
    "good": (10.4, 20.0),
    "extreme": (10.4, 1e3),
    "poor": (9.0, 1.0),
    "nothing": (8.0, 0.05),
    "negative": (None, -3.0),
    "above the prior": (13.2, 10.0),
    "below the prior": (6.3, 10.0),
}


def problem(name):
    """Data and errors [microjansky]."""
    level, ratio = DATA[name]
    noise = np.random.default_rng(5).normal(size=TEMPLATE.size)
    model = TEMPLATE * 10.0 ** (10.0 if level is None else level)
    sigma = np.full(TEMPLATE.size, model.mean() / abs(ratio))
    return (np.sign(ratio) * model + sigma * noise, sigma)


def brute_force(data, sigma, prior):
    """Grid in log10 A, and the logarithm of prior times likelihood on it, in 64 bits."""
    power = np.sum((TEMPLATE / sigma) ** 2)
    best = np.sum(TEMPLATE * data / sigma**2) / power
    chi2 = np.sum(((best * TEMPLATE - data) / sigma) ** 2)
    norm = np.sum(np.log(sigma * MICROJANSKY * np.sqrt(2.0 * np.pi)))
    low, high = (float(x) for x in amplitude_range(prior))
    for _ in range(3):
        grid = np.linspace(low, high, 200_001)
        log_prior = np.asarray(prior.log_prob(jnp.asarray(grid)), dtype=float)
        log_terms = log_prior - 0.5 * (chi2 + power * (10.0**grid - best) ** 2) - norm
        matters = np.flatnonzero(log_terms > log_terms.max() - 40.0)
        first, last = max(matters[0] - 1, 0), min(matters[-1] + 1, len(grid) - 1)
        low, high = grid[first], grid[last]
    return grid, log_terms


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("data", DATA)
def test_the_integral_is_that_by_brute_force(data, prior):
    flux, sigma = problem(data)
    grid, log_terms = brute_force(flux, sigma, PRIORS[prior])
    peak = log_terms.max()
    expected = peak + np.log(np.trapezoid(np.exp(log_terms - peak), grid))
    marginal = AmplitudeMarginal(jnp.asarray(TEMPLATE), jnp.asarray(sigma), PRIORS[prior])
    value = float(marginal.log_prob(jnp.asarray(flux * MICROJANSKY)))
    # 10**x has an error of 1e-6 or so in 32 bits, and chi-squared twice that
    assert value == pytest.approx(expected, rel=1e-5, abs=2e-3)


@pytest.mark.parametrize("prior", PRIORS)
def test_amplitudes_are_drawn_from_what_is_left(prior, x64):
    """Compared in 64 bits: some of these distributions are no wider than the last digits of 32."""
    keys = jax.random.split(jax.random.key(2), 2000)

    @jax.jit
    def draw(flux, sigma):
        return jax.vmap(lambda k: draw_log_amplitude(k, TEMPLATE, flux, sigma, PRIORS[prior]))(keys)

    for data in DATA:
        flux, sigma = problem(data)
        grid, log_terms = brute_force(flux, sigma, PRIORS[prior])
        weight = np.exp(log_terms - log_terms.max())
        cumulative = np.cumsum(weight) / weight.sum()
        test = stats.kstest(
            np.asarray(draw(flux, sigma)), lambda x, c=cumulative, g=grid: np.interp(x, g, c)
        )
        assert test.pvalue > 1e-3, data


def test_bands_that_are_not_used_do_not_matter():
    flux, sigma = problem("good")
    values = []
    for third in (1.0, 7.0):
        marginal = AmplitudeMarginal(
            jnp.asarray(TEMPLATE), jnp.asarray(sigma).at[2].set(jnp.inf), PRIORS["flat"]
        )
        data = flux * np.array([1.0, 1.0, third, 1.0, 1.0])
        values.append(float(marginal.log_prob(jnp.asarray(data * MICROJANSKY))))
    assert values[0] == values[1]


@pytest.mark.parametrize("data", DATA)
def test_whitened_residuals_are_those_of_the_best_amplitude(data):
    flux, sigma = problem(data)
    prior, used = PRIORS["flat"], np.array([1, 1, 0, 1, 1], bool)
    errors = jnp.where(jnp.asarray(used), jnp.asarray(sigma), jnp.inf)
    marginal = AmplitudeMarginal(jnp.asarray(TEMPLATE), errors, prior)
    found = np.asarray(marginal.whitened_prediction(jnp.asarray(flux * MICROJANSKY)), float)
    low, high = (10.0 ** float(x) for x in amplitude_range(prior))
    power = np.sum((TEMPLATE / sigma)[used] ** 2)
    best = np.clip(np.sum((TEMPLATE * flux / sigma**2)[used]) / power, low, high)
    expected = np.where(used, (best * TEMPLATE - flux) / sigma, 0.0)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(flux / sigma).max())


def test_gradients_are_those_of_the_integral(x64):
    @jax.jit
    def log_prob(tilt, flux, sigma):
        template = jnp.asarray(TEMPLATE) * jnp.exp(tilt * jnp.arange(TEMPLATE.size))
        marginal = AmplitudeMarginal(template, sigma, PRIORS["flat"])
        return marginal.log_prob(flux * MICROJANSKY)

    slope_of = jax.jit(jax.grad(log_prob))
    for data in ("good", "poor", "negative", "above the prior"):
        observed = problem(data)
        slope = float(slope_of(0.01, *observed))
        difference = float(log_prob(0.01 + 1e-5, *observed) - log_prob(0.01 - 1e-5, *observed))
        assert slope == pytest.approx(difference / 2e-5, rel=1e-5), data


def test_a_prior_without_limits_or_quantiles_is_not_integrated():
    assert amplitude_range(dist.ImproperUniform(dist.constraints.real, (), ())) is None
    assert amplitude_range(dist.Uniform(jnp.zeros(2), jnp.ones(2))) is None


@pytest.fixture(scope="module")
def fitted(ssp):
    bands = ["sdss_u", "sdss_g", "sdss_r", "sdss_i", "sdss_z"]
    spec = tg.Parameters(sfh="delayed", dust="single", redshift=0.1)
    sed = tg.SEDModel(spec, ssp, tg.Observation(tg.Photometry.from_names(bands)))
    flux = sed.predict_photometry(spec.sample(jax.random.key(3)))
    return sed, flux, tg.GaussianNoise(sigma=0.05 * flux, floor=0.03)


def test_the_marginal_model_is_the_integral_of_the_galaxy_model(fitted):
    """Over the amplitude, with all other parameters the same."""
    sed, flux, noise = fitted
    name = sed.spec.amplitude
    params = sed.spec.sample(jax.random.key(4))
    others = {k: v for k, v in params.items() if k != name}
    with handlers.seed(rng_seed=0), handlers.substitute(data=others):
        site = handlers.trace(marginal_model).get_trace(sed, noise, flux)["flux"]
    assert name not in Target(marginal_model, (sed, noise, flux)).sites
    grid = np.linspace(*(float(x) for x in amplitude_range(sed.spec[name])), 20_001)
    unit = np.asarray(sed.predict_photometry({**others, name: 8.0}), dtype=float) / 1e8
    sigma = np.asarray(noise.scale(flux), dtype=float)
    terms = stats.norm(np.asarray(flux, float), sigma).logpdf(10.0 ** grid[:, None] * unit)
    log_terms = terms.sum(axis=1) + np.asarray(sed.spec[name].log_prob(grid))
    expected = log_terms.max() + np.log(np.trapezoid(np.exp(log_terms - log_terms.max()), grid))
    value = float(site["fn"].log_prob(site["value"]))
    assert value == pytest.approx(expected, rel=1e-4)


@pytest.mark.slow
def test_the_posterior_is_the_same_with_and_without_the_amplitude(fitted):
    """Quantiles within four of their Monte-Carlo errors, also where one run starts the other."""
    sed, flux, noise = fitted
    with_it, without = (
        tg.Fitter(sed, flux, noise, marginalize_amplitude=choice) for choice in (False, True)
    )
    plain = with_it.run("auto", key=jax.random.key(0))
    marginal = without.run("auto", key=jax.random.key(1))
    assert plain.convergence().converged and marginal.convergence().converged
    assert marginal.log_evidence == pytest.approx(plain.log_evidence, abs=0.1)
    for name in sed.spec.free_params:
        a, b = (np.ravel(p.samples[name]) for p in (plain, marginal))
        error = np.hypot(a.std() / np.sqrt(1000), b.std() / np.sqrt(1000))
        assert abs(a.mean() - b.mean()) < 4.0 * error, name
        assert b.std() == pytest.approx(a.std(), rel=0.1), name
    again = with_it.run("importance", key=jax.random.key(2), init_from=marginal)
    name = sed.spec.amplitude
    mass = np.ravel(plain.samples[name])
    error = mass.std() * np.sqrt(1 / 1000 + 1 / 400)
    assert abs(np.mean(again.samples[name]) - mass.mean()) < 4.0 * error


def test_what_can_not_be_marginalised_is_sampled_or_refused(fitted, ssp):
    sed, flux, noise = fitted
    fixed = sed.spec.replace(**{sed.spec.amplitude: 10.0})
    assert can_marginalize(sed)
    assert not can_marginalize(tg.SEDModel(fixed, ssp, sed.observation))
    agn = tg.Parameters(sfh="delayed", agn="nucleus", redshift=0.1)
    model = tg.SEDModel(agn, ssp, sed.observation)
    assert not can_marginalize(model)
    with pytest.raises(tg.ParameterError, match="AGN, shock, radio and X-rays must be off"):
        tg.Fitter(model, flux, noise, marginalize_amplitude=True)
    with pytest.raises(tg.ParameterError, match="expected True, False or 'auto'"):
        tg.Fitter(sed, flux, noise, marginalize_amplitude="never")
    with pytest.raises(tg.ParameterError, match="map needs the amplitude"):
        tg.Fitter(sed, flux, noise, marginalize_amplitude=True).run("map")
