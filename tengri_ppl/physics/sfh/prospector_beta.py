"""The non-parametric history of Prospector-beta, expected to follow the cosmic average.

Of the priors of Wang et al. (2023) this is the one on the history, SFH(M, z). Their priors on
redshift, mass and metallicity (number density, mass function, mass-metallicity relation) are
distributions of those parameters, which the user gives.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from tengri_ppl.errors import ParameterError
from tengri_ppl.physics.component import Parameter, StudentTPrior, register
from tengri_ppl.physics.sfh.base import BinnedSFH
from tengri_ppl.physics.sfh.nonparametric import log_spaced, share_from_ratios

__all__ = ["ProspectorBetaSFH", "bin_edges", "cosmic_sfr_density", "expected_log_ratios"]

#: Age of the universe [Gyr] and cosmic star formation rate density [Msun/yr/Mpc^3]: the best fit
#: of Behroozi et al. 2019 (MNRAS 488, 3143), with the ages of the WMAP9 cosmology.
_COSMIC_SFR = (
    *((0.2727, 5.315e-6), (0.2855, 1.415e-5), (0.2975, 3.007e-5), (0.3162, 7.617e-5)),
    *((0.3482, 2.014e-4), (0.3727, 3.421e-4), (0.4183, 6.649e-4), (0.4482, 1.027e-3)),
    *((0.4664, 1.262e-3), (0.5066, 1.891e-3), (0.5530, 2.797e-3), (0.6069, 4.001e-3)),
    *((0.6701, 5.526e-3), (0.7450, 7.300e-3), (0.8350, 9.531e-3), (0.9446, 1.2346e-2)),
    *((1.0804, 1.5816e-2), (1.2520, 2.0307e-2), (1.4739, 2.5905e-2), (1.7697, 3.2800e-2)),
    *((2.1783, 4.1493e-2), (2.4448, 4.6889e-2), (2.7694, 5.3398e-2), (3.0836, 5.8877e-2)),
    *((3.3594, 6.2881e-2), (3.6777, 6.5995e-2), (3.9181, 6.7240e-2), (4.1849, 6.7661e-2)),
    *((4.4822, 6.7042e-2), (4.8148, 6.5236e-2), (5.1886, 6.2136e-2), (5.6103, 5.7781e-2)),
    *((6.0885, 5.2396e-2), (6.6332, 4.6304e-2), (7.2568, 3.9900e-2), (7.9742, 3.3567e-2)),
    *((8.8035, 2.7628e-2), (9.7671, 2.2292e-2), (10.8919, 1.7652e-2), (12.2118, 1.3927e-2)),
    (13.7689, 1.1935e-2),
)
_N_NODES = 8
_EPOCHS_GYR = (0.479, 11.86)  # z = 10 and 0.15: where the expectation is evaluated
_LOG_MASSES, _LOG_SHIFTS = (9.0, 12.0), (-0.2, 0.8)
_SWITCH_GYR = (2.0, 2.3)  # about z = 3
_FIRST_GYR = 10.0 ** (7.1295 - 9.0)


def cosmic_sfr_density(age: ArrayLike) -> Array:
    """Cosmic star formation rate density (Behroozi et al. 2019, MNRAS 488, 3143).

    Parameters
    ----------
    age : array_like, shape (...)
        Age of the universe [Gyr], from 0.27 Gyr (z = 15) to 13.77 Gyr; held constant beyond.

    Returns
    -------
    Array, shape (...)
        [Msun/yr/Mpc^3], interpolated in the logarithms of both.
    """
    log_age, log_rate = np.log(np.array(_COSMIC_SFR).T)
    return jnp.exp(jnp.interp(jnp.log(jnp.asarray(age)), log_age, log_rate))


def _late_share(age: Array) -> Array:
    """Weight of the bins for z < 3; between 2 and 2.3 Gyr one kind passes into the other."""
    start, stop = _SWITCH_GYR
    return jnp.clip((age - start) / (stop - start), 0.0, 1.0)


def bin_edges(cosmic_age: ArrayLike, n_bins: int) -> Array:
    """Edges of the bins of Prospector-beta.

    After z = 3 they are 0, 30 and 100 Myr, and then evenly log-spaced to 90 % of the age of the
    universe. Before, they are evenly log-spaced from 13.5 Myr on, with 0 in the place of the first.

    Parameters
    ----------
    cosmic_age : array_like, scalar
        Age of the universe at the epoch of observation [Gyr].
    n_bins : int
        Number of bins.

    Returns
    -------
    Array, shape (n_bins + 1,)
        Lookback times [Gyr].
    """
    cosmic_age = jnp.asarray(cosmic_age)
    oldest = 0.9 * cosmic_age
    shrink = jnp.minimum(cosmic_age / 0.2, 1.0)
    late = jnp.stack([0.03 * shrink]), log_spaced(0.1 * shrink, oldest, n_bins - 2)
    early = log_spaced(_FIRST_GYR * shrink, oldest, n_bins)[1:]
    weight = _late_share(cosmic_age)
    inner = weight * jnp.concatenate(late) + (1.0 - weight) * early
    return jnp.concatenate([jnp.zeros_like(inner[:1]), inner, cosmic_age[None]])


def _average_edges(epoch: Array, n_bins: int) -> Array:
    """Bins over which the cosmic average is taken: lookback times from today [Gyr].

    They begin at ``epoch``, are as many as :func:`bin_edges`, and end at z = 15.
    """
    today, onset = _COSMIC_SFR[-1][0], _COSMIC_SFR[-1][0] - _COSMIC_SFR[0][0]
    start = today - epoch
    oldest = onset - 0.1 * (onset - start)
    late = jnp.stack([start + 0.03]), log_spaced(start + 0.13, oldest, n_bins - 2)
    early = log_spaced(start + _FIRST_GYR, oldest, n_bins - 1)
    weight = _late_share(epoch)
    inner = weight * jnp.concatenate(late) + (1.0 - weight) * early
    return jnp.concatenate([start[None], inner, jnp.full_like(inner[:1], onset)])


def expected_log_ratios(log_mass: ArrayLike, cosmic_age: ArrayLike, n_bins: int) -> Array:
    """Return the log ratios of star formation rates that Wang et al. (2023) expect.

    They are those of the cosmic star formation rate density, averaged over bins of similar
    spacing. Massive galaxies are ahead of the cosmic average, and low-mass ones behind: the
    density is read at an epoch that is shifted by -0.2 dex in the age of the universe at 1e9 Msun
    to +0.8 dex at 1e12 Msun, linearly in log mass, but not beyond z = 10 and 0.15.

    Parameters
    ----------
    log_mass : array_like, scalar
        log10 of the stellar mass [Msun].
    cosmic_age : array_like, scalar
        Age of the universe at the epoch of observation [Gyr].
    n_bins : int
        Number of bins.

    Returns
    -------
    Array, shape (n_bins - 1,)
        log10 SFR_j / SFR_(j+1), the most recent bin first [dex].
    """
    position = (jnp.asarray(log_mass) - _LOG_MASSES[0]) / (_LOG_MASSES[1] - _LOG_MASSES[0])
    shift = _LOG_SHIFTS[0] + (_LOG_SHIFTS[1] - _LOG_SHIFTS[0]) * jnp.clip(position, 0.0, 1.0)
    epoch = jnp.clip(jnp.asarray(cosmic_age) * 10.0**shift, *_EPOCHS_GYR)
    edges = _average_edges(epoch, n_bins)
    nodes, weights = np.polynomial.legendre.leggauss(_N_NODES)
    lookback = edges[:-1, None] + jnp.diff(edges)[:, None] * (0.5 + 0.5 * nodes)
    mean = cosmic_sfr_density(_COSMIC_SFR[-1][0] - lookback) @ (0.5 * weights)
    return -jnp.diff(jnp.log10(mean))


@register("sfh", "prospector_beta")
@dataclass(frozen=True)
class ProspectorBetaSFH(BinnedSFH):
    """Bins whose ratios of star formation rates scatter around those of the cosmic average.

    The parameters are deviations from :func:`expected_log_ratios`, with the Student-t prior of
    :class:`~tengri_ppl.physics.sfh.ContinuitySFH`. The mass at which the expectation is evaluated
    is a parameter of its own, so that the light stays proportional to the mass formed; fix it near
    the galaxy's mass.

    Attributes
    ----------
    n_bins : int
        Number of bins.
    """

    citations = ("Wang2023", "Behroozi2019")

    n_bins: int = 7

    def __post_init__(self) -> None:
        """Check the number of bins."""
        super().__post_init__()
        if self.n_bins < 4:
            raise ParameterError(f"n_bins={self.n_bins}: expected 4 or more")

    @property
    def shape_parameters(self) -> tuple[Parameter, ...]:
        """logsfr_deviations, expected_at_log_mass."""
        deviation = "log ratio of the SFR in a bin over the next older one, over the expected one"
        mass = "log10 of the stellar mass for which the history is expected"
        prior = StudentTPrior(2.0, 0.0, 0.3)
        return (
            Parameter("logsfr_deviations", "dex", deviation, prior, (self.n_bins - 1,)),
            Parameter("expected_at_log_mass", "dex(Msun)", mass, 10.0),
        )

    def bins(self, cosmic_age: ArrayLike, **params: ArrayLike) -> tuple[ArrayLike, ArrayLike]:
        """See :meth:`BinnedSFH.bins`."""
        expected = expected_log_ratios(params["expected_at_log_mass"], cosmic_age, self.n_bins)
        edges = bin_edges(cosmic_age, self.n_bins)
        return edges, share_from_ratios(expected + params["logsfr_deviations"], jnp.diff(edges))
