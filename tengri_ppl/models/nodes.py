"""How finely to tabulate: nodes per band, and redshifts."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from tengri_ppl.errors import ParameterError
from tengri_ppl.models.entries import Fixed
from tengri_ppl.models.parameters import Parameters
from tengri_ppl.models.photometry_table import band_basis
from tengri_ppl.models.structure import Structure
from tengri_ppl.observation.photometry import BandQuadrature

__all__ = ["choose_n_nodes", "redshift_nodes", "upper_bound"]

_LOG1PZ_STEP = 0.01
_CANDIDATES = range(2, 13)
_REFERENCE_REDSHIFTS = (0.0, 0.3, 1.0, 2.0, 4.0, 8.0)
_N_DRAWS = 16
_LYMAN_LIMIT = 912.0
_FAINTEST = 1e-6
_MARGIN = 0.5


def upper_bound(prior: Any) -> float:
    """Return the upper end of a prior's support, infinite if it has none."""
    return float(getattr(prior.support, "upper_bound", np.inf))


def redshift_nodes(redshift: Any) -> np.ndarray:
    """Redshifts at which the table is made: the fixed one, or a grid over the prior's support.

    Raises
    ------
    ParameterError
        If a fixed redshift is not positive, or the support of the prior is not bounded.
    """
    if isinstance(redshift, Fixed):
        if not redshift.value > 0:
            raise ParameterError(
                f"redshift={float(redshift.value):g}: expected a positive redshift, from which the "
                "luminosity distance follows"
            )
        return np.array([float(redshift.value)])
    low = float(getattr(redshift.support, "lower_bound", -np.inf))
    high = upper_bound(redshift)
    if not (0.0 <= low < high < np.inf):
        raise ParameterError(
            f"the prior of redshift has the support [{low:g}, {high:g}]; a bounded one at z >= 0 "
            "is expected, for example Uniform(0, 6) or TruncatedNormal(1, 0.1, low=0, high=6)"
        )
    n = max(4, int(np.ceil(np.log((1.0 + high) / (1.0 + low)) / _LOG1PZ_STEP)) + 1)
    return np.expm1(np.linspace(np.log1p(low), np.log1p(high), n))


def choose_n_nodes(spec: Parameters, quadrature: BandQuadrature, tolerance: float) -> int:
    """Return the smallest number of attenuation nodes per band that reaches a tolerance.

    The error is that of the band-averaged transmission of the dust for a flat spectrum, over
    draws from the prior and a fixed set of redshifts (so that the choice, and with it the shape
    of the compiled program, is the same for all galaxies); its 95th percentile has to be below
    half the tolerance.

    Raises
    ------
    ParameterError
        If no number up to 12 suffices.
    """
    points, weights = np.asarray(quadrature.wave), np.asarray(quadrature.weight)
    structure = spec.structure
    breaks = structure.dust.breaks if isinstance(spec["redshift"], Fixed) else ()
    candidates = {k: _band_rules(points, weights, k, breaks) for k in _CANDIDATES}
    one_plus_z = 1.0 + np.array(_REFERENCE_REDSHIFTS)[:, None, None]
    observed = np.broadcast_to(points, (one_plus_z.size, *points.shape))
    sections = [observed, *(nodes for nodes, _ in candidates.values())]
    rest = np.concatenate(sections, axis=2) / one_plus_z
    params = spec.sample_batch(jax.random.key(0), _N_DRAWS)
    params |= {n: jnp.broadcast_to(v, (_N_DRAWS, *v.shape)) for n, v in spec.fixed.items()}
    seen = np.asarray(_transmitted(structure, params, jnp.asarray(rest)))
    seen_at = np.split(seen, np.cumsum([s.shape[2] for s in sections])[:-1], axis=-1)
    truth = np.einsum("dpzbq,bq->dpzb", seen_at[0], weights)
    visible = rest[..., : points.shape[1]].min(axis=-1) > _LYMAN_LIMIT
    relevant = visible & (truth > _FAINTEST)
    for (k, (_, integrals)), at_nodes in zip(candidates.items(), seen_at[1:], strict=True):
        fast = np.einsum("dpzbk,zbk->dpzb", at_nodes, integrals)
        error = np.abs(fast[relevant] / truth[relevant] - 1.0)
        if np.percentile(error, 95) < _MARGIN * tolerance:
            return k
    raise ParameterError(
        f"tolerance={tolerance:g} is not reached with {max(_CANDIDATES)} attenuation nodes "
        "per band; ask for less, or use mode='exact'"
    )


def _band_rules(
    points: np.ndarray, weights: np.ndarray, n_nodes: int, breaks: tuple[float, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Nodes [Angstrom] and integrals of their functions, (reference redshift, band, K)."""
    known: dict[Any, tuple[np.ndarray, np.ndarray]] = {}

    def rule(band: int, redshift: float) -> tuple[np.ndarray, np.ndarray]:
        log_points = np.log(points[band])
        cuts = np.log(breaks) + np.log1p(redshift)
        inside = tuple(cuts[(cuts > log_points.min()) & (cuts < log_points.max())])
        if (band, inside) not in known:
            nodes, basis = band_basis(log_points, n_nodes, inside)
            known[band, inside] = np.exp(nodes), basis @ weights[band]
        return known[band, inside]

    rules = [[rule(b, z) for b in range(len(points))] for z in _REFERENCE_REDSHIFTS]
    nodes = np.array([[nodes for nodes, _ in bands] for bands in rules])
    return nodes, np.array([[integrals for _, integrals in bands] for bands in rules])


@partial(jax.jit, static_argnums=0)
def _transmitted(structure: Structure, params: dict[str, Array], rest: Array) -> Array:
    """Transmission of the dust towards young and old stars, (n_draw, 2, *rest.shape)."""

    def one(p: dict[str, Array]) -> Array:
        return jnp.stack(structure.dust.transmission(rest, p))

    return jax.vmap(one)(params)
