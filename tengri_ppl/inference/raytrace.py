"""Ray tracing: light in a medium whose refractive index follows the density (Behroozi 2025).

Rays are bent by n = L^(1/(D-1)) at constant speed. A bend of a ray changes directions' density by
what the density along the ray predicts; the difference to what it does is put right by accepting
or rejecting the end of each ray.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from blackjax.mcmc.dynamic_hmc import halton_trajectory_length
from jax import Array

from tengri_ppl.errors import ParameterError
from tengri_ppl.inference.chains import Progress
from tengri_ppl.inference.hamiltonian import HMCOptions
from tengri_ppl.inference.kernel import Kernel, LogDensity, Transition
from tengri_ppl.inference.result import InferenceResult
from tengri_ppl.inference.start import Start
from tengri_ppl.inference.target import Target
from tengri_ppl.inference.whitened import run_whitened

__all__ = ["Ray", "RaytraceOptions", "bend", "push", "run_raytrace", "trace"]

#: (velocity, gradient, time) -> (velocity, predicted change of the log-density).
Kick = Callable[[Array, Array, Array], tuple[Array, Array]]

_INTEGRATORS = ("dkd", "kdk")
_DIVERGENCE = 1000.0


@dataclass(frozen=True)
class RaytraceOptions(HMCOptions):
    """Options of :func:`run_raytrace`, beside those of :class:`HMCOptions`.

    Attributes
    ----------
    target_accept_rate : float
        Acceptance that the step size is adapted to.
    integrator : str
        ``"dkd"``, half a drift, a kick, half a drift, or its partner ``"kdk"``.
    sample_hmc : bool
        Kick as Hamiltonian Monte Carlo does, by the gradient, instead of bending the ray.
    """

    target_accept_rate: float = 0.85
    integrator: str = "dkd"
    sample_hmc: bool = False

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        if self.integrator not in _INTEGRATORS:
            raise ParameterError(
                f"integrator={self.integrator!r}: expected one of {', '.join(_INTEGRATORS)}"
            )


class Ray(NamedTuple):
    """A point on a ray.

    Attributes
    ----------
    x, velocity : Array, shape (D,)
        Position and velocity.
    log_density, gradient : Array, scalar and shape (D,)
        At x; the gradient only where the integrator needs it.
    predicted : Array, scalar
        Change of the log-density that the kicks so far predict.
    """

    x: Array
    velocity: Array
    log_density: Array
    gradient: Array
    predicted: Array


def bend(velocity: Array, gradient: Array, time: Array) -> tuple[Array, Array]:
    """Turn a ray towards the gradient g of ln L, for D > 1.

    The angle to the gradient obeys ``tan(theta/2) ~ exp(-|g| |v| t / (D - 1))``; the predicted
    change of ln L is (1 - D) ln(sin theta_f / sin theta_i). Written with a = cos^2(theta_i / 2) and
    b = sin^2(theta_i / 2), both stay finite along the gradient.

    Parameters
    ----------
    velocity, gradient : Array, shape (D,)
        Velocity v, and g where the ray is.
    time : Array, scalar
        Duration t.

    Returns
    -------
    velocity : Array, shape (D,)
        Of the same length.
    predicted : Array, scalar
        Change of ln L.
    """
    speed, steepness = jnp.linalg.norm(velocity), jnp.linalg.norm(gradient)
    towards = gradient / jnp.where(steepness > 0.0, steepness, 1.0)
    along = velocity / speed
    curvature = steepness * speed * time / (velocity.size - 1)
    a, b = 0.25 * jnp.sum((along + towards) ** 2), 0.25 * jnp.sum((along - towards) ** 2)
    decay = jnp.exp(-2.0 * curvature)
    # without a gradient both halves of an angle are meaningless, and the ray goes straight on
    a, b = jnp.where(steepness > 0.0, a, 1.0), jnp.where(steepness > 0.0, b, 0.0)
    total = a + b * decay
    shrink = jnp.exp(-curvature) / total
    gain = (a - b * decay) / total - shrink * (a - b)
    turned = shrink * along + gain * towards
    predicted = (velocity.size - 1) * (curvature + jnp.log(total))
    return speed * turned / jnp.linalg.norm(turned), predicted


def push(velocity: Array, gradient: Array, time: Array) -> tuple[Array, Array]:
    """Add the gradient to the velocity, as HMC does; the kinetic energy predicts the change."""
    pushed = velocity + time * gradient
    return pushed, 0.5 * (jnp.sum(pushed**2) - jnp.sum(velocity**2))


def trace(
    log_density: LogDensity, kick: Kick, integrator: str, ray: Ray, time: Array, n_steps: Array
) -> Ray:
    """Follow a ray for ``n_steps`` steps of length ``time``.

    Parameters
    ----------
    log_density : callable
        ln L at one point.
    kick : callable
        :func:`bend` or :func:`push`.
    integrator : str
        ``"dkd"`` or ``"kdk"``.
    ray : Ray
        Where it begins; ``kdk`` needs the gradient.
    time : Array, scalar
        Length of a step.
    n_steps : Array, scalar int
        Their number.
    """

    def drift_kick_drift(_: Array, ray: Ray) -> Ray:
        x = ray.x + 0.5 * time * ray.velocity
        velocity, change = kick(ray.velocity, jax.grad(log_density)(x), time)
        x = x + 0.5 * time * velocity
        return ray._replace(x=x, velocity=velocity, predicted=ray.predicted + change)

    def kick_drift_kick(_: Array, ray: Ray) -> Ray:
        velocity, first = kick(ray.velocity, ray.gradient, 0.5 * time)
        x = ray.x + time * velocity
        height, gradient = jax.value_and_grad(log_density)(x)
        velocity, second = kick(velocity, gradient, 0.5 * time)
        return Ray(x, velocity, height, gradient, ray.predicted + first + second)

    if integrator == "kdk":
        return jax.lax.fori_loop(0, n_steps, kick_drift_kick, ray)
    ray = jax.lax.fori_loop(0, n_steps, drift_kick_drift, ray)
    return ray._replace(log_density=log_density(ray.x))


class _State(NamedTuple):
    position: Array
    logdensity: Array
    gradient: Array
    turn: Array


@dataclass(frozen=True)
class _Raytrace(Kernel):
    """Rays of quasi-random lengths, in fresh directions."""

    trajectory_length: float
    target_acceptance: float
    max_steps: int
    integrator: str
    sample_hmc: bool
    name: ClassVar[str] = "mcmc_raytrace"
    min_dimension = 2  # a ray in one dimension can't turn

    def initial_step_size(self, dimension: int) -> float:
        return 0.5 * dimension**-0.25

    def init(self, u: Array, key: Array, log_density: LogDensity) -> _State:
        height, gradient = jax.value_and_grad(log_density)(u)
        return _State(u, height, gradient, jnp.zeros((), int))

    def step(
        self, key: Array, state: Any, log_density: LogDensity, step_size: Array, adapt: Array
    ) -> tuple[_State, Transition]:
        key_velocity, key_accept = jax.random.split(key)
        mean = jnp.clip(self.trajectory_length / step_size, 1.0, self.max_steps)
        n_steps = halton_trajectory_length(state.turn, mean)
        velocity = jax.random.normal(key_velocity, state.position.shape)
        ray = Ray(
            state.position, velocity, state.logdensity, state.gradient, jnp.zeros_like(step_size)
        )
        kick = push if self.sample_hmc else bend
        end = trace(log_density, kick, self.integrator, ray, step_size, n_steps)
        log_ratio = end.log_density - state.logdensity - end.predicted
        log_ratio = jnp.where(jnp.isnan(log_ratio), -jnp.inf, log_ratio)
        accepted = jnp.log(jax.random.uniform(key_accept)) < log_ratio
        moved = _State(end.x, end.log_density, end.gradient, state.turn)
        new = jax.tree.map(partial(jnp.where, accepted), moved, state)
        evaluations = n_steps + (self.integrator == "dkd")
        rate = jnp.exp(jnp.minimum(log_ratio, 0.0))
        info = Transition(rate, -log_ratio > _DIVERGENCE, evaluations)
        return new._replace(turn=state.turn + 1), info


def run_raytrace(
    target: Target,
    key: Array,
    options: RaytraceOptions | None = None,
    *,
    start: Start | None = None,
    progress: Progress | None = None,
) -> InferenceResult:
    """Sample with the ray tracing sampler (Behroozi 2025, arXiv:2510.25824).

    Parameters
    ----------
    target : Target
        Posterior to sample. A single coordinate gets an auxiliary one beside it.
    key : Array
        Random key.
    options : RaytraceOptions, optional
        Defaults are documented there.
    start : Start, optional
        Approximation of the posterior; by default from its modes.
    progress : callable, optional
        Called after every block of iterations.
    """
    options = options or RaytraceOptions()
    kernel = _Raytrace(
        options.trajectory_length,
        options.target_accept_rate,
        options.max_steps,
        options.integrator,
        options.sample_hmc,
    )
    return run_whitened(kernel, target, key, options, start=start, progress=progress)
