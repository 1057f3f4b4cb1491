"""The No-U-Turn sampler of NumPyro, for all chains at once and with data as traced arguments.

NumPyro's ``MCMC`` driver closes over the data when it initialises, so a second data set is
compiled anew. Here NumPyro's NUTS kernel runs in a driver of ours: blocks of iterations in one
compiled program, whose arguments are the data and the number of iterations.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpyro.infer.hmc import hmc
from numpyro.infer.hmc_util import build_adaptation_schedule

from tengri_ppl.errors import ParameterError
from tengri_ppl.inference.convergence import chains_converged
from tengri_ppl.inference.result import InferenceResult
from tengri_ppl.inference.target import Model, Target, potential, site_values

__all__ = ["NUTSOptions", "run_nuts"]

#: Called with (phase, iterations done, iterations in total, divergences so far).
Progress = Callable[[str, int, int, int], None]

_BLOCK = 50
_WARMUP_TREE_DEPTH = 6
_FIRST_ROUND = 500
_ROUND = 250


@dataclass(frozen=True)
class NUTSOptions:
    """Options of :func:`run_nuts`.

    Attributes
    ----------
    n_warmup : int
        Adaptation steps per chain.
    n_samples : int, optional
        Draws per chain. Without it, chains run until they have converged
        (:func:`~tengri_ppl.inference.convergence.chains_converged` on all coordinates and all
        scalar deterministic sites), at least 500 and at most ``max_samples`` draws.
    max_samples : int
        See ``n_samples``.
    num_chains : int
        Chains, run together.
    dense_mass_matrix : bool
        Adapt a full covariance instead of variances.
    target_accept_rate : float
        Acceptance that the step size is adapted to.
    max_tree_depth : int
        At most 2**max_tree_depth gradient evaluations per draw, and at most 64 while the mass
        matrix is being found.
    """

    n_warmup: int = 400
    n_samples: int | None = None
    max_samples: int = 8000
    num_chains: int = 4
    dense_mass_matrix: bool = True
    target_accept_rate: float = 0.95
    max_tree_depth: int = 8

    def __post_init__(self) -> None:
        """Check ranges."""
        for name in ("n_samples", "max_samples", "num_chains", "max_tree_depth"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ParameterError(f"{name}={value}: expected at least 1")
        if self.n_warmup < 20:
            raise ParameterError(f"n_warmup={self.n_warmup}: expected at least 20 to adapt")
        if not 0.0 < self.target_accept_rate < 1.0:
            raise ParameterError(
                f"target_accept_rate={self.target_accept_rate}: expected between 0 and 1"
            )


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
            return {"samples": values, "stats": _statistics(state), "z": state.z}

        def body(i: Array, carry: tuple[Any, Any]) -> tuple[Any, Any]:
            state, buffer = carry
            state = step(state)
            row = record(state)
            return state, jax.tree.map(lambda b, r: b.at[i].set(r), buffer, row)

        shapes = jax.eval_shape(record, state)
        buffer = jax.tree.map(lambda s: jnp.zeros((_BLOCK, *s.shape), s.dtype), shapes)
        return jax.lax.fori_loop(0, n, body, (state, buffer))

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
    init: Mapping[str, Array] | None = None,
    covariance: np.ndarray | None = None,
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
    init : mapping, optional
        Start points z with a leading axis of length ``num_chains``; by default dispersed ones
        (:meth:`Target.initial`).
    covariance : ndarray, shape (D, D), optional
        Estimate of the covariance of all coordinates, in the order of the sorted sites, from
        which the mass matrix starts.
    progress : callable, optional
        Called after every block of iterations.
    """
    start = time.perf_counter()
    options = options or NUTSOptions()
    key_init, key_run = jax.random.split(key)
    z = target.initial(key_init, options.num_chains) if init is None else dict(init)
    engine = _engine(
        target.model,
        options.n_warmup,
        options.dense_mass_matrix,
        options.target_accept_rate,
        options.max_tree_depth,
    )
    keys = jax.random.split(key_run, options.num_chains)
    matrix = None
    if covariance is not None:
        known = covariance if options.dense_mass_matrix else np.diag(covariance)
        matrix = jnp.asarray(known, dtype=float)
    with _Chains(engine, target, z, keys, matrix, progress) as chains:
        *_, (window_start, window_end), _ = build_adaptation_schedule(options.n_warmup)
        chains.advance("warmup", 0, window_start, options.n_warmup)
        window = chains.advance("warmup", window_start, window_end + 1, options.n_warmup)
        chains.share_mass_matrix(window["z"], options.dense_mass_matrix)
        chains.advance("warmup", window_end + 1, options.n_warmup, options.n_warmup)
        draws = _sample(chains, options)
    return InferenceResult(
        method="mcmc_nuts",
        samples=draws["samples"],
        sample_stats=draws["stats"],
        settings=asdict(options),
        wall_time_s=time.perf_counter() - start,
    )


def _sample(chains: _Chains, options: NUTSOptions) -> dict[str, Any]:
    """Draw the number of samples asked for, or until the chains have converged."""
    if options.n_samples is not None:
        return chains.advance("sample", 0, options.n_samples, options.n_samples)
    done = min(_FIRST_ROUND, options.max_samples)
    draws = chains.advance("sample", 0, done, done)
    while done < options.max_samples and not chains_converged(_monitored(draws)):
        stop = min(done + _ROUND, options.max_samples)
        more = chains.advance("sample", done, stop, stop)
        draws = jax.tree.map(lambda a, b: np.concatenate([a, b], axis=1), draws, more)
        done = stop
    return draws


def _monitored(draws: dict[str, Any]) -> dict[str, np.ndarray]:
    """Return the coordinates and the scalar sites."""
    scalars = {name: value for name, value in draws["samples"].items() if value.ndim == 2}
    return {**draws["z"], **scalars}


class _Chains:
    """Chains in groups, one thread a group, advanced together block by block.

    On a CPU, chains that are batched into one program wait for the longest trajectory among them
    and use one core; a program per core does neither.
    """

    def __init__(
        self,
        engine: _Engine,
        target: Target,
        z: Mapping[str, Array],
        keys: Array,
        covariance: Any,
        progress: Progress | None,
    ) -> None:
        self._engine, self._progress = engine, progress
        self._args, self._kwargs = target.args, dict(target.kwargs)
        n_groups = _n_groups(len(keys))
        size = len(keys) // n_groups
        self._pool = ThreadPoolExecutor(n_groups)
        groups = [slice(g * size, (g + 1) * size) for g in range(n_groups)]
        self._states = [
            engine.init(
                jax.tree.map(lambda x, g=g: x[g], dict(z)), keys[g], covariance, *self._model_args
            )
            for g in groups
        ]
        # Zero iterations: compiles here, once, what all threads would compile at the same time.
        engine.advance(self._states[0], 0, *self._model_args)

    @property
    def _model_args(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return self._args, self._kwargs

    def __enter__(self) -> _Chains:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()

    def advance(self, phase: str, start: int, stop: int, total: int) -> dict[str, Any]:
        """Run the iterations from ``start`` to ``stop``; return their records, (chain, draw)."""
        blocks, diverged = [], 0
        for done in range(start, stop, _BLOCK):
            n = min(_BLOCK, stop - done)
            parts = list(self._pool.map(partial(self._advance_group, n), range(len(self._states))))
            blocks.append(jax.tree.map(lambda *x: np.concatenate(x, axis=1), *parts))
            diverged += int(blocks[-1]["stats"]["diverging"].sum())
            if self._progress is not None:
                self._progress(phase, done + n, total, diverged)
        return jax.tree.map(lambda *x: np.swapaxes(np.concatenate(x), 0, 1), *blocks)

    def _advance_group(self, n: int, group: int) -> Any:
        """Advance one group by a block; return its records, (iteration, chain)."""
        self._states[group], buffer = self._engine.advance(
            self._states[group], n, *self._model_args
        )
        return jax.tree.map(lambda b: np.asarray(b)[:n], buffer)

    def share_mass_matrix(self, z: Mapping[str, np.ndarray], dense: bool) -> None:
        """Give all chains the regularised covariance of their pooled draws z."""
        flat = [np.reshape(z[name], (-1, int(np.prod(z[name].shape[2:])))) for name in sorted(z)]
        inverse, root, root_inverse = _mass_matrix(np.concatenate(flat, axis=1), dense)
        for group, state in enumerate(self._states):
            adapt = state.adapt_state
            adapt = adapt._replace(
                inverse_mass_matrix=_like(adapt.inverse_mass_matrix, inverse),
                mass_matrix_sqrt=_like(adapt.mass_matrix_sqrt, root),
                mass_matrix_sqrt_inv=_like(adapt.mass_matrix_sqrt_inv, root_inverse),
            )
            self._states[group] = state._replace(adapt_state=adapt)


def _like(old: Array, new: np.ndarray) -> Array:
    """Return ``new`` for every chain, with the type of ``old``."""
    return jnp.asarray(np.broadcast_to(new, old.shape), dtype=old.dtype)


def _n_groups(num_chains: int) -> int:
    """Return the number of groups of equal size that keeps the cores busy."""
    if jax.default_backend() != "cpu":
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(n for n in range(1, min(cores or 1, num_chains) + 1) if num_chains % n == 0)


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
