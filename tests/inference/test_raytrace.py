"""The ray tracing sampler: the equations of Behroozi (2025), and what makes it exact."""

from functools import partial

import arviz as az
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

from tengri_ppl.errors import ParameterError
from tengri_ppl.inference.raytrace import (
    Ray,
    RaytraceOptions,
    bend,
    push,
    run_raytrace,
    trace,
)
from tengri_ppl.inference.target import Target


def log_density(x):
    """Something that is not normal."""
    return -0.5 * jnp.sum(x**2) - 0.1 * jnp.sum(x**4) + 0.3 * jnp.sin(x[0] * x[1])


def by_angles(velocity, gradient, time):
    """A kick as the paper writes it, with the angles to the gradient."""
    speed, steepness = np.linalg.norm(velocity), np.linalg.norm(gradient)
    along, towards = velocity / speed, gradient / steepness
    before = 2 * np.arctan2(np.linalg.norm(along - towards), np.linalg.norm(along + towards))
    decay = np.exp(-steepness * speed * time / (velocity.size - 1))
    after = 2 * np.arctan(np.tan(before / 2) * decay)
    shrink = np.sin(after) / np.sin(before)
    gain = (np.cos(after) - shrink * np.cos(before)) * speed
    return shrink * velocity + gain * towards, (1 - velocity.size) * np.log(shrink)


@pytest.mark.parametrize("dimension", [2, 3, 20])
def test_a_kick_bends_the_ray_as_the_paper_says(x64, dimension):
    rng = np.random.default_rng(dimension)
    velocity, gradient = rng.normal(size=(2, dimension))
    got, predicted = bend(jnp.asarray(velocity), jnp.asarray(gradient), jnp.asarray(0.4))
    expected, change = by_angles(velocity, gradient, 0.4)
    np.testing.assert_allclose(got, expected, rtol=1e-10)
    assert float(predicted) == pytest.approx(change, rel=1e-9)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_along_the_gradient_a_ray_stays_straight(x64, sign):
    """Where sin(theta) = 0 the predicted change is |v| |g| t cos(theta)."""
    gradient = jnp.array([3.0, 4.0, 0.0])
    velocity, predicted = bend(sign * 2.0 * gradient, gradient, jnp.asarray(0.1))
    np.testing.assert_allclose(velocity, sign * 2.0 * gradient, rtol=1e-12)
    assert float(predicted) == pytest.approx(sign * 10.0 * 5.0 * 0.1, rel=1e-12)


def test_without_a_gradient_a_ray_stays_straight():
    velocity, predicted = bend(jnp.array([1.0, 2.0]), jnp.zeros(2), jnp.asarray(0.3))
    np.testing.assert_allclose(velocity, [1.0, 2.0], rtol=1e-6)
    assert float(predicted) == 0.0


@pytest.mark.parametrize("integrator", ["dkd", "kdk"])
@pytest.mark.parametrize("kick", [bend, push])
def test_rays_are_reversible_and_predict_how_they_spread(x64, integrator, kick):
    """Detailed balance: back along the ray is the same ray, and phase space is counted right.

    The determinant of the map of (x, v) is compared with automatic differentiation; that of a bend
    is exp(-predicted change), that of HMC's kick 1.
    """
    dimension = 4
    x, velocity = jax.random.normal(jax.random.key(1), (2, dimension))

    def run(x, velocity):
        height, gradient = jax.value_and_grad(log_density)(x)
        ray = Ray(x, velocity, height, gradient, jnp.zeros(()))
        return trace(log_density, kick, integrator, ray, jnp.asarray(0.2), 5)

    end = run(x, velocity)
    back = run(end.x, -end.velocity)
    np.testing.assert_allclose(back.x, x, atol=1e-10)
    np.testing.assert_allclose(-back.velocity, velocity, atol=1e-10)
    assert float(back.predicted) == pytest.approx(-float(end.predicted), abs=1e-10)
    assert float(end.log_density) == pytest.approx(float(log_density(end.x)), rel=1e-12)

    def flat(point):
        moved = run(point[:dimension], point[dimension:])
        return jnp.concatenate([moved.x, moved.velocity])

    jacobian = jax.jacfwd(flat)(jnp.concatenate([x, velocity]))
    _, log_determinant = np.linalg.slogdet(jacobian)
    expected = -float(end.predicted) if kick is bend else 0.0
    assert log_determinant == pytest.approx(expected, abs=1e-9)
    # small steps follow the density: second order
    assert abs(float(end.log_density - log_density(x) - end.predicted)) < 0.3


def plane(covariance):
    numpyro.sample("x", dist.MultivariateNormal(jnp.zeros(2), covariance))


@pytest.mark.parametrize(
    "options",
    [
        partial(RaytraceOptions, integrator="kdk"),
        partial(RaytraceOptions, sample_hmc=True),
        # so long a step that a third of the rays are rejected: the draws must stay exact
        partial(RaytraceOptions, target_accept_rate=0.6),
    ],
    ids=["kdk", "hmc", "long steps"],
)
def test_two_dimensions_are_sampled_exactly(options):
    covariance = np.array([[4.0, 0.9], [0.9, 0.25]])
    target = Target(plane, (jnp.asarray(covariance),))
    x = run_raytrace(target, jax.random.key(0), options(n_samples=2000)).samples["x"]
    for i in range(2):
        assert abs(x[..., i].mean()) < 4 * float(az.mcse(x[..., i]))
        sd = np.sqrt(covariance[i, i])
        assert abs(x[..., i].std() - sd) < 4 * float(az.mcse(x[..., i], method="sd"))


def test_an_unknown_integrator_is_refused():
    with pytest.raises(ParameterError, match="expected one of dkd, kdk"):
        RaytraceOptions(integrator="leapfrog")
