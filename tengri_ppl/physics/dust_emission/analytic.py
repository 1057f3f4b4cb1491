"""Grey bodies, and a grey body with a power law in the mid-infrared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from tengri_ppl.physics.blackbody import (
    H_OVER_K,
    cmb_heated,
    grey_body,
    thick_energy,
    thick_grey_body,
    thick_shape,
)
from tengri_ppl.physics.component import Parameter, register
from tengri_ppl.physics.constants import C_ANGSTROM_PER_S
from tengri_ppl.physics.dust_emission.base import COVERAGE, DustEmission
from tengri_ppl.physics.emission import Galaxy

__all__ = ["Casey2012", "ModifiedBlackbody", "TwoTemperature", "casey2012"]

_MICRON = 1e4
_TEMPERATURE = Parameter("dust_temperature", "K", "temperature of the dust", (15.0, 80.0))
_BETA = Parameter("dust_beta_ir", "1", "slope of the dust's emissivity", (1.0, 2.5))
_LAMBDA_0 = Parameter(
    "dust_lambda_0_um", "micron", "wavelength at which the optical depth of the dust is one", 200.0
)
#: Nodes of the quadrature of the power law, and where it ends, in turnover wavelengths.
_N_POWER, _POWER_END = 64, 6.0


def _heated(
    temperature: ArrayLike, beta: ArrayLike, galaxy: Galaxy, cmb: bool
) -> tuple[ArrayLike, ArrayLike | None]:
    """Temperature and excess over the microwave background, where it counts."""
    return cmb_heated(temperature, beta, galaxy.redshift) if cmb else (temperature, None)


def _cited(key: str, cmb: bool) -> tuple[str, ...]:
    """Papers of a spectrum, and of the background where it counts."""
    return (key, "daCunha2013") if cmb else (key,)


@register("dust_emission", "modified_blackbody")
@dataclass(frozen=True)
class ModifiedBlackbody(DustEmission):
    r"""One grey body: :func:`~tengri_ppl.physics.blackbody.grey_body`.

    Parameters ``dust_temperature`` [K], ``dust_beta_ir``; with ``optically_thick`` also
    ``dust_lambda_0_um`` [micron].

    Attributes
    ----------
    optically_thick : bool
        Whether the emissivity is :math:`1 - e^{-(\lambda_0/\lambda)^\beta}` rather than
        :math:`\lambda^{-\beta}`.
    cmb : bool
        Whether the microwave background heats the dust and is subtracted from it (da Cunha et
        al. 2013); ``dust_temperature`` is then that at redshift 0.
    """

    optically_thick: bool = False
    cmb: bool = False

    @property
    def citations(self) -> tuple[str, ...]:
        """See :attr:`~tengri_ppl.physics.component.Component.citations`."""
        return _cited("Hildebrand1983", self.cmb)

    @property
    def shape_parameters(self) -> tuple[Parameter, ...]:
        """dust_temperature, dust_beta_ir, and dust_lambda_0_um if optically thick."""
        return (_TEMPERATURE, _BETA, *((_LAMBDA_0,) if self.optically_thick else ()))

    def smooth(self, wave: ArrayLike, params: Mapping[str, Any], galaxy: Galaxy) -> Array:
        """See :meth:`~tengri_ppl.physics.emission.Emission.smooth`."""
        beta = params["dust_beta_ir"]
        temperature, excess = _heated(params["dust_temperature"], beta, galaxy, self.cmb)
        if self.optically_thick:
            lambda_0 = params["dust_lambda_0_um"] * _MICRON
            shape = thick_grey_body(wave, temperature, beta, lambda_0, excess)
        else:
            shape = grey_body(wave, temperature, beta, excess)
        return self.luminosity(params, galaxy) * shape


@register("dust_emission", "two_temperature")
@dataclass(frozen=True)
class TwoTemperature(DustEmission):
    r"""Warm and cold dust in thermal equilibrium, after da Cunha et al. (2008, MNRAS 388, 1595).

    .. math:: L_\nu = L_{dust} [(1 - f_{cold})\, g_\nu(T_{warm}, \beta_{warm})
              + f_{cold}\, g_\nu(T_{cold}, \beta_{cold})]

    with optically thin grey bodies :math:`g_\nu` of unit luminosity. Slopes and ranges of
    temperature are those of the paper (1.5 and 30-60 K, 2 and 15-25 K). Its PAHs and hot
    mid-infrared continuum are not included, so light below about 20 micron is missing; the other
    two components share all of the luminosity.

    Attributes
    ----------
    cmb : bool
        As in :class:`ModifiedBlackbody`.
    """

    cmb: bool = False

    @property
    def citations(self) -> tuple[str, ...]:
        """See :attr:`~tengri_ppl.physics.component.Component.citations`."""
        return _cited("daCunha2008", self.cmb)

    @property
    def shape_parameters(self) -> tuple[Parameter, ...]:
        """dust_t_warm, dust_t_cold, dust_f_cold, dust_beta_warm, dust_beta_cold."""
        return (
            Parameter("dust_t_warm", "K", "temperature of the warm dust", (30.0, 60.0)),
            Parameter("dust_t_cold", "K", "temperature of the cold dust", (15.0, 25.0)),
            Parameter("dust_f_cold", "1", "share of the cold dust in the luminosity", (0.0, 1.0)),
            Parameter("dust_beta_warm", "1", "slope of the warm dust's emissivity", 1.5),
            Parameter("dust_beta_cold", "1", "slope of the cold dust's emissivity", 2.0),
        )

    def smooth(self, wave: ArrayLike, params: Mapping[str, Any], galaxy: Galaxy) -> Array:
        """See :meth:`~tengri_ppl.physics.emission.Emission.smooth`."""

        def body(which: str) -> Array:
            beta = params[f"dust_beta_{which}"]
            temperature, excess = _heated(params[f"dust_t_{which}"], beta, galaxy, self.cmb)
            return grey_body(wave, temperature, beta, excess)

        cold = params["dust_f_cold"]
        shape = (1.0 - cold) * body("warm") + cold * body("cold")
        return self.luminosity(params, galaxy) * shape


def casey2012(
    wave: ArrayLike,
    temperature: ArrayLike,
    beta: ArrayLike,
    alpha: ArrayLike,
    lambda_0: ArrayLike = 2e6,
    excess: ArrayLike | None = None,
) -> Array:
    r"""Grey body with a power law, luminosity one (Casey 2012, MNRAS 425, 3094, eq. 3, Table 1).

    .. math:: L_\nu \propto S(\lambda) + S(\lambda_c) (\lambda/\lambda_c)^\alpha
              e^{-(\lambda/\lambda_c)^2}, \quad
              S = \frac{1 - e^{-(\lambda_0/\lambda)^\beta}}{\lambda^3 (e^{hc/\lambda kT} - 1)}

    .. math:: \lambda_c = \tfrac{3}{4} \left[(26.68 + 6.246\, \alpha)^{-2}
              + (1.905\times10^{-4} + 7.243\times10^{-5}\, \alpha)\, T\right]^{-1} \mu m

    The paper does not say where the power law ends in the blue. Here it is cut off at 1 micron,
    because hotter dust would not survive; the luminosity is that from there on.

    Parameters
    ----------
    wave : array_like, shape (...,)
        Rest-frame wavelength [Angstrom], above 0.
    temperature : array_like
        Temperature of the grey body [K].
    beta : array_like
        Slope of the emissivity; the paper finds 1.6 +- 0.4.
    alpha : array_like
        Slope of the power law; the paper finds 2.0 +- 0.5.
    lambda_0 : array_like
        Wavelength at which the optical depth is one [Angstrom].
    excess : array_like, optional
        From :func:`~tengri_ppl.physics.blackbody.cmb_heated`: S is then net of the background.

    Returns
    -------
    Array, shape (...,)
        L_nu over the luminosity [1/Hz].
    """
    wave, temperature = jnp.asarray(wave), jnp.asarray(temperature)
    turnover = _turnover(temperature, alpha)
    joint = thick_shape(turnover, temperature, beta, lambda_0, excess)

    def power_law(wave: Array) -> Array:
        ratio = wave / turnover
        return joint * jnp.exp(alpha * jnp.log(ratio) - ratio**2)

    body = thick_shape(wave, temperature, beta, lambda_0, excess)
    shape = body + jnp.where(wave >= COVERAGE[0], power_law(wave), 0.0)
    nodes, weights = np.polynomial.legendre.leggauss(_N_POWER)
    half = 0.5 * jnp.log(_POWER_END * turnover / COVERAGE[0])
    points = COVERAGE[0] * jnp.exp(half * (1.0 + nodes))
    x = H_OVER_K * C_ANGSTROM_PER_S / (points * temperature)
    energy = thick_energy(temperature, beta, lambda_0, excess)
    energy += half * jnp.sum(weights * power_law(points) * x)
    return shape / energy * (H_OVER_K / temperature)


def _turnover(temperature: ArrayLike, alpha: ArrayLike) -> Array:
    """Wavelength at which the power law turns over [Angstrom]."""
    alpha = jnp.asarray(alpha)
    inverse = (26.68 + 6.246 * alpha) ** -2 + (1.905e-4 + 7.243e-5 * alpha) * temperature
    return 0.75 * _MICRON / inverse


@register("dust_emission", "casey2012")
@dataclass(frozen=True)
class Casey2012(DustEmission):
    """Grey body and mid-infrared power law; see :func:`casey2012`.

    Attributes
    ----------
    cmb : bool
        As in :class:`ModifiedBlackbody`.
    """

    breaks = (COVERAGE[0],)
    cmb: bool = False

    @property
    def citations(self) -> tuple[str, ...]:
        """See :attr:`~tengri_ppl.physics.component.Component.citations`."""
        return _cited("Casey2012", self.cmb)

    @property
    def shape_parameters(self) -> tuple[Parameter, ...]:
        """dust_temperature, dust_beta_ir, dust_alpha_mir, dust_lambda_0_um."""
        alpha = Parameter("dust_alpha_mir", "1", "slope of the mid-infrared power law", (1.0, 3.0))
        return (_TEMPERATURE, _BETA, alpha, _LAMBDA_0)

    def smooth(self, wave: ArrayLike, params: Mapping[str, Any], galaxy: Galaxy) -> Array:
        """See :meth:`~tengri_ppl.physics.emission.Emission.smooth`."""
        beta = params["dust_beta_ir"]
        temperature, excess = _heated(params["dust_temperature"], beta, galaxy, self.cmb)
        lambda_0 = params["dust_lambda_0_um"] * _MICRON
        shape = casey2012(wave, temperature, beta, params["dust_alpha_mir"], lambda_0, excess)
        return self.luminosity(params, galaxy) * shape
