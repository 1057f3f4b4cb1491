"""Posteriors with known answers, for all engines.

The answers come from formulae and quadrature here, never from an engine. Several shapes share a
model where they are independent of one another: programs are what these tests cost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist

from tengri_ppl.inference.target import Target


@dataclass(frozen=True)
class Problem:
    """A model, its arguments, and what is known of its posterior.

    Attributes
    ----------
    name : str
        For the names of the tests.
    model : callable
        NumPyro model.
    args : tuple
        Its arguments.
    mean, sd : mapping of str to ndarray
        Of those latent and deterministic sites that are to be checked, in the sites' shapes.
    n_reference : float
        Number of independent draws that ``mean`` and ``sd`` are known from; infinite for formulae.
    log_evidence : float, optional
        Natural logarithm.
    """

    name: str
    model: Callable[..., Any]
    args: tuple[Any, ...]
    mean: Mapping[str, np.ndarray]
    sd: Mapping[str, np.ndarray]
    n_reference: float = field(default=np.inf)
    log_evidence: float | None = None

    @property
    def target(self) -> Target:
        return Target(self.model, self.args)


# -- Gaussians ------------------------------------------------------------------------------------


def gaussian(covariance):
    """A Gaussian, with a coordinate of its own for each direction of its axes."""
    dimension = covariance.shape[0]
    x = numpyro.sample("x", dist.MultivariateNormal(jnp.ones(dimension), covariance))
    along = jnp.linalg.solve(jnp.linalg.cholesky(covariance), x - 1.0)
    numpyro.deterministic("radius", jnp.sum(along**2) / dimension)


def gaussian_problem(dimension: int, condition: float) -> Problem:
    """Axes in random directions; ``condition`` is the ratio of the extreme variances."""
    rng = np.random.default_rng(dimension)
    rotation = np.linalg.qr(rng.normal(size=(dimension, dimension)))[0]
    variance = np.logspace(0.0, -np.log10(condition), dimension)
    covariance = (rotation * variance) @ rotation.T
    return Problem(
        name=f"gaussian {dimension}",
        model=gaussian,
        args=(jnp.asarray(covariance, dtype=float),),
        mean={"x": np.ones(dimension), "radius": np.array(1.0)},
        sd={"x": np.sqrt(np.diag(covariance)), "radius": np.array(np.sqrt(2.0 / dimension))},
        log_evidence=0.0,
    )


# -- Shapes that are no Gaussians -----------------------------------------------------------------

BEND, THICKNESS, STEEPNESS = 0.4, 0.5, 6.0


def shapes(bend, thickness, steepness):
    """A banana, a funnel that is not centred, and the edges of uniform priors."""
    x = numpyro.sample("x", dist.Normal(0.0, 1.0))
    numpyro.sample("banana", dist.Normal(bend * x**2, thickness))
    width = numpyro.sample("width", dist.Normal(0.0, 3.0))
    with numpyro.plate("i", 2):
        z = numpyro.sample("z", dist.Normal(0.0, 1.0))
    numpyro.deterministic("log_funnel", jnp.log(jnp.abs(jnp.exp(0.5 * width) * z)))
    numpyro.sample("flat", dist.Uniform(-2.0, 1.0))
    edge = numpyro.sample("edge", dist.Uniform(0.0, 1.0))
    numpyro.factor("slope", steepness * edge)


def shapes_problem() -> Problem:
    """Moments of a quadratic function of a normal, of log |z|, of uniforms and of exp(s u)."""
    u = np.linspace(0.0, 1.0, 200001)
    weight = np.exp(STEEPNESS * (u - 1.0))
    edge_mean = np.trapezoid(u * weight, u) / np.trapezoid(weight, u)
    edge_var = np.trapezoid((u - edge_mean) ** 2 * weight, u) / np.trapezoid(weight, u)
    log_z = -0.5 * (np.log(2.0) + np.euler_gamma)  # mean of log |z|; its variance is pi^2 / 8
    return Problem(
        name="shapes",
        model=shapes,
        args=(BEND, THICKNESS, STEEPNESS),
        mean={
            "x": np.array(0.0),
            "banana": np.array(BEND),
            "width": np.array(0.0),
            "log_funnel": np.full(2, log_z),
            "flat": np.array(-0.5),
            "edge": np.array(edge_mean),
        },
        sd={
            "x": np.array(1.0),
            "banana": np.array(np.sqrt(2.0 * BEND**2 + THICKNESS**2)),
            "width": np.array(3.0),
            "log_funnel": np.full(2, np.sqrt(9.0 / 4.0 + np.pi**2 / 8.0)),
            "flat": np.array(3.0 / np.sqrt(12.0)),
            "edge": np.array(np.sqrt(edge_var)),
        },
        log_evidence=float(np.log(np.expm1(STEEPNESS) / STEEPNESS)),
    )


# -- A linear regression and a hierarchy ----------------------------------------------------------

X = np.linspace(-1.0, 1.0, 12)
NOISE = 0.3
Y = 0.7 - 1.2 * X + NOISE * np.random.default_rng(1).normal(size=X.size)
GROUP_ERROR = np.array([0.2, 0.3, 0.25, 0.2, 0.35, 0.3])
GROUPS = np.array([1.9, -1.1, 0.3, 2.2, -0.4, 0.9])


def regression_and_hierarchy(x, noise, y, group_error, groups):
    """A line with known noise; and groups whose common mean and spread are unknown."""
    with numpyro.plate("coefficient", 2):
        beta = numpyro.sample("beta", dist.Normal(0.0, 1.0))
    with numpyro.plate("datum", x.shape[0]):
        numpyro.sample("y", dist.Normal(beta[0] + beta[1] * x, noise), obs=y)
    mu = numpyro.sample("mu", dist.Normal(0.0, 2.0))
    tau = numpyro.sample("tau", dist.HalfNormal(2.0))
    with numpyro.plate("group", groups.shape[0]):
        theta = numpyro.sample("theta", dist.Normal(mu, tau))
        numpyro.sample("g", dist.Normal(theta, group_error), obs=groups)


def regression_answer() -> tuple[np.ndarray, np.ndarray, float]:
    """Conjugate mean, standard deviations and log-evidence of the line."""
    design = np.stack([np.ones_like(X), X], axis=1)
    covariance = np.linalg.inv(design.T @ design / NOISE**2 + np.eye(2))
    marginal = design @ design.T + NOISE**2 * np.eye(X.size)
    evidence = -0.5 * (
        Y @ np.linalg.solve(marginal, Y) + np.linalg.slogdet(2 * np.pi * marginal)[1]
    )
    return covariance @ design.T @ Y / NOISE**2, np.sqrt(np.diag(covariance)), float(evidence)


def hierarchy_answer() -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], float]:
    """Means, standard deviations and log-evidence of the groups: Gaussian given the spread tau.

    The spread is integrated over numerically.
    """
    tau = np.linspace(1e-4, 20.0, 4001)
    n = GROUPS.size
    prior = np.full((n, n), 4.0)  # of what the groups have in common, mu
    log_weight = np.empty(tau.size)
    first, second = np.zeros((tau.size, n + 1)), np.zeros((tau.size, n + 1))
    for i, spread in enumerate(tau):
        marginal = prior + np.diag(spread**2 + GROUP_ERROR**2)
        gain = np.vstack([np.full((1, n), 4.0), prior + spread**2 * np.eye(n)])
        solved = np.linalg.solve(marginal, np.column_stack([GROUPS, gain.T]))
        first[i] = gain @ solved[:, 0]
        variance = np.append(4.0, np.full(n, 4.0 + spread**2))
        second[i] = variance - np.sum(gain * solved[:, 1:].T, axis=1) + first[i] ** 2
        log_weight[i] = -0.5 * (GROUPS @ solved[:, 0] + np.linalg.slogdet(2 * np.pi * marginal)[1])
    log_weight += np.log(2.0) - 0.5 * (tau / 2.0) ** 2 - 0.5 * np.log(2 * np.pi * 4.0)
    weight = np.exp(log_weight - log_weight.max())
    area = np.trapezoid(weight, tau)

    def average(values):
        return np.trapezoid((weight * values.T).T, tau, axis=0) / area

    mean = np.append(average(first), average(tau))
    sd = np.sqrt(np.append(average(second), average(tau**2)) - mean**2)

    def by_site(values):
        return {"mu": values[0], "theta": values[1 : n + 1], "tau": values[n + 1]}

    return by_site(mean), by_site(sd), float(np.log(area) + log_weight.max())


def regression_and_hierarchy_problem() -> Problem:
    """Two independent posteriors; their evidences multiply."""
    beta, beta_sd, evidence = regression_answer()
    mean, sd, other_evidence = hierarchy_answer()
    data = (X, NOISE, Y, GROUP_ERROR, GROUPS)
    return Problem(
        name="regression and hierarchy",
        model=regression_and_hierarchy,
        args=tuple(jnp.asarray(value, dtype=float) for value in data),
        mean={"beta": beta, **mean},
        sd={"beta": beta_sd, **sd},
        log_evidence=evidence + other_evidence,
    )


# -- Two modes ------------------------------------------------------------------------------------


def two_modes(weight, centre, width):
    """A mixture of two normals, far from one another."""
    mixture = dist.MixtureSameFamily(
        dist.Categorical(probs=weight), dist.Normal(centre, width), validate_args=False
    )
    x = numpyro.sample("x", mixture)
    numpyro.deterministic("right", jnp.where(x > 0.0, 1.0, 0.0))


def two_modes_problem() -> Problem:
    """A third of the probability is in the narrower mode, eight widths from the middle."""
    weight, centre, width = np.array([2.0, 1.0]) / 3.0, np.array([-4.0, 4.0]), np.array([0.5, 0.25])
    mean = weight @ centre
    return Problem(
        name="two modes",
        model=two_modes,
        args=tuple(jnp.asarray(value, dtype=float) for value in (weight, centre, width)),
        mean={"x": mean, "right": weight[1]},
        sd={
            "x": np.sqrt(weight @ (width**2 + (centre - mean) ** 2)),
            "right": np.sqrt(weight[1] * weight[0]),
        },
        log_evidence=0.0,
    )
