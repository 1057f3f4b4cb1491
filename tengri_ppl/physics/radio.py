r"""Radio emission of galaxies: synchrotron and free-free emission, and the core of an AGN."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from tengri_ppl.physics.agn import AGN
from tengri_ppl.physics.component import Parameter, register
from tengri_ppl.physics.constants import C_ANGSTROM_PER_S, LSUN_ERG_S
from tengri_ppl.physics.emission import Emission, Galaxy

__all__ = ["FIRRadio", "Radio", "free_free", "q_infrared"]

#: Frequency that turns the infrared luminosity into one per Hz in the definition of q [Hz].
_Q_FREQUENCY = 3.75e12
#: Star formation rate per infrared luminosity [Msun/yr/Lsun] (Murphy et al. 2011, eq. 4).
_SFR_PER_L_IR = 3.88e-44 * LSUN_ERG_S
#: Free-free emission per star formation rate at 1 GHz and 10^4 K [Lsun/Hz/(Msun/yr)].
_FREE_FREE = 1.0 / (4.6e-28 * LSUN_ERG_S)
_CORE_GHZ, _FIR_GHZ = 5.0, 1.4


def q_infrared(redshift: ArrayLike, q: ArrayLike = 2.88, evolution: ArrayLike = -0.19) -> Array:
    r"""Ratio of infrared to radio luminosity.

    .. math:: q_{IR} = \log_{10} \frac{L_{IR} / 3.75 \times 10^{12}\,\mathrm{Hz}}{L_{1.4 GHz}}
              = q\, (1+z)^{\gamma}

    The defaults are those of Delhaize et al. (2017, A&A 602, A4) for star-forming galaxies with
    L_IR from 8 to 1000 micron, out to redshift 6.

    Parameters
    ----------
    redshift : array_like
        Redshift.
    q : array_like
        Value at redshift 0.
    evolution : array_like
        Exponent gamma.
    """
    return jnp.asarray(q) * jnp.exp(evolution * jnp.log1p(redshift))


def free_free(wave: ArrayLike, sfr: ArrayLike) -> Array:
    r"""Thermal radio emission (Murphy et al. 2011, ApJ 737, 67, eq. 11) at 10^4 K.

    .. math:: L_\nu = \frac{SFR}{4.6 \times 10^{-28}}
              \left(\frac{\nu}{\mathrm{GHz}}\right)^{-0.1}
              \mathrm{erg\,s^{-1}\,Hz^{-1}}

    Optically thin, for the Kroupa initial mass function and about 1-100 GHz.

    Parameters
    ----------
    wave : array_like, shape (...,)
        Rest-frame wavelength [Angstrom].
    sfr : array_like
        Star formation rate [Msun/yr]; strictly that of the last 10 Myr.

    Returns
    -------
    Array, shape (...,)
        L_nu [Lsun/Hz].
    """
    return _FREE_FREE * jnp.asarray(sfr) * _power_law(wave, 1.0, 0.1)


def _power_law(wave: ArrayLike, at_ghz: float, slope: ArrayLike) -> Array:
    """Return (nu / at_ghz)^-slope."""
    pivot = C_ANGSTROM_PER_S / (at_ghz * 1e9)
    return jnp.exp(slope * jnp.log(jnp.asarray(wave) / pivot))


@dataclass(frozen=True)
class Radio(Emission):
    """Radio emission, from 100 micron on.

    Attributes
    ----------
    agn : AGN, optional
        The nucleus of the model, which then has a radio core.
    """

    kind = "radio"
    coverage: ClassVar[tuple[float, float]] = (1e6, float("inf"))
    #: Rest-frame wavelengths [Angstrom] at which the light is not smooth.
    breaks: ClassVar[tuple[float, ...]] = (1e6,)
    agn: AGN | None = None


@register("radio", "fir_correlation")
@dataclass(frozen=True)
class FIRRadio(Radio):
    r"""Radio emission by the infrared-radio correlation, and the core of an AGN.

    .. math:: L_\nu = L_{1.4} (1 - f_{th}) \left(\frac{\nu}{1.4}\right)^{-\alpha}
              + L^{ff}_\nu(SFR)
              + R\, L_{2500} \left(\frac{\nu}{5}\right)^{-\alpha_c}

    with frequencies in GHz. L_1.4 follows from the luminosity that the dust absorbs and
    :func:`q_infrared`. The correlation is that of all radio emission, so the thermal share
    :math:`f_{th}` at 1.4 GHz is taken off: what :func:`free_free` gives for the star formation
    rate of the same infrared luminosity (Murphy et al. 2011, ApJ 737, 67, eq. 4). The
    free-free emission itself follows the star formation rate of the galaxy. The core is as bright
    as the disc, before any dust, and the radio loudness
    :math:`R = L_{5 GHz} / L_{2500 A}` ask for (Yang et al. 2022, ApJ 927, 192).

    For the correlation of Magnelli et al. (2015, A&A 573, A45), of the luminosity from 42 to 122
    micron, set ``radio_q_ir`` = 2.35 and ``radio_q_evolution`` = -0.12; here the whole absorbed
    luminosity counts, about twice as much.
    """

    @property
    def citations(self) -> tuple[str, ...]:
        """See :attr:`~tengri_ppl.physics.component.Component.citations`."""
        return ("Delhaize2017", "Murphy2011", *(("Yang2022",) if self.agn is not None else ()))

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """radio_q_ir, radio_q_evolution, radio_slope, and with a nucleus radio_agn_*."""
        own = (
            Parameter("radio_q_ir", "dex", "infrared-radio ratio q at redshift 0", 2.88),
            Parameter("radio_q_evolution", "1", "exponent of (1+z) in q", -0.19),
            Parameter("radio_slope", "1", "synchrotron L_nu falls as nu to minus this", 0.8),
        )
        core = (
            Parameter(
                "radio_agn_loudness", "dex", "log10 of L_nu at 5 GHz over 2500 A", (-1.0, 4.0)
            ),
            Parameter("radio_agn_slope", "1", "core L_nu falls as nu to minus this", 0.7),
        )
        return own if self.agn is None else (*own, *core)

    def smooth(self, wave: ArrayLike, params: Mapping[str, Any], galaxy: Galaxy) -> Array:
        """See :meth:`Emission.smooth`."""
        wave = jnp.asarray(wave)
        inside = wave >= self.coverage[0]
        safe = jnp.where(inside, wave, self.coverage[0])
        light = self._synchrotron(safe, params, galaxy) + free_free(safe, galaxy.sfr)
        if self.agn is not None:
            core = 10.0 ** jnp.asarray(params["radio_agn_loudness"])
            core *= self.agn.l_nu_2500(params, galaxy)
            light += core * _power_law(safe, _CORE_GHZ, params["radio_agn_slope"])
        return jnp.where(inside, light, 0.0)

    def _synchrotron(self, wave: Array, params: Mapping[str, Any], galaxy: Galaxy) -> Array:
        """Return the non-thermal part of the correlation [Lsun/Hz]."""
        q = q_infrared(galaxy.redshift, params["radio_q_ir"], params["radio_q_evolution"])
        total = 10.0 ** -jnp.asarray(q) / _Q_FREQUENCY
        thermal = free_free(C_ANGSTROM_PER_S / (_FIR_GHZ * 1e9), _SFR_PER_L_IR)
        at_pivot = galaxy.absorbed * jnp.maximum(total - thermal, 0.0)
        return at_pivot * _power_law(wave, _FIR_GHZ, params["radio_slope"])
