r"""The metric of a model whose data come from the members of a plate, in blocks.

With standard coordinates :math:`\xi = (s, x_1, ..., x_G)` of what is shared and of the members, the
Jacobian J of the whitened prediction t has the blocks :math:`S_g` and, on its diagonal,
:math:`L_g = U_g \Sigma_g V_g` with as many rows B as a member has data. So all that geometric
inference does with the metric :math:`M = 1 + J^T J` needs, with
:math:`H_g^2 = 1 + \Sigma_g^2`, only B x B matrices of every member and
:math:`\Lambda = 1 + \sum_g S_g^T U_g H_g^{-2} U_g^T S_g`: time and memory are proportional to G,
however many coordinates a member has.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from tengri_ppl.inference.plated import Structure, member_likelihoods
from tengri_ppl.inference.target import Model
from tengri_ppl.runtime.compiled import Compiled

__all__ = ["Frame", "Linear", "Mean", "Predict", "frame_at", "linearised", "predictions"]

#: (shared, local) -> log-likelihoods (G,), predictions (G, B)
Predict = Callable[[Array, Array], tuple[Array, Array]]


class Mean(NamedTuple):
    """A point in standard coordinates: shared (h,), local (G, K)."""

    shared: Array
    local: Array


class Linear(NamedTuple):
    """A model's members at a point, and derivatives.

    Log-likelihoods (G,) and predictions (G, B); derivatives of both in local coordinates, (G, K)
    and (G, B, K), and in shared ones, (G, h) and (G, B, h).
    """

    log_likelihood: Array
    prediction: Array
    slope: Array
    rows: Array
    shared_slope: Array
    columns: Array


class Frame(NamedTuple):
    """Linearised predictions at a mean.

    Attributes
    ----------
    there : Linear
        The members.
    whiten : Array, shape (G, B, B)
        H^-1 U^T.
    shared : Array, shape (G, B, h)
        H^-1 U^T S.
    singular : Array, shape (G, B)
        Sigma.
    basis : Array, shape (G, B, K)
        V; its rows are orthonormal where Sigma is not zero.
    root : Array, shape (h, h)
        Cholesky factor of Lambda.
    """

    there: Linear
    whiten: Array
    shared: Array
    singular: Array
    basis: Array
    root: Array

    @property
    def gain(self) -> Array:
        """Sigma / H, (G, B)."""
        return self.singular / jnp.hypot(1.0, self.singular)

    @property
    def rest(self) -> Array:
        """1 / H^2, (G, B)."""
        return 1.0 / (1.0 + self.singular**2)

    @property
    def log_det(self) -> Array:
        """Logarithm of the determinant of M."""
        diagonal = jnp.log(jnp.diagonal(self.root))
        return jnp.sum(jnp.log1p(self.singular**2)) + 2.0 * jnp.sum(diagonal)

    def seen(self, local: Array) -> Array:
        """V x, (G, B)."""
        return jnp.einsum("gbk,gk->gb", self.basis, local)

    def unseen(self, v: Array) -> Array:
        """V^T v, (G, K)."""
        return jnp.einsum("gbk,gb->gk", self.basis, v)

    def back(self, v: Array) -> Mean:
        """J^T U H^-1 v."""
        return Mean(jnp.einsum("gbh,gb->h", self.shared, v), self.unseen(self.gain * v))

    def straight(self, v: Array, shared: Array) -> tuple[Array, Array]:
        """Solve v' + H^-1 U^T S d = v and d - S^T U H^-1 v' = ``shared`` for v' and d."""
        d = jax.scipy.linalg.cho_solve((self.root, True), shared + self.back(v).shared)
        return v - self.shared @ d, d

    def squared(self, x: Mean, change: Array) -> Array:
        """w^T M^-1 w of w = x + J^T U H ``change``; large numbers that cancel are left out."""
        seen = self.seen(x.local)
        unseen = jnp.sum(x.local**2) - jnp.sum(seen**2)
        own = seen / jnp.hypot(1.0, self.singular) + self.singular * change
        lack = x.shared + jnp.einsum("gbh,gb->h", self.shared, change - self.gain * seen)
        common = jax.scipy.linalg.solve_triangular(self.root, lack, lower=True)
        return unseen + jnp.sum(own**2) + jnp.sum(common**2)


@partial(Compiled, static_argnums=(0, 1))
def frame_at(
    model: Model, structure: Structure, mean: Mean, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Frame:
    """Linearise the predictions of a model's members at a mean."""
    there = linearised(predictions(model, structure, args, kwargs), mean)
    n_data, n_local = there.rows.shape[1:]
    padded = jnp.pad(there.rows, ((0, 0), (0, 0), (0, max(0, n_data - n_local))))
    left, singular, basis = jnp.linalg.svd(padded, full_matrices=False)
    whiten = jnp.swapaxes(left, 1, 2) / jnp.hypot(1.0, singular)[..., None]
    shared = whiten @ there.columns
    precision = jnp.eye(mean.shared.size) + jnp.einsum("gbh,gbi->hi", shared, shared)
    root = jnp.linalg.cholesky(precision)
    return Frame(there, whiten, shared, singular, basis[:, :, :n_local], root)


def predictions(
    model: Model, structure: Structure, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Predict:
    """Return likelihoods and predictions as a function of coordinates alone."""

    def predict(shared: Array, local: Array) -> tuple[Array, Array]:
        return member_likelihoods(model, structure, shared, local, args, kwargs)

    return predict


def linearised(predict: Predict, point: Mean) -> Linear:
    """Take all derivatives: those of what is shared forwards, those of the members backwards."""
    (log_likelihood, prediction), tangent = jax.linearize(predict, *point)
    transposed = jax.linear_transpose(tangent, *point)
    n, n_data = prediction.shape

    def row(i: Array) -> Array:
        """Differentiate datum i of all members, or, for the last i, their likelihoods."""
        data = jnp.broadcast_to(jax.nn.one_hot(i, n_data), prediction.shape)
        likelihood = jnp.full(n, i == n_data)
        return transposed((likelihood.astype(prediction.dtype), data))[1]

    rows = jnp.moveaxis(jax.lax.map(row, jnp.arange(n_data + 1)), 0, 1)
    h = point.shared.size
    if h:
        none = jnp.zeros_like(point.local)
        slopes, columns = jax.lax.map(lambda s: tangent(s, none), jnp.eye(h))
        slopes, columns = (jnp.moveaxis(x, 0, -1) for x in (slopes, columns))
    else:
        slopes, columns = jnp.zeros((n, 0)), jnp.zeros((n, n_data, 0))
    return Linear(log_likelihood, prediction, rows[:, -1], rows[:, :-1], slopes, columns)
