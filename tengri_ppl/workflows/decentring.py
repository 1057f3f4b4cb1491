"""Where fits of populations in decentred coordinates start."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import Array

from tengri_ppl.distributions.layout import length
from tengri_ppl.inference.flat import FlatTarget
from tengri_ppl.inference.run import start_from_samples
from tengri_ppl.inference.start import Start, start_at_mode
from tengri_ppl.inference.target import Target
from tengri_ppl.results.posterior import Posterior

__all__ = ["decentred_start"]


def decentred_start(target: Target, shared: Target, key: Array, init: Posterior | None) -> Start:
    """Approximate the posterior of a population in decentred coordinates.

    Galaxies are standard normals in them, and what they share comes from an approximation of its
    own: few coordinates, and no SED model to evaluate.

    Parameters
    ----------
    target : Target
        The posterior, of :func:`~tengri_ppl.models.decentred.decentred_population_model`.
    shared : Target
        Approximate posterior of what galaxies share, of
        :func:`~tengri_ppl.models.decentred.collapsed_model`.
    key : Array
        Random key.
    init : Posterior, optional
        Draws of what galaxies share, to use in place of the mode of ``shared``.
    """
    flat, collapsed = FlatTarget(target), FlatTarget(shared)
    found = (
        start_at_mode(collapsed, key)
        if init is None
        else start_from_samples(collapsed, init.start_values)
    )
    shared_names = {name for name, _ in collapsed.layout}
    is_shared = [np.full(length((entry,)), entry[0] in shared_names) for entry in flat.layout]
    index = np.flatnonzero(np.concatenate(is_shared))
    mean = jnp.zeros(flat.dimension).at[index].set(found.mean)
    factor = jnp.eye(flat.dimension).at[np.ix_(index, index)].set(found.factor)
    return Start(mean, factor)
