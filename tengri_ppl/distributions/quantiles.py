r"""Quantile functions of the normal cdf, for distributions whose own can't be differentiated.

Each maps a standard normal :math:`\xi` to :math:`x = F^{-1}(\Phi(\xi))`, by bisection where there
is no closed form, from the tail that is the smaller one, so that 32 bits suffice far out. The
derivative is that of the implicit function, :math:`dx/d\xi = \varphi(\xi) / f(x)`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax import Array
from jax.scipy.special import betainc, gammainc, gammaincc, ndtr, ndtri
from jax.typing import ArrayLike

__all__ = ["beta", "gamma", "student_t", "truncated_normal"]

_STEPS = 40
#: Relative step for derivatives by the shapes of a distribution, which JAX does not all have.
_SHAPE_STEP = 1e-2
#: Truncation farther out than so many widths is none, in 32 bits.
_FARTHEST = 12.0
_TINY, _LARGEST_EXPONENT = 1e-37, 80.0


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


def truncated_normal(xi: Array, loc: Array, scale: Array, low: ArrayLike, high: ArrayLike) -> Array:
    """Return a normal variable between ``low`` and ``high``, of which either may be infinite."""
    a, b = (jnp.clip((edge - loc) / scale, -_FARTHEST, _FARTHEST) for edge in (low, high))
    return jnp.clip(loc + scale * _truncated_standard(*jnp.broadcast_arrays(xi, a, b)), low, high)


@jax.custom_jvp
def _truncated_standard(xi: Array, a: Array, b: Array) -> Array:
    """Return a standard normal variable between a and b; mirrored if most of them is above 0."""
    mirrored = a + b > 0.0
    lower = ndtr(jnp.where(mirrored, -b, a))
    upper = ndtr(jnp.where(mirrored, -a, b))
    share = ndtr(jnp.where(mirrored, -xi, xi))
    t = ndtri(jnp.maximum(lower + share * (upper - lower), _TINY))
    return jnp.clip(jnp.where(mirrored, -t, t), a, b)


@_truncated_standard.defjvp
def _truncated_standard_jvp(primals: Any, tangents: Any) -> tuple[Array, Array]:
    xi, a, b = primals
    t = _truncated_standard(xi, a, b)
    mirrored = a + b > 0.0
    mass = jnp.where(mirrored, ndtr(-a) - ndtr(-b), ndtr(b) - ndtr(a))

    def over_density(x: Array) -> Array:
        """Return the density at x over that at t."""
        return jnp.exp(jnp.clip(0.5 * (t - x) * (t + x), None, _LARGEST_EXPONENT))

    d_xi, d_a, d_b = tangents
    change = over_density(xi) * mass * d_xi
    change += over_density(a) * ndtr(-xi) * d_a + over_density(b) * ndtr(xi) * d_b
    return t, change


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
