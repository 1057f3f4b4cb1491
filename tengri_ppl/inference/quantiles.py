r"""Quantile functions of the normal cdf, for distributions whose own can't be differentiated.

Each maps a standard normal :math:`\xi` to :math:`x = F^{-1}(\Phi(\xi))` by bisection, from the tail
that is the smaller one, so that 32 bits suffice far out. The derivative is that of the implicit
function, :math:`dx/d\xi = \varphi(\xi) / f(x)`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax import Array
from jax.scipy.special import betainc, gammainc, gammaincc, ndtr

__all__ = ["beta", "gamma", "student_t"]

_STEPS = 40
#: Relative step for derivatives by the shapes of a distribution, which JAX does not all have.
_SHAPE_STEP = 1e-2


def student_t(xi: Array, df: Array) -> Array:
    """Student-t variable with location 0 and scale 1."""
    return _student_t(*jnp.broadcast_arrays(xi, jnp.asarray(df, xi.dtype)))


def gamma(xi: Array, concentration: Array) -> Array:
    """Gamma variable with rate 1."""
    return _gamma(*jnp.broadcast_arrays(xi, jnp.asarray(concentration, xi.dtype)))


def beta(xi: Array, concentration1: Array, concentration0: Array) -> Array:
    """Beta variable."""
    shapes = (jnp.asarray(c, xi.dtype) for c in (concentration1, concentration0))
    return _beta(*jnp.broadcast_arrays(xi, *shapes))


def _quantile(
    value: Callable[[Array], Array],
    tails: Callable[..., tuple[Array, Array]],
    make: Callable[..., Any],
    widest: float,
) -> Callable[..., Array]:
    """Make a quantile function.

    ``value`` maps the real line to the support; ``tails(x, *shapes)`` are the probabilities below
    and above x; ``make(*shapes)`` is the distribution. The search is between -+widest.
    """

    @jax.custom_jvp
    def quantile(xi: Array, *shapes: Array) -> Array:
        tail = ndtr(-jnp.abs(xi))

        def halve(_: int, ends: tuple[Array, Array]) -> tuple[Array, Array]:
            low, high = ends
            middle = 0.5 * (low + high)
            below, above = tails(value(middle), *shapes)
            too_far = jnp.where(xi < 0.0, below > tail, above < tail)
            return jnp.where(too_far, low, middle), jnp.where(too_far, middle, high)

        ends = (jnp.full_like(xi, -widest), jnp.full_like(xi, widest))
        low, high = jax.lax.fori_loop(0, _STEPS, halve, ends)
        return value(0.5 * (low + high))

    @quantile.defjvp
    def _jvp(primals: Any, tangents: Any) -> tuple[Array, Array]:
        xi, *shapes = primals
        x = quantile(xi, *shapes)
        density = make(*shapes).log_prob(x)
        change = jnp.exp(dist.Normal(0.0, 1.0).log_prob(xi) - density) * tangents[0]
        for i, tangent in enumerate(tangents[1:]):
            step = _SHAPE_STEP * shapes[i]
            more, less = ([*shapes[:i], shapes[i] + s, *shapes[i + 1 :]] for s in (step, -step))
            (below_more, above_more), (below_less, above_less) = tails(x, *more), tails(x, *less)
            # the smaller tail is the more accurate one
            rise = jnp.where(xi < 0.0, below_more - below_less, above_less - above_more)
            change -= rise / (2.0 * step) * jnp.exp(-density) * tangent
        return x, change

    return quantile


def _student_tails(x: Array, df: Array) -> tuple[Array, Array]:
    half = 0.5 * betainc(0.5 * df, 0.5, df / (df + x**2))
    return jnp.where(x < 0.0, half, 1.0 - half), jnp.where(x < 0.0, 1.0 - half, half)


_student_t = _quantile(jnp.sinh, _student_tails, lambda df: dist.StudentT(df, 0.0, 1.0), 40.0)
_gamma = _quantile(
    jnp.exp,
    lambda x, a: (gammainc(a, x), gammaincc(a, x)),
    lambda a: dist.Gamma(a, 1.0),
    60.0,
)
_beta = _quantile(
    jax.nn.sigmoid,
    lambda x, a, b: (betainc(a, b, x), betainc(b, a, 1.0 - x)),
    dist.Beta,
    60.0,
)
