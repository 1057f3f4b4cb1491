r"""Galaxies that were fitted one by one say what a parameter is that all of them have in common.

Fitted by itself, a galaxy has a value s of its own of a shared parameter, with the prior
:math:`\pi(s)`, and draws of all else, :math:`\phi`. These have the density of :math:`\phi` with s
integrated out, so that the likelihood of a value that all galaxies share is an average over them,

.. math::

    p(d | s) \propto \left\langle
    \frac{p(d | \phi, s)}{\int p(d | \phi, s') \pi(s') ds'} \right\rangle_\phi .

The ratios are tabulated: the photometry of each draw at a few values of s, its logarithm
interpolated by polynomials, and from these the likelihood on a fine grid.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import ndtr, ndtri

from tengri_ppl.distributions.standard import from_standard, to_standard
from tengri_ppl.errors import DataError
from tengri_ppl.models.likelihoods import flux_distribution
from tengri_ppl.models.relations import static
from tengri_ppl.observation.noise import GaussianNoise
from tengri_ppl.physics.constants import MICROJANSKY_CGS
from tengri_ppl.runtime.compiled import Compiled

if TYPE_CHECKING:
    from tengri_ppl.models.sed import SEDModel

__all__ = ["MOST_SHARED", "SharedLikelihood", "tabulate_shared"]

#: Tables of more dimensions are too large.
MOST_SHARED = 2
#: How far tables of unbounded parameters reach [widths of the prior, in standard normals].
_REACH = 3.0
#: Points along each axis: of the polynomials, and of the grid in one and in two dimensions.
_N_NODES, _N_GRID = 11, (401, 33)
#: Logarithms of ratios below are alike. So far from those that count that the cubics of these don't
#: pass through the bend.
_LEAST = -1e4
#: Largest errors of the logarithm of a likelihood that are let pass, of 99 of 100 draws: by the
#: polynomials, and by a sum over every other point of the grid. That of a sum over all points falls
#: with about the fourth power of it.
_MAX_POLYNOMIAL_ERROR, _MAX_SUM_ERROR = 0.1, 0.5
_FAINTEST = 1e-30  # [microjansky]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class SharedLikelihood:
    """Tabulated ratios of likelihoods of draws of galaxies; see the module.

    Attributes
    ----------
    log_ratio : Array, shape (n_grid, ..., n_draw, n_galaxy)
        An axis for each of the shared parameters.
    names : tuple of str
        The shared parameters.
    """

    log_ratio: Array
    names: tuple[str, ...] = static()

    def __call__(self, priors: Mapping[str, Any], shared: Mapping[str, Array]) -> Array:
        """Logarithms of the ratios for values of the shared parameters, (n_draw, n_galaxy).

        Parameters
        ----------
        priors : mapping of str to distribution
            Of the parameters.
        shared : mapping of str to Array
            Their values.
        """
        table = self.log_ratio
        for name in self.names:
            place = 0.5 * (_Axis(name, priors[name]).place(shared[name]) + 1.0)
            table = _interpolated(table, place * (len(table) - 1))
        return table


@dataclass(frozen=True)
class _Axis:
    """A parameter between the ends of a table, -1 and 1.

    Parameters with limits are in proportion to their cumulative probability, so that a flat prior
    has the parameter itself as coordinate, all others to the standard normal that gives them.
    """

    name: str
    prior: Any

    @property
    def bounded(self) -> bool:
        limits = (getattr(self.prior.support, k, None) for k in ("lower_bound", "upper_bound"))
        return all(limit is not None for limit in limits)

    def place(self, value: Array) -> Array:
        z = to_standard(self.prior, value)
        return 2.0 * ndtr(z) - 1.0 if self.bounded else z / _REACH

    def value(self, place: Array) -> Array:
        z = ndtri(0.5 * (place + 1.0)) if self.bounded else _REACH * place
        return from_standard(self.name, self.prior, z)

    def weights(self, grid: np.ndarray) -> np.ndarray:
        """Shares of the prior at the points of a grid from end to end, by the trapezoidal rule."""
        weight = np.ones(len(grid)) if self.bounded else np.exp(-0.5 * (_REACH * grid) ** 2)
        weight[[0, -1]] *= 0.5
        return weight / weight.sum()


def _interpolated(table: Array, position: Array) -> Array:
    """Interpolate along the first axis by a cubic through the four points around."""
    n = len(table)
    position = jnp.clip(position, 0.0, n - 1.0)
    begin = jnp.clip(jnp.floor(position).astype(int) - 1, 0, n - 4)
    x = position - begin
    points = [jax.lax.dynamic_index_in_dim(table, begin + i, keepdims=False) for i in range(4)]
    weights = _polynomials(np.arange(4.0), x)
    return sum((w * point for w, point in zip(weights, points, strict=True)), jnp.zeros(()))


def tabulate_shared(
    sed: SEDModel,
    noise: GaussianNoise,
    data: Array,
    draws: Mapping[str, Array],
    names: Sequence[str],
) -> SharedLikelihood:
    """Tabulate what draws of galaxies say of shared parameters.

    Parameters
    ----------
    sed : SEDModel
        The forward model of the galaxies.
    noise : GaussianNoise
        Errors, shape (n_galaxy, n_band).
    data : Array, shape (n_galaxy, n_band)
        Observed fluxes [erg/s/cm^2/Hz].
    draws : mapping of str to Array, shape (n_draw, n_galaxy, ...)
        All parameters that are not fixed, the shared ones too.
    names : sequence of str
        The shared parameters, which are scalars; at most ``MOST_SHARED``.

    Raises
    ------
    DataError
        If a galaxy alone knows them too well for a table.
    """
    n = _N_GRID[len(names) - 1]
    table, *errors = _tabulated(sed, noise, data, dict(draws), tuple(names), n)
    limits = _MAX_POLYNOMIAL_ERROR, _MAX_SUM_ERROR
    for error, limit, what in zip(
        errors, limits, ("polynomials", "a sum over a grid"), strict=True
    ):
        worst = np.quantile(np.asarray(error), 0.99)
        if not worst <= limit:
            raise DataError(
                f"likelihoods of single galaxies vary too much with {', '.join(names)} for {what} "
                f"(error {worst:.2g}, limit {limit:g}): they know too well what they have in "
                "common; fit all galaxies together, for example with run('mcmc_nuts')"
            )
    return SharedLikelihood(table, tuple(names))


@partial(Compiled, static_argnums=(4, 5))
def _tabulated(
    sed: SEDModel,
    noise: GaussianNoise,
    data: Array,
    draws: dict[str, Array],
    names: tuple[str, ...],
    n_grid: int,
) -> tuple[Array, Array, Array]:
    """Return the table, and errors of polynomials and sums, (n_draw, n_galaxy) each."""
    nodes, grid = np.cos(np.pi * (np.arange(_N_NODES) + 0.5) / _N_NODES), np.linspace(-1, 1, n_grid)
    mesh = np.stack(np.meshgrid(*(nodes for _ in names), indexing="ij"), -1).reshape(-1, len(names))
    axes = [_Axis(name, sed.spec[name]) for name in names]
    to_grid = jnp.asarray(_polynomials(nodes, jnp.asarray(grid)))

    def log_flux(draw: dict[str, Array]) -> Array:
        """Logarithms of the fluxes (n_galaxy, n_band) of a draw [microjansky]."""
        return jnp.log(jnp.maximum(sed.predict_photometry(draw) / MICROJANSKY_CGS, _FAINTEST))

    def shared(place: Array) -> dict[str, Array]:
        return {axis.name: axis.value(x) for axis, x in zip(axes, place, strict=True)}

    def log_likelihood(log_flux: Array) -> Array:
        density = flux_distribution(jnp.exp(log_flux), noise, data).log_prob(data)
        return jnp.sum(density, axis=-1)

    def one(draw: dict[str, Array]) -> tuple[Array, Array, Array]:
        own = [axis.place(draw[axis.name]) for axis in axes]
        at_nodes = jax.lax.map(lambda place: log_flux(draw | shared(place)), jnp.asarray(mesh))
        at_nodes = at_nodes.reshape(*(_N_NODES for _ in names), *at_nodes.shape[1:])
        there, fine = at_nodes, at_nodes
        for i, place in enumerate(own):
            there = jnp.einsum("gn,n...gb->...gb", _polynomials(nodes, place), there)
            fine = jnp.moveaxis(jnp.tensordot(to_grid, fine, (1, i)), 0, i)
        found, exact = log_likelihood(fine), log_likelihood(log_flux(draw))
        mean, coarse = (_log_mean(found, axes, grid[::step], step) for step in (1, 2))
        ratio = jnp.nan_to_num(found - mean, nan=_LEAST)
        return (
            jnp.maximum(ratio, _LEAST),
            jnp.abs(log_likelihood(there) - exact),
            jnp.abs(coarse - mean),
        )

    table, *errors = jax.lax.map(one, draws)
    return jnp.moveaxis(table, 0, len(names)), *errors


def _log_mean(table: Array, axes: Sequence[_Axis], grid: np.ndarray, step: int) -> Array:
    """Average over the first axes under the priors; over every so many points of them."""
    for axis in axes:
        weight = axis.weights(grid).reshape(-1, *(1,) * (table.ndim - 1))
        table = jax.nn.logsumexp(table[::step], axis=0, b=weight)
    return table


def _polynomials(nodes: np.ndarray, x: Array) -> Array:
    """Lagrange's polynomials through nodes at points x (...), shape (..., n_node)."""
    columns = []
    for i, node in enumerate(nodes):
        others = np.delete(nodes, i)
        factors = (x[..., None] - others) / (node - others)
        columns.append(jnp.prod(factors, axis=-1))
    return jnp.stack(columns, axis=-1)
