"""Data of many galaxies: read from what users have, checked, and filled up to a size."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from tengri_ppl.errors import DataError
from tengri_ppl.models.sed import SEDModel
from tengri_ppl.observation.noise import validate_fluxes
from tengri_ppl.physics.constants import MICROJANSKY_CGS

__all__ = ["GalaxyData", "check_columns", "read_galaxies"]

#: Entries of a galaxy that are no columns.
_PHOTOMETRY = ("flux_obs", "noise", "mask", "id")
_SPECTROSCOPY = ("spec_obs", "spec_noise", "wave_spec")


@dataclass(frozen=True)
class GalaxyData:
    """What is known of galaxies.

    Attributes
    ----------
    ids : list
        Their labels.
    flux, sigma : ndarray, shape (n_galaxy, n_band)
        Fluxes and errors [erg/s/cm^2/Hz], with values that do no harm where bands are missing.
    mask : ndarray of bool, shape (n_galaxy, n_band)
        True for bands to use.
    columns : dict of str to Array, shape (n_galaxy,)
        All else.
    """

    ids: list[Any]
    flux: np.ndarray
    sigma: np.ndarray
    mask: np.ndarray
    columns: dict[str, Array]

    def padded(self, n: int) -> GalaxyData:
        """Append n galaxies without data, which have no labels."""
        columns = {name: _filled(x, n, x[0]) for name, x in self.columns.items()}
        return GalaxyData(
            self.ids,
            _filled(self.flux, n, 0.0),
            _filled(self.sigma, n, MICROJANSKY_CGS),
            _filled(self.mask, n, False),
            {name: jnp.asarray(x) for name, x in columns.items()},
        )


def read_galaxies(galaxies: Sequence[Mapping[str, Any]], model: SEDModel) -> GalaxyData:
    """Read and check data of galaxies; see :class:`tengri_ppl.PopulationFitter`.

    Parameters
    ----------
    galaxies : sequence of mapping
        The data.
    model : SEDModel
        With all bands that occur.

    Raises
    ------
    DataError
        If the data of a galaxy are not usable; it names the galaxy.
    """
    ids = _labels(galaxies)
    columns = _columns(galaxies, ids)
    rows = [_photometry(galaxy, x, model) for galaxy, x in zip(galaxies, ids, strict=True)]
    flux, sigma, mask = (np.stack(row) for row in zip(*rows, strict=True))
    return GalaxyData(ids, flux, sigma, mask, columns)


def check_columns(data: GalaxyData, model: SEDModel) -> None:
    """Refuse values that are not finite, or outside of what the model is made for.

    Raises
    ------
    DataError
        If there is one; it names the galaxy.
    """
    for name, values in data.columns.items():
        prior = model.spec.priors.get(name)
        good = np.isfinite(values)
        if prior is not None:
            good &= np.asarray(prior.support(values))
        if not good.all():
            i = int(np.argmin(good))
            wanted = "a finite number" if prior is None else f"a value in the support of {prior}"
            raise DataError(f"galaxy {data.ids[i]}: {name} is {values[i]:g}; expected {wanted}")


def _labels(galaxies: Sequence[Mapping[str, Any]]) -> list[Any]:
    if not len(galaxies):
        raise DataError("there are no galaxies; a population needs at least one")
    labels = [galaxy.get("id", i) for i, galaxy in enumerate(galaxies)]
    doubled = sorted(str(x) for x, n in Counter(labels).items() if n > 1)
    if doubled:
        raise DataError(f"ids have to be unique; several galaxies are called {doubled[0]}")
    return labels


def _photometry(
    galaxy: Mapping[str, Any], label: Any, model: SEDModel
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Check flux, error and mask of a galaxy; each (n_band,)."""
    for name in _SPECTROSCOPY:
        if galaxy.get(name) is not None:
            raise DataError(f"galaxy {label}: {name} is not supported, only photometry is")
    for name in ("flux_obs", "noise"):
        if name not in galaxy:
            raise DataError(f"galaxy {label} has no {name!r}; expected fluxes and their errors")
    flux, sigma = np.asarray(galaxy["flux_obs"], float), np.asarray(galaxy["noise"], float)
    mask = np.asarray(galaxy.get("mask", np.ones(np.shape(flux), bool)))
    same = flux.shape == mask.shape == (model.n_band,)
    undetected = same and mask.dtype == bool and not mask.any()
    if not undetected:
        try:
            validate_fluxes(flux, sigma, model.n_band, model.bands, mask)
        except DataError as error:
            raise DataError(f"galaxy {label}: {error}") from error
    return np.where(mask, flux, 0.0), np.where(mask, sigma, MICROJANSKY_CGS), mask


def _columns(galaxies: Sequence[Mapping[str, Any]], ids: Sequence[Any]) -> dict[str, Array]:
    """Collect what is known of the galaxies beside their photometry."""
    names = dict.fromkeys(name for galaxy in galaxies for name in galaxy)
    columns = {}
    for name in names:
        if name in _PHOTOMETRY or name in _SPECTROSCOPY:
            continue
        values = []
        for galaxy, label in zip(galaxies, ids, strict=True):
            try:
                values.append(float(galaxy[name]))
            except (KeyError, TypeError, ValueError):
                raise DataError(
                    f"galaxy {label}: {name} is {galaxy.get(name)!r}; expected a number for every "
                    "galaxy"
                ) from None
        columns[name] = jnp.asarray(values)
    return columns


def _filled(values: Any, n: int, filler: Any) -> np.ndarray:
    """Append n galaxies."""
    values = np.asarray(values)
    rows = np.full((n, *values.shape[1:]), filler, dtype=values.dtype)
    return np.concatenate([values, rows])
