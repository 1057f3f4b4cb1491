"""Stochastic variational inference with NumPyro's guides (Kucukelbir et al. 2017, JMLR 18, 14)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.optim
import optax
from jax import Array
from numpyro.infer import SVI, Trace_ELBO
from numpyro.infer.autoguide import AutoDelta

from tengri_ppl.distributions.layout import Layout
from tengri_ppl.errors import ParameterError, suggest
from tengri_ppl.inference.approximation import Approximation, check_positive
from tengri_ppl.inference.flat import FlatTarget
from tengri_ppl.inference.guides import (
    FLOWS,
    SIMPLE,
    Guide,
    build,
    has_density,
    make_guide,
    whitened_model,
)
from tengri_ppl.inference.result import InferenceResult
from tengri_ppl.inference.start import Start, start_at_mode
from tengri_ppl.inference.target import Model, Target
from tengri_ppl.runtime.compiled import Compiled

__all__ = ["TrainedGuide", "VIOptions", "run_vi", "train_guide"]

#: Steps between looks at the evidence lower bound, and factors on the learning rate in turn.
_BLOCK = 250
_STAGES = (1.0, 0.1, 0.01)
#: Blocks that are compared with as many before, for guides that learn slowly.
_PATIENCE = 4
#: Gain per block [nats] that is worth going on for.
_WORTH = 0.01


@dataclass(frozen=True)
class VIOptions:
    """Options of :func:`run_vi`.

    Attributes
    ----------
    guide : str or type
        ``"delta"``, ``"normal"``, ``"multivariate"``, ``"low_rank"``, ``"iaf"``, ``"bnaf"``,
        ``"dais"``, ``"laplace"``, or a subclass of ``numpyro.infer.autoguide.AutoGuide``.
    guide_options : mapping
        For its constructor, for example ``{"num_flows": 2}``.
    optimizer : str or optax.GradientTransformation
        Name of an optimiser of optax, whose learning rate is lowered when the bound has settled;
        a transformation is used as it is.
    learning_rate : float
        First learning rate, of an optimiser given by name.
    n_particles : int
        Draws per estimate of the gradient.
    max_steps : int
        Steps at most; training ends when the bound has settled.
    n_samples : int
        Draws of the trained guide.
    reweight : bool
        Resample the draws by their importance weights: exact where their k-hat is below 0.7.
    """

    guide: str | type = "multivariate"
    guide_options: Mapping[str, Any] = field(default_factory=dict)
    optimizer: str | optax.GradientTransformation = "adam"
    learning_rate: float = 0.02
    n_particles: int = 16
    max_steps: int = 20_000
    n_samples: int = 4000
    reweight: bool = False

    def __post_init__(self) -> None:
        """Check ranges and names."""
        check_positive(self, "learning_rate", "n_particles", "max_steps", "n_samples")
        guide = make_guide(self.guide, self.guide_options)
        if self.reweight and not has_density(guide):
            raise ParameterError(
                f"reweight=True needs the density of the draws, which {guide[0].__name__} does not "
                "have; use another guide, for example 'multivariate' or 'iaf'"
            )
        if isinstance(self.optimizer, str) and not callable(getattr(optax, self.optimizer, None)):
            known = ("adam", "adamw", "adabelief", "nadam", "radam", "rmsprop", "sgd", "yogi")
            raise ParameterError(
                f"optimizer {self.optimizer!r} is unknown{suggest(self.optimizer, known)} "
                "(any optimiser of optax by name, or an optax.GradientTransformation)"
            )


class TrainedGuide(NamedTuple):
    """A guide with its parameters, and how its evidence lower bound rose; ``settled`` if it did."""

    guide: Guide
    params: dict[str, Any]
    start: Start
    elbo: np.ndarray
    settled: bool


class _Static(NamedTuple):
    """What shapes the compiled programs."""

    model: Model
    layout: Layout
    dimension: int
    guide: Guide
    optimizer: Any
    n_particles: int


def run_vi(
    target: Target,
    key: Array,
    options: VIOptions | None = None,
    *,
    start: Start | None = None,
    progress: Any = None,
) -> InferenceResult:
    """Fit a guide to a posterior by maximising the evidence lower bound; draw from it.

    The guide sees whitened coordinates, in which the posterior is about a standard normal.

    Parameters
    ----------
    target : Target
        Posterior.
    key : Array
        Random key.
    options : VIOptions, optional
        Defaults are documented there.
    start : Start, optional
        Approximation that whitens; else the Laplace approximation at the best of several modes.
    progress : callable, optional
        Called after every block of steps.

    Returns
    -------
    InferenceResult
        With the trace ``elbo`` of all steps. Draws of a guide with a density are assessed by it.
        ``"dais"`` has none, and ``"delta"`` gives a single point: ``approximation_k`` is NaN then,
        which no verdict calls converged.
    """
    options = options or VIOptions()
    run = Approximation("vi", FlatTarget(target), options)
    key_train, key_draw, key_pick = jax.random.split(key, 3)
    trained = train_guide(run, key_train, start, progress)
    static = _static(run.flat, options)
    n = 1 if issubclass(trained.guide[0], AutoDelta) else options.n_samples
    u, log_q = _sample(static, n, key_draw, trained.params, trained.start, *run.flat.arguments)
    if has_density(trained.guide):
        return run.result(trained.start.points(u), log_q - trained.start.log_volume, key_pick)
    run.diagnostics |= {
        "approximation_k": float("nan"),
        "elbo": float(np.mean(trained.elbo[-_BLOCK:])),
    }
    run.notes.append(
        f"guide {trained.guide[0].__name__} has no density for its draws, so that nothing tells "
        "how far they are from the posterior; compare with method='auto'"
    )
    return run.result(trained.start.points(u))


def train_guide(
    run: Approximation, key: Array, start: Start | None, progress: Any = None
) -> TrainedGuide:
    """Train the guide of ``run.options`` until its bound has settled; record it on the run."""
    flat, options = run.flat, run.options
    key_start, key_svi = jax.random.split(key)
    start = start or start_at_mode(flat, key_start)
    static = _static(flat, options)
    state = _begin(static, key_svi, start, *flat.arguments)
    losses: list[np.ndarray] = []
    stage: list[np.ndarray] = []
    window = 1 if issubclass(static.guide[0], SIMPLE) else _PATIENCE
    stages = list(_STAGES if isinstance(options.optimizer, str) else (1.0,))
    rate = stages.pop(0) * options.learning_rate
    settled = False
    while not settled and len(losses) * _BLOCK < options.max_steps:
        state, loss = _advance(static, rate, state, start, *flat.arguments)
        losses.append(np.asarray(loss, dtype=float))
        if progress is not None:
            progress("steps", len(losses) * _BLOCK, options.max_steps, 0)
        stage.append(losses[-1])
        if _settled(stage, window):
            settled, stage = not stages, []
            rate = stages.pop(0) * options.learning_rate if stages else rate
    elbo = -np.concatenate(losses)
    run.count(elbo.size * options.n_particles)
    run.traces["elbo"] = elbo
    run.diagnostics["n_steps"] = float(elbo.size)
    if not settled:
        run.notes.append(
            f"the evidence lower bound still rises after {elbo.size} steps; raise max_steps or "
            "learning_rate"
        )
    params = _params(static, state, start, *flat.arguments)
    return TrainedGuide(static.guide, params, start, elbo, settled)


def _settled(losses: list[np.ndarray], window: int) -> bool:
    """Tell whether the last blocks gained nothing over those before, within the noise."""
    if len(losses) < 2 * window:
        return False
    before = np.concatenate(losses[-2 * window : -window])
    now = np.concatenate(losses[-window:])
    noise = np.sqrt((np.var(before) + np.var(now)) / now.size)
    return bool(np.mean(before) - np.mean(now) < _WORTH + noise)


def _static(flat: FlatTarget, options: Any) -> _Static:
    guide = make_guide(options.guide, options.guide_options)
    if flat.dimension == 1 and issubclass(guide[0], FLOWS):
        raise ParameterError(
            f"{guide[0].__name__} couples coordinates and this posterior has only one; use "
            "guide='normal', or method='mcmc_nuts'"
        )
    return _Static(
        flat.target.model,
        flat.layout,
        flat.dimension,
        guide,
        options.optimizer,
        options.n_particles,
    )


# -- compiled programs -----------------------------------------------------------------------------


def _svi(static: _Static) -> SVI:
    """Build guide and SVI; guides keep what they trace, so every program has its own."""
    model = whitened_model(static.model, static.layout, static.dimension)
    guide = build(static.guide, model, static.dimension)
    transform = static.optimizer
    if isinstance(transform, str):
        # the learning rate is applied to the steps of a unit rate, so that it can be traced
        transform = getattr(optax, transform)(1.0)
    optimizer = numpyro.optim.optax_to_numpyro(optax.chain(transform, _scaled()))
    return SVI(model, guide, optimizer, Trace_ELBO(num_particles=static.n_particles))


class _Rate(NamedTuple):
    """State of :func:`_scaled`: the learning rate."""

    rate: Array


def _scaled() -> optax.GradientTransformation:
    """Multiply steps by a rate that is part of the state."""

    def update(steps: Any, state: _Rate, params: Any = None) -> tuple[Any, _Rate]:
        return jax.tree.map(lambda step: state.rate * step, steps), state

    return optax.GradientTransformation(lambda _: _Rate(jnp.ones(())), update)


@partial(Compiled, static_argnums=0)
def _begin(static: _Static, key: Array, start: Start, *arguments: Any) -> Any:
    return _svi(static).init(key, start, *arguments)


@partial(Compiled, static_argnums=0)
def _advance(
    static: _Static, rate: Array, state: Any, start: Start, *arguments: Any
) -> tuple[Any, Array]:
    """Take a block of steps."""
    svi = _svi(static)
    svi.init(jax.random.key(0), start, *arguments)
    if isinstance(static.optimizer, str):
        state = jax.tree.map(
            lambda leaf: (
                _Rate(jnp.asarray(rate, leaf.rate.dtype)) if isinstance(leaf, _Rate) else leaf
            ),
            state,
            is_leaf=lambda leaf: isinstance(leaf, _Rate),
        )

    def step(state: Any, _: None) -> tuple[Any, Array]:
        return svi.stable_update(state, start, *arguments)

    return jax.lax.scan(step, state, length=_BLOCK)


@partial(Compiled, static_argnums=0)
def _params(static: _Static, state: Any, start: Start, *arguments: Any) -> dict[str, Any]:
    svi = _svi(static)
    svi.init(jax.random.key(0), start, *arguments)
    return svi.get_params(state)


@partial(Compiled, static_argnums=(0, 1))
def _sample(
    static: _Static, n: int, key: Array, params: dict[str, Any], start: Start, *arguments: Any
) -> tuple[Array, Array]:
    """``n`` draws of the guide in whitened coordinates (n, D), with their log-density (n,)."""
    svi = _svi(static)
    svi.init(jax.random.key(0), start, *arguments)
    if not has_density(static.guide):
        u = svi.guide.sample_posterior(key, params, start, *arguments, sample_shape=(n,))["u"]
        return jnp.reshape(u, (n, -1)), jnp.zeros(n)
    posterior = svi.guide.get_posterior(params)
    u, steps = posterior.sample_with_intermediates(key, (n,))
    # flows are not inverted, but remember how they came
    log_q = posterior.log_prob(u, steps) if steps else posterior.log_prob(u)
    return u, log_q if log_q.ndim == 1 else jnp.sum(log_q, axis=-1)
