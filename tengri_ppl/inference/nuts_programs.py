"""NumPyro's kernel of the No-U-Turn sampler as compiled programs, with data as traced arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from numpyro.infer.hmc import hmc

from tengri_ppl.distributions.layout import Layout, join, split
from tengri_ppl.inference.chains import run_block
from tengri_ppl.inference.flat import flat_log_density
from tengri_ppl.inference.leaps import leap
from tengri_ppl.inference.mixture import StudentTMixture
from tengri_ppl.inference.start import Start
from tengri_ppl.inference.target import Model, potential, site_values
from tengri_ppl.runtime.compiled import Compiled

__all__ = ["NUTSChain", "NUTSPrograms", "nuts_programs"]

#: Trajectories are no longer than this while the mass matrix is being found.
_WARMUP_TREE_DEPTH = 6


class NUTSChain(NamedTuple):
    """State of NumPyro's kernel, and whether the chain leapt before its last trajectory."""

    hmc: Any
    leapt: Array


@dataclass(frozen=True)
class NUTSPrograms:
    """Compiled functions for one model and one set of static options."""

    init: Callable[..., Any]
    advance: Callable[..., Any]


@lru_cache(maxsize=32)
def nuts_programs(
    model: Model,
    layout: Layout,
    n_warmup: int,
    dense: bool,
    target_accept: float,
    max_tree_depth: int,
    n_leaps: int,
) -> NUTSPrograms:
    """Build the functions; they are compiled when they first meet the shapes of the data.

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
        def one(z: Any, key: Array) -> NUTSChain:
            hmc_state = init_kernel(
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
            return NUTSChain(hmc_state, jnp.zeros((), bool))

        return jax.vmap(one)(z, keys)

    def advance(
        chains: NUTSChain,
        n: Array,
        frame: Start | None,
        proposal: StudentTMixture | None,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> tuple[Any, Any]:
        def one(chain: NUTSChain) -> NUTSChain:
            if proposal is not None:
                chain = _leapt(chain, model, layout, proposal, n_leaps, args, kwargs)
            return chain._replace(hmc=sample_kernel(chain.hmc, (frame, *args), kwargs))

        def record(chains: NUTSChain) -> dict[str, Any]:
            z = chains.hmc.z
            x = jax.vmap(partial(sites, frame))(z)
            values = jax.vmap(lambda x: site_values(model, args, kwargs, x))(x)
            stats = _statistics(chains.hmc)
            if proposal is not None:
                stats["leapt"] = chains.leapt
            return {"samples": values, "stats": stats, "x": z if frame is None else {"": z}}

        return run_block(jax.vmap(one), record, chains, n)

    return NUTSPrograms(Compiled(init), Compiled(advance))


def _leapt(
    chain: NUTSChain,
    model: Model,
    layout: Layout,
    proposal: StudentTMixture,
    n: int,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> NUTSChain:
    """Let a chain, whose state is sites in unconstrained coordinates, leap."""
    hmc = chain.hmc
    key, key_leap = jax.random.split(hmc.rng_key)
    x, leapt = leap(
        key_leap,
        join(layout, hmc.z),
        -hmc.potential_energy,
        lambda points: flat_log_density(model, layout, points, args, kwargs),
        proposal,
        n,
    )
    z = split(layout, x)
    energy, gradient = jax.value_and_grad(lambda z: potential(model, args, kwargs, z))(z)
    return NUTSChain(
        hmc._replace(z=z, potential_energy=energy, z_grad=gradient, rng_key=key), leapt
    )


def _statistics(state: Any) -> dict[str, Array]:
    return {
        "lp": -state.potential_energy,
        "energy": state.energy,
        "diverging": state.diverging,
        "acceptance_rate": state.accept_prob,
        "n_steps": state.num_steps,
        "step_size": state.adapt_state.step_size,
    }
