"""Ensembles of walkers that take their steps from one another, with the kernels of NumPyro.

No gradients, and any linear map of the parameters makes no difference; but the walkers of an
ensemble depend on one another, so several ensembles run side by side.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from numpyro.infer import AIES, ESS
from numpyro.infer.ensemble import EnsembleSampler, EnsembleSamplerState

from tengri_ppl.errors import ParameterError
from tengri_ppl.inference.chains import Progress
from tengri_ppl.inference.kernel import Kernel, LogDensity, Transition, WhitenedOptions
from tengri_ppl.inference.result import InferenceResult
from tengri_ppl.inference.start import Start
from tengri_ppl.inference.target import Target
from tengri_ppl.inference.whitened import run_whitened

__all__ = ["AIESOptions", "EnsembleOptions", "SliceOptions", "run_aies", "run_slice"]

_FEWEST_WALKERS = 32
#: The scale of slices is kept within these limits while it is tuned.
_NARROWEST, _WIDEST = 1e-3, 1e3


@dataclass(frozen=True)
class EnsembleOptions(WhitenedOptions):
    """Options of the ensembles, beside those of :class:`WhitenedOptions`.

    Attributes
    ----------
    num_chains : int
        Ensembles; each of their walkers is a chain of the result.
    n_walkers : int, optional
        Walkers per ensemble, an even number of at least 2 D; by default 32, or 4 D if that is more.
    """

    num_chains: int = 2
    n_walkers: int | None = None

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        if self.n_walkers is not None and (self.n_walkers < 2 or self.n_walkers % 2):
            raise ParameterError(f"n_walkers={self.n_walkers}: expected an even number")

    def walkers(self, dimension: int) -> int:
        """Return the number of walkers for D coordinates.

        Raises
        ------
        ParameterError
            If the given number is too small for D.
        """
        if self.n_walkers is None:
            return max(_FEWEST_WALKERS, 4 * dimension)
        if self.n_walkers < 2 * dimension:
            raise ParameterError(
                f"n_walkers={self.n_walkers}: {dimension} coordinates need at least "
                f"{2 * dimension}, or steps can't reach all directions"
            )
        return self.n_walkers


@dataclass(frozen=True)
class AIESOptions(EnsembleOptions):
    """Options of :func:`run_aies`: those of :class:`EnsembleOptions`.

    Attributes
    ----------
    thinning : int
        Transitions per draw.
    """

    thinning: int = 10


@dataclass(frozen=True)
class SliceOptions(EnsembleOptions):
    """Options of :func:`run_slice`: those of :class:`EnsembleOptions`.

    Attributes
    ----------
    thinning : int
        Transitions per draw.
    """

    thinning: int = 4


class _State(NamedTuple):
    """What NumPyro keeps, without its key."""

    position: Array
    inner: Any


@dataclass(frozen=True)
class _AIES(Kernel):
    """Affine-invariant stretch and differential evolution moves."""

    n_walkers: int
    name: ClassVar[str] = "ensemble_aies"
    target_acceptance = None

    def init(self, u: Array, key: Array, log_density: LogDensity) -> _State:
        return _State(u, self._sampler(log_density, u, key)[1].inner_state)

    def log_density(self, state: Any, log_density: LogDensity) -> Array:
        return jax.vmap(log_density)(state.position)

    def step(
        self, key: Array, state: Any, log_density: LogDensity, step_size: Array, adapt: Array
    ) -> tuple[_State, Transition]:
        sampler, _ = self._sampler(log_density, state.position, key)
        new = sampler.sample(EnsembleSamplerState(state.position, state.inner, key), (), {})
        ones = jnp.ones(self.n_walkers)
        # the density at the proposal and, anew, at the walker
        rate, evaluations = new.inner_state.accept_prob * ones, 2 * ones.astype(int)
        return _State(new.z, new.inner_state), Transition(rate, ones < 0.0, evaluations)

    def _sampler(
        self, log_density: LogDensity, u: Array, key: Array
    ) -> tuple[EnsembleSampler, EnsembleSamplerState]:
        """NumPyro's sampler, which knows its size only once it has been initialised."""
        with jax.ensure_compile_time_eval():  # NumPyro checks its weights with Python's if
            sampler = self._new_sampler(log_density)
        return sampler, sampler.init(jax.random.split(key, len(u)), 0, init_params=u)

    def _new_sampler(self, log_density: LogDensity) -> EnsembleSampler:
        # a step of the whole difference of two walkers leads from mode to mode
        moves = {AIES.DEMove(): 0.6, AIES.DEMove(g0=1.0): 0.1, AIES.StretchMove(): 0.3}
        return AIES(potential_fn=lambda u: -log_density(u), moves=moves)


@dataclass(frozen=True)
class _Slice(_AIES):
    """Slices along differences of walkers."""

    name: ClassVar[str] = "ensemble_slice"

    def step(
        self, key: Array, state: Any, log_density: LogDensity, step_size: Array, adapt: Array
    ) -> tuple[_State, Transition]:
        sampler, _ = self._sampler(log_density, state.position, key)
        before = state.inner._replace(n_expansions=0, n_contractions=0)
        before = jax.tree.map(lambda new, old: jnp.asarray(new, old.dtype), before, state.inner)
        new = sampler.sample(EnsembleSamplerState(state.position, before, key), (), {})
        inner = new.inner_state
        expansions = jnp.maximum(inner.n_expansions, 1)
        moves = expansions + inner.n_contractions
        # Karamanis & Beutler (2021): as many expansions as contractions; fixed after the warm-up
        scale = jnp.clip(inner.mu * 2.0 * expansions / moves, _NARROWEST, _WIDEST)
        inner = inner._replace(mu=jnp.where(adapt, scale, inner.mu))
        # the height, both ends, and the point that is taken, beside what was tried
        mean = 4 + jnp.ceil(moves / self.n_walkers).astype(int)
        ones = jnp.ones(self.n_walkers)
        info = Transition(ones / mean, ones < 0.0, mean * ones.astype(int))
        return _State(new.z, inner), info

    def _new_sampler(self, log_density: LogDensity) -> EnsembleSampler:
        return ESS(
            potential_fn=lambda u: -log_density(u),
            moves={ESS.DifferentialMove(): 1.0},
            randomize_split=False,  # it would exchange the walkers of one chain with another's
            tune_mu=False,
        )


def run_aies(
    target: Target,
    key: Array,
    options: AIESOptions | None = None,
    *,
    start: Start | None = None,
    progress: Progress | None = None,
) -> InferenceResult:
    """Sample with the affine-invariant ensemble sampler (Goodman & Weare 2010).

    Stretch moves, and differential evolution (ter Braak 2006), which is better in more than a few
    dimensions.

    Parameters
    ----------
    target : Target
        Posterior to sample.
    key : Array
        Random key.
    options : AIESOptions, optional
        Defaults are documented there.
    start : Start, optional
        Approximation of the posterior around which walkers start; by default from its modes.
    progress : callable, optional
        Called after every block of iterations.
    """
    options = options or AIESOptions()
    kernel = _AIES(options.walkers(target.dimension))
    return run_whitened(kernel, target, key, options, start=start, progress=progress)


def run_slice(
    target: Target,
    key: Array,
    options: SliceOptions | None = None,
    *,
    start: Start | None = None,
    progress: Progress | None = None,
) -> InferenceResult:
    """Sample with the ensemble slice sampler (Karamanis & Beutler 2021).

    The scale of the slices is tuned in the warm-up only. Parameters as in :func:`run_aies`;
    ``acceptance_rate`` is the inverse of the points tried per move.
    """
    options = options or SliceOptions()
    kernel = _Slice(options.walkers(target.dimension))
    return run_whitened(kernel, target, key, options, start=start, progress=progress)
