r"""Variational inference from minibatches, for data that are too many to look at in every step.

The data come in batches, each with a likelihood scaled to that of all data. With the gradient of
all data at one point, the *anchor* :math:`x_0`, the gradient of a batch b elsewhere is

.. math:: \nabla U_b(x) - \nabla U_b(x_0) + \nabla U(x_0),

whose noise comes from differences between x and :math:`x_0` only (Johnson & Zhang 2013, NIPS 26,
315). Newton steps on all data place the anchor at the mode of the posterior, so that the noise in
units of the posterior does not grow with the number of data: all data are read a fixed number of
times, however many they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from numpyro.infer import SVI, Trace_ELBO
from numpyro.optim import optax_to_numpyro

from tengri_ppl.distributions.layout import Layout
from tengri_ppl.errors import ParameterError
from tengri_ppl.inference.approximation import Approximation, assess, check_positive
from tengri_ppl.inference.flat import FlatTarget, flat_potential
from tengri_ppl.inference.guides import build, has_density, make_guide, whitened_model
from tengri_ppl.inference.result import InferenceResult
from tengri_ppl.inference.start import Start, start_at_mode, start_from_draws
from tengri_ppl.inference.target import Model, Target
from tengri_ppl.runtime.compiled import Compiled

__all__ = ["Batches", "SubsampledOptions", "run_subsampled_vi", "whole_gradient"]

#: The anchor is at the mode if a Newton step would be shorter than this [widths].
_AT_MODE, _MOST_NEWTON_STEPS = 0.1, 8
#: Newton steps are no longer than this [widths].
_LONGEST = 30.0


@dataclass(frozen=True)
class SubsampledOptions:
    """Options of :func:`run_subsampled_vi`.

    Attributes
    ----------
    guide : str or type
        Name of a guide with a density, or a subclass of ``numpyro.infer.autoguide.AutoGuide``.
    guide_options : mapping
        For its constructor.
    learning_rate : float
        First learning rate of Adam; it falls to zero as a cosine.
    n_particles : int
        Draws per estimate of the gradient.
    n_steps : int
        Steps, each with a batch.
    n_samples : int
        Draws of the trained guide.
    n_assess : int
        Draws of which the density is evaluated with all data, to tell how good the guide is.
    """

    guide: str | type = "multivariate"
    guide_options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    learning_rate: float = 0.05
    n_particles: int = 8
    n_steps: int = 500
    n_samples: int = 2000
    n_assess: int = 100

    def __post_init__(self) -> None:
        """Check ranges and names."""
        names = ("learning_rate", "n_particles", "n_steps", "n_samples", "n_assess")
        check_positive(self, *names)
        if not has_density(make_guide(self.guide, self.guide_options)):
            raise ParameterError(f"guide {self.guide!r} has no density; use 'multivariate'")


class Batches(Sequence[tuple[Any, ...]]):
    """Arguments of a model for each batch, all of the same shapes.

    The likelihood of a batch has to be scaled by what ``shares`` says, 1 / share.
    """

    @property
    def shares(self) -> np.ndarray:
        """Share of each batch in all data; they sum to one."""
        raise NotImplementedError


def run_subsampled_vi(
    model: Model,
    batches: Batches,
    key: Array,
    options: SubsampledOptions | None = None,
    *,
    progress: Any = None,
) -> tuple[InferenceResult, Start]:
    """Fit a guide to a posterior of many data; draw from it.

    Parameters
    ----------
    model : callable
        NumPyro model function of the arguments of one batch. Its latent sites are what all data
        share; what belongs to a datum has to be integrated out.
    batches : Batches
        The data; a batch is read when it is needed.
    key : Array
        Random key.
    options : SubsampledOptions, optional
        Defaults are documented there.
    progress : callable, optional
        Called after every pass through all data, and every step.

    Returns
    -------
    InferenceResult
        With the diagnostics of :func:`~tengri_ppl.inference.approximation.assess` from ``n_assess``
        draws, and ``n_passes``, how often all data were read.
    Start
        Mean and covariance of the draws, for :func:`whole_gradient`.
    """
    options = options or SubsampledOptions()
    key_start, key_train, key_pick, key_draw = jax.random.split(key, 4)
    flat = FlatTarget(Target(model, batches[0]))
    run = Approximation("vi", flat, options)
    run.diagnostics["n_passes"] = 0.0
    start, tilts = _at_mode(run, batches, start_at_mode(flat, key_start), progress)
    static = _Static(model, flat.layout, flat.dimension, options)
    shares = jnp.asarray(batches.shares)
    picks = np.asarray(jax.random.choice(key_pick, len(batches), (options.n_steps,), p=shares))
    state, losses = _trained(static, key_train, start, batches, tilts, picks, progress)
    run.traces["elbo"] = -losses
    u, log_q = _sample(static, key_draw, state, start, batches[0])
    x, few = start.points(u), slice(options.n_assess)
    log_p = -_whole_energy(model, flat.layout, x[few], batches)
    run.diagnostics["n_passes"] += options.n_steps / len(batches) + options.n_assess
    run.diagnostics |= assess(log_p, np.asarray(log_q[few], float) - float(start.log_volume))
    run.judge()
    result = InferenceResult(
        method="vi",
        samples={name: np.asarray(value)[None] for name, value in flat.values(x).items()},
        sample_stats={},
        settings=asdict(options),
        wall_time_s=run.seconds,
        diagnostics=run.diagnostics,
        notes=tuple(run.notes),
        traces=run.traces,
    )
    return result, start_from_draws(x)


class _Static(NamedTuple):
    """What shapes the compiled programs."""

    model: Model
    layout: Layout
    dimension: int
    options: SubsampledOptions


def _at_mode(
    run: Approximation, batches: Batches, start: Start, progress: Any
) -> tuple[Start, np.ndarray]:
    """Move an approximation to the mode of all data by Newton steps.

    Returns
    -------
    Start
        Around the mode.
    ndarray, shape (n_batch, D)
        What the gradient of each batch lacks there of that of all, in whitened coordinates.
    """
    program = run.flat.target.model, run.flat.layout
    for i in range(_MOST_NEWTON_STEPS):
        gradients = np.stack([np.asarray(_gradient(*program, start, batch)) for batch in batches])
        gradient = batches.shares @ gradients
        run.diagnostics["n_passes"] += 1.0
        if progress is not None:
            progress("passes", i + 1, _MOST_NEWTON_STEPS, 0)
        if np.linalg.norm(gradient) < _AT_MODE:
            break
        if i + 1 < _MOST_NEWTON_STEPS:
            step = -gradient * min(1.0, _LONGEST / np.linalg.norm(gradient))
            start = Start(start.points(jnp.asarray(step)), start.factor)
    else:
        run.notes.append(
            f"the mode is not reached after {_MOST_NEWTON_STEPS} Newton steps; use larger batches"
        )
    return start, gradient - gradients


def _svi(static: _Static) -> SVI:
    """Build guide and SVI; guides keep what they trace, so every program has its own."""
    options = static.options
    model = whitened_model(static.model, static.layout, static.dimension)
    guide = build(make_guide(options.guide, options.guide_options), model, static.dimension)
    rate = optax.cosine_decay_schedule(options.learning_rate, options.n_steps)
    elbo = Trace_ELBO(num_particles=options.n_particles)
    return SVI(model, guide, optax_to_numpyro(optax.adam(rate)), elbo)


def _trained(
    static: _Static,
    key: Array,
    start: Start,
    batches: Batches,
    tilts: np.ndarray,
    picks: np.ndarray,
    progress: Any,
) -> tuple[Any, np.ndarray]:
    """Train the guide on batches ``picks``; return the state of SVI and the losses (n_step,)."""
    state = _begin(static, key, start, batches[0])
    losses = []
    for i, pick in enumerate(picks):
        state, loss = _step(static, state, start, batches[int(pick)], tilts[pick])
        losses.append(loss)
        if progress is not None:
            progress("steps", i + 1, len(picks), 0)
    return state, np.asarray(jnp.stack(losses), dtype=float)


def _prepared(static: _Static, start: Start, batch: tuple[Any, ...]) -> SVI:
    svi = _svi(static)
    svi.init(jax.random.key(0), start, batch, {}, jnp.zeros(static.dimension))
    return svi


@partial(Compiled, static_argnums=0)
def _begin(static: _Static, key: Array, start: Start, batch: tuple[Any, ...]) -> Any:
    return _svi(static).init(key, start, batch, {}, jnp.zeros(static.dimension))


@partial(Compiled, static_argnums=0)
def _step(
    static: _Static, state: Any, start: Start, batch: tuple[Any, ...], tilt: Array
) -> tuple[Any, Array]:
    svi = _prepared(static, start, batch)
    return svi.stable_update(state, start, batch, {}, tilt)


@partial(Compiled, static_argnums=0)
def _sample(
    static: _Static, key: Array, state: Any, start: Start, batch: tuple[Any, ...]
) -> tuple[Array, Array]:
    """Draws of the guide in whitened coordinates (n, D), with their log-density (n,)."""
    svi = _prepared(static, start, batch)
    posterior = svi.guide.get_posterior(svi.get_params(state))
    u, steps = posterior.sample_with_intermediates(key, (static.options.n_samples,))
    log_q = posterior.log_prob(u, steps) if steps else posterior.log_prob(u)
    return u, log_q if log_q.ndim == 1 else jnp.sum(log_q, axis=-1)


@partial(Compiled, static_argnums=(0, 1))
def _gradient(model: Model, layout: Layout, start: Start, batch: tuple[Any, ...]) -> Array:
    """Gradient of the energy of a batch at the centre, in whitened coordinates."""

    def energy(u: Array) -> Array:
        return flat_potential(model, layout, start.points(u), batch, {})

    return jax.grad(energy)(jnp.zeros_like(start.mean))


@partial(Compiled, static_argnums=(0, 1))
def _energies(model: Model, layout: Layout, x: Array, batch: tuple[Any, ...]) -> Array:
    """Energies of a batch at points (n, D), (n,)."""
    return jax.lax.map(lambda point: flat_potential(model, layout, point, batch, {}), x)


def _whole_energy(model: Model, layout: Layout, x: Array, batches: Batches) -> np.ndarray:
    """Energies of all data at points (n, D), (n,)."""
    return sum(
        share * np.asarray(_energies(model, layout, x, batch), float)
        for share, batch in zip(batches.shares, batches, strict=True)
    )


def whole_gradient(flat: FlatTarget, batches: Batches, start: Start) -> np.ndarray:
    """Gradient of the energy of all data at the centre, in whitened coordinates, (D,).

    Parameters
    ----------
    flat : FlatTarget
        Of one batch.
    batches : Batches
        The data.
    start : Start
        What whitens.
    """
    program = flat.target.model, flat.layout
    return sum(
        share * np.asarray(_gradient(*program, start, batch), float)
        for share, batch in zip(batches.shares, batches, strict=True)
    )
