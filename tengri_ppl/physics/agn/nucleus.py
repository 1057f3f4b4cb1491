r"""The whole nucleus: disc, torus, polar dust and lines, and where their energy comes from.

The disc shines isotropically with the bolometric luminosity L. The torus covers a share
``agn_torus_covering`` of the sky around it, absorbs all of that and re-emits it:
:math:`L_{torus} = f_c L`. In the other directions the light of the disc and of the broad lines
passes through polar dust, which re-emits what it takes:

.. math:: L_{polar} = (1 - f_c) \int (L_\nu^{disc} + L_\nu^{broad})
          \left(1 - 10^{-0.4\, k(\lambda)\, E(B-V)}\right) d\nu

So over all directions no energy is lost. What is seen of disc and broad lines is behind the polar
dust and, where ``agn_torus_ebv`` is above zero, behind a part of the torus: only our own sight line
changes with it, as between type 1 and type 2. Dust of the host galaxy does not act on the nucleus.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, NamedTuple, cast

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from tengri_ppl.errors import ParameterError
from tengri_ppl.physics.agn.disc import DISC_RANGE, AGNDisc, PowerLawDisc, disc_rule
from tengri_ppl.physics.agn.lines import AGNLines, QuasarLines
from tengri_ppl.physics.agn.torus import AGNTorus, TwoBlackbodyTorus
from tengri_ppl.physics.blackbody import thick_grey_body
from tengri_ppl.physics.component import Parameter, register
from tengri_ppl.physics.emission import Emission, Galaxy, Templates
from tengri_ppl.physics.templates import TemplateGrid

__all__ = ["AGN", "NucleusEnergy", "smc_extinction", "stack_templates"]

_LN_PER_MAG = 0.4 * np.log(10.0)
_POLAR_LAMBDA_0 = 2e6
_AMPLITUDES = {
    "log_lbol": Parameter(
        "agn_log_lbol", "dex(Lsun)", "log10 of the bolometric luminosity of the disc", (8.0, 14.0)
    ),
    "frac": Parameter(
        "agn_frac", "1", "share of the nucleus in the infrared light, below 1", (0.0, 0.9)
    ),
}
#: Half the relative width of the step that stands for the end of a spectrum.
_EDGE = 2e-6


def smc_extinction(wave: ArrayLike) -> Array:
    r"""Extinction per reddening of the Small Magellanic Cloud, k = A / E(B-V).

    .. math:: k = 1.39\, (\lambda / 1\,\mu\mathrm{m})^{-1.2}

    (Prevot et al. 1984, A&A 132, 389, in the form of Bongiorno et al. 2012, MNRAS 427, 3103).

    Parameters
    ----------
    wave : array_like, shape (...,)
        Rest-frame wavelength [Angstrom].
    """
    return 1.39 * jnp.exp(-1.2 * jnp.log(jnp.asarray(wave) * 1e-4))


def stack_templates(grids: Sequence[TemplateGrid]) -> TemplateGrid:
    """Put templates of several origins on one wavelength axis, in their order.

    Axes and luminosities are those of the last.

    Parameters
    ----------
    grids : sequence of TemplateGrid
        Templates; one or more.
    """
    if len(grids) == 1:
        return grids[0]
    axes = [np.asarray(grid.wave) for grid in grids]
    ends = [x for w in axes for x in (w[0] * (1.0 - _EDGE), w[-1] * (1.0 + _EDGE))]
    wave = np.unique(np.concatenate([*axes, ends]))
    spectra = [
        np.interp(wave, own, row, left=0.0, right=0.0)
        for own, grid in zip(axes, grids, strict=True)
        for row in np.asarray(grid.spectra)
    ]
    return replace(grids[-1], wave=wave, spectra=np.stack(spectra))


class NucleusEnergy(NamedTuple):
    """Luminosities of the parts of a nucleus [Lsun], integrated over all directions.

    Attributes
    ----------
    disc : Array
        Bolometric luminosity of the disc before any dust.
    torus : Array
        Dust of the torus.
    polar : Array
        Polar dust.
    """

    disc: Array
    torus: Array
    polar: Array


@register("agn", "nucleus")
@dataclass(frozen=True)
class AGN(Emission):
    """An active nucleus: disc, torus, polar dust and lines; see the module for their energies.

    The polar dust has the extinction of :func:`smc_extinction` and shines as a grey body that is
    opaque below 200 micron (Casey 2012), as in Yang et al. (2020, MNRAS 491, 740), where however
    the disc is anisotropic and the torus a numerical model.

    Attributes
    ----------
    disc, torus, lines : AGNDisc, AGNTorus, AGNLines
        The parts.
    amplitude : {"log_lbol", "frac"}
        ``agn_log_lbol`` is log10 of the bolometric luminosity of the disc [Lsun]. ``agn_frac`` is
        the share of torus and polar dust in the infrared luminosity of nucleus and galaxy,
        :math:`L_{dust}^{AGN} / (L_{dust}^{AGN} + L_{absorbed})`; the nucleus then scales with the
        galaxy, and is dark in a galaxy without dust.
    """

    citations = ("Yang2020", "Prevot1984", "Bongiorno2012")
    coverage: ClassVar[tuple[float, float]] = DISC_RANGE
    disc: AGNDisc = field(default_factory=PowerLawDisc)
    torus: AGNTorus = field(default_factory=TwoBlackbodyTorus)
    lines: AGNLines = field(default_factory=QuasarLines)
    amplitude: str = "log_lbol"

    def __post_init__(self) -> None:
        """Check the choices."""
        if self.amplitude not in _AMPLITUDES:
            raise ParameterError(
                f"amplitude={self.amplitude!r}: expected one of {', '.join(_AMPLITUDES)}"
            )
        if self.amplitude == "frac" and not self.torus.exists:
            raise ParameterError(
                "amplitude='frac' scales the disc by the luminosity of the torus, but torus is "
                "'none'; choose a torus, or amplitude='log_lbol'"
            )

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """The amplitude and the parameters of all parts."""
        covering = Parameter(
            "agn_torus_covering", "1", "share of the sky that the torus covers", (0.1, 0.9)
        )
        own = (
            _AMPLITUDES[self.amplitude],
            *((covering,) if self.torus.exists else ()),
            Parameter("agn_torus_ebv", "mag", "E(B-V) of the torus on our sight line", 0.0),
            Parameter("agn_polar_ebv", "mag", "E(B-V) of the polar dust", 0.03),
            Parameter("agn_polar_temperature", "K", "temperature of the polar dust", 100.0),
            Parameter("agn_polar_beta", "1", "emissivity slope of the polar dust", 1.6),
        )
        return (*own, *self.disc.parameters, *self.torus.parameters, *self.lines.parameters)

    @property
    def smooth_range(self) -> tuple[float, float]:
        """See :attr:`Emission.smooth_range`: dust has no red end."""
        return DISC_RANGE[0], float("inf")

    @property
    def breaks(self) -> tuple[float, ...]:
        """Rest-frame wavelengths [Angstrom] at which the smooth light is not smooth."""
        return self.disc.breaks

    def energy(self, params: Mapping[str, Any], galaxy: Galaxy) -> NucleusEnergy:
        """Return the luminosities of disc, torus and polar dust."""
        cover = params["agn_torus_covering"] if self.torus.exists else 0.0
        polar = (1.0 - cover) * self._polar_share(params)
        if self.amplitude == "frac":
            share = params["agn_frac"]
            disc = share / (1.0 - share) * galaxy.absorbed / (cover + polar)
        else:
            disc = 10.0 ** jnp.asarray(params["agn_log_lbol"])
        return NucleusEnergy(disc, cover * disc, polar * disc)

    def l_nu_2500(self, params: Mapping[str, Any], galaxy: Galaxy) -> Array:
        """Return L_nu [Lsun/Hz] of the disc at 2500 Angstrom, before any dust."""
        return self.energy(params, galaxy).disc * self.disc.l_nu(2500.0, params)

    def load(self) -> Templates | None:
        """See :meth:`Emission.load`: first the lines, then the torus."""
        grids = [g for g in (self.lines.load(), self.torus.load()) if g is not None]
        return stack_templates(grids) if grids else None

    def weights(self, params: Mapping[str, Any], galaxy: Galaxy, templates: Templates) -> Array:
        """See :meth:`Emission.weights`."""
        energy = self.energy(params, galaxy)
        parts = []
        if self.lines.exists:
            broad = energy.disc * self._broad_share(params)
            seen = broad * jnp.exp(-self._depth(self.lines.broad_wave, params))
            parts.append(self.lines.weights(seen, energy.disc, params))
        if self.torus.gridded:
            parts.append(energy.torus * self.torus.weights(params, cast(TemplateGrid, templates)))
        return jnp.concatenate(parts)

    def smooth(self, wave: ArrayLike, params: Mapping[str, Any], galaxy: Galaxy) -> Array:
        """See :meth:`Emission.smooth`."""
        energy = self.energy(params, galaxy)
        disc = self.disc.l_nu(wave, params) * jnp.exp(-self._depth(wave, params))
        polar = thick_grey_body(
            wave, params["agn_polar_temperature"], params["agn_polar_beta"], _POLAR_LAMBDA_0
        )
        torus = self.torus.smooth(wave, params)
        return energy.disc * disc + energy.torus * torus + energy.polar * polar

    def _broad_share(self, params: Mapping[str, Any]) -> Array:
        """Luminosities of the broad features over the bolometric one."""
        return self.lines.broad(self.disc.nu_l_nu(self.lines.broad_wave, params), params)

    def _polar_share(self, params: Mapping[str, Any]) -> Array:
        """Share of the disc's luminosity that polar dust absorbs if it is all around."""
        nodes, weight = disc_rule(self.disc.breaks)
        polar = params["agn_polar_ebv"]
        disc = weight * self.disc.nu_l_nu(nodes, params) * _absorbed(nodes, polar)
        broad = self._broad_share(params) * _absorbed(self.lines.broad_wave, polar)
        return jnp.sum(disc) + jnp.sum(broad)

    def _depth(self, wave: ArrayLike, params: Mapping[str, Any]) -> Array:
        """Optical depth of polar dust and torus on our sight line."""
        reddening = params["agn_polar_ebv"] + params["agn_torus_ebv"]
        return _LN_PER_MAG * reddening * smc_extinction(wave)


def _absorbed(wave: ArrayLike, reddening: ArrayLike) -> Array:
    """Share of the light that dust takes."""
    return -jnp.expm1(-_LN_PER_MAG * reddening * smc_extinction(wave))
