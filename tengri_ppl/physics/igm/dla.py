"""A damped Lyman-alpha absorber, at the source or in front of it."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from tengri_ppl.physics.component import register
from tengri_ppl.physics.constants import C_KM_PER_S
from tengri_ppl.physics.igm.absorber import ALPHA_DECAY, LYMAN_ALPHA, IGMWithAbsorber

__all__ = ["DampedAbsorber", "IGMWithDLA", "dla_transmission"]

_LYMAN_LIMIT = 911.7534
_LIMIT_CROSS_SECTION = 6.30  # of hydrogen at the Lyman limit [1e-18 cm^2]
# Radiative decay rates of the levels 2p to 6p [1/s] (Morton 2003, ApJS 149, 205); beyond, n^-3.
_DECAY = (ALPHA_DECAY, 1.897e8, 8.127e7, 4.204e7, 2.450e7)
_N_LINES = 39
_CROWDED = 940.0  # below, the lines are closer than their widths [Angstrom]
_CLASSICAL = 0.014973613  # sqrt(pi) e^2 / (m_e c) [cm^2/s]
_ASYMMETRY = 1.792  # first-order correction of the Lyman-alpha wings (Lee 2013)


def _lyman_series() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Wavelengths [Angstrom], oscillator strengths and decay rates [1/s] of the hydrogen atom.

    The oscillator strength of 1s-np is 2^8 n^5 (n-1)^(2n-4) / (3 (n+1)^(2n+4)).
    """
    n = np.arange(2.0, 2.0 + _N_LINES)
    strength = np.exp(
        8 * np.log(2.0)
        + 5 * np.log(n)
        + (2 * n - 4) * np.log(n - 1)
        - (2 * n + 4) * np.log(n + 1)
        - np.log(3.0)
    )
    decay = _DECAY[-1] * (6.0 / n) ** 3
    decay[: len(_DECAY)] = _DECAY
    return _LYMAN_LIMIT / (1.0 - n**-2), strength, decay


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class DampedAbsorber:
    """A cloud of neutral hydrogen.

    Attributes
    ----------
    log_nhi : float
        log10 of the column density [1/cm^2].
    b : float
        Doppler parameter [km/s].
    velocity : float
        Velocity towards us, relative to the source [km/s].
    """

    log_nhi: ArrayLike
    b: ArrayLike
    velocity: ArrayLike


def dla_transmission(
    wave_obs: ArrayLike, redshift: ArrayLike, absorber: DampedAbsorber
) -> jax.Array:
    r"""Transmission of a damped Lyman-alpha absorber.

    .. math:: \tau = N_{HI} \left[ \sum_j \frac{\sqrt{\pi} e^2 f_j \lambda_j}{m_e c\, b}
              H(a_j, u_j) + 6.30\times10^{-18}\,\mathrm{cm}^2\, (\lambda / 911.75)^3 \right]

    at the wavelengths of the absorber, :math:`\lambda_{obs} / [(1 + z)(1 - v/c)]`, the last term
    below the Lyman limit. H is the Voigt-Hjerting function, with :math:`a = \Gamma_j \lambda_j /
    4 \pi b` and :math:`u = (\lambda_j / \lambda - 1)\, c / b`, for the first 39 lines of the
    series. Far from the line, Lyman-alpha is asymmetric: its cross section is multiplied by
    :math:`1 - 1.792\, (\nu - \nu_\alpha) / \nu_\alpha` (Lee 2013, ApJ 772, 123).

    Meant for column densities above about :math:`10^{17}`, at which the lines are wide compared
    to the grid that a model interpolates from.

    Parameters
    ----------
    wave_obs : (...,) array_like
        Observed wavelength [Angstrom], above 0.
    redshift : scalar
        Redshift of the source.
    absorber : DampedAbsorber
        Column density, Doppler parameter and velocity. For an absorber at another redshift the
        velocity is c [1 - (1 + z_absorber) / (1 + redshift)].

    Returns
    -------
    (...,) jax.Array
        Transmission between 0 and 1.
    """
    line, strength, decay = (jnp.asarray(x) for x in _lyman_series())
    b = jnp.asarray(absorber.b)
    shift = (1.0 + jnp.asarray(redshift)) * (1.0 - absorber.velocity / C_KM_PER_S)
    wave = jnp.asarray(wave_obs) / shift
    offset = line / wave[..., None] - 1.0
    damping = decay * (line * 1e-13) / (4.0 * jnp.pi * b)
    profile = jnp.real(jax.scipy.special.wofz(offset * (C_KM_PER_S / b) + 1j * damping))
    alpha_only = jnp.arange(_N_LINES) == 0
    asymmetry = jnp.where(alpha_only, jnp.maximum(1.0 - _ASYMMETRY * offset, 0.0), 1.0)
    # in units of 1e-18 cm^2: wavelengths in 1e-8, b in 1e5, together 1e5 of 1e18
    lines = (_CLASSICAL * 1e5 * strength * line / b * profile * asymmetry).sum(axis=-1)
    beyond = wave < _LYMAN_LIMIT
    ionising = jnp.where(beyond, _LIMIT_CROSS_SECTION * (wave / _LYMAN_LIMIT) ** 3, 0.0)
    return jnp.exp(-(10.0 ** (jnp.asarray(absorber.log_nhi) - 18.0)) * (lines + ionising))


@register("igm", "dla")
@dataclass(frozen=True)
class IGMWithDLA(IGMWithAbsorber):
    """An IGM with a damped Lyman-alpha absorber; see :func:`dla_transmission`.

    Attributes
    ----------
    base : IGM
        The model without the absorber.
    log_nhi : float
        log10 of the column density of neutral hydrogen [1/cm^2].
    b : float
        Doppler parameter [km/s].
    velocity : float
        Velocity towards us, relative to the source [km/s].
    """

    citations = ("Lee2013",)
    log_nhi: float = 21.0
    b: float = 30.0
    velocity: float = 0.0

    def _absorber(self) -> DampedAbsorber:
        return DampedAbsorber(self.log_nhi, self.b, self.velocity)

    def _absorber_grid(self) -> np.ndarray:
        lines = _lyman_series()[0]
        isolated, core = lines[lines > _CROWDED], np.geomspace(2e-5, 4e-3, 40)
        wing = np.geomspace(1e-4, 4.0, 120)
        nodes = (
            np.arange(5.0, _LYMAN_LIMIT, 5.0),
            _LYMAN_LIMIT * (1.0 + np.array([-1e-6, 1e-6])),
            np.arange(_LYMAN_LIMIT + 0.05, _CROWDED, 0.05),
            np.outer(isolated, 1.0 + core).ravel(),
            np.outer(isolated, 1.0 - core).ravel(),
            LYMAN_ALPHA * (1.0 + wing),
            LYMAN_ALPHA * (1.0 - wing[wing < 0.2]),
        )
        return np.concatenate(nodes) * (1.0 - self.velocity / C_KM_PER_S)

    def _absorption(
        self, wave_obs: ArrayLike, redshift: ArrayLike, absorber: DampedAbsorber
    ) -> jax.Array:
        return dla_transmission(wave_obs, redshift, absorber)
