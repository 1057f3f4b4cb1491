"""Adjusted microcanonical Langevin Monte Carlo, with the kernel of blackjax."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp
from blackjax.mcmc import adjusted_mclmc_dynamic
from blackjax.mcmc.dynamic_hmc import halton_trajectory_length
from jax import Array

from tengri_ppl.inference.chains import Progress
from tengri_ppl.inference.hamiltonian import HMCOptions
from tengri_ppl.inference.kernel import Kernel, LogDensity, Transition
from tengri_ppl.inference.result import InferenceResult
from tengri_ppl.inference.start import Start
from tengri_ppl.inference.target import Target
from tengri_ppl.inference.whitened import run_whitened

__all__ = ["MCLMCOptions", "run_mclmc"]

#: Gradients per step of the integrator (McLachlan's, of two stages).
_GRADIENTS = 2


@dataclass(frozen=True)
class MCLMCOptions(HMCOptions):
    """Options of :func:`run_mclmc`: those of :class:`HMCOptions`, with lengths per sqrt(D).

    Attributes
    ----------
    trajectory_length : float
        Mean length of a trajectory, in whitened coordinates and units of sqrt(D).
    target_accept_rate : float
        Acceptance that the step size is adapted to.
    max_steps : int
        Steps of the integrator per trajectory, at most, of two gradient evaluations each.
    """

    trajectory_length: float = 1.5
    target_accept_rate: float = 0.9


@dataclass(frozen=True)
class _MCLMC(Kernel):
    """Trajectories of constant speed, bent by the gradient; accepted or rejected at their end."""

    trajectory_length: float
    target_acceptance: float
    max_steps: int
    name: ClassVar[str] = "mcmc_mclmc"
    min_dimension = 2  # a direction in one dimension can't turn

    def initial_step_size(self, dimension: int) -> float:
        return 0.5

    def init(self, u: Array, key: Array, log_density: LogDensity) -> Any:
        return adjusted_mclmc_dynamic.init(u, log_density, jnp.zeros((), int))

    def step(
        self, key: Array, state: Any, log_density: LogDensity, step_size: Array, adapt: Array
    ) -> tuple[Any, Transition]:
        kernel = adjusted_mclmc_dynamic.build_kernel(
            integration_steps_fn=halton_trajectory_length, next_random_arg_fn=lambda i: i + 1
        )
        n_steps = jnp.clip(self.trajectory_length / step_size, 1.0, self.max_steps)
        state, info = kernel(
            key,
            state,
            log_density,
            step_size * jnp.sqrt(state.position.size),
            integration_steps_params=(n_steps,),
        )
        evaluations = _GRADIENTS * info.num_integration_steps
        return state, Transition(info.acceptance_rate, info.is_divergent, evaluations)


def run_mclmc(
    target: Target,
    key: Array,
    options: MCLMCOptions | None = None,
    *,
    start: Start | None = None,
    progress: Progress | None = None,
) -> InferenceResult:
    """Sample with microcanonical Langevin Monte Carlo, made exact by a Metropolis step.

    Trajectories have constant speed and quasi-random lengths, with a fresh direction each
    (Robnik et al. 2023, JMLR 24, 311; Robnik, Cohn-Gordon & Seljak 2025).

    Parameters
    ----------
    target : Target
        Posterior to sample.
    key : Array
        Random key.
    options : MCLMCOptions, optional
        Defaults are documented there.
    start : Start, optional
        Approximation of the posterior; by default from its modes.
    progress : callable, optional
        Called after every block of iterations.
    """
    options = options or MCLMCOptions()
    kernel = _MCLMC(options.trajectory_length, options.target_accept_rate, options.max_steps)
    return run_whitened(kernel, target, key, options, start=start, progress=progress)
