"""Small posteriors with known answers, for the tests of the engines."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist

X = np.linspace(-1.0, 1.0, 12)
SIGMA = 0.3
Y = 0.7 - 1.2 * X + SIGMA * np.random.default_rng(1).normal(size=X.size)


def regression(y=None):
    """A line with standard normal coefficients and known noise."""
    with numpyro.plate("coefficient", 2):
        beta = numpyro.sample("beta", dist.Normal(0.0, 1.0))
    numpyro.deterministic("sum", beta.sum())
    numpyro.sample("y", dist.Normal(beta[0] + beta[1] * X, SIGMA).to_event(1), obs=y)


def conjugate(y):
    """Mean, standard deviations and log-evidence of :func:`regression`."""
    design = np.stack([np.ones_like(X), X], axis=1)
    covariance = np.linalg.inv(design.T @ design / SIGMA**2 + np.eye(2))
    marginal = design @ design.T + SIGMA**2 * np.eye(X.size)
    evidence = -0.5 * (y @ np.linalg.solve(marginal, y) + np.linalg.slogdet(marginal)[1])
    return (
        covariance @ design.T @ y / SIGMA**2,
        np.sqrt(np.diag(covariance)),
        evidence - 0.5 * X.size * np.log(2 * np.pi),
    )


def two_modes():
    """Two separate normals, a third of the mass in the narrower one."""
    x = numpyro.sample("x", dist.Normal(0.0, 5.0))
    log_parts = jnp.stack([dist.Normal(-3.0, 0.5).log_prob(x), dist.Normal(3.0, 0.25).log_prob(x)])
    density = jax.nn.logsumexp(log_parts + jnp.log(jnp.array([2.0, 1.0]) / 3.0))
    numpyro.factor("modes", density - dist.Normal(0.0, 5.0).log_prob(x))


def funnel():
    """Neal's funnel with 20 neighbours in centred form, which no Gaussian resembles."""
    scale = numpyro.sample("scale", dist.Normal(0.0, 3.0))
    with numpyro.plate("i", 20):
        numpyro.sample("x", dist.Normal(0.0, jnp.exp(0.5 * scale)))


def banana(y=None):
    """A curved ridge: y = x1 + x0^2 with noise, standard normal priors."""
    x = numpyro.sample("x", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
    numpyro.sample("y", dist.Normal(x[1] + x[0] ** 2, 0.3), obs=y)


def banana_moments(y):
    """Means and standard deviations of :func:`banana`, by quadrature on a grid."""
    axis = np.linspace(-5.0, 5.0, 1001)
    x0, x1 = np.meshgrid(axis, axis, indexing="ij")
    weight = np.exp(-0.5 * (x0**2 + x1**2 + ((y - x1 - x0**2) / 0.3) ** 2))
    weight /= weight.sum()
    mean = np.array([(weight * x).sum() for x in (x0, x1)])
    square = np.array([(weight * x**2).sum() for x in (x0, x1)])
    return mean, np.sqrt(square - mean**2)
