"""Standard coordinates: the prior and the Fisher metric are what they are said to be."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro import handlers
from scipy import stats

from tengri_ppl.distributions.standard import from_standard, standard_shape, to_standard
from tengri_ppl.errors import ParameterError
from tengri_ppl.inference import Target
from tengri_ppl.inference.standard import (
    StandardTarget,
    log_likelihood,
    standard_values,
    whitened_prediction,
)

SCALARS = {
    "normal": (dist.Normal(1.0, 2.0), stats.norm(1, 2)),
    "uniform": (dist.Uniform(-1.0, 3.0), stats.uniform(-1, 4)),
    "log-uniform": (dist.LogUniform(1.0, 100.0), stats.loguniform(1, 100)),
    "log-normal": (dist.LogNormal(0.3, 0.5), stats.lognorm(0.5, scale=np.exp(0.3))),
    "half-normal": (dist.HalfNormal(2.0), stats.halfnorm(scale=2)),
    "truncated": (
        dist.TruncatedNormal(1.0, 2.0, low=0.0, high=3.0),
        stats.truncnorm(-0.5, 1.0, loc=1, scale=2),
    ),
    "student": (dist.StudentT(2.0, 0.5, 0.3), stats.t(2, 0.5, 0.3)),
    "cauchy": (dist.Cauchy(0.0, 1.0), stats.cauchy()),
    "half-cauchy": (dist.HalfCauchy(2.0), stats.halfcauchy(scale=2)),
    "exponential": (dist.Exponential(2.0), stats.expon(scale=0.5)),
    "gamma": (dist.Gamma(2.0, 3.0), stats.gamma(2, scale=1 / 3)),
    "inverse gamma": (dist.InverseGamma(2.0, 3.0), stats.invgamma(2, scale=3)),
    "beta": (dist.Beta(0.5, 3.0), stats.beta(0.5, 3)),
}


@pytest.mark.parametrize("name", SCALARS)
def test_priors_are_quantiles_of_standard_normals(name):
    fn, truth = SCALARS[name]
    assert standard_shape(name, fn.expand([5])) == (5,)
    # six-digit arithmetic of the cdf, which the upper tail of a heavy distribution magnifies
    xi = jnp.array([-4.0, -1.5, 0.0, 0.7, 3.0])
    expected = truth.ppf(stats.norm.cdf(np.asarray(xi, dtype=float)))
    if name == "inverse gamma":  # a decreasing function of a gamma variable
        expected = truth.ppf(stats.norm.sf(np.asarray(xi, dtype=float)))
    np.testing.assert_allclose(from_standard(name, fn, xi), expected, rtol=1e-3, atol=1e-5)
    if name not in ("gamma", "inverse gamma"):  # NumPyro's cdf of a gamma is not that accurate
        np.testing.assert_allclose(
            to_standard(fn, from_standard(name, fn, xi[1:4])), xi[1:4], atol=1e-3
        )
    slope = jax.vmap(jax.grad(lambda x: from_standard(name, fn, x)))(xi[1:4])
    wanted = stats.norm.pdf(np.asarray(xi[1:4])) / truth.pdf(expected[1:4])
    np.testing.assert_allclose(np.abs(slope), wanted, rtol=3e-3)


def test_derivatives_by_the_shape_of_a_prior_are_there():
    slope = jax.grad(lambda a: from_standard("x", dist.Gamma(a, 1.0), jnp.array(0.7)))(2.0)
    step = 1e-3
    quantile = stats.norm.cdf(0.7)
    expected = (
        (stats.gamma(2 + step).ppf(quantile) - stats.gamma(2 - step).ppf(quantile)) / 2 / step
    )
    assert float(slope) == pytest.approx(expected, rel=0.01)


def test_vectors_are_mapped_by_their_factor_or_by_breaking_a_stick():
    factor = jnp.array([[2.0, 0.0], [1.0, 0.5]])
    fn = dist.MultivariateNormal(jnp.ones(2), scale_tril=factor)
    np.testing.assert_allclose(from_standard("x", fn, jnp.array([1.0, -1.0])), [3.0, 1.5])
    concentration = jnp.array([1.0, 2.0, 0.5])
    dirichlet = dist.Dirichlet(concentration)
    assert standard_shape("x", dirichlet) == (2,)
    xi = jax.random.normal(jax.random.key(0), (20000, 2))
    draws = np.asarray(from_standard("x", dirichlet, xi))
    np.testing.assert_allclose(draws.sum(axis=1), 1.0, rtol=1e-5)
    np.testing.assert_allclose(to_standard(dirichlet, draws[:50]), xi[:50], atol=2e-2)
    # four standard errors of 20000 draws
    tolerance = 4 * np.sqrt(np.asarray(dirichlet.variance) / 20000)
    np.testing.assert_array_less(np.abs(draws.mean(axis=0) - dirichlet.mean), tolerance)
    np.testing.assert_allclose(draws.var(axis=0), dirichlet.variance, rtol=0.05)


N, MASK = 6, np.array([True, True, False, True, True, True])


def everything(y):
    """Each kind of likelihood, in plates, scaled and masked, below a hierarchical prior."""
    scale = numpyro.sample("scale", dist.LogNormal(0.0, 0.3))
    with numpyro.plate("i", N):
        x = numpyro.sample("x", dist.Normal(0.0, scale))
        numpyro.sample("normal", dist.Normal(x, scale).mask(MASK), obs=y["normal"])
        numpyro.sample("log", dist.LogNormal(x, 0.5), obs=y["log"])
        numpyro.sample("count", dist.Poisson(jnp.exp(x)), obs=y["count"])
        numpyro.sample("coin", dist.Bernoulli(logits=x), obs=y["coin"])
        with handlers.scale(scale=2.0):
            numpyro.sample("coins", dist.Binomial(5, logits=x), obs=y["coins"])
    numpyro.deterministic("total", x.sum())
    numpyro.sample("t", dist.StudentT(4.0, x[:2], 0.5).to_event(1), obs=y["t"])
    tril = jnp.array([[1.0, 0.0], [0.5, 2.0]])
    numpyro.sample("pair", dist.MultivariateNormal(x[:2], scale_tril=tril), obs=y["pair"])


def simulate(key):
    zero = {"normal": jnp.zeros(N), "log": jnp.ones(N), "count": jnp.ones(N, int)}
    zero |= {"coin": jnp.ones(N, int), "coins": jnp.ones(N, int)}
    zero |= {"t": jnp.zeros(2), "pair": jnp.zeros(2)}
    names = list(zero)
    trace = handlers.trace(handlers.seed(everything, key)).get_trace(zero)
    keys = jax.random.split(key, len(names))
    return {n: trace[n]["fn"].sample(k) for n, k in zip(names, keys, strict=True)}


def test_the_energy_is_the_models_and_masked_nans_do_not_enter():
    y = simulate(jax.random.key(0))
    y["normal"] = jnp.where(jnp.asarray(MASK), y["normal"], jnp.nan)
    view = StandardTarget(Target(everything, (y,)))
    assert view.dimension == 1 + N
    xi = 0.5 * jax.random.normal(jax.random.key(1), (view.dimension,))
    values = standard_values(everything, view.layout, xi, (y,), {})
    assert set(values) == {"scale", "x", "total"}
    np.testing.assert_allclose(values["x"], values["scale"] * xi[1:], rtol=1e-5)
    np.testing.assert_allclose(view.coordinates(values), xi, atol=1e-4)
    target = Target(everything, (y,))
    expected = target.log_likelihood(target.unconstrain(values))
    got = whitened_prediction(everything, view.layout, xi, (y,), {})
    assert float(got[0]) == pytest.approx(float(expected), rel=1e-5)

    def prediction(x):
        return whitened_prediction(everything, view.layout, x, (y,), {})[1]

    jacobian = jax.jit(jax.jacfwd(prediction))(xi)
    assert np.all(np.isfinite(jacobian))


@pytest.mark.parametrize("free", [False, True])
def test_known_errors_are_no_part_of_the_prediction(free):
    def model(y):
        x = numpyro.sample("x", dist.Normal(0.0, 1.0))
        scale = numpyro.sample("scale", dist.HalfNormal(1.0)) if free else 0.3
        numpyro.sample("y", dist.Normal(x, scale).expand([N]).to_event(1), obs=y)

    layout = (("scale", ()), ("x", ())) if free else (("x", ()),)
    at = jnp.full(len(layout), 0.5)
    _, prediction = jax.jit(lambda xi, y: whitened_prediction(model, layout, xi, (y,), {}))(
        at, jnp.zeros(N)
    )
    assert prediction.shape == (2 * N if free else N,)


def test_the_metric_is_the_fisher_information():
    """J^T J is the covariance of the score over data drawn from the model, on average."""
    layout = (("scale", ()), ("x", (N,)))
    point = jnp.zeros(1 + N)

    def score_and_metric(key):
        y = simulate_at(point, key)
        score = jax.grad(lambda x: log_likelihood(everything, layout, x, (y,), {}))(point)
        jacobian = jax.jacfwd(lambda x: whitened_prediction(everything, layout, x, (y,), {})[1])(
            point
        )
        return score, jacobian.T @ jacobian

    def simulate_at(xi, key):
        values = standard_values(everything, layout, xi, (simulate(jax.random.key(0)),), {})
        conditioned = handlers.condition(everything, data=values)
        zero = simulate(jax.random.key(0))
        trace = handlers.trace(handlers.seed(conditioned, key)).get_trace(zero)
        keys = jax.random.split(key, len(zero))
        return {n: trace[n]["fn"].sample(k) for n, k in zip(zero, keys, strict=True)}

    keys = jax.random.split(jax.random.key(3), 4000)
    score, metric = jax.jit(jax.vmap(score_and_metric))(keys)
    # the scaled likelihood counts twice in the metric, four times in the covariance of the score:
    # take its surplus away, n p (1 - p) for logits
    fisher = np.cov(np.asarray(score), rowvar=False)
    fisher[1:, 1:] -= (4 - 2) * np.eye(N) * 5 * 0.25
    # Monte-Carlo errors of 4000 data sets: some 2 % of a variance; the Student-t's scale is fixed
    np.testing.assert_allclose(np.mean(metric, axis=0), fisher, rtol=0.1, atol=0.4)
    np.testing.assert_allclose(np.diag(np.mean(metric, axis=0)), np.diag(fisher), rtol=0.08)


def test_what_is_not_known_is_refused_with_a_way_out():
    def walk(y):
        x = numpyro.sample("x", dist.GaussianRandomWalk(1.0, 3))
        numpyro.sample("y", dist.Normal(x[-1], 1.0), obs=y)

    def factor(y):
        x = numpyro.sample("x", dist.Normal(0.0, 1.0))
        numpyro.factor("f", -(x**4))

    def scaled(y):
        with handlers.scale(scale=2.0):
            x = numpyro.sample("x", dist.Normal(0.0, 1.0))
        numpyro.sample("y", dist.Normal(x, 1.0), obs=y)

    def improper(y):
        x = numpyro.sample("x", dist.ImproperUniform(dist.constraints.real, (), ()))
        numpyro.sample("y", dist.Normal(x, 1.0), obs=y)

    for model, message in (
        (improper, "'x' \\(ImproperUniform\\).*mcmc_nuts"),
        (walk, "'x' \\(GaussianRandomWalk\\).*mcmc_nuts"),
        (factor, "'f' \\(a factor\\).*mcmc_nuts"),
        (scaled, "'x' is scaled.*mcmc_nuts"),
    ):
        with pytest.raises(ParameterError, match=message):
            StandardTarget(Target(model, (1.0,)))
