"""How the stars of an SSP grid light a grid of photoionisation models.

The models were computed for stars of certain ages and metallicities, the SSP grid has others, and
may come from another library. What passes from one to the other is

``"photons"``
    ionising photons. Each SSP lights the models nearest in age and metallicity with the photons
    that it emits itself, so that hydrogen recombinations balance ionisations whatever the
    library (as in FSPS, Byler et al. 2017, ApJ 840, 44).
``"mass"``
    mass formed. A model shines as if its own stars were the SSP's; older stars than the models
    have give no light (as in BAGPIPES, Carnall et al. 2018, MNRAS 480, 4379).
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from tengri_ppl.errors import DataError
from tengri_ppl.physics.constants import C_ANGSTROM_PER_S
from tengri_ppl.physics.nebular.grid import NebularData
from tengri_ppl.physics.ssp import SSPData

__all__ = [
    "LYMAN_LIMIT",
    "NORMALISATIONS",
    "NebularCoupling",
    "couple_nebular",
    "ionising_luminosity",
    "lg_ionising_photons",
]

NORMALISATIONS = ("photons", "mass")
#: Wavelength of photons that just ionise hydrogen [Angstrom].
LYMAN_LIMIT = 911.7633
_PLANCK_ERG_S = 6.62607015e-27
_LG_PHOTON_UNIT = 46.0


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class NebularCoupling:
    """Constant maps from masses of SSPs to models of a nebular grid; see :func:`couple_nebular`.

    Attributes
    ----------
    output : array, shape (n_met_ssp, n_age_ssp)
        Ionising photons per mass formed [1e46/s/Msun], or 1 where mass is what passes.
    ages : array, shape (n_age_ssp, n_age)
        Share of each SSP age that lights each age of the models.
    mets : array, shape (n_met_ssp, n_met)
        The same for metallicities, where the gas has that of the stars.
    response : array, shape (n_met, n_age)
        Weight of a model per ionising photon [Msun/(1e46/s)], or per mass [1].
    zsun : array, scalar
        Solar metallicity of the SSP grid.
    """

    output: ArrayLike
    ages: ArrayLike
    mets: ArrayLike
    response: ArrayLike
    zsun: ArrayLike


def _ionising_cells(wave: ArrayLike, flux: ArrayLike) -> tuple[Array, Array, Array]:
    """Return the ends of the cells below the Lyman limit [Angstrom], and the mean L_nu in each."""
    wave, flux = jnp.asarray(wave), jnp.asarray(flux)
    low, step = wave[:-1], jnp.diff(wave)
    high = jnp.clip(LYMAN_LIMIT, low, wave[1:])
    mean = flux[..., :-1] + 0.5 * jnp.diff(flux) * ((high - low) / step)
    return low, high, mean


def lg_ionising_photons(wave: ArrayLike, flux: ArrayLike, lsun_erg_s: float) -> Array:
    r"""Rate of hydrogen-ionising photons, :math:`Q_H = \int_{\nu_0}^\infty L_\nu / (h\nu)\, d\nu`.

    Parameters
    ----------
    wave : array_like, shape (n_wave,)
        Wavelength [Angstrom], increasing.
    flux : array_like, shape (..., n_wave)
        L_nu [Lsun/Hz], linear between two wavelengths.
    lsun_erg_s : float
        The solar luminosity [erg/s].

    Returns
    -------
    Array, shape (...)
        log10 of Q_H [1/s], -inf where there is no light below 911.76 Angstrom.
    """
    low, high, mean = _ionising_cells(wave, flux)
    return jnp.log10(jnp.sum(mean * jnp.log(high / low), axis=-1)) + np.log10(
        lsun_erg_s / _PLANCK_ERG_S
    )


def ionising_luminosity(wave: ArrayLike, flux: ArrayLike) -> Array:
    r"""Luminosity below 911.76 Angstrom, :math:`\int_{\nu_0}^\infty L_\nu\, d\nu`.

    Parameters
    ----------
    wave : array_like, shape (n_wave,)
        Wavelength [Angstrom], increasing.
    flux : array_like, shape (..., n_wave)
        L_nu [Lsun/Hz], linear between two wavelengths.

    Returns
    -------
    Array, shape (...)
        Luminosity [Lsun].
    """
    low, high, mean = _ionising_cells(wave, flux)
    return jnp.sum(mean * (high - low) * (C_ANGSTROM_PER_S / (low * high)), axis=-1)


def couple_nebular(
    ssp: SSPData,
    data: NebularData,
    *,
    age_scheme: str = "linear",
    normalisation: str = "photons",
    space: str = "log",
) -> NebularCoupling:
    """Build the maps from an SSP grid to a nebular grid; see the module's docstring.

    Parameters
    ----------
    ssp : SSPData
        The stars.
    data : NebularData
        The photoionisation models.
    age_scheme : {"linear", "bins"}
        How the ages of the SSP grid are read (:mod:`tengri_ppl.physics.composite`): an SSP lights
        the two models around its age, linearly in log age, or the one model in whose bin of log
        age it lies. Stars younger than all models light the youngest.
    normalisation : {"photons", "mass"}
        What passes from stars to gas. With "photons", stars older than all models light the
        oldest, with the photons that they have left.
    space : {"log", "linear"}
        Whether interpolation in metallicity is linear in log Z or in Z; constant outside the grid.

    Raises
    ------
    DataError
        If the SSPs include nebular emission already, or "photons" finds none in them.
    """
    _refuse_nebular_twice(ssp)
    lgmet, nodes = np.asarray(ssp.ssp_lgmet), np.asarray(data.lgmet)
    if space == "linear":
        lgmet, nodes = 10.0**lgmet, 10.0**nodes
    if normalisation == "photons":
        output = 10.0 ** (_ssp_photons(ssp) - _LG_PHOTON_UNIT)
        response = 10.0 ** (_LG_PHOTON_UNIT - np.asarray(data.lg_photons))
    else:
        output = np.ones((lgmet.size, np.size(ssp.ssp_lg_age_gyr)))
        response = np.ones_like(data.lg_photons)
    return NebularCoupling(
        output=output,
        ages=_age_shares(ssp, data, age_scheme, extend=normalisation == "photons"),
        mets=_hats(lgmet, nodes),
        response=response * (data.lsun_erg_s / ssp.lsun_erg_s),
        zsun=np.asarray(ssp.zsun),
    )


def _refuse_nebular_twice(ssp: SSPData) -> None:
    """Refuse SSPs with nebular emission in their flux."""
    if ssp.has_nebular:
        raise DataError(
            f"the SSP grid {ssp.name!r} includes nebular emission; choose nebular='none', or SSPs "
            "without it"
        )


def _ssp_photons(ssp: SSPData) -> np.ndarray:
    """log10 of the ionising photons of each SSP [1/s/Msun]."""
    wave = np.asarray(ssp.ssp_wave)
    n_blue = int(np.searchsorted(wave, LYMAN_LIMIT))
    blue = np.asarray(ssp.ssp_flux)[..., : n_blue + 1]
    if not np.any(blue[..., :n_blue]):
        raise DataError(
            f"the SSP grid {ssp.name!r} has no light below {LYMAN_LIMIT} Angstrom, so its stars "
            "ionise nothing; use a grid with the Lyman continuum, or normalisation='mass'"
        )
    photons = lg_ionising_photons(wave[: n_blue + 1], blue, ssp.lsun_erg_s)
    return np.asarray(photons, dtype=float)


def _hats(x: np.ndarray, nodes: np.ndarray) -> np.ndarray:
    """Linear interpolation as weights (n_x, n_node), constant outside."""
    return np.stack([np.interp(x, nodes, row) for row in np.eye(nodes.size)], axis=1)


def _age_shares(ssp: SSPData, data: NebularData, scheme: str, extend: bool) -> np.ndarray:
    """Share of each SSP age that lights each age of the models, (n_age_ssp, n_age)."""
    age, nodes = np.asarray(ssp.ssp_lg_age_gyr), np.asarray(data.lg_age_gyr)
    middle = 0.5 * (nodes[1:] + nodes[:-1])
    if scheme == "bins":
        shares = np.eye(nodes.size)[np.searchsorted(middle, age)]
    else:
        shares = _hats(age, nodes)
    last_edge = 2.0 * nodes[-1] - middle[-1]
    return shares if extend else shares * (age < last_edge)[:, None]
