"""Ages and distances in a flat universe of matter and a cosmological constant.

Radiation is left out, as in ``astropy.cosmology.FlatLambdaCDM(H0, Om0, Tcmb0=0)``. Every function
broadcasts over its arguments and is differentiable in all of them.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from tengri_ppl.physics.constants import C_KM_PER_S

__all__ = ["age_gyr", "lookback_time_gyr", "luminosity_distance_mpc", "redshift_at_age"]

#: One Julian gigayear times one km/s per Mpc, as a number.
_GYR_KM_PER_S_PER_MPC = 3.15576e16 / 3.0856775814913673e19
_N_NODES = 12


def _asinh_age(h0: ArrayLike, om0: ArrayLike) -> jax.Array:
    """Return the time scale 2 / (3 H0 sqrt(1 - Om0)) [Gyr] of the analytic age."""
    return 2.0 / (3.0 * jnp.asarray(h0) * _GYR_KM_PER_S_PER_MPC * jnp.sqrt(1.0 - jnp.asarray(om0)))


def _lambda_matter_ratio(om0: ArrayLike) -> jax.Array:
    """Return sqrt((1 - Om0) / Om0)."""
    return jnp.sqrt((1.0 - jnp.asarray(om0)) / jnp.asarray(om0))


def age_gyr(redshift: ArrayLike, h0: ArrayLike = 70.0, om0: ArrayLike = 0.3) -> jax.Array:
    """Age of the universe.

    ``t = 2 / (3 H0 sqrt(1 - Om)) asinh( sqrt((1 - Om) / Om) (1 + z)^(-3/2) )``

    Parameters
    ----------
    redshift : array_like
        Redshift, shape broadcastable with the other arguments.
    h0 : array_like
        Hubble constant [km/s/Mpc].
    om0 : array_like
        Matter density over the critical density today, between 0 and 1.

    Returns
    -------
    jax.Array
        Age [Gyr].
    """
    growth = (1.0 + jnp.asarray(redshift)) ** -1.5
    return _asinh_age(h0, om0) * jnp.arcsinh(_lambda_matter_ratio(om0) * growth)


def redshift_at_age(age_gyr: ArrayLike, h0: ArrayLike = 70.0, om0: ArrayLike = 0.3) -> jax.Array:
    """Redshift at which the universe had a given age: the inverse of `age_gyr`.

    Parameters
    ----------
    age_gyr : array_like
        Age of the universe [Gyr], above 0.
    h0 : array_like
        Hubble constant [km/s/Mpc].
    om0 : array_like
        Matter density over the critical density today, between 0 and 1.

    Returns
    -------
    jax.Array
        Redshift.
    """
    growth = jnp.sinh(jnp.asarray(age_gyr) / _asinh_age(h0, om0)) / _lambda_matter_ratio(om0)
    return growth ** (-2.0 / 3.0) - 1.0


def lookback_time_gyr(redshift: ArrayLike, h0: ArrayLike = 70.0, om0: ArrayLike = 0.3) -> jax.Array:
    """Time since the light was sent out: ``age_gyr(0) - age_gyr(redshift)``.

    Parameters
    ----------
    redshift : array_like
        Redshift, shape broadcastable with the other arguments.
    h0 : array_like
        Hubble constant [km/s/Mpc].
    om0 : array_like
        Matter density over the critical density today, between 0 and 1.

    Returns
    -------
    jax.Array
        Lookback time [Gyr].
    """
    return age_gyr(0.0, h0, om0) - age_gyr(redshift, h0, om0)


def luminosity_distance_mpc(
    redshift: ArrayLike, h0: ArrayLike = 70.0, om0: ArrayLike = 0.3
) -> jax.Array:
    """Luminosity distance.

    ``D_L = (1 + z) c / H0 * integral from 0 to z of dz' / sqrt(Om (1 + z')^3 + 1 - Om)``,
    by Gauss-Legendre quadrature in ``x = (1 + z')^(-1/2)``, in which the integrand
    ``2 / sqrt(Om + (1 - Om) x^6)`` is smooth at every redshift. The relative error is below 1e-6
    for redshifts from 0 to 20.

    Parameters
    ----------
    redshift : array_like
        Redshift, shape broadcastable with the other arguments.
    h0 : array_like
        Hubble constant [km/s/Mpc].
    om0 : array_like
        Matter density over the critical density today, between 0 and 1.

    Returns
    -------
    jax.Array
        Luminosity distance [Mpc].
    """
    z, h0, om0 = jnp.broadcast_arrays(redshift, h0, om0)
    one_plus_z = 1.0 + z
    lower = one_plus_z**-0.5
    width = z * lower**2 / (1.0 + lower)
    # new arrays in every call: JAX keeps constants by identity, in the precision of their first use
    nodes, weights = np.polynomial.legendre.leggauss(_N_NODES)
    x = 1.0 - width[..., None] * (0.5 - 0.5 * nodes)
    om = om0[..., None]
    integrand = 2.0 / jnp.sqrt(om + (1.0 - om) * x**6)
    comoving = 0.5 * width * jnp.sum(integrand * weights, axis=-1)
    return one_plus_z * (C_KM_PER_S / h0) * comoving
