"""Hamiltonian Monte Carlo in its variants, with the kernels of blackjax in whitened coordinates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp
from blackjax.mcmc import dynamic_hmc, ghmc, hmc
from jax import Array

from tengri_ppl.inference.chains import Progress
from tengri_ppl.inference.kernel import Kernel, LogDensity, Transition, WhitenedOptions
from tengri_ppl.inference.result import InferenceResult
from tengri_ppl.inference.start import Start
from tengri_ppl.inference.target import Target
from tengri_ppl.inference.whitened import run_whitened

__all__ = [
    "GHMCOptions",
    "HMCOptions",
    "run_dynamic_hmc",
    "run_ghmc",
    "run_hmc",
]


@dataclass(frozen=True)
class HMCOptions(WhitenedOptions):
    """Options of :func:`run_hmc` and :func:`run_dynamic_hmc`, beside :class:`WhitenedOptions`.

    Attributes
    ----------
    trajectory_length : float
        Time that a trajectory takes, in the mean if it varies. In whitened coordinates a quarter
        of a standard normal's period is pi / 2.
    target_accept_rate : float
        Acceptance that the step size is adapted to; high, for steps that are too long for a tight
        bend of the posterior keep trajectories out of it unnoticed.
    max_steps : int
        Gradient evaluations per trajectory, at most.
    """

    trajectory_length: float = 1.5
    target_accept_rate: float = 0.95
    max_steps: int = 256

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        self._expect_at_least(1, "max_steps")
        self._expect_fraction("target_accept_rate")
        self._expect_positive("trajectory_length")


@dataclass(frozen=True)
class GHMCOptions(WhitenedOptions):
    """Options of :func:`run_ghmc`, beside those of :class:`WhitenedOptions`.

    Attributes
    ----------
    persistence : float
        Time over which the momentum is forgotten, in whitened coordinates.
    target_accept_rate : float
        Acceptance that the step size is adapted to.
    """

    thinning: int = 5
    persistence: float = 1.0
    target_accept_rate: float = 0.9

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        self._expect_fraction("target_accept_rate")
        self._expect_positive("persistence")


@dataclass(frozen=True)
class _HMC(Kernel):
    """Trajectories of one length."""

    trajectory_length: float
    target_acceptance: float
    max_steps: int
    name: ClassVar[str] = "mcmc_hmc"

    def initial_step_size(self, dimension: int) -> float:
        return 0.5 * dimension**-0.25

    def init(self, u: Array, key: Array, log_density: LogDensity) -> Any:
        return hmc.init(u, log_density)

    def step(
        self, key: Array, state: Any, log_density: LogDensity, step_size: Array, adapt: Array
    ) -> tuple[Any, Transition]:
        n_steps = jnp.rint(self._n_steps(step_size)).astype(int)
        metric = jnp.ones_like(state.position)
        kernel = hmc.build_kernel()
        state, info = kernel(key, state, log_density, step_size, metric, n_steps)
        return state, _transition(info)

    def _n_steps(self, step_size: Array) -> Array:
        return jnp.clip(self.trajectory_length / step_size, 1.0, self.max_steps)


@dataclass(frozen=True)
class _DynamicHMC(_HMC):
    """Trajectories of lengths that vary evenly between nothing and twice their mean.

    The same quasi-random sequence for all chains, which therefore need not wait for one another.
    """

    name: ClassVar[str] = "mcmc_dynamic_hmc"

    def init(self, u: Array, key: Array, log_density: LogDensity) -> Any:
        return dynamic_hmc.init(u, log_density, jnp.zeros((), int))

    def step(
        self, key: Array, state: Any, log_density: LogDensity, step_size: Array, adapt: Array
    ) -> tuple[Any, Transition]:
        kernel = dynamic_hmc.build_kernel(
            next_random_arg_fn=lambda i: i + 1,
            integration_steps_fn=dynamic_hmc.halton_trajectory_length,
        )
        mean = (self._n_steps(step_size),)
        metric = jnp.ones_like(state.position)
        state, info = kernel(key, state, log_density, step_size, metric, mean)
        return state, _transition(info)


@dataclass(frozen=True)
class _GHMC(Kernel):
    """One leapfrog step at a time, with a momentum that is forgotten slowly."""

    persistence: float
    target_acceptance: float
    name: ClassVar[str] = "mcmc_ghmc"

    def initial_step_size(self, dimension: int) -> float:
        return 0.5 * dimension**-0.25

    def init(self, u: Array, key: Array, log_density: LogDensity) -> Any:
        return ghmc.init(u, log_density, key)

    def step(
        self, key: Array, state: Any, log_density: LogDensity, step_size: Array, adapt: Array
    ) -> tuple[Any, Transition]:
        # the share of fresh momentum and the drift of the slice as Hoffman & Sountsov (2022) have
        # them
        alpha = -jnp.expm1(-2.0 * step_size / self.persistence)
        drift = 0.5 * alpha
        new, info = ghmc.build_kernel()(
            key, state, log_density, step_size, jnp.ones_like(state.position), alpha, drift
        )
        # blackjax multiplies infinity by zero where it rejects a point without density
        rejected = (state.slice + 1.0 + drift) % 2.0 - 1.0
        new = new._replace(slice=jnp.where(jnp.isfinite(new.slice), new.slice, rejected))
        return new, _transition(info)


def _transition(info: Any) -> Transition:
    n_steps = jnp.asarray(info.num_integration_steps, int)
    return Transition(info.acceptance_rate, info.is_divergent, n_steps)


def run_hmc(
    target: Target,
    key: Array,
    options: HMCOptions | None = None,
    *,
    start: Start | None = None,
    progress: Progress | None = None,
) -> InferenceResult:
    """Sample with Hamiltonian Monte Carlo, trajectories of one length (Neal 2011).

    Parameters
    ----------
    target : Target
        Posterior to sample.
    key : Array
        Random key.
    options : HMCOptions, optional
        Defaults are documented there.
    start : Start, optional
        Approximation of the posterior; by default from its modes.
    progress : callable, optional
        Called after every block of iterations.
    """
    options = options or HMCOptions()
    kernel = _HMC(options.trajectory_length, options.target_accept_rate, options.max_steps)
    return run_whitened(kernel, target, key, options, start=start, progress=progress)


def run_dynamic_hmc(
    target: Target,
    key: Array,
    options: HMCOptions | None = None,
    *,
    start: Start | None = None,
    progress: Progress | None = None,
) -> InferenceResult:
    """Sample with Hamiltonian Monte Carlo, trajectories of quasi-random lengths.

    Lengths that vary avoid the periods that trap trajectories of one length (Hoffman, Radul &
    Sountsov 2021). Parameters as in :func:`run_hmc`.
    """
    options = options or HMCOptions()
    kernel = _DynamicHMC(options.trajectory_length, options.target_accept_rate, options.max_steps)
    return run_whitened(kernel, target, key, options, start=start, progress=progress)


def run_ghmc(
    target: Target,
    key: Array,
    options: GHMCOptions | None = None,
    *,
    start: Start | None = None,
    progress: Progress | None = None,
) -> InferenceResult:
    """Sample with generalised HMC: persistent momentum, non-reversible acceptance.

    Hoffman & Sountsov (2022), after Neal (2020). Parameters as in :func:`run_hmc`.
    """
    options = options or GHMCOptions()
    kernel = _GHMC(options.persistence, options.target_accept_rate)
    return run_whitened(kernel, target, key, options, start=start, progress=progress)
