"""The No-U-Turn sampler of NumPyro, for all chains at once and with data as traced arguments.

NumPyro's ``MCMC`` driver closes over the data when it initialises, so a second data set is
compiled anew. Here NumPyro's NUTS kernel runs in a driver of ours: blocks of iterations in one
compiled program, whose arguments are the data and the number of iterations.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpyro.infer.hmc import hmc
from numpyro.infer.hmc_util import build_adaptation_schedule

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
from tengri_ppl.inference.start import Start, dispersed_points
from tengri_ppl.inference.target import Model, Target, potential, site_values

__all__ = ["NUTSOptions", "run_nuts"]

_WARMUP_TREE_DEPTH = 6


@dataclass(frozen=True)
class NUTSOptions(ChainOptions):
    """Options of :func:`run_nuts`, beside those of :class:`~.chains.ChainOptions`.

    Attributes
    ----------
    dense_mass_matrix : bool
        Adapt a full covariance instead of variances.
    target_accept_rate : float
        Acceptance that the step size is adapted to.
    max_tree_depth : int
        At most 2**max_tree_depth gradient evaluations per draw, and at most 64 while the mass
        matrix is being found.
    """

    dense_mass_matrix: bool = True
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
    model: Model, n_warmup: int, dense: bool, target_accept: float, max_tree_depth: int
) -> _Engine:
    """Build the engine; programs are compiled when they first meet the shapes of the data."""

    def potential_gen(*args: Any, **kwargs: Any) -> Callable[[Mapping[str, Array]], Array]:
        return lambda z: potential(model, args, kwargs, z)

    init_kernel, sample_kernel = hmc(potential_fn_gen=potential_gen, algo="NUTS")

    def init(
        z: Any,
        keys: Array,
        covariance: Array | None,
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
                model_args=args,
                model_kwargs=kwargs,
                rng_key=key,
            )

        return jax.vmap(one)(z, keys)

    def advance(
        state: Any, n: Array, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Any, Any]:
        def step(state: Any) -> Any:
            return jax.vmap(lambda s: sample_kernel(s, args, kwargs))(state)

        def record(state: Any) -> dict[str, Any]:
            values = jax.vmap(lambda z: site_values(model, args, kwargs, z))(state.z)
            return {"samples": values, "stats": _statistics(state), "x": state.z}

        return run_block(step, record, state, n)

    return _Engine(jax.jit(init), jax.jit(advance))


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
        (:meth:`Target.initial`) and find the mass matrix themselves.
    progress : callable, optional
        Called after every block of iterations.
    """
    begin = time.perf_counter()
    options = options or NUTSOptions()
    key_init, key_run = jax.random.split(key)
    engine = _engine(
        target.model,
        options.n_warmup,
        options.dense_mass_matrix,
        options.target_accept_rate,
        options.max_tree_depth,
    )
    states = _first_states(engine, target, key_init, key_run, options, start)

    def program(state: Any, n: int) -> tuple[Any, Any]:
        return engine.advance(state, n, target.args, dict(target.kwargs))

    chains = Chains(states, progress)
    chains.compile(program)
    *_, (window_start, window_end), _ = build_adaptation_schedule(options.n_warmup)
    chains.advance(program, "warmup", 0, window_start, options.n_warmup)
    window = chains.advance(program, "warmup", window_start, window_end + 1, options.n_warmup)
    _share_mass_matrix(chains, window["x"], options.dense_mass_matrix)
    chains.advance(program, "warmup", window_end + 1, options.n_warmup, options.n_warmup)
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


def _first_states(
    engine: _Engine,
    target: Target,
    key_init: Array,
    key_run: Array,
    options: NUTSOptions,
    start: Start | None,
) -> list[Any]:
    """Return the states of all groups of chains at their start points."""
    n = options.num_chains
    if start is None:
        z, matrix = target.initial(key_init, n), None
    else:
        flat = FlatTarget(target)
        z = flat.unflatten(dispersed_points(flat, start, key_init, n))
        matrix = start.covariance
        matrix = matrix if options.dense_mass_matrix else jnp.diagonal(matrix)
    keys, n_groups = jax.random.split(key_run, n), number_of_groups(n)
    size = n // n_groups
    groups = [slice(g * size, (g + 1) * size) for g in range(n_groups)]
    return [
        engine.init(
            jax.tree.map(lambda x, g=g: x[g], dict(z)),
            keys[g],
            matrix,
            target.args,
            dict(target.kwargs),
        )
        for g in groups
    ]


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
