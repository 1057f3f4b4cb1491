"""The Lyman-alpha damping wing of an intergalactic medium that is still neutral."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from tengri_ppl.physics.component import register
from tengri_ppl.physics.constants import C_KM_PER_S
from tengri_ppl.physics.igm.absorber import ALPHA_DECAY, LYMAN_ALPHA, IGMWithAbsorber

__all__ = ["IGMWithDampingWing", "NeutralMedium", "damping_wing_transmission"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class NeutralMedium:
    """A neutral intergalactic medium in front of an ionised bubble around the source.

    Attributes
    ----------
    neutral_fraction : float
        Neutral fraction of the hydrogen, 0 to 1.
    z_end : float
        Redshift at which the neutral medium ends.
    bubble_mpc : float
        Radius of the ionised bubble around the source [proper Mpc].
    omega_b, omega_m : float
        Density of baryons and of matter, Omega h^2.
    helium : float
        Mass fraction of helium.
    """

    neutral_fraction: ArrayLike
    z_end: ArrayLike
    bubble_mpc: ArrayLike
    omega_b: ArrayLike
    omega_m: ArrayLike
    helium: ArrayLike


def _wing_integral(x: jax.Array) -> jax.Array:
    """Evaluate I(x), the antiderivative of x^4.5 / (1-x)^2 (Miralda-Escude 1998, eq. 12)."""
    root = jnp.sqrt(x)
    polynomial = root * (9.0 + x * (3.0 + x * (9.0 / 5.0 + x * (9.0 / 7.0 + x / (1.0 - x)))))
    return polynomial - 4.5 * jnp.log(jnp.abs((1.0 + root) / (1.0 - root)))


def damping_wing_transmission(
    wave_obs: ArrayLike, redshift: ArrayLike, medium: NeutralMedium
) -> jax.Array:
    r"""Transmission of Lyman-alpha through a neutral medium (Miralda-Escude 1998, ApJ 501, 15).

    .. math:: \tau = x_{HI}\, \frac{\tau_0 R_\alpha}{\pi}
              \left(\frac{\lambda_{obs}}{\lambda_\alpha}\right)^{3/2} [I(x_2) - I(x_1)], \quad
              x_{1,2} = (1 + z_{1,2}) \frac{\lambda_\alpha}{\lambda_{obs}}

    for gas of the mean density from :math:`z_1` = ``z_end`` to :math:`z_2`, the near side of the
    bubble, with I of his eq. 12, :math:`R_\alpha = \Gamma_\alpha \lambda_\alpha / 4 \pi c = 2.02
    \times 10^{-8}` and :math:`\tau_0 (1+z)^{3/2}` the Gunn-Peterson depth, 3.9e5 at z = 6; H(z) is
    that of a universe of matter. Light that crosses the line inside the gas is lost. The same
    formula serves on the blue side, up to half the wavelength; what the ionised medium absorbs
    there, and higher lines, are left to the model of the mean IGM.

    Parameters
    ----------
    wave_obs : (...,) array_like
        Observed wavelength [Angstrom], above 0.
    redshift : scalar
        Redshift of the source. Below ``z_end`` the transmission is 1.
    medium : NeutralMedium
        The gas.

    Returns
    -------
    (...,) jax.Array
        Transmission between 0 and 1.
    """
    one_plus_z = 1.0 + jnp.asarray(redshift)
    hubble = 100.0 * jnp.sqrt(jnp.asarray(medium.omega_m))  # H(z) / (1+z)^1.5 [km/s/Mpc]
    bubble = medium.bubble_mpc * hubble * one_plus_z**2.5 / C_KM_PER_S
    far = jnp.asarray(wave_obs) / LYMAN_ALPHA
    x1 = (1.0 + jnp.asarray(medium.z_end)) / far
    x2 = jnp.maximum((one_plus_z - bubble) / far, x1)
    resonant = (x1 <= 1.0) & (x2 >= 1.0) & (x2 > x1)
    apart = (x2 > x1) & ~resonant
    low, high = (jnp.where(apart, jnp.minimum(x, 2.0), 0.5) for x in (x1, x2))
    depth = _gunn_peterson(medium) * far**1.5 * (_wing_integral(high) - _wing_integral(low))
    wing = jnp.exp(-jnp.maximum(medium.neutral_fraction * depth, 0.0))
    return jnp.where(resonant & (jnp.asarray(medium.neutral_fraction) > 0.0), 0.0, wing)


def _gunn_peterson(medium: NeutralMedium) -> jax.Array:
    """Evaluate tau_0 R_alpha / pi for fully neutral hydrogen, without the (1+z)^1.5."""
    density = 1.12238e-5 * jnp.asarray(medium.omega_b) * (1.0 - medium.helium)  # H [1/cm^3]
    hubble = 3.240779e-18 * jnp.sqrt(jnp.asarray(medium.omega_m))  # [1/s]
    length = LYMAN_ALPHA * 1e-8
    # density * 3 * length^3 * decay / (8 pi hubble), factors of like size first
    depth = (density / hubble) * length * (3.0 * length**2 * ALPHA_DECAY / (8.0 * jnp.pi))
    classical_damping = ALPHA_DECAY * length / (4.0 * jnp.pi * C_KM_PER_S * 1e5)
    return depth * (classical_damping / jnp.pi)


@register("igm", "damping_wing")
@dataclass(frozen=True)
class IGMWithDampingWing(IGMWithAbsorber):
    """An IGM that was still neutral in front of the source; see :func:`damping_wing_transmission`.

    Attributes
    ----------
    base : IGM
        The model without the neutral medium.
    neutral_fraction, z_end, bubble_mpc, omega_b, omega_m, helium : float
        See :class:`NeutralMedium`; the cosmology is that of Planck (2018).
    """

    citations = ("MiraldaEscude1998", "Planck2020")
    neutral_fraction: float = 1.0
    z_end: float = 6.0
    bubble_mpc: float = 0.0
    omega_b: float = 0.02237
    omega_m: float = 0.1430
    helium: float = 0.2454

    def _absorber(self) -> NeutralMedium:
        return NeutralMedium(
            self.neutral_fraction,
            self.z_end,
            self.bubble_mpc,
            self.omega_b,
            self.omega_m,
            self.helium,
        )

    def _absorber_grid(self) -> np.ndarray:
        wing = np.geomspace(1e-5, 4.0, 120)
        return LYMAN_ALPHA * np.concatenate([1.0 + wing, 1.0 - wing[wing < 0.2]])

    def _absorption(
        self, wave_obs: ArrayLike, redshift: ArrayLike, absorber: NeutralMedium
    ) -> jax.Array:
        return damping_wing_transmission(wave_obs, redshift, absorber)
