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

from tengri_ppl.errors import ParameterError
from tengri_ppl.inference.result import InferenceResult
from tengri_ppl.inference.target import Model, Target, potential, site_values

__all__ = ["NUTSOptions", "run_nuts"]

#: Called with (phase, iterations done, iterations in total, divergences so far).
Progress = Callable[[str, int, int, int], None]

_BLOCK = 50


@dataclass(frozen=True)
class NUTSOptions:
    """Options of :func:`run_nuts`.

    Attributes
    ----------
    n_warmup, n_samples : int
        Adaptation steps and draws per chain.
    num_chains : int
        Chains, run together.
    dense_mass_matrix : bool
        Adapt a full covariance instead of variances.
    target_accept_rate : float
        Acceptance that the step size is adapted to.
    max_tree_depth : int
        At most 2**max_tree_depth gradient evaluations per draw.
    """

    n_warmup: int = 500
    n_samples: int = 500
    num_chains: int = 4
    dense_mass_matrix: bool = True
    target_accept_rate: float = 0.85
    max_tree_depth: int = 8

    def __post_init__(self) -> None:
        """Check ranges."""
        for name in ("n_samples", "num_chains", "max_tree_depth"):
            if getattr(self, name) < 1:
                raise ParameterError(f"{name}={getattr(self, name)}: expected at least 1")
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

    def init(z: Any, keys: Array, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        def one(z: Any, key: Array) -> Any:
            return init_kernel(
                z,
                num_warmup=n_warmup,
                step_size=0.1,
                dense_mass=dense,
                target_accept_prob=target_accept,
                max_tree_depth=max_tree_depth,
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
            return {"samples": values, "stats": _statistics(state)}

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
    options: NUTSOptions = NUTSOptions(),
    *,
    init: Mapping[str, Array] | None = None,
    progress: Progress | None = None,
) -> InferenceResult:
    """Sample a target with NUTS (Hoffman & Gelman 2014, JMLR 15, 1593).

    Parameters
    ----------
    target : Target
        Posterior to sample.
    key : Array
        Random key.
    options : NUTSOptions
        See there.
    init : mapping, optional
        Start points z with a leading axis of length ``num_chains``; by default dispersed ones
        (:meth:`Target.initial`).
    progress : callable, optional
        Called after every block of iterations.
    """
    start = time.perf_counter()
    key_init, key_run = jax.random.split(key)
    z = target.initial(key_init, options.num_chains) if init is None else dict(init)
    engine = _engine(
        target.model,
        options.n_warmup,
        options.dense_mass_matrix,
        options.target_accept_rate,
        options.max_tree_depth,
    )
    args, kwargs = target.args, dict(target.kwargs)
    state = engine.init(z, jax.random.split(key_run, options.num_chains), args, kwargs)
    state, _ = _advance(engine, state, options.n_warmup, "warmup", args, kwargs, progress)
    state, rows = _advance(engine, state, options.n_samples, "sample", args, kwargs, progress)
    draws = jax.tree.map(lambda *blocks: np.swapaxes(np.concatenate(blocks), 0, 1), *rows)
    return InferenceResult(
        method="mcmc_nuts",
        samples=draws["samples"],
        sample_stats=draws["stats"],
        settings=asdict(options),
        wall_time_s=time.perf_counter() - start,
    )


def _advance(
    engine: _Engine,
    state: Any,
    total: int,
    phase: str,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    progress: Progress | None,
) -> tuple[Any, list[Any]]:
    """Run ``total`` iterations in blocks; return the state and the blocks, (iteration, chain)."""
    rows, done, diverged = [], 0, 0
    while done < total:
        n = min(_BLOCK, total - done)
        state, buffer = engine.advance(state, n, args, kwargs)
        block = jax.tree.map(lambda b, n=n: np.asarray(b)[:n], buffer)
        rows.append(block)
        done += n
        diverged += int(block["stats"]["diverging"].sum())
        if progress is not None:
            progress(phase, done, total, diverged)
    return state, rows
