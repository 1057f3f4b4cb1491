"""Barker's proposal, a gradient sampler that forgives a wrong step size, with blackjax's kernel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp
from blackjax.mcmc import barker
from jax import Array

from tengri_ppl.inference.chains import Progress
from tengri_ppl.inference.kernel import Kernel, LogDensity, Transition, WhitenedOptions
from tengri_ppl.inference.result import InferenceResult
from tengri_ppl.inference.start import Start
from tengri_ppl.inference.target import Target
from tengri_ppl.inference.whitened import run_whitened

__all__ = ["BarkerOptions", "run_barker"]


@dataclass(frozen=True)
class BarkerOptions(WhitenedOptions):
    """Options of :func:`run_barker`, beside those of :class:`WhitenedOptions`.

    Attributes
    ----------
    target_accept_rate : float
        Acceptance that the step size is adapted to; 0.57 is the best in many dimensions (Vogrinc,
        Livingstone & Zanella 2023).
    """

    thinning: int = 5
    target_accept_rate: float = 0.57

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        self._expect_fraction("target_accept_rate")


@dataclass(frozen=True)
class _Barker(Kernel):
    """A step whose direction in each coordinate follows the gradient with some probability."""

    target_acceptance: float
    name: ClassVar[str] = "mcmc_barker"

    def initial_step_size(self, dimension: int) -> float:
        return dimension ** (-1.0 / 6.0)

    def init(self, u: Array, key: Array, log_density: LogDensity) -> Any:
        return barker.init(u, log_density)

    def step(
        self, key: Array, state: Any, log_density: LogDensity, step_size: Array, adapt: Array
    ) -> tuple[Any, Transition]:
        state, info = barker.build_kernel()(key, state, log_density, step_size)
        never, one = jnp.zeros((), bool), jnp.ones((), int)
        return state, Transition(info.acceptance_rate, never, one)


def run_barker(
    target: Target,
    key: Array,
    options: BarkerOptions | None = None,
    *,
    start: Start | None = None,
    progress: Progress | None = None,
) -> InferenceResult:
    """Sample with Barker's proposal (Livingstone & Zanella 2022).

    Parameters
    ----------
    target : Target
        Posterior to sample.
    key : Array
        Random key.
    options : BarkerOptions, optional
        Defaults are documented there.
    start : Start, optional
        Approximation of the posterior; by default from its modes.
    progress : callable, optional
        Called after every block of iterations.
    """
    options = options or BarkerOptions()
    kernel = _Barker(options.target_accept_rate)
    return run_whitened(kernel, target, key, options, start=start, progress=progress)
