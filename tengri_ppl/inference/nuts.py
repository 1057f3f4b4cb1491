"""The No-U-Turn sampler of NumPyro, for all chains at once and with data as traced arguments.

NumPyro's ``MCMC`` driver closes over the data when it initialises, so a second data set is
compiled anew. Here NumPyro's NUTS kernel runs in a driver of ours: blocks of iterations in one
compiled program, whose arguments are the data and the number of iterations.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpyro.infer.hmc import hmc
from numpyro.infer.hmc_util import build_adaptation_schedule

from tengri_ppl.distributions.layout import Layout, split
from tengri_ppl.inference.chains import (
    ChainOptions,
    Chains,
    Progress,
    draw_samples,
    number_of_groups,
    run_block,
)
from tengri_ppl.inference.flat import FlatTarget
from tengri_ppl.inference.result import InferenceResult
from tengri_ppl.inference.start import Start, dispersed_points, start_at_mode
from tengri_ppl.inference.target import Model, Target, potential, site_values
from tengri_ppl.runtime.compiled import Compiled

__all__ = ["NUTSOptions", "run_nuts"]

_WARMUP_TREE_DEPTH = 6
#: Up to so many coordinates the draws of the warm-up know their covariance.
_MAX_LEARNT = 50


@dataclass(frozen=True)
class NUTSOptions(ChainOptions):
    """Options of :func:`run_nuts`, beside those of :class:`~.chains.ChainOptions`.

    Attributes
    ----------
    dense_mass_matrix : bool, optional
        Adapt a full covariance instead of variances. Without it: the full one up to 50
        coordinates; beyond, variances in coordinates that are whitened by the curvature at the
        mode, or by the approximation to start from.
    target_accept_rate : float
        Acceptance that the step size is adapted to.
    max_tree_depth : int
        At most 2**max_tree_depth gradient evaluations per draw, and at most 64 while the mass
        matrix is being found.
    """

    dense_mass_matrix: bool | None = None
    target_accept_rate: float = 0.97
    max_tree_depth: int = 8

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        self._expect_at_least(1, "max_tree_depth")
        self._expect_fraction("target_accept_rate")


@dataclass(frozen=True)
class _Engine:
    """Compiled functions for one model and one set of static options."""

    init: Callable[..., Any]
    advance: Callable[..., Any]


@lru_cache(maxsize=32)
def _engine(
    model: Model,
    layout: Layout,
    n_warmup: int,
    dense: bool,
    target_accept: float,
    max_tree_depth: int,
) -> _Engine:
    """Build the engine; programs are compiled when they first meet the shapes of the data.

    States are sites in unconstrained coordinates or, with a frame, vectors in whitened ones.
    """

    def sites(frame: Start | None, z: Any) -> Mapping[str, Array]:
        return z if frame is None else split(layout, frame.points(z))

    def potential_gen(frame: Start | None, *args: Any, **kwargs: Any) -> Callable[[Any], Array]:
        return lambda z: potential(model, args, kwargs, sites(frame, z))

    init_kernel, sample_kernel = hmc(potential_fn_gen=potential_gen, algo="NUTS")

    def init(
        z: Any,
        keys: Array,
        covariance: Array | None,
        frame: Start | None,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        def one(z: Any, key: Array) -> Any:
            return init_kernel(
                z,
                num_warmup=n_warmup,
                step_size=0.1,
                inverse_mass_matrix=covariance,
                dense_mass=dense,
                target_accept_prob=target_accept,
                max_tree_depth=(min(max_tree_depth, _WARMUP_TREE_DEPTH), max_tree_depth),
                model_args=(frame, *args),
                model_kwargs=kwargs,
                rng_key=key,
            )

        return jax.vmap(one)(z, keys)

    def advance(
        state: Any, n: Array, frame: Start | None, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Any, Any]:
        def step(state: Any) -> Any:
            return jax.vmap(lambda s: sample_kernel(s, (frame, *args), kwargs))(state)

        def record(state: Any) -> dict[str, Any]:
            x = jax.vmap(partial(sites, frame))(state.z)
            values = jax.vmap(lambda x: site_values(model, args, kwargs, x))(x)
            z = state.z if frame is None else {"": state.z}
            return {"samples": values, "stats": _statistics(state), "x": z}

        return run_block(step, record, state, n)

    return _Engine(Compiled(init), Compiled(advance))


def _statistics(state: Any) -> dict[str, Array]:
    return {
        "lp": -state.potential_energy,
        "energy": state.energy,
        "diverging": state.diverging,
        "acceptance_rate": state.accept_prob,
        "n_steps": state.num_steps,
        "step_size": state.adapt_state.step_size,
    }


def run_nuts(
    target: Target,
    key: Array,
    options: NUTSOptions | None = None,
    *,
    start: Start | None = None,
    progress: Progress | None = None,
) -> InferenceResult:
    """Sample a target with NUTS (Hoffman & Gelman 2014, JMLR 15, 1593).

    The chains adapt independently, in the windows of Stan and NumPyro; before the last window,
    which adapts the step size, all of them take the mass matrix of their pooled draws.

    Parameters
    ----------
    target : Target
        Posterior to sample.
    key : Array
        Random key.
    options : NUTSOptions, optional
        Defaults are documented there.
    start : Start, optional
        Approximation around which the chains start, and from whose covariance the mass matrix
        starts. By default chains start from probable ones of many prior draws
        (:meth:`Target.initial`) and find the mass matrix themselves; of more than 50 coordinates
        the modes and their curvature make one.
    progress : callable, optional
        Called after every block of iterations.
    """
    begin = time.perf_counter()
    options = options or NUTSOptions()
    flat = FlatTarget(target)
    key_init, key_run = jax.random.split(key)
    start, frame = _framed(flat, key_init, options, start)
    dense = frame is None and options.dense_mass_matrix is not False
    engine = _engine(
        target.model,
        flat.layout,
        options.n_warmup,
        dense,
        options.target_accept_rate,
        options.max_tree_depth,
    )
    points, matrix = _first_points(flat, key_init, options.num_chains, start, frame, dense)
    states = _first_states(engine, target, key_run, points, matrix, frame)

    def program(state: Any, n: int) -> tuple[Any, Any]:
        return engine.advance(state, n, frame, target.args, dict(target.kwargs))

    chains = Chains(states, progress)
    chains.compile(program)
    _warm_up(chains, program, options.n_warmup, dense)
    draws = draw_samples(chains, program, options)
    return InferenceResult(
        method="mcmc_nuts",
        samples=draws["samples"],
        sample_stats=draws["stats"],
        settings=asdict(options),
        wall_time_s=time.perf_counter() - begin,
        diagnostics={"n_evaluations": float(chains.n_evaluations)},
        notes=chains.notes,
    )


def _framed(
    flat: FlatTarget, key: Array, options: NUTSOptions, start: Start | None
) -> tuple[Start | None, Start | None]:
    """Return the start, and what whitens the coordinates if there are many."""
    if options.dense_mass_matrix is not None or flat.dimension <= _MAX_LEARNT:
        return start, None
    if start is None:
        start = start_at_mode(flat, jax.random.fold_in(key, 1))
    return start, Start(start.mean, start.factor)


def _first_points(
    flat: FlatTarget, key: Array, n: int, start: Start | None, frame: Start | None, dense: bool
) -> tuple[Any, Array | None]:
    """Return n points to start from, in the coordinates of the states, and a mass matrix."""
    if start is None:
        return dict(flat.target.initial(key, n)), None
    x = dispersed_points(flat, start, key, n)
    if frame is not None:
        return frame.whitened(x), None
    return flat.unflatten(x), start.covariance if dense else jnp.diagonal(start.covariance)


def _first_states(
    engine: _Engine,
    target: Target,
    key: Array,
    points: Any,
    matrix: Array | None,
    frame: Start | None,
) -> list[Any]:
    """Return the states of all groups of chains at their start points."""
    n = len(jax.tree.leaves(points)[0])
    keys, n_groups = jax.random.split(key, n), number_of_groups(n)
    size = n // n_groups
    groups = [slice(g * size, (g + 1) * size) for g in range(n_groups)]
    return [
        engine.init(
            jax.tree.map(lambda x, g=g: x[g], points),
            keys[g],
            matrix,
            frame,
            target.args,
            dict(target.kwargs),
        )
        for g in groups
    ]


def _warm_up(chains: Chains, program: Any, n: int, dense: bool) -> None:
    """Adapt in n iterations; all chains share the mass matrix of the last window that makes one."""
    *_, (start, end), _ = build_adaptation_schedule(n)
    chains.advance(program, "warmup", 0, start, n)
    window = chains.advance(program, "warmup", start, end + 1, n)
    _share_mass_matrix(chains, window["x"], dense)
    chains.advance(program, "warmup", end + 1, n, n)


def _share_mass_matrix(chains: Chains, z: Mapping[str, np.ndarray], dense: bool) -> None:
    """Give all chains the regularised covariance of their pooled draws z."""
    flat = [np.reshape(z[name], (-1, int(np.prod(z[name].shape[2:])))) for name in sorted(z)]
    inverse, root, root_inverse = _mass_matrix(np.concatenate(flat, axis=1), dense)
    for group, state in enumerate(chains.states):
        adapt = state.adapt_state
        adapt = adapt._replace(
            inverse_mass_matrix=_like(adapt.inverse_mass_matrix, inverse),
            mass_matrix_sqrt=_like(adapt.mass_matrix_sqrt, root),
            mass_matrix_sqrt_inv=_like(adapt.mass_matrix_sqrt_inv, root_inverse),
        )
        chains.states[group] = state._replace(adapt_state=adapt)


def _like(old: Array, new: np.ndarray) -> Array:
    """Return ``new`` for every chain, with the type of ``old``."""
    return jnp.asarray(np.broadcast_to(new, old.shape), dtype=old.dtype)


def _mass_matrix(draws: np.ndarray, dense: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the covariance, shrunk as in Stan, and the root of its inverse with that's inverse.

    The root L of the mass matrix M satisfies M = L L^T, in NumPyro's orientation.
    """
    n, shrinkage = len(draws), 1e-3
    covariance = np.cov(draws, rowvar=False).reshape(draws.shape[1], draws.shape[1])
    covariance = n / (n + 5.0) * covariance + shrinkage * 5.0 / (n + 5.0) * np.eye(len(covariance))
    if not dense:
        variance = np.diag(covariance)
        return variance, 1.0 / np.sqrt(variance), np.sqrt(variance)
    inverse_root = np.linalg.cholesky(covariance[::-1, ::-1])[::-1, ::-1].T
    return covariance, np.linalg.inv(inverse_root), inverse_root
