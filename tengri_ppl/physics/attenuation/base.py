r"""What all attenuation laws share.

A law gives :math:`k(\lambda) = A_\lambda / A_V`; an optical depth is that at 5500 Angstrom, so
that :math:`A_V = 2.5 \log_{10}(e)\, \tau = 1.086\, \tau`. Laws are normalised to
:math:`k(5500\,\mathrm{\AA}) = 1` unless their docstring says otherwise.

Starlight reaches far beyond the wavelengths at which a law was measured, so each docstring says
how the curve goes on there. In general it keeps the value of its blue end towards the X-rays, and
falls to zero or as a power law towards the radio.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from tengri_ppl.physics.component import Component, Parameter

__all__ = ["MAG_PER_TAU", "PIVOT", "AttenuationLaw", "drude_bump"]

#: Magnitudes of attenuation per unit of optical depth, 2.5 log10(e).
MAG_PER_TAU = 1.0857362047581296
#: Wavelength at which optical depths are given [Angstrom].
PIVOT = 5500.0


def drude_bump(wave: ArrayLike) -> Array:
    r"""Drude profile of the 2175 Angstrom bump with a width (FWHM) of 350 Angstrom.

    .. math:: D = \frac{(350\, \lambda)^2}{(\lambda^2 - 2175^2)^2 + (350\, \lambda)^2}

    It is 1 at 2175 Angstrom (Fitzpatrick & Massa 1990, ApJS 72, 163; Noll et al. 2009, A&A 507,
    1793).

    Parameters
    ----------
    wave : array_like, shape (...,)
        Rest-frame wavelength [Angstrom].
    """
    x = jnp.asarray(wave) / 2175.0
    offset = (x - 1.0 / x) * (2175.0 / 350.0)
    return 1.0 / (1.0 + offset**2)


@dataclass(frozen=True)
class AttenuationLaw(Component):
    """A law k(wave); ``suffix`` distinguishes the parameters of two laws in one model.

    A subclass names its parameters and a ``function`` that takes the wavelength and, by name, the
    parameters without ``dust_`` and suffix; or it defines :meth:`curve` itself.
    """

    kind = "dust_law"

    #: Rest-frame wavelengths [Angstrom] at which the curve is not smooth, increasing.
    breaks: ClassVar[tuple[float, ...]] = ()
    #: The law proper: k at the wavelengths of its first argument.
    function: ClassVar[Callable[..., Array]]
    suffix: str = ""

    def _parameter(
        self, name: str, description: str, default: float | tuple[float, float]
    ) -> Parameter:
        return Parameter(f"dust_{name}{self.suffix}", "1", description, default)

    def curve(self, wave: ArrayLike, params: Mapping[str, Any]) -> Array:
        """Return k at rest-frame wavelengths [Angstrom], shape of ``wave``."""
        own = {
            p.name.removeprefix("dust_").removesuffix(self.suffix): params[p.name]
            for p in self.parameters
        }
        return type(self).function(wave, **own)
