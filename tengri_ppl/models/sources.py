"""What shines, as arrays, and its integrals against functions of wavelength."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from tengri_ppl.models.light_table import LightTable
from tengri_ppl.models.smooth_table import SmoothLight
from tengri_ppl.physics.emission import Templates
from tengri_ppl.physics.nebular import NebularData

__all__ = ["IONISING_EDGE", "Sources", "integrate"]

#: Starlight below this wavelength ionises gas [Angstrom].
IONISING_EDGE = 912.0


class Sources(NamedTuple):
    """Everything that shines.

    Attributes
    ----------
    wave : ndarray, shape (n_wave,)
        Wavelengths of the SSPs [Angstrom].
    stars : ndarray, shape (n_age, n_met, n_wave)
        L_nu of the SSPs [Lsun/Hz per Msun].
    n_young : int
        Number of ages at which stars can be young.
    nebular : NebularData, optional
        Nebular models.
    templates : tuple of Templates or None
        Templates of each component that adds light.
    smooth : tuple of SmoothLight or None
        Where each of these components has a smooth spectrum.
    """

    wave: np.ndarray
    stars: np.ndarray
    n_young: int = 0
    nebular: NebularData | None = None
    templates: tuple[Templates | None, ...] = ()
    smooth: tuple[SmoothLight | None, ...] = ()


def integrate(sources: Sources, at: list[np.ndarray], rules: list[np.ndarray]) -> LightTable:
    """Integrate all spectra against functions that are given at points of wavelength.

    Parameters
    ----------
    sources : Sources
        What shines.
    at : list of ndarray, each of shape (n_q,)
        Rest-frame wavelengths of the points of each band [Angstrom], increasing.
    rules : list of ndarray, each of shape (K, n_q)
        Weights of the points in each of a band's K integrals, which add up to the whole band.

    Returns
    -------
    LightTable
        Without lines and smooth spectra.
    """
    stars = _project_all(sources.wave, sources.stars, at, rules)
    table = LightTable(
        stars=stars,
        young=stars[: sources.n_young].copy(),
        templates=tuple(_templates(t, at, rules) for t in sources.templates),
    )
    if sources.nebular is None:
        return table
    blue = [r * (x < IONISING_EDGE) for x, r in zip(at, rules, strict=True)]
    young = sources.stars[: sources.n_young]
    gas, gas_wave = np.asarray(sources.nebular.continuum), np.asarray(sources.nebular.wave)
    return replace(
        table,
        ionising=_project_all(sources.wave, young, at, blue),
        nebular=_project_all(gas_wave, gas.reshape(-1, gas_wave.size), at, rules),
    )


def _templates(
    templates: Templates | None, at: list[np.ndarray], rules: list[np.ndarray]
) -> np.ndarray | None:
    """Integrals of templates over whole bands, (n_template, n_band)."""
    if templates is None:
        return None
    whole = [rule.sum(axis=0, keepdims=True) for rule in rules]
    return _project_all(np.asarray(templates.wave), np.asarray(templates.spectra), at, whole)


def _project_all(
    wave: np.ndarray, flux: np.ndarray, at: list[np.ndarray], rules: list[np.ndarray]
) -> np.ndarray:
    """Integrals of spectra (..., n_wave) in all bands, (..., n_band * K)."""
    pairs = zip(at, rules, strict=True)
    return np.concatenate([_project(wave, flux, x, rule) for x, rule in pairs], axis=-1)


def _project(wave: np.ndarray, flux: np.ndarray, at: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Sum ``weights`` (K, n_q) times the spectra interpolated linearly ``at`` (n_q,), 0 outside."""
    inside = (at >= wave[0]) & (at <= wave[-1])
    if not inside.any():
        return np.zeros((*flux.shape[:-1], len(weights)), dtype=flux.dtype)
    at, weights = at[inside], weights[:, inside]
    upper = np.clip(np.searchsorted(wave, at), 1, wave.size - 1)
    first, last = upper.min() - 1, upper.max() + 1
    share = (at - wave[upper - 1]) / (wave[upper] - wave[upper - 1])
    index = upper - 1 - first
    size = last - first
    matrix = np.stack(
        [
            np.bincount(index, w * (1.0 - share), size) + np.bincount(index + 1, w * share, size)
            for w in weights
        ],
        axis=1,
    )
    return np.tensordot(flux[..., first:last], matrix.astype(flux.dtype), axes=1)
