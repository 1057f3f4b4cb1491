"""Leaps of a Markov chain to independent points, between its local moves.

A chain goes to one of several draws of a fixed proposal, or stays, picked by their importance
weights: iterated sampling importance resampling (i-SIR: Andrieu, Doucet & Holenstein 2010, Journal
of the Royal Statistical Society B 72, 269). The posterior is invariant whatever the proposal; where
that is poor, the local moves bring a chain on (Ex2MCMC: Samsonov et al. 2022, NeurIPS 35). The
proposal is the mixture that importance sampling fits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from tengri_ppl.errors import ParameterError
from tengri_ppl.inference.mixture import StudentTMixture
from tengri_ppl.inference.pareto import MAX_PARETO_K, resample
from tengri_ppl.inference.start import DISPERSION
from tengri_ppl.inference.weighted import WeightedDraws

__all__ = ["Leaps", "check_leaps", "leap"]

#: Mixtures of Student-t distributions follow no posterior of more coordinates.
_MAX_DIMENSION = 50
#: Effective draws for each coordinate, to be of use at all, and to know the covariance.
_FEW, _MANY = 2.0, 10.0


@dataclass(frozen=True)
class Leaps:
    """Where chains can leap to.

    Attributes
    ----------
    n : int
        Draws of the proposal that a chain picks from.
    draws : WeightedDraws
        Draws of importance sampling, the last proposal of which serves.
    """

    n: int
    draws: WeightedDraws

    @property
    def useful(self) -> bool:
        """Whether the proposal has learnt anything of the posterior."""
        return bool(np.isfinite(self.draws.pareto_k) and self._draws_per_coordinate >= _FEW)

    @property
    def frequent(self) -> bool:
        """Whether most leaps succeed, and can go everywhere.

        An effective draw, at least, is among those to pick from, k-hat is good, and the covariance
        is known.
        """
        enough = self.n * self.draws.ess >= len(self.draws.x)
        known = self._draws_per_coordinate >= _MANY
        return bool(enough and known and self.draws.pareto_k < MAX_PARETO_K)

    @property
    def note(self) -> str:
        """What is to be said of the proposal in a result."""
        share = self.draws.ess / len(self.draws.x)
        found = f"{share:.1%} of the proposals are effective, k-hat {self.draws.pareto_k:.2f}"
        return f"leaps: {found}" if self.useful else f"no leaps: {found}"

    @property
    def _draws_per_coordinate(self) -> float:
        return self.draws.ess / self.draws.x.shape[1]

    @property
    def covariance(self) -> np.ndarray:
        """Covariance of the posterior, (D, D)."""
        covariance = np.cov(self.draws.x, rowvar=False, aweights=np.exp(self.draws.log_weight))
        return np.atleast_2d(covariance)

    def dispersed_points(self, key: Array, n: int) -> np.ndarray:
        """Pick points (n, D) from the draws: of the posterior, tempered to be wider."""
        draws = self.draws
        excess = np.where(np.isfinite(draws.log_density), draws.log_density, 0.0)
        log_weight = draws.log_weight - (1.0 - DISPERSION**-2) * excess
        return draws.x[resample(key, log_weight - np.logaddexp.reduce(log_weight), n)]


def check_leaps(n: int, dimension: int) -> None:
    """Refuse leaps in more coordinates than a proposal serves for.

    Raises
    ------
    ParameterError
        If there are too many.
    """
    if n and dimension > _MAX_DIMENSION:
        raise ParameterError(
            f"n_leaps={n}: no proposal serves for {dimension} coordinates (at most "
            f"{_MAX_DIMENSION}); leave n_leaps at 0"
        )


def leap(
    key: Array,
    x: Array,
    log_density: Array,
    log_density_at: Callable[[Array], Array],
    proposal: StudentTMixture,
    n: int,
) -> tuple[Array, Array]:
    """Pick the next point of a chain from the present one and draws of a proposal.

    Parameters
    ----------
    key : Array
        Random key.
    x : Array, shape (D,)
        Where the chain is.
    log_density : Array, scalar
        Log-posterior there.
    log_density_at : callable
        Log-posterior at points (n, D), -inf where it is not finite.
    proposal : StudentTMixture
        The proposal, which must not depend on the chain.
    n : int
        Draws.

    Returns
    -------
    x : Array, shape (D,)
        Where the chain goes.
    leapt : Array, scalar bool
        Whether that is another point.
    """
    key_draw, key_pick = jax.random.split(key)
    # one draw for each key: those of a single call are spread evenly, and not independent
    drawn = jax.vmap(lambda k: proposal.sample(k, 1)[0])(jax.random.split(key_draw, n))
    points = jnp.concatenate([x[None], drawn])
    heights = jnp.append(log_density, log_density_at(drawn))
    pick = jax.random.categorical(key_pick, heights - proposal.log_density(points))
    return points[pick], pick > 0
