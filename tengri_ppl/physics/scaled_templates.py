"""Template files whose spectra a component scales to a luminosity of its own."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from tengri_ppl.errors import DataError, ParameterError
from tengri_ppl.physics.component import Component
from tengri_ppl.physics.templates import TemplateFile, TemplateGrid, grid_weights, load_templates

__all__ = ["check_path", "load_scalable", "unit_weights"]


def check_path(component: Component, path: str) -> None:
    """Ask for a file where none is given."""
    if not path:
        raise ParameterError(
            f"{component.kind}={component.name!r} needs a file: "
            f"{type(component).__name__}(path='...'), or {{ name = {component.name!r}, "
            "path = '...' } in a TOML file; `tengri-ppl data import` and save_templates() write "
            "such files"
        )


def load_scalable(path: str, kind: str) -> TemplateFile:
    """Read a template file.

    Raises
    ------
    DataError
        If the file has a problem, is meant for another kind of component, or holds absolute
        spectra.
    """
    file = load_templates(path)
    if file.kind != kind or file.normalisation == "absolute":
        raise DataError(
            f"{path} is of kind {file.kind!r} and normalisation {file.normalisation!r}; expected "
            f"the kind {kind!r}, 'unit' or 'relative'"
        )
    return file


def unit_weights(coordinates: Sequence[ArrayLike], templates: TemplateGrid) -> Array:
    """Weights with which the sum of the templates has a luminosity of 1 Lsun.

    Parameters
    ----------
    coordinates : sequence of scalar
        Where to interpolate, one value per axis.
    templates : TemplateGrid
        Templates of unit luminosity, with the luminosities in which they mix.

    Returns
    -------
    Array, shape (n_template,)
    """
    mixed = grid_weights(coordinates, templates.axes) * jnp.asarray(templates.luminosity)
    return mixed / jnp.sum(mixed)
