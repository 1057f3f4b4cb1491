"""Simple stellar populations: the data structure, and its reader with the checks it needs."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from tengri_ppl._resources import resource_path
from tengri_ppl.errors import DataError
from tengri_ppl.physics.component import split_citations
from tengri_ppl.physics.constants import LSUN_FSPS_ERG_S
from tengri_ppl.physics.hdf5 import check_axis, check_values, read_dataset, read_text

__all__ = ["DEFAULT_SSP", "SSPData", "load_ssp_data"]

#: The grid that ships with the package.
DEFAULT_SSP = "ssp/bc03_miles.h5"
#: Solar metallicity of files that do not say theirs (FSPS with MIST isochrones, as DSPS uses it).
_DEFAULT_ZSUN = 0.0142
_AXES = ("ssp_lgmet", "ssp_lg_age_gyr", "ssp_wave")
_REQUIRED = (*_AXES, "ssp_flux")


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class SSPData:
    """A grid of simple stellar populations in metallicity, age and wavelength.

    The arrays are leaves of the pytree, the rest is static.

    Attributes
    ----------
    ssp_flux : (n_met, n_age, n_wave) array
        Luminosity per mass formed [Lsun/Hz/Msun].
    ssp_lg_age_gyr : (n_age,) array
        log10 of the age [Gyr]; the first may be ``-inf`` (age 0).
    ssp_lgmet : (n_met,) array
        log10 of the metal mass fraction Z.
    ssp_wave : (n_wave,) array
        Wavelength [Angstrom].
    ssp_mass_remaining : (n_met, n_age) array, or None
        Surviving stellar mass per mass formed, where the file has it.
    name : str
        Name of the library.
    imf : str
        Initial mass function, ``"unknown"`` if the file does not say.
    lsun_erg_s : float
        Solar luminosity that the flux is in [erg/s].
    zsun : float
        Solar metal mass fraction of the library.
    has_nebular : bool
        Whether the flux has nebular emission in it already.
    sha256 : str
        Checksum of the file.
    citations : tuple of str
        Papers to cite, as the file says.
    """

    ssp_flux: ArrayLike
    ssp_lg_age_gyr: ArrayLike
    ssp_lgmet: ArrayLike
    ssp_wave: ArrayLike
    ssp_mass_remaining: ArrayLike | None
    name: str = field(metadata={"static": True})
    imf: str = field(metadata={"static": True})
    lsun_erg_s: float = field(metadata={"static": True})
    zsun: float = field(metadata={"static": True})
    has_nebular: bool = field(metadata={"static": True})
    sha256: str = field(metadata={"static": True})
    citations: tuple[str, ...] = field(default=(), metadata={"static": True})

    @property
    def provenance(self) -> dict[str, str]:
        """Name, IMF, checksum and papers, as ``ssp_name``, ``ssp_imf``, ..., for attributes."""
        return {
            "ssp_name": self.name,
            "ssp_imf": self.imf,
            "ssp_sha256": self.sha256,
            "ssp_citations": "; ".join(self.citations),
        }


def load_ssp_data(path: str | Path | None = None) -> SSPData:
    """Read simple stellar populations from an HDF5 file in the layout of DSPS.

    The file holds ``ssp_lgmet``, ``ssp_lg_age_gyr``, ``ssp_wave`` and ``ssp_flux`` as described in
    `SSPData`, optionally ``ssp_mass_remaining``, and optionally the attributes ``name``, ``imf``,
    ``lsun_erg_s``, ``zsun``, ``has_nebular`` and ``citations``
    (papers, separated by semicolons).

    Files made for DSPS (Hearin et al. 2023) have no attributes. They come from FSPS, so the
    defaults are FSPS's solar luminosity, 3.839e33 erg/s, and the solar metallicity of its MIST
    isochrones, 0.0142; ``wNE`` in the file name says that nebular emission is in the flux.

    Parameters
    ----------
    path : str or Path, optional
        The file; without it, the BC03-MILES grid that ships with the package.

    Returns
    -------
    SSPData
        The axes are NumPy arrays in float64, the flux is a JAX array in the precision of the file
        (at most JAX's default), so that all models share it. A file that has not changed is read
        only once.

    Raises
    ------
    DataError
        If the file is missing or is not HDF5, or if a dataset is missing or has the wrong shape,
        unit or order, or values that are not finite or are negative.
    """
    path = resource_path(DEFAULT_SSP) if path is None else Path(path).expanduser()
    stamp = path.stat().st_mtime_ns if path.is_file() else 0
    return _load(path, stamp, bool(jax.config.read("jax_enable_x64")))


@lru_cache(maxsize=4)
def _load(path: Path, stamp: int, x64: bool) -> SSPData:
    """Read and check a file; the stamp and the precision tell when to read it again."""
    digest = _checked_digest(path)
    try:
        with h5py.File(path, "r") as file:
            arrays = {name: read_dataset(file, name, path) for name in _REQUIRED}
            has_mass = "ssp_mass_remaining" in file
            mass = read_dataset(file, "ssp_mass_remaining", path) if has_mass else None
            attributes = dict(file.attrs)
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error}); is it complete?") from error
    lgmet, lg_age, wave = (arrays[name].astype(np.float64) for name in _AXES)
    flux = arrays["ssp_flux"]
    _check_wave(wave, path)
    _check_age(lg_age, path)
    _check_metallicity(lgmet, path)
    _check_flux(flux, (len(lgmet), len(lg_age), len(wave)), path)
    if mass is not None:
        _check_mass(mass, flux.shape[:2], path)
    return SSPData(
        ssp_flux=jnp.asarray(flux),
        ssp_lg_age_gyr=lg_age,
        ssp_lgmet=lgmet,
        ssp_wave=wave,
        ssp_mass_remaining=mass,
        name=read_text(attributes.get("name", path.stem)),
        imf=read_text(attributes.get("imf", "unknown")),
        lsun_erg_s=_positive(attributes, "lsun_erg_s", LSUN_FSPS_ERG_S, path),
        zsun=_positive(attributes, "zsun", _DEFAULT_ZSUN, path),
        has_nebular=bool(attributes.get("has_nebular", "wne" in path.stem.lower())),
        sha256=digest,
        citations=split_citations(read_text(attributes.get("citations", ""))),
    )


def _checked_digest(path: Path) -> str:
    """Return the file's sha256; refuse what is not an HDF5 file."""
    if not path.is_file():
        raise DataError(
            f"the SSP file {str(path)!r} does not exist; give the path of an HDF5 file in the "
            "layout of DSPS, or no path for the grid that ships with tengri_ppl"
        )
    if not h5py.is_hdf5(path):
        raise DataError(
            f"{path} is not an HDF5 file; SSPs are read from HDF5 files in the layout of DSPS "
            f"with the datasets {', '.join(_REQUIRED)}"
        )
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _refuse_unit(name: str, values: np.ndarray, path: Path, expected: str, looks: str) -> None:
    """Raise for an axis whose range does not fit its unit."""
    raise DataError(
        f"{name!r} in {path} runs from {values[0]:g} to {values[-1]:g}; {expected} is expected, "
        f"this looks like {looks}"
    )


def _check_wave(wave: np.ndarray, path: Path) -> None:
    """Check the wavelengths; a stellar grid in Angstrom reaches into the near infrared."""
    check_axis("ssp_wave", wave, path)
    expected = "Angstrom"
    if wave[0] <= 0.0:
        _refuse_unit("ssp_wave", wave, path, expected, "a logarithm or an index")
    if wave[-1] < 10.0 or (wave[0] < 0.3 and wave[-1] < 2e4):
        _refuse_unit("ssp_wave", wave, path, expected, "micron (multiply by 1e4)")
    if wave[-1] < 3000.0:
        _refuse_unit("ssp_wave", wave, path, expected, "nm (multiply by 10)")


def _check_age(lg_age: np.ndarray, path: Path) -> None:
    """Check the ages; the first may be log10(0)."""
    first = 1 if lg_age.ndim == 1 and len(lg_age) > 2 and lg_age[0] == -np.inf else 0
    check_axis("ssp_lg_age_gyr", lg_age[first:] if first else lg_age, path)
    expected = "log10(age/Gyr)"
    if lg_age[-1] > 3.0:
        is_log_year = lg_age[first] > 3.0 and lg_age[-1] < 12.0
        looks = "log10(age/yr) (subtract 9)" if is_log_year else "a linear age"
        _refuse_unit("ssp_lg_age_gyr", lg_age, path, expected, looks)
    if lg_age[first] >= 0.0:
        _refuse_unit("ssp_lg_age_gyr", lg_age, path, expected, "a linear age, or log10(age/Myr)")


def _check_metallicity(lgmet: np.ndarray, path: Path) -> None:
    """Check the metallicities; no star has Z above 0.3."""
    check_axis("ssp_lgmet", lgmet, path)
    expected = "log10(Z), the absolute metal mass fraction,"
    if np.all(lgmet > 0.0):
        _refuse_unit("ssp_lgmet", lgmet, path, expected, "Z or Z/Zsun (take the logarithm)")
    if lgmet[-1] > -0.5:
        looks = "log10(Z/Zsun) (add log10(Zsun))"
        _refuse_unit("ssp_lgmet", lgmet, path, expected, looks)


def _check_flux(flux: np.ndarray, shape: tuple[int, int, int], path: Path) -> None:
    """Check the flux; per Angstrom or in erg/s its peak would be far above 1e-6."""
    if flux.shape != shape:
        raise DataError(
            f"'ssp_flux' in {path} has the shape {flux.shape}; the axes "
            f"(ssp_lgmet, ssp_lg_age_gyr, ssp_wave) have {shape}"
        )
    check_values("ssp_flux", flux, path)
    peak = float(flux.max())
    if peak == 0.0:
        raise DataError(f"'ssp_flux' in {path} is zero everywhere")
    if peak > 1e-6:
        looks = "a luminosity in erg/s (divide by Lsun)" if peak > 1e15 else "a flux per Angstrom"
        raise DataError(
            f"'ssp_flux' in {path} reaches {peak:.3g}; Lsun/Hz per Msun formed is expected, which "
            f"stays far below 1e-6 for any population of stars: this looks like {looks}"
        )


def _check_mass(mass: np.ndarray, shape: tuple[int, ...], path: Path) -> None:
    """Check the surviving mass fractions."""
    if mass.shape != shape:
        raise DataError(
            f"'ssp_mass_remaining' in {path} has the shape {mass.shape}; the axes "
            f"(ssp_lgmet, ssp_lg_age_gyr) have {shape}"
        )
    check_values("ssp_mass_remaining", mass, path)
    if mass.max() > 1.001:
        raise DataError(
            f"'ssp_mass_remaining' in {path} reaches {mass.max():g}; a fraction of the mass formed "
            "is expected, at most 1"
        )


def _positive(attributes: dict[str, Any], name: str, default: float, path: Path) -> float:
    """Return an attribute that has to be a positive number."""
    value = np.asarray(attributes.get(name, default))
    if value.ndim == 0 and value.dtype.kind in "fiu" and np.isfinite(value) and value > 0:
        return float(value)
    raise DataError(f"the attribute {name!r} of {path} is {value}; a positive number is expected")
