"""Mean transmission of the intergalactic medium after Inoue et al. (2014, MNRAS 442, 1805)."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from tengri_ppl._resources import resource_path
from tengri_ppl.physics.component import register
from tengri_ppl.physics.igm.base import IGM, lyman_grid

__all__ = [
    "Inoue2014IGM",
    "InoueCoefficients",
    "inoue2014_transmission",
    "load_inoue2014",
]

#: Lyman limit [Angstrom].
_LYMAN_LIMIT = 911.8
#: Powers of (1 + z) in the absorber regimes, and where one regime ends and the next begins.
_LAF_POWERS, _LAF_BREAKS = (1.2, 3.7, 5.5), (2.2, 5.7)
_DLA_POWERS, _DLA_BREAKS = (2.0, 3.0), (3.0,)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class InoueCoefficients:
    """Table 2 of Inoue et al. (2014).

    Attributes
    ----------
    lambda_j : (39,) array
        Rest wavelengths of the Lyman series, Lyman-alpha first [Angstrom].
    laf : (39, 3) array
        Coefficients of the Lyman-alpha forest.
    dla : (39, 2) array
        Coefficients of the damped systems.
    """

    lambda_j: ArrayLike
    laf: ArrayLike
    dla: ArrayLike


def load_inoue2014() -> InoueCoefficients:
    """Read the coefficients that ship with the package."""
    # plain columns below the commented header: no need to import astropy, which takes 50 MB
    lines = resource_path("igm/inoue2014.ecsv").read_text().splitlines()
    table = np.genfromtxt([line for line in lines if not line.startswith("#")], names=True)

    def stack(*names: str) -> np.ndarray:
        return np.stack([table[name] for name in names], axis=1)

    return InoueCoefficients(
        lambda_j=stack("wavelength")[:, 0],
        laf=stack("laf_1", "laf_2", "laf_3"),
        dla=stack("dla_1", "dla_2"),
    )


def inoue2014_transmission(
    wave_obs: ArrayLike, redshift: ArrayLike, coefficients: InoueCoefficients
) -> jax.Array:
    """Mean transmission of the intergalactic medium towards a source.

    ``T = exp(-(tau_LS^LAF + tau_LS^DLA + tau_LC^LAF + tau_LC^DLA))``: equations 20 to 29 of the
    paper, that is the Lyman series and the Lyman continuum of the Lyman-alpha forest (LAF) and of
    the damped systems (DLA). The transmission is 1 from Lyman-alpha of the source on, so only
    wavelengths blueward of it need evaluating.

    The fits of the paper hold above an observed wavelength of 911.8 Angstrom; below, the optical
    depth of the continuum is held at its value there. Rounding of the published coefficients
    makes the sum of the optical depths negative by up to 0.001 in places; it is clipped at 0.

    Parameters
    ----------
    wave_obs : (n,) array_like
        Observed wavelength [Angstrom], above 0.
    redshift : scalar
        Redshift of the source, at least 0.
    coefficients : InoueCoefficients
        From `load_inoue2014`.

    Returns
    -------
    (n,) jax.Array
        Transmission between 0 and 1.
    """
    wave_obs = jnp.asarray(wave_obs)
    one_plus_z = 1.0 + jnp.asarray(redshift)
    lambda_j = coefficients.lambda_j
    depth = (
        _series_depth(wave_obs, one_plus_z, lambda_j, coefficients.laf, _LAF_POWERS, _LAF_BREAKS)
        + _series_depth(wave_obs, one_plus_z, lambda_j, coefficients.dla, _DLA_POWERS, _DLA_BREAKS)
        + _continuum_depth(wave_obs, one_plus_z)
    )
    return jnp.exp(-jnp.maximum(depth, 0.0))


def _series_depth(
    wave_obs: jax.Array,
    one_plus_z: jax.Array,
    lambda_j: ArrayLike,
    amplitudes: ArrayLike,
    powers: tuple[float, ...],
    breaks: tuple[float, ...],
) -> jax.Array:
    """Return the Lyman-series optical depth (eqs. 21, 22).

    The power law of each regime separates into a factor per wavelength and a factor per line.
    """
    lambda_j, amplitudes = jnp.asarray(lambda_j), jnp.asarray(amplitudes)
    ratio = wave_obs[..., None] / lambda_j
    absorbed = (ratio > 1.0) & (wave_obs[..., None] < lambda_j * one_plus_z)
    regime = sum((ratio >= edge).astype(int) for edge in breaks)
    reference = lambda_j[0]
    depth = jnp.zeros_like(ratio[..., 0])
    for k, power in enumerate(powers):
        line_factor = amplitudes[:, k] * (reference / lambda_j) ** power
        lines = jnp.where(absorbed & (regime == k), line_factor, 0.0).sum(axis=-1)
        depth += lines * (wave_obs / reference) ** power
    return depth


def _continuum_depth(wave_obs: jax.Array, one_plus_z: jax.Array) -> jax.Array:
    """Return the Lyman-continuum optical depth (eqs. 25 to 29)."""
    ratio = wave_obs / _LYMAN_LIMIT
    absorbed = ratio < one_plus_z
    x = jnp.where(absorbed, jnp.maximum(ratio, 1.0), 1.0)
    depth = _laf_continuum(x, one_plus_z) + _dla_continuum(x, one_plus_z)
    return jnp.where(absorbed, depth, 0.0)


def _laf_continuum(x: jax.Array, one_plus_z: jax.Array) -> jax.Array:
    """Return the forest's continuum depth (eqs. 25 to 27) at ``x = wave_obs / Lyman limit``."""
    x12, x21, x37, x55 = x**1.2, x**2.1, x**3.7, x**5.5
    low = 0.325 * (x12 - one_plus_z**-0.9 * x21)
    mid_source = 2.55e-2 * one_plus_z**1.6 * x21
    mid = jnp.where(
        x < 2.2,
        mid_source + 0.325 * x12 - 0.250 * x21,
        mid_source - 2.55e-2 * x37,
    )
    high_source = 5.22e-4 * one_plus_z**3.4 * x21
    high = jnp.where(
        x < 2.2,
        high_source + 0.325 * x12 - 3.14e-2 * x21,
        high_source + jnp.where(x < 5.7, 0.218 * x21 - 2.55e-2 * x37, -5.22e-4 * x55),
    )
    return jnp.where(one_plus_z < 2.2, low, jnp.where(one_plus_z < 5.7, mid, high))


def _dla_continuum(x: jax.Array, one_plus_z: jax.Array) -> jax.Array:
    """Return the damped systems' continuum depth (eqs. 28, 29), ``x`` as in the forest's."""
    x_inverse = x**-0.3
    low = 0.211 * one_plus_z**2 - 7.66e-2 * one_plus_z**2.3 * x_inverse - 0.135 * x**2
    source = 4.70e-2 * one_plus_z**3 - 1.78e-2 * one_plus_z**3.3 * x_inverse
    high = source + jnp.where(x < 3.0, 0.634 - 0.135 * x**2 - 0.291 * x_inverse, -2.92e-2 * x**3)
    return jnp.where(one_plus_z < 3.0, low, high)


@register("igm", "inoue2014")
@dataclass(frozen=True)
class Inoue2014IGM(IGM):
    """Mean medium of Inoue et al. (2014); see :func:`inoue2014_transmission`."""

    citations = ("Inoue2014",)

    @property
    def rest_grid(self) -> np.ndarray:
        """See :attr:`IGM.rest_grid`."""
        return lyman_grid(self.load().lambda_j, _LYMAN_LIMIT)

    def load(self) -> InoueCoefficients:
        """See :meth:`IGM.load`."""
        return load_inoue2014()

    def transmission(
        self, wave_obs: ArrayLike, redshift: ArrayLike, coefficients: InoueCoefficients
    ) -> jax.Array:
        """See :meth:`IGM.transmission`."""
        return inoue2014_transmission(wave_obs, redshift, coefficients)
