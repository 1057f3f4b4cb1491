r"""Emission lines of an active nucleus: broad lines, blends of iron, and narrow lines.

Equivalent widths and relative fluxes are those of the median composite of SDSS quasars (Vanden
Berk et al. 2001, AJ 122, 549, table 2). Wavelengths are in vacuum. A line is a Gaussian in
velocity; there is one template of 1 Lsun per line and width, and widths in between mix the two
neighbouring templates such that flux and variance are exact.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from tengri_ppl.physics.component import Component, Parameter, register
from tengri_ppl.physics.constants import C_KM_PER_S
from tengri_ppl.physics.templates import TemplateGrid, grid_weights, integrate_spectra

__all__ = [
    "BROAD_LINES",
    "IRON_BLENDS",
    "NARROW_LINES",
    "AGNLines",
    "NoLines",
    "QuasarLines",
    "line_templates",
]

#: Broad lines: vacuum wavelength [Angstrom] (laboratory, or observed where lines are blended) and
#: equivalent width [Angstrom].
BROAD_LINES = {
    "Ly_epsilon": (940.93, 2.95),
    "C_III_N_III": (985.46, 6.55),
    "Ly_beta_O_VI": (1033.03, 9.77),
    "Fe_III_UV1": (1117.26, 3.66),
    "C_III_1176": (1175.70, 0.83),
    "Ly_alpha": (1215.67, 92.91),
    "N_V": (1240.14, 1.11),
    "O_I_Si_II": (1305.42, 1.66),
    "C_II_1335": (1335.30, 0.59),
    "Si_IV_O_IV]": (1398.33, 8.13),
    "C_IV": (1549.06, 23.78),
    "He_II_1640": (1640.42, 0.51),
    "O_III]_Al_II": (1664.74, 0.50),
    "N_III]_1750": (1750.26, 0.44),
    "Al_III": (1857.40, 0.40),
    "C_III]": (1908.73, 21.19),
    "C_II]": (2326.44, 0.31),
    "Mg_II": (2798.75, 32.28),
    "O_III_3134": (3133.70, 0.86),
    "He_I_3189": (3188.67, 1.17),
    "H_delta": (4102.89, 5.05),
    "H_gamma": (4341.68, 12.62),
    "He_II_4686": (4687.02, 0.72),
    "H_beta": (4862.68, 46.21),
    "He_I_5876": (5877.29, 4.94),
    "H_alpha": (6564.61, 194.52),
    "He_I_7067": (7067.20, 3.06),
}
#: Blends of iron: observed centre, equivalent width and dispersion [Angstrom].
IRON_BLENDS = {
    "Fe_III_UV48": (2076.62, 2.46, 16.99),
    "Fe_II_2325": (2324.58, 3.56, 22.23),
    "Fe_II_UV1": (2626.92, 0.81, 9.93),
    "Fe_II_UV78": (2964.28, 4.93, 22.92),
    "Fe_II_Opt4": (3498.92, 1.38, 16.79),
    "Fe_II_Opt37": (4564.71, 19.52, 61.69),
    "Fe_II_Opt48": (5305.97, 21.47, 74.83),
}
#: Narrow lines: vacuum wavelength [Angstrom] and flux over that of [O III] 5008. The composite does
#: not separate the narrow Balmer lines: H beta is [O III] / 10, H alpha 3.1 times that.
NARROW_LINES = {
    "[Ne_IV]": (2423.83, 0.437 / 2.490),
    "[Ne_V]_3347": (3346.82, 0.118 / 2.490),
    "[Ne_V]_3427": (3426.84, 0.405 / 2.490),
    "[O_II]_3728": (3728.48, 0.424 / 2.490),
    "[Ne_III]_3870": (3869.85, 0.345 / 2.490),
    "[Ne_III]_3969": (3968.58, 0.104 / 2.490),
    "[O_III]_4364": (4364.44, 0.110 / 2.490),
    "H_beta": (4862.68, 0.10),
    "[O_III]_4960": (4960.30, 0.686 / 2.490),
    "[O_III]_5008": (5008.24, 1.0),
    "[Fe_VII]_6088": (6087.98, 0.113 / 2.490),
    "[O_I]_6302": (6302.05, 0.179 / 2.490),
    "[N_II]_6550": (6549.85, 0.195 / 2.490),
    "H_alpha": (6564.61, 0.31),
    "[N_II]_6585": (6585.28, 0.831 / 2.490),
    "[S_II]_6718": (6718.29, 0.276 / 2.490),
    "[S_II]_6733": (6732.67, 0.244 / 2.490),
    "[Ar_III]": (7137.80, 0.082 / 2.490),
}
#: Luminosity of [O III] 5008 over the bolometric one (Heckman et al. 2004, ApJ 613, 109).
_O_III_FRACTION = 1.0 / 3500.0
_FWHM_PER_SIGMA = 2.0 * np.sqrt(2.0 * np.log(2.0))
#: Widths (FWHM) of the templates [km/s], in steps of sqrt(2).
_BROAD_WIDTHS = 1000.0 * 2.0 ** (0.5 * np.arange(9))
_NARROW_WIDTHS = 100.0 * 2.0 ** (0.5 * np.arange(9))
#: A profile ends at 4.5 sigma. Wavelengths lie at sinh(u) times the smallest dispersion of the
#: template's line, in steps of u that resolve every dispersion alike.
_EXTENT, _STEP = 4.5, 0.16


def line_templates(centres: ArrayLike, sigmas: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return Gaussians of 1 Lsun each, on a common wavelength axis.

    Parameters
    ----------
    centres : array_like, shape (n_template,)
        Wavelengths [Angstrom]; those of the same line are the same number.
    sigmas : array_like, shape (n_template,)
        Dispersions in ln(wavelength).

    Returns
    -------
    wave : ndarray, shape (n_wave,)
        Wavelengths [Angstrom], dense where there are lines.
    spectra : ndarray, shape (n_template, n_wave)
        L_nu [Lsun/Hz]; linear in wavelength between two points.
    """
    ln_centre, sigma = np.log(np.asarray(centres)), np.asarray(sigmas)
    lines = [_line_wavelengths(x, sigma[ln_centre == x]) for x in np.unique(ln_centre)]
    ln_wave = np.unique(np.concatenate(lines))
    z = (ln_wave - ln_centre[:, None]) / sigma[:, None]
    profile = np.where(np.abs(z) < _EXTENT, np.exp(-0.5 * z**2), 0.0)
    wave = np.exp(ln_wave)
    return wave, profile / integrate_spectra(wave, profile)[:, None]


def _line_wavelengths(ln_centre: float, sigmas: np.ndarray) -> np.ndarray:
    """Logarithms of wavelengths that resolve one line in all its dispersions."""
    end = np.arcsinh(_EXTENT * sigmas.max() / sigmas.min())
    n_steps = int(np.ceil(end / _STEP))
    return ln_centre + sigmas.min() * np.sinh(np.linspace(-end, end, 2 * n_steps + 1))


def _column(table: Mapping[str, tuple[float, ...]], index: int) -> np.ndarray:
    return np.array([row[index] for row in table.values()])


def _dispersions(fwhm_kms: np.ndarray) -> np.ndarray:
    return fwhm_kms / (_FWHM_PER_SIGMA * C_KM_PER_S)


def _width_weights(fwhm_kms: ArrayLike, widths: np.ndarray) -> Array:
    """Weights on the widths of the templates, linear in the variance."""
    return grid_weights([(fwhm_kms / widths[0]) ** 2], [(widths / widths[0]) ** 2])


@dataclass(frozen=True)
class AGNLines(Component):
    """The emission lines of a nucleus."""

    kind = "agn_lines"

    #: Whether there are lines.
    exists: ClassVar[bool] = True

    def load(self) -> TemplateGrid | None:
        """Return the line profiles as arrays."""
        return None

    @property
    def broad_wave(self) -> np.ndarray:
        """Wavelengths of broad features [Angstrom], which what obscures the disc obscures too."""
        return np.zeros(0)

    def broad(self, nu_l_nu: ArrayLike, params: Mapping[str, Any]) -> Array:
        """Return the luminosities of the broad features, unobscured.

        Parameters
        ----------
        nu_l_nu : array_like, shape (n_broad,)
            nu L_nu of the disc at :attr:`broad_wave`; sets the unit of the result.
        params : mapping
            The model's parameters.

        Returns
        -------
        Array, shape (n_broad,)
        """
        return jnp.zeros(0)

    def weights(self, broad: Array, bolometric: ArrayLike, params: Mapping[str, Any]) -> Array:
        """Return the weights of the line profiles, shape (n_template,).

        Parameters
        ----------
        broad : Array, shape (n_broad,)
            Luminosities of the broad features as seen [Lsun].
        bolometric : array_like, scalar
            Bolometric luminosity of the disc [Lsun], which narrow lines follow.
        params : mapping
            The model's parameters.
        """
        raise NotImplementedError


@register("agn_lines", "none")
@dataclass(frozen=True)
class NoLines(AGNLines):
    """No lines."""

    citations = ()
    exists = False


@register("agn_lines", "quasar")
@dataclass(frozen=True)
class QuasarLines(AGNLines):
    r"""The lines of the SDSS quasar composite (Vanden Berk et al. 2001, AJ 122, 549).

    Broad lines and blends of iron have the equivalent widths of the composite over the disc of the
    model, times ``agn_line_broad`` and ``agn_line_iron``; there is no Baldwin effect. Narrow lines
    follow the bolometric luminosity, :math:`L_{[O III]} = 10^{\mathrm{agn\_line\_narrow}}
    L_{bol} / 3500` (Heckman et al. 2004, ApJ 613, 109), with a scatter of 0.38 dex. Iron blends
    keep their published widths. Widths beyond the templates (1000-16000 and 100-1600 km/s) stay
    at their ends.
    """

    citations = ("VandenBerk2001", "Heckman2004")

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """agn_line_broad, _iron, _narrow, _broad_fwhm_kms, _narrow_fwhm_kms."""
        return (
            Parameter("agn_line_broad", "1", "broad lines over those of the composite", 1.0),
            Parameter("agn_line_iron", "1", "iron blends over those of the composite", 1.0),
            Parameter("agn_line_narrow", "dex", "log10 of narrow lines over the mean", 0.0),
            Parameter("agn_line_broad_fwhm_kms", "km/s", "width of broad lines (FWHM)", 5000.0),
            Parameter("agn_line_narrow_fwhm_kms", "km/s", "width of narrow lines (FWHM)", 500.0),
        )

    @property
    def broad_wave(self) -> np.ndarray:
        """See :attr:`AGNLines.broad_wave`."""
        return np.concatenate([_column(BROAD_LINES, 0), _column(IRON_BLENDS, 0)])

    def load(self) -> TemplateGrid:
        """See :meth:`AGNLines.load`."""
        broad, narrow = _column(BROAD_LINES, 0), _column(NARROW_LINES, 0)
        iron = _column(IRON_BLENDS, 0)
        centres = np.concatenate(
            [
                np.repeat(broad, _BROAD_WIDTHS.size),
                iron,
                np.repeat(narrow, _NARROW_WIDTHS.size),
            ]
        )
        sigmas = np.concatenate(
            [
                np.tile(_dispersions(_BROAD_WIDTHS), broad.size),
                _column(IRON_BLENDS, 2) / iron,
                np.tile(_dispersions(_NARROW_WIDTHS), narrow.size),
            ]
        )
        return TemplateGrid(*line_templates(centres, sigmas))

    def broad(self, nu_l_nu: ArrayLike, params: Mapping[str, Any]) -> Array:
        """See :meth:`AGNLines.broad`."""
        widths = jnp.concatenate(
            [
                params["agn_line_broad"] * _column(BROAD_LINES, 1),
                params["agn_line_iron"] * _column(IRON_BLENDS, 1),
            ]
        )
        return nu_l_nu * widths / self.broad_wave

    def weights(self, broad: Array, bolometric: ArrayLike, params: Mapping[str, Any]) -> Array:
        """See :meth:`AGNLines.weights`."""
        lines, iron = jnp.split(broad, [len(BROAD_LINES)])
        o_iii = bolometric * 10.0 ** jnp.asarray(params["agn_line_narrow"]) * _O_III_FRACTION
        narrow = o_iii * _column(NARROW_LINES, 1)
        broad_mix = _width_weights(params["agn_line_broad_fwhm_kms"], _BROAD_WIDTHS)
        narrow_mix = _width_weights(params["agn_line_narrow_fwhm_kms"], _NARROW_WIDTHS)
        return jnp.concatenate(
            [
                jnp.outer(lines, broad_mix).ravel(),
                iron,
                jnp.outer(narrow, narrow_mix).ravel(),
            ]
        )
