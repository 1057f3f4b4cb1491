"""A prior restricted to an interval."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax import Array
from jax.scipy.special import ndtr, ndtri
from jax.typing import ArrayLike
from numpyro.distributions import constraints

from tengri_ppl.distributions.standard import from_standard, to_standard

__all__ = ["Restricted"]


class Restricted(dist.Distribution):
    """What is known of a scalar from its prior, and that it is in an interval.

    Parameters
    ----------
    prior : numpyro.distributions.Distribution
        A continuous prior of a scalar that is known as a function of a standard normal.
    low, high : array_like, scalar
        Limits, as values of that standard normal.
    """

    pytree_data_fields = ("prior", "low", "high")

    def __init__(
        self,
        prior: Any,
        low: ArrayLike,
        high: ArrayLike,
        *,
        validate_args: bool | None = None,
    ) -> None:
        self.prior = prior
        self.low, self.high = (jnp.asarray(x, dtype=float) for x in (low, high))
        super().__init__((), (), validate_args=validate_args)

    @property
    def support(self) -> Any:
        """The interval."""
        ends = (from_standard("", self.prior, z) for z in (self.low, self.high))
        return constraints.interval(*ends)

    def _shares(self) -> tuple[Array, Array]:
        """Cumulative probability of the prior at the lower end, and between the ends."""
        return ndtr(self.low), ndtr(self.high) - ndtr(self.low)

    def cdf(self, value: ArrayLike) -> Array:
        """Cumulative probability at values."""
        begin, share = self._shares()
        return (ndtr(to_standard(self.prior, jnp.asarray(value))) - begin) / share

    def icdf(self, q: ArrayLike) -> Array:
        """Quantiles."""
        begin, share = self._shares()
        z = jnp.clip(ndtri(begin + share * jnp.asarray(q)), self.low, self.high)
        return from_standard("", self.prior, z)

    def sample(self, key: Array, sample_shape: tuple[int, ...] = ()) -> Array:
        """Draw by inverting the cumulative probability."""
        return self.icdf(jax.random.uniform(key, sample_shape))

    def log_prob(self, value: ArrayLike) -> Array:
        """Log-density at values inside of the interval."""
        return self.prior.log_prob(value) - jnp.log(self._shares()[1])
