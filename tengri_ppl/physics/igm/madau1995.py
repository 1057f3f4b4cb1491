"""Mean transmission of the intergalactic medium after Madau (1995, ApJ 441, 18)."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from tengri_ppl.physics.component import register
from tengri_ppl.physics.igm.base import IGM, lyman_grid

__all__ = ["Madau1995IGM", "MadauCoefficients", "load_madau1995", "madau1995_transmission"]

#: Lyman limit [Angstrom].
_LYMAN_LIMIT = 911.75
_LINE_POWER, _METAL_POWER = 3.46, 1.68
_METALS = 0.0017
# Lyman lines [Angstrom] and their coefficients. The paper has the first four, with two digits; the
# others, and the further digits, are those in use since, for example in FSPS (Conroy et al. 2009).
_SERIES = (
    (1215.67, 0.0036),
    (1025.72, 0.0017),
    (972.537, 0.0011846),
    (949.743, 0.0009410),
    (937.803, 0.0007960),
    (930.748, 0.0006967),
    (926.226, 0.0006236),
    (923.150, 0.0005665),
    (920.963, 0.0005200),
    (919.352, 0.0004817),
    (918.129, 0.0004487),
    (917.181, 0.0004200),
    (916.429, 0.0003947),
    (915.824, 0.0003720),
    (915.329, 0.0003520),
    (914.919, 0.0003334),
    (914.576, 0.00031644),
)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class MadauCoefficients:
    """The Lyman series of Madau (1995).

    Attributes
    ----------
    lambda_j : (17,) array
        Rest wavelengths, Lyman-alpha first [Angstrom].
    amplitude : (17,) array
        Coefficients of the effective optical depth.
    """

    lambda_j: ArrayLike
    amplitude: ArrayLike


def load_madau1995() -> MadauCoefficients:
    """Return the coefficients."""
    lambda_j, amplitude = np.array(_SERIES).T
    return MadauCoefficients(lambda_j=lambda_j, amplitude=amplitude)


def madau1995_transmission(
    wave_obs: ArrayLike, redshift: ArrayLike, coefficients: MadauCoefficients
) -> jax.Array:
    r"""Mean transmission of the intergalactic medium towards a source.

    .. math:: \tau = \sum_j A_j \left(\frac{\lambda}{\lambda_j}\right)^{3.46}
              + 0.0017 \left(\frac{\lambda}{\lambda_\alpha}\right)^{1.68} + \tau_{LC}

    (Madau 1995, eqs. 12, 13, 15), the sum over the lines with
    :math:`1 < \lambda / \lambda_j < 1 + z`, the metals blueward of Lyman-alpha; in the Lyman
    continuum, with :math:`x_c = \lambda / 911.75` and :math:`x_e = 1 + z`,

    .. math:: \tau_{LC} = 0.25\, x_c^3 (x_e^{0.46} - x_c^{0.46}) + 9.4\, x_c^{1.5} (x_e^{0.18} -
              x_c^{0.18}) - 0.7\, x_c^3 (x_c^{-1.32} - x_e^{-1.32}) - 0.023\, (x_e^{1.68} -
              x_c^{1.68})

    (footnote 3, which approximates eq. 16 to 5 %). Below an observed wavelength of 911.75 Angstrom
    the optical depth of the continuum is held at its value there. The transmission is 1 from
    Lyman-alpha of the source on.

    Parameters
    ----------
    wave_obs : (n,) array_like
        Observed wavelength [Angstrom], above 0.
    redshift : scalar
        Redshift of the source, at least 0.
    coefficients : MadauCoefficients
        From `load_madau1995`.

    Returns
    -------
    (n,) jax.Array
        Transmission between 0 and 1.
    """
    wave_obs = jnp.asarray(wave_obs)
    one_plus_z = 1.0 + jnp.asarray(redshift)
    lambda_j = jnp.asarray(coefficients.lambda_j)
    ratio = wave_obs[..., None] / lambda_j
    absorbed = (ratio > 1.0) & (wave_obs[..., None] < lambda_j * one_plus_z)
    lines = jnp.where(absorbed, coefficients.amplitude * ratio**_LINE_POWER, 0.0).sum(axis=-1)
    metals = jnp.where(absorbed[..., 0], _METALS * ratio[..., 0] ** _METAL_POWER, 0.0)
    return jnp.exp(-(lines + metals + _continuum_depth(wave_obs, one_plus_z)))


def _continuum_depth(wave_obs: jax.Array, one_plus_z: jax.Array) -> jax.Array:
    """Return the Lyman-continuum optical depth (footnote 3)."""
    ratio = wave_obs / _LYMAN_LIMIT
    absorbed = ratio < one_plus_z
    x = jnp.where(absorbed, jnp.maximum(ratio, 1.0), 1.0)
    depth = (
        0.25 * x**3 * (one_plus_z**0.46 - x**0.46)
        + 9.4 * x**1.5 * (one_plus_z**0.18 - x**0.18)
        - 0.7 * x**3 * (x**-1.32 - one_plus_z**-1.32)
        - 0.023 * (one_plus_z**1.68 - x**1.68)
    )
    return jnp.where(absorbed, depth, 0.0)


@register("igm", "madau1995")
@dataclass(frozen=True)
class Madau1995IGM(IGM):
    """Mean medium of Madau (1995); see :func:`madau1995_transmission`."""

    citations = ("Madau1995",)

    @property
    def rest_grid(self) -> np.ndarray:
        """See :attr:`IGM.rest_grid`."""
        return lyman_grid(self.load().lambda_j, _LYMAN_LIMIT)

    def load(self) -> MadauCoefficients:
        """See :meth:`IGM.load`."""
        return load_madau1995()

    def transmission(
        self, wave_obs: ArrayLike, redshift: ArrayLike, coefficients: MadauCoefficients
    ) -> jax.Array:
        """See :meth:`IGM.transmission`."""
        return madau1995_transmission(wave_obs, redshift, coefficients)
