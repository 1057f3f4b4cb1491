"""Many chains of Hamiltonian Monte Carlo that find the length of their trajectories together.

The length grows as long as that increases the change in the estimator of the expected square
(ChEES: Hoffman, Radul & Sountsov 2021) over all chains; adaptation and kernel are blackjax's.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from blackjax.adaptation.chees_adaptation import chees_adaptation
from blackjax.mcmc import dynamic_hmc
from jax import Array

from tengri_ppl.distributions.layout import Layout
from tengri_ppl.inference.chains import Chains, Progress
from tengri_ppl.inference.flat import FlatTarget
from tengri_ppl.inference.kernel import Kernel, LogDensity, Transition, WhitenedOptions
from tengri_ppl.inference.result import InferenceResult
from tengri_ppl.inference.start import Start, start_refined
from tengri_ppl.inference.target import Model, Target
from tengri_ppl.inference.whitened import first_states, run_whitened, whitened_log_density
from tengri_ppl.runtime.compiled import Compiled

__all__ = ["ChEESOptions", "run_chees"]

_LEARNING_RATE = 0.05


@dataclass(frozen=True)
class ChEESOptions(WhitenedOptions):
    """Options of :func:`run_chees`, beside those of :class:`WhitenedOptions`.

    Attributes
    ----------
    max_samples : int
        Draws per chain without ``n_samples``, at most; fewer than of other chains, as there are
        more chains.
    num_chains : int
        Chains; the more, the better the length of the trajectories is known. At least 4.
    target_accept_rate : float
        Acceptance, in the harmonic mean over the chains, that the step size is adapted to.
    max_steps : int
        Gradient evaluations per trajectory, at most.
    """

    max_samples: int = 3000
    num_chains: int = 16
    target_accept_rate: float = 0.7
    max_steps: int = 256

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        self._expect_at_least(1, "max_steps")
        self._expect_at_least(4, "num_chains")
        self._expect_fraction("target_accept_rate")


class _State(NamedTuple):
    """A state of dynamic HMC, and twice the mean number of steps of a trajectory."""

    chain: Any
    max_steps: Array


@dataclass(frozen=True)
class _ChEES(Kernel):
    """Trajectories of quasi-random lengths, the same for all chains."""

    target_acceptance: float
    name: ClassVar[str] = "mcmc_chees"

    def init(self, u: Array, key: Array, log_density: LogDensity) -> _State:
        chain = dynamic_hmc.init(u, log_density, jnp.zeros((), int))
        return _State(chain, jnp.ones_like(chain.logdensity))

    def position(self, state: Any) -> Array:
        return state.chain.position

    def log_density(self, state: Any, log_density: LogDensity) -> Array:
        return state.chain.logdensity

    def step(
        self, key: Array, state: Any, log_density: LogDensity, step_size: Array, adapt: Array
    ) -> tuple[_State, Transition]:
        kernel = dynamic_hmc.build_kernel(
            next_random_arg_fn=lambda i: i + 1, integration_steps_fn=_number_of_steps
        )
        metric = jnp.ones_like(state.chain.position)
        chain, info = kernel(key, state.chain, log_density, step_size, metric, (state.max_steps,))
        n_steps = jnp.asarray(info.num_integration_steps, int)
        transition = Transition(info.acceptance_rate, info.is_divergent, n_steps)
        return state._replace(chain=chain), transition


def _number_of_steps(turn: Array, max_steps: Array) -> Array:
    """As in blackjax's adaptation: a quasi-random share of the longest trajectory."""
    return jnp.ceil(dynamic_hmc.halton_sequence(turn) * max_steps).astype(int)


class _Seen(NamedTuple):
    """What is kept of each step of the adaptation."""

    u: Array
    n_steps: Array


class _Adapted(NamedTuple):
    """End points (chain, D), all steps' records, and the parameters found."""

    u: Array
    seen: _Seen
    step_size: Array
    max_steps: Array


@partial(Compiled, static_argnums=(0, 1, 2, 3))
def _adapt(
    options: ChEESOptions,
    n_steps: int,
    model: Model,
    layout: Layout,
    key: Array,
    u: Array,
    step_size: Array,
    start: Start,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> _Adapted:
    """Run blackjax's adaptation for ``n_steps`` trajectories of all chains at u (chain, D)."""
    adaptation = chees_adaptation(
        whitened_log_density(model, layout, start, args, kwargs),
        len(u),
        target_acceptance_rate=options.target_accept_rate,
        max_leapfrog_steps=options.max_steps,
        adaptation_info_fn=lambda state, info, _: _Seen(state.position, info.num_integration_steps),
    )
    (states, found), info = adaptation.run(
        key, u, step_size, optax.adam(_LEARNING_RATE), num_steps=n_steps
    )
    seen = _Seen(info.u, info.n_steps)
    return _Adapted(states.position, seen, found["step_size"], found["integration_steps_params"][0])


def _adapt_together(
    chains: Chains,
    kernel: Kernel,
    flat: FlatTarget,
    start: Start,
    options: Any,
    key: Array,
) -> Start:
    """Adapt, whiten anew from the second half of that, and adapt again."""
    half = options.n_warmup // 2
    key_first, key_second, key_states = jax.random.split(key, 3)
    u = jnp.concatenate([state.state.chain.position for state in chains.states])
    step_size = jnp.asarray(kernel.initial_step_size(flat.dimension), dtype=u.dtype)

    def adapt(key: Array, u: Array, step_size: Array) -> _Adapted:
        arguments = (flat.target.model, flat.layout, key, u, step_size, start, *flat.arguments)
        adapted = _adapt(options, half, *arguments)
        chains.n_evaluations += int(np.asarray(adapted.seen.n_steps, dtype=np.int64).sum())
        return adapted

    first = adapt(key_first, u, step_size)
    x = np.asarray(start.points(first.seen.u[half // 2 :])).swapaxes(0, 1)
    start = start_refined(start, x)
    second = adapt(key_second, start.whitened(jnp.asarray(x[:, -1])), first.step_size)
    states = first_states(kernel, flat, start, start.points(second.u), key_states)
    chains.states = [_tuned(state, second) for state in states]
    return start


def _tuned(chains: Any, adapted: _Adapted) -> Any:
    """Give a group of chains the parameters found."""
    shared = jnp.full_like(chains.tuning.log_x_avg, jnp.log(adapted.step_size))
    state = chains.state
    state = state._replace(max_steps=jnp.full_like(state.max_steps, adapted.max_steps))
    return chains._replace(state=state, tuning=chains.tuning._replace(log_x_avg=shared))


def run_chees(
    target: Target,
    key: Array,
    options: ChEESOptions | None = None,
    *,
    start: Start | None = None,
    progress: Progress | None = None,
) -> InferenceResult:
    """Sample with ChEES-HMC: many chains, trajectories of a common, adapted length.

    Parameters
    ----------
    target : Target
        Posterior to sample.
    key : Array
        Random key.
    options : ChEESOptions, optional
        Defaults are documented there.
    start : Start, optional
        Approximation of the posterior; by default from its modes.
    progress : callable, optional
        Called after every block of iterations.
    """
    options = options or ChEESOptions()
    kernel = _ChEES(options.target_accept_rate)
    return run_whitened(
        kernel, target, key, options, start=start, progress=progress, warm_up=_adapt_together
    )
