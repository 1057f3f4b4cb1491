"""Gaussian errors of band fluxes with a systematic floor, and the check of the fluxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jax.typing import ArrayLike

from tengri_ppl.errors import DataError, ParameterError
from tengri_ppl.physics.constants import MICROJANSKY_CGS

__all__ = ["GaussianNoise", "clean_photometry", "systematic_floor", "validate_fluxes"]

# No galaxy is this bright [erg/s/cm^2/Hz]: AB magnitude -23.6. Magnitudes, Jansky, microjansky and
# sentinels such as -99 all lie above it.
_BRIGHTEST_FLUX = 1e-10


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class GaussianNoise:
    """Independent Gaussian errors of band fluxes, with a systematic floor.

    The error of a band is ``sigma_eff = hypot(sigma, floor * |f_nu|)``. All fields are leaves of a
    pytree, so that a jitted function takes a noise model as an argument.

    Attributes
    ----------
    sigma : ArrayLike
        1-sigma errors (..., n_band) [erg/s/cm^2/Hz].
    floor : ArrayLike
        Systematic error as a fraction of the flux, scalar or (n_band,) [dimensionless].
    mask : ArrayLike or None
        True where a band is used (..., n_band); None uses all.
    """

    sigma: ArrayLike
    floor: ArrayLike = 0.0
    mask: ArrayLike | None = None

    @classmethod
    def from_floors(
        cls,
        sigma: ArrayLike,
        names: Sequence[str],
        optical: float = 0.05,
        irac: float = 0.10,
        mask: ArrayLike | None = None,
    ) -> GaussianNoise:
        """Add the systematic floors that are usual for broad bands.

        Parameters
        ----------
        sigma : ArrayLike
            1-sigma errors (..., n_band) [erg/s/cm^2/Hz].
        names : sequence of str
            Names of the bands (n_band,).
        optical, irac, mask
            Floors of `systematic_floor`, and the mask of `GaussianNoise`.

        Raises
        ------
        DataError
            If `sigma` does not have one column per band.
        ParameterError
            If a floor is not a fraction between 0 and 1.
        """
        if np.shape(sigma)[-1:] != (len(names),):
            raise DataError(f"sigma has shape {np.shape(sigma)}; expected (..., {len(names)})")
        return cls(sigma=sigma, floor=systematic_floor(names, optical, irac), mask=mask)

    def scale(self, flux: ArrayLike) -> jax.Array:
        """Return the total error at a flux, ``hypot(sigma, floor * |f_nu|)``.

        Computed in microjansky, for the squares of erg/s/cm^2/Hz vanish in 32-bit arithmetic.

        Parameters
        ----------
        flux : ArrayLike
            f_nu (..., n_band) [erg/s/cm^2/Hz], usually the model's.

        Returns
        -------
        jax.Array
            1-sigma errors (..., n_band) [erg/s/cm^2/Hz]. Masked bands count with sigma = 1
            microjansky whatever they hold, so that the result is finite.
        """
        statistical = self._filled(self.sigma, MICROJANSKY_CGS) / MICROJANSKY_CGS
        systematic = jnp.asarray(self.floor) * jnp.abs(jnp.asarray(flux) / MICROJANSKY_CGS)
        return jnp.hypot(statistical, systematic) * MICROJANSKY_CGS

    def resolved(self, flux: ArrayLike) -> GaussianNoise:
        """Return noise without a floor, whose sigma is the total error at the observed flux.

        Parameters
        ----------
        flux : ArrayLike
            Observed f_nu (..., n_band) [erg/s/cm^2/Hz]; masked bands may hold anything, NaN too.

        Returns
        -------
        GaussianNoise
            With sigma = 1 microjansky in masked bands, and the same mask.
        """
        total = self.scale(self._filled(flux, 0.0))
        return replace(self, sigma=self._filled(total, MICROJANSKY_CGS), floor=0.0)

    def _filled(self, values: ArrayLike, filler: float) -> jax.Array:
        """Put `filler` into the masked bands."""
        if self.mask is None:
            return jnp.asarray(values)
        return jnp.where(jnp.asarray(self.mask), jnp.asarray(values), filler)


def systematic_floor(names: Sequence[str], optical: float = 0.05, irac: float = 0.10) -> np.ndarray:
    """Return the usual systematic floors of bands, as fractions of the flux.

    They stand for zero points, aperture corrections and templates; broad-band studies of deep
    fields use 5 % in the optical and near infrared, 10 % for Spitzer/IRAC.

    Parameters
    ----------
    names : sequence of str
        Names of the bands (n_band,); IRAC bands are those with ``irac`` in their name.
    optical, irac : float
        Floors of all other bands and of the IRAC bands [dimensionless].

    Returns
    -------
    np.ndarray
        Floors (n_band,) [dimensionless].

    Raises
    ------
    ParameterError
        If a floor is not a fraction between 0 and 1.
    """
    for name, floor in (("optical", optical), ("irac", irac)):
        if not 0.0 <= floor < 1.0:
            raise ParameterError(
                f"the floor {name}={floor!r} is no fraction of the flux; 5 % is written 0.05"
            )
    return np.array([irac if "irac" in name.lower() else optical for name in names], dtype=float)


def clean_photometry(
    flux: npt.ArrayLike,
    error: npt.ArrayLike,
    names: Sequence[str],
    mask: npt.ArrayLike | None = None,
    floor: npt.ArrayLike = 0.0,
) -> tuple[np.ndarray, GaussianNoise]:
    """Check measured fluxes and make them safe to compute with.

    Parameters
    ----------
    flux, error : ArrayLike
        f_nu and its 1-sigma error (..., n_band) [erg/s/cm^2/Hz].
    names : sequence of str
        Names of the bands (n_band,).
    mask : ArrayLike, optional
        True where a band is used, broadcast to (..., n_band).
    floor : ArrayLike
        Systematic error as a fraction of the flux, scalar or (n_band,) [dimensionless].

    Returns
    -------
    flux : np.ndarray
        Fluxes (..., n_band) [erg/s/cm^2/Hz], zero in masked bands.
    noise : GaussianNoise
        Errors (..., n_band), 1 microjansky in masked bands; floor (n_band,); mask (..., n_band),
        present even where nothing is masked, so that all galaxies share one compiled program.

    Raises
    ------
    DataError
        As in `validate_fluxes`, or if a floor is negative or not finite.
    """
    validate_fluxes(flux, error, len(names), names, mask)
    values = np.asarray(flux, dtype=float)
    used = np.ones(values.shape, bool) if mask is None else np.asarray(mask, bool)
    used = np.broadcast_to(used, values.shape).copy()
    sigma = np.where(used, np.asarray(error, dtype=float), MICROJANSKY_CGS)
    floors = _band_floors(floor, len(names))
    return np.where(used, values, 0.0), GaussianNoise(sigma=sigma, floor=floors, mask=used)


def _band_floors(floor: npt.ArrayLike, n_band: int) -> np.ndarray:
    floors = np.asarray(floor, dtype=float)
    if floors.shape not in ((), (n_band,)):
        raise DataError(f"floor has shape {floors.shape}; expected a scalar or ({n_band},)")
    if not np.all(np.isfinite(floors) & (floors >= 0.0)):
        raise DataError(f"floor is {floor!r}; expected finite fractions that are not negative")
    return np.broadcast_to(floors, (n_band,)).copy()


def validate_fluxes(
    flux: npt.ArrayLike,
    error: npt.ArrayLike,
    n_band: int,
    names: Sequence[str] | None = None,
    mask: npt.ArrayLike | None = None,
) -> None:
    """Refuse fluxes and errors that cannot be fitted.

    Parameters
    ----------
    flux, error : ArrayLike
        f_nu and its 1-sigma error (..., n_band) [erg/s/cm^2/Hz]; `error` may be (n_band,) for all.
    n_band : int
        Number of bands expected.
    names : sequence of str, optional
        Names of the bands (n_band,), for the messages.
    mask : ArrayLike, optional
        True where a band is used, broadcast to (..., n_band); masked bands may hold anything.

    Raises
    ------
    DataError
        If shapes disagree, if a used band has a flux that is not finite, an error that is not
        positive and finite, or a number that is no flux in erg/s/cm^2/Hz, or if no band is used.
    """
    values, errors = np.asarray(flux, dtype=float), np.asarray(error, dtype=float)
    used = np.asarray(True if mask is None else mask)
    _check_shapes(values, errors, used, n_band, names)
    used = np.broadcast_to(used, values.shape)
    errors = np.broadcast_to(errors, values.shape)
    labels = [repr(name) for name in names] if names else [f"number {i}" for i in range(n_band)]

    empty = np.asarray(~used.any(axis=-1))
    if empty.any():
        where = "" if values.ndim == 1 else f" of galaxy {_first(empty)[0]}"
        raise DataError(f"every band{where} is masked; at least one has to be used")
    convert = "expected erg/s/cm^2/Hz: convert AB magnitudes with ab_flux and ab_flux_error"
    bright = np.abs(values) > _BRIGHTEST_FLUX
    positive = np.isfinite(errors) & (errors > 0.0)
    for bad, what, numbers, advice in (
        (~np.isfinite(values), "flux", values, "mask it: mask=np.isfinite(flux)"),
        (bright, "flux", values, f"{convert}, microjansky with 1e-29, mask missing bands"),
        (~positive, "error", errors, "expected an error > 0: mask the band if it is missing"),
        (errors > _BRIGHTEST_FLUX, "error", errors, f"{convert}, mask missing bands"),
    ):
        _refuse(used & bad, what, numbers, labels, advice)


def _check_shapes(
    values: np.ndarray,
    errors: np.ndarray,
    used: np.ndarray,
    n_band: int,
    names: Sequence[str] | None,
) -> None:
    if names is not None and len(names) != n_band:
        raise DataError(f"there are {len(names)} names for {n_band} bands")
    if values.shape[-1:] != (n_band,):
        raise DataError(f"flux has shape {values.shape}; expected (..., {n_band}), one per band")
    if errors.shape not in (values.shape, (n_band,)):
        raise DataError(f"error has shape {errors.shape}; expected the flux's {values.shape}")
    if used.dtype != bool:
        raise DataError(f"mask has type {used.dtype}; expected booleans, True where a band is used")
    if used.shape not in (values.shape, (n_band,), ()):
        raise DataError(f"mask has shape {used.shape}; expected the flux's {values.shape}")


def _refuse(
    bad: np.ndarray, what: str, values: np.ndarray, labels: Sequence[str], advice: str
) -> None:
    """Raise for the first band that is bad, and say how many there are."""
    if not bad.any():
        return
    *row, band = _first(bad)
    galaxy = f" of galaxy {', '.join(map(str, row))}" if row else ""
    others = f" (and {bad.sum() - 1} more)" if bad.sum() > 1 else ""
    value = values[(*row, band)]
    raise DataError(f"{what} of band {labels[band]}{galaxy} is {value:g}{others}; {advice}")


def _first(flags: np.ndarray) -> tuple[int, ...]:
    return tuple(int(i) for i in np.argwhere(flags)[0])
