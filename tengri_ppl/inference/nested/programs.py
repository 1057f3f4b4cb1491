"""The two programs of a run, lowered without running them."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp

from tengri_ppl.inference.flat import FlatTarget
from tengri_ppl.inference.nested.kernel import first_state
from tengri_ppl.inference.nested.loop import advance
from tengri_ppl.inference.nested.run import NSSOptions, settings_of, shares
from tengri_ppl.runtime.compilation import compiled_bytes

__all__ = ["lower_first_points", "lower_steps", "program_bytes"]


def lower_first_points(flat: FlatTarget, options: NSSOptions) -> jax.stages.Lowered:
    """Lower the program that evaluates the first live points."""
    x = jax.ShapeDtypeStruct((options.num_live, flat.dimension), jnp.result_type(float))
    static = (flat.target.model, flat.layout, *shares(options.num_live, options.chunk_size))
    return first_state.lower(*static, x, *flat.arguments)


def lower_steps(flat: FlatTarget, options: NSSOptions) -> jax.stages.Lowered:
    """Lower the program that takes a block of steps."""
    key = jax.eval_shape(lambda: jax.random.key(0))
    number = jax.ShapeDtypeStruct((), jnp.result_type(int))
    share = jax.ShapeDtypeStruct((), jnp.result_type(float))
    return advance.lower(
        *(flat.target.model, flat.layout, settings_of(options, flat.dimension)),
        *(lower_first_points(flat, options).out_info, key, number, share, *flat.arguments),
    )


def program_bytes(flat: FlatTarget, options: NSSOptions, chunk_size: int) -> int:
    """Count what the larger of the two needs [bytes]."""
    chunked = replace(options, chunk_size=chunk_size)
    return max(compiled_bytes(lower(flat, chunked)) for lower in (lower_first_points, lower_steps))
