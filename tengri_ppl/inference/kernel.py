"""What a Markov chain's kernel in whitened coordinates has to say of itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from jax import Array

from tengri_ppl.inference.chains import ChainOptions

__all__ = ["Kernel", "LogDensity", "Transition", "WhitenedOptions"]

#: Log-density at one point u (D,), -inf where it is not finite.
LogDensity = Callable[[Array], Array]


@dataclass(frozen=True)
class WhitenedOptions(ChainOptions):
    """Options of the kernels in whitened coordinates, beside those of :class:`ChainOptions`.

    Attributes
    ----------
    n_warmup : int
        Adaptation steps per chain: one half each before and after the coordinates are whitened
        anew.
    thinning : int
        Transitions of the kernel per draw.
    """

    n_warmup: int = 400
    thinning: int = 1

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        self._expect_at_least(1, "thinning")


class Transition(NamedTuple):
    """What a kernel says of one transition of a chain, or of each walker of an ensemble.

    Attributes
    ----------
    acceptance_rate : Array
        Probability of acceptance, which the step size is adapted to.
    diverging : Array
        Whether the trajectory left what the integrator can follow.
    n_steps : Array
        Evaluations of the density or its gradient.
    """

    acceptance_rate: Array
    diverging: Array
    n_steps: Array


class Kernel(ABC):
    """A transition that leaves the posterior invariant; hashable, for it is compiled in.

    Attributes
    ----------
    name : str
        Registered name of the engine.
    n_walkers : int
        Points that move together: 1, or the size of an ensemble, whose points have a leading axis.
    min_dimension : int
        Fewer coordinates are made up by independent standard normal ones, which are not recorded.
    target_acceptance : float or None
        Acceptance to adapt the step size to; None for kernels without one.
    """

    name: ClassVar[str]
    n_walkers: int = 1
    min_dimension: int = 1
    target_acceptance: float | None

    def initial_step_size(self, dimension: int) -> float:
        """Return where the adaptation begins."""
        return 1.0

    def position(self, state: Any) -> Array:
        """Return u."""
        return state.position

    def log_density(self, state: Any, log_density: LogDensity) -> Array:
        """Return the log-density at u."""
        return state.logdensity

    @abstractmethod
    def init(self, u: Array, key: Array, log_density: LogDensity) -> Any:
        """Return the state at u."""

    @abstractmethod
    def step(
        self, key: Array, state: Any, log_density: LogDensity, step_size: Array, adapt: Array
    ) -> tuple[Any, Transition]:
        """Make one transition; ``adapt`` says whether this is warm-up."""
