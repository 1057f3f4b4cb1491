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


RIDGE_ERROR = 0.2


def ridge(y=None):
    """A curved ridge: the sum of two log-normal variables is known, as with two dusty galaxies."""
    x = numpyro.sample("x", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
    numpyro.sample("y", dist.Normal(jnp.exp(x).sum(), RIDGE_ERROR), obs=y)


def ridge_moments(y):
    """Means, standard deviations and log-evidence of :func:`ridge`, by quadrature on a grid."""
    axis = np.linspace(-6.0, 6.0, 1601)
    x = np.stack(np.meshgrid(axis, axis, indexing="ij"))
    residual = (np.exp(x).sum(axis=0) - y) / RIDGE_ERROR
    weight = np.exp(-0.5 * (x**2).sum(axis=0) - 0.5 * residual**2)
    norm = weight.sum()
    mean = (weight * x).sum(axis=(1, 2)) / norm
    sd = np.sqrt((weight * x**2).sum(axis=(1, 2)) / norm - mean**2)
    volume = (axis[1] - axis[0]) ** 2 / (2 * np.pi) ** 1.5 / RIDGE_ERROR
    return mean, sd, np.log(norm * volume)
