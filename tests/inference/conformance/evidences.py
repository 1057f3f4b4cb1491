"""Problems whose evidence is known, for nested sampling and its peers.

Evidences and moments come from formulae and quadrature here, never from a sampler. A model takes
all its numbers as arguments, so that problems of the same shape share a program.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax import Array
from jax.scipy.special import ndtri
from jax.typing import ArrayLike
from numpyro.infer import log_likelihood
from problems import Problem
from scipy.special import gammaln, logsumexp


@dataclass(frozen=True, kw_only=True)
class EvidenceProblem(Problem):
    """A problem that samplers of the unit cube can do as well.

    Attributes
    ----------
    dimension : int
        Number of parameters D.
    transform : callable
        Point of the unit cube (D,) -> latent sites, distributed as the prior.
    """

    dimension: int
    transform: Callable[[Array], dict[str, Array]]

    def log_likelihood(self, u: ArrayLike) -> Array:
        """Log-likelihood (n,) at points of the unit cube (n, D), by the model itself."""
        return _log_likelihood(self.model, self.transform, jnp.asarray(u, dtype=float), self.args)


@partial(jax.jit, static_argnums=(0, 1))
def _log_likelihood(model, transform, u, args):
    eps = jnp.finfo(u.dtype).eps  # a point in double precision may round to a corner
    x = jax.vmap(transform)(jnp.clip(u, eps, 1.0 - eps))
    sites = log_likelihood(model, x, *args, parallel=True)
    return sum(jnp.sum(site.reshape(len(u), -1), axis=1) for site in sites.values())


def arrays(*values):
    """Arguments of a model."""
    return tuple(jnp.asarray(value, dtype=float) for value in values)


def moments(density, values):
    """Mean and standard deviation of values with a density, both on an even grid."""
    mean = np.average(values, weights=density)
    return mean, np.sqrt(np.average((values - mean) ** 2, weights=density))


# -- Two Gaussian shells (Feroz, Hobson & Bridges 2009, MNRAS 398, 1601) --------------------------

HALF_BOX, DISTANCE, RADIUS, WIDTH = 6.0, 3.5, 2.0, 0.1


def shells(centre, radius, width):
    """Thin shells about two centres (2, D), apart from one another."""
    box = dist.Uniform(-HALF_BOX, HALF_BOX).expand([centre.shape[1]]).to_event(1)
    x = numpyro.sample("x", box)
    distance = jnp.linalg.norm(x - centre, axis=1)
    numpyro.deterministic("radius", distance.min())
    log_shell = dist.Normal(radius, width).log_prob(distance)
    numpyro.factor("likelihood", jax.nn.logsumexp(log_shell))


def shells_problem(dimension: int) -> EvidenceProblem:
    """Integrals over the distance from a centre, whose volume element is an area times it."""
    r, step = np.linspace(RADIUS - 10 * WIDTH, RADIUS + 10 * WIDTH, 20001, retstep=True)
    density = r ** (dimension - 1.0) * np.exp(-0.5 * ((r - RADIUS) / WIDTH) ** 2)
    radius, radius_sd = moments(density, r)
    square = radius**2 + radius_sd**2
    log_area = np.log(2.0) + 0.5 * dimension * np.log(np.pi) - gammaln(0.5 * dimension)
    log_integral = np.log(density.sum() * step / WIDTH) - 0.5 * np.log(2.0 * np.pi)
    centre = np.zeros((2, dimension))
    centre[:, 0] = -DISTANCE, DISTANCE
    return EvidenceProblem(
        name=f"shells {dimension}",
        model=shells,
        args=arrays(centre, RADIUS, WIDTH),
        mean={"x": np.zeros(dimension), "radius": radius},
        sd={"x": np.sqrt(square / dimension + centre[1] ** 2), "radius": radius_sd},
        log_evidence=float(np.log(2.0) + log_area + log_integral - dimension * np.log(12.0)),
        dimension=dimension,
        transform=lambda u: {"x": HALF_BOX * (2.0 * u - 1.0)},
    )


# -- Eggbox (the same) ----------------------------------------------------------------------------

EGGBOX = 10.0 * np.pi


def eggbox(exponent):
    """Eighteen equal peaks, of which ten are cut by the edges."""
    x = numpyro.sample("x", dist.Uniform(0.0, EGGBOX).expand([2]).to_event(1))
    numpyro.factor("likelihood", (2.0 + jnp.cos(0.5 * x[0]) * jnp.cos(0.5 * x[1])) ** exponent)


def eggbox_problem() -> EvidenceProblem:
    """Integrals by the midpoint rule."""
    n, exponent = 4000, 5.0
    x = (np.arange(n) + 0.5) / n * EGGBOX
    height = (2.0 + np.cos(0.5 * x) * np.cos(0.5 * x[:, None])) ** exponent
    marginal = np.exp(height - height.max()).sum(axis=1)
    mean, sd = moments(marginal, x)
    return EvidenceProblem(
        name="eggbox",
        model=eggbox,
        args=arrays(exponent),
        mean={"x": np.full(2, mean)},
        sd={"x": np.full(2, sd)},
        log_evidence=float(logsumexp(height) - 2.0 * np.log(n)),
        dimension=2,
        transform=lambda u: {"x": EGGBOX * u},
    )


# -- LogGamma (Beaujean & Caldwell 2013; Feroz et al. 2019, OJAp 2, 10) ---------------------------


def log_gamma(centre, width):
    """Two modes in the first skewed coordinate, two in the first normal one; ``centre`` (h, 2)."""
    box = dist.Uniform(0.0, 1.0).expand([2, centre.shape[0]]).to_event(2)
    z = (numpyro.sample("x", box)[..., None] - centre) / width
    skewed, normal = z[0] - jnp.exp(z[0]), dist.Normal(0.0, 1.0).log_prob(z[1])
    log_halves = jax.nn.logsumexp(jnp.stack([skewed, normal]), axis=-1)
    numpyro.factor("likelihood", jnp.sum(log_halves - jnp.log(2.0 * width)))


def log_gamma_problem(half: int) -> EvidenceProblem:
    """Coordinates are independent: an integral for each of the four kinds."""
    width, n = 1.0 / 30.0, 200_000
    centre = np.full((half, 2), 2.0 / 3.0)
    centre[0, 0] = 1.0 / 3.0
    x = (np.arange(n) + 0.5) / n
    z = (x - centre[..., None]) / width
    log_parts = np.stack([z - np.exp(z), -0.5 * z**2 - 0.5 * np.log(2.0 * np.pi)])
    density = np.exp(log_parts).sum(axis=2) / (2.0 * width)
    mean, sd = np.moveaxis([[moments(d, x) for d in kind] for kind in density], 2, 0)
    return EvidenceProblem(
        name=f"log-gamma {2 * half}",
        model=log_gamma,
        args=arrays(centre, width),
        mean={"x": mean},
        sd={"x": sd},
        log_evidence=float(np.log(density.mean(axis=-1)).sum()),
        dimension=2 * half,
        transform=lambda u: {"x": u.reshape(2, half)},
    )


# -- Linear models with Gaussian errors -----------------------------------------------------------


def conjugate(design, y, covariance):
    """Posterior mean and covariance of standard normal coefficients, and the log-evidence.

    The data are normal about 0 with the covariance of what the coefficients add to the errors.
    """
    marginal = design @ design.T + covariance
    gain = np.linalg.solve(marginal, design).T
    quadratic = y @ np.linalg.solve(marginal, y)
    log_evidence = -0.5 * (quadratic + np.linalg.slogdet(2.0 * np.pi * marginal)[1])
    return gain @ y, np.eye(design.shape[1]) - gain @ design, float(log_evidence)


def gaussian_data(y, covariance):
    """A vector that is measured with correlated errors."""
    x = numpyro.sample("x", dist.Normal(0.0, 1.0).expand([y.size]).to_event(1))
    numpyro.deterministic("sum", x.sum())
    numpyro.sample("y", dist.MultivariateNormal(x, covariance), obs=y)


def gaussian_data_problem(name: str, y: np.ndarray, covariance: np.ndarray) -> EvidenceProblem:
    mean, posterior, log_evidence = conjugate(np.eye(y.size), y, covariance)
    return EvidenceProblem(
        name=name,
        model=gaussian_data,
        args=arrays(y, covariance),
        mean={"x": mean, "sum": mean.sum()},
        sd={"x": np.sqrt(np.diag(posterior)), "sum": np.sqrt(posterior.sum())},
        log_evidence=log_evidence,
        dimension=y.size,
        transform=lambda u: {"x": ndtri(u)},
    )


def correlated_problem(dimension: int) -> EvidenceProblem:
    """Errors of 0.1, correlated by a half, about zero."""
    covariance = 0.01 * 0.5 * (np.ones((dimension, dimension)) + np.eye(dimension))
    return gaussian_data_problem(f"correlated {dimension}", np.zeros(dimension), covariance)


def gaussian_problem(dimension: int) -> EvidenceProblem:
    """Errors between 1 and 0.03, along axes in random directions."""
    rng = np.random.default_rng(dimension)
    rotation = np.linalg.qr(rng.normal(size=(dimension, dimension)))[0]
    covariance = (rotation * np.logspace(0.0, -3.0, dimension)) @ rotation.T
    y = rng.multivariate_normal(rng.normal(size=dimension), covariance)
    return gaussian_data_problem(f"gaussian {dimension}", y, covariance)


NOISE = 0.3


def regression(x, y, noise):
    """Parabolas of groups (group, datum) that differ by an offset."""
    with numpyro.plate("power", 2):
        beta = numpyro.sample("beta", dist.Normal(0.0, 1.0))
    with numpyro.plate("group", x.shape[0], dim=-2):
        offset = numpyro.sample("offset", dist.Normal(0.0, 1.0))
        with numpyro.plate("datum", x.shape[1], dim=-1):
            line = offset + beta[0] * x + beta[1] * x**2
            numpyro.sample("y", dist.Normal(line, noise), obs=y)


def regression_problem() -> EvidenceProblem:
    """Four groups of six data."""
    rng, shape = np.random.default_rng(0), (4, 6)
    x = rng.uniform(-1.0, 1.0, size=shape)
    member = np.repeat(np.eye(shape[0]), shape[1], axis=0)
    design = np.column_stack([x.ravel(), x.ravel() ** 2, member])
    y = design @ rng.normal(size=design.shape[1]) + NOISE * rng.normal(size=x.size)
    mean, posterior, log_evidence = conjugate(design, y, NOISE**2 * np.eye(y.size))
    sd = np.sqrt(np.diag(posterior))

    def by_site(values):
        return {"beta": values[:2], "offset": values[2:, None]}

    return EvidenceProblem(
        name="regression",
        model=regression,
        args=arrays(x, y.reshape(shape), NOISE),
        mean=by_site(mean),
        sd=by_site(sd),
        log_evidence=log_evidence,
        dimension=design.shape[1],
        transform=lambda u: by_site(ndtri(u)),
    )


#: Every problem by name, to be built when it is needed.
EVIDENCES: dict[str, Callable[[], EvidenceProblem]] = {
    "shells 2": lambda: shells_problem(2),
    "shells 5": lambda: shells_problem(5),
    "shells 10": lambda: shells_problem(10),
    "eggbox": eggbox_problem,
    "log-gamma 6": lambda: log_gamma_problem(3),
    "correlated 2": lambda: correlated_problem(2),
    "correlated 10": lambda: correlated_problem(10),
    "gaussian 5": lambda: gaussian_problem(5),
    "gaussian 10": lambda: gaussian_problem(10),
    "regression": regression_problem,
}
