"""Read the TOML file of one galaxy."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tengri_ppl.cli.choices import CHOICES, make_choices
from tengri_ppl.cli.priors import make_prior
from tengri_ppl.errors import DataError, ParameterError, suggest
from tengri_ppl.models.parameters import Parameters
from tengri_ppl.models.sed import SEDModel
from tengri_ppl.observation.noise import GaussianNoise
from tengri_ppl.observation.observation import Observation
from tengri_ppl.observation.photometry import Photometry, ab_flux, ab_flux_error
from tengri_ppl.physics.constants import MICROJANSKY_CGS
from tengri_ppl.physics.ssp import SSPData, load_ssp_data

__all__ = ["GalaxyConfig", "read_galaxy"]

_SED_OPTIONS = ("h0", "om0", "age_scheme", "tolerance")
_SECTIONS = {
    "galaxy": {
        "name",
        "redshift",
        "bands",
        "magnitudes",
        "fluxes",
        "flux_unit",
        "errors",
        "mask",
    },
    "noise": {"floor"},
    "model": {*CHOICES, "ssp", *_SED_OPTIONS},
    "priors": None,
    "sampler": None,
}
_UNITS = {"microjansky": MICROJANSKY_CGS, "cgs": 1.0}


@dataclass(frozen=True)
class GalaxyConfig:
    """What the file says, in the package's units.

    Attributes
    ----------
    name : str
        Name of the galaxy.
    flux : ndarray, shape (n_band,)
        Observed fluxes [erg/s/cm^2/Hz].
    noise : GaussianNoise
        Errors with their floor.
    mask : ndarray of bool, shape (n_band,)
        True for the bands to use.
    sampler : mapping
        Method and its options.
    """

    name: str
    flux: np.ndarray
    noise: GaussianNoise
    mask: np.ndarray
    sampler: Mapping[str, Any]
    _bands: tuple[str, ...]
    _model: Mapping[str, Any]
    _priors: Mapping[str, Any]
    _folder: Path

    def parameters(self) -> Parameters:
        """Return components, priors and fixed values."""
        options = ("ssp", *_SED_OPTIONS)
        choices = {key: value for key, value in self._model.items() if key not in options}
        return Parameters(**make_choices(choices, self._folder), **self._priors)

    def ssp(self) -> SSPData:
        """Return the SSP grid."""
        path = self._model.get("ssp")
        return load_ssp_data(None if path is None else self._folder / Path(path).expanduser())

    def build(self) -> SEDModel:
        """Build the forward model."""
        options = {name: self._model[name] for name in _SED_OPTIONS if name in self._model}
        observation = Observation(photometry=Photometry.from_names(self._bands))
        return SEDModel(self.parameters(), self.ssp(), observation, **options)


def read_galaxy(path: Path) -> GalaxyConfig:
    """Read a galaxy file.

    Raises
    ------
    DataError
        If the file can't be read, or its data are missing or contradictory.
    ParameterError
        If a section, a key or a prior is not known.
    """
    document = _load(path)
    _check_keys(document, path)
    galaxy = _section(document, "galaxy")
    for key in ("redshift", "bands", "errors"):
        if key not in galaxy:
            raise DataError(f"{path}: [galaxy] lacks {key!r}")
    bands = tuple(galaxy["bands"])
    flux, error = _fluxes(galaxy, len(bands), path)
    floors = _floors(_section(document, "noise").get("floor", 0.0), bands)
    priors = {n: make_prior(n, v) for n, v in _section(document, "priors").items()}
    if "redshift" in priors:
        raise ParameterError(f"{path}: give redshift in [galaxy], as a number or a prior")
    return GalaxyConfig(
        name=str(galaxy.get("name", path.stem)),
        flux=flux,
        noise=GaussianNoise(sigma=error, floor=floors),
        mask=np.asarray(galaxy.get("mask", np.isfinite(flux) & np.isfinite(error)), dtype=bool),
        sampler=_section(document, "sampler"),
        _bands=bands,
        _model=_section(document, "model"),
        _priors={**priors, "redshift": make_prior("redshift", galaxy["redshift"])},
        _folder=path.parent,
    )


def _load(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as stream:
            return tomllib.load(stream)
    except OSError as error:
        raise DataError(
            f"{path}: can't be read ({error.strerror}); expected a TOML file as in examples/"
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"{path} is not valid TOML: {error}") from None


def _check_keys(document: Mapping[str, Any], path: Path) -> None:
    """Refuse sections and keys that would be ignored."""
    for section, content in document.items():
        if section not in _SECTIONS:
            raise ParameterError(
                f"{path}: section [{section}] is unknown{suggest(section, _SECTIONS)} "
                f"(sections: {', '.join(_SECTIONS)})"
            )
        known = _SECTIONS[section]
        if not isinstance(content, Mapping):
            raise ParameterError(f"{path}: {section!r} has to be a section, [{section}]")
        for key in content:
            if known is not None and key not in known:
                raise ParameterError(
                    f"{path}: [{section}] has no key {key!r}{suggest(key, known)} "
                    f"(keys: {', '.join(sorted(known))})"
                )


def _section(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    return dict(document.get(name, {}))


def _fluxes(galaxy: Mapping[str, Any], n_band: int, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return fluxes and errors [erg/s/cm^2/Hz]."""
    given = [key for key in ("magnitudes", "fluxes") if key in galaxy]
    if len(given) != 1:
        raise DataError(f"{path}: [galaxy] needs exactly one of 'magnitudes' and 'fluxes'")
    values, errors = (_numbers(galaxy, key, n_band, path) for key in (given[0], "errors"))
    if given == ["magnitudes"]:
        flux = np.asarray(ab_flux(values), dtype=float)
        return flux, np.asarray(ab_flux_error(values, errors), dtype=float)
    unit = galaxy.get("flux_unit")
    if unit not in _UNITS:
        raise DataError(
            f"{path}: flux_unit is {unit!r}; expected one of {', '.join(map(repr, _UNITS))}"
        )
    return values * _UNITS[unit], errors * _UNITS[unit]


def _numbers(galaxy: Mapping[str, Any], key: str, n_band: int, path: Path) -> np.ndarray:
    try:
        values = np.asarray(galaxy[key], dtype=float)
    except (TypeError, ValueError):
        raise DataError(f"{path}: {key} has to be a list of numbers (nan where missing)") from None
    if values.shape != (n_band,):
        raise DataError(
            f"{path}: {n_band} bands, but {values.size} {key}; one per band is expected"
        )
    return values


def _floors(floor: Any, bands: tuple[str, ...]) -> np.ndarray:
    """Return the systematic floor of each band: a number, or by part of the band's name."""
    if not isinstance(floor, Mapping):
        floor = {"default": floor}
    floors = np.full(len(bands), float(floor.get("default", 0.0)))
    for part, value in floor.items():
        matches = [part.lower() in band.lower() for band in bands]
        if part != "default" and not any(matches):
            raise ParameterError(f"[noise] floor: no band's name contains {part!r}")
        floors[matches] = value if part != "default" else floors[matches]
    return floors
