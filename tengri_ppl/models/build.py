"""Build a forward model: choose nodes and redshifts, integrate the table, move grids over."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from tengri_ppl.errors import ParameterError
from tengri_ppl.models.forward import ForwardModel, flux_unit, igm_transmission
from tengri_ppl.models.parameters import Fixed, Parameters, Structure
from tengri_ppl.models.photometry_table import (
    PhotometryTable,
    band_basis,
    build_table,
)
from tengri_ppl.observation.photometry import BandQuadrature, Photometry, band_quadrature
from tengri_ppl.physics.composite import age_intervals, count_fine
from tengri_ppl.physics.ssp import SSPData

__all__ = ["build_forward", "choose_n_nodes", "redshift_nodes"]

_LOG1PZ_STEP = 0.01
_NODE_CANDIDATES = range(2, 13)
_REFERENCE_REDSHIFTS = (0.0, 0.3, 1.0, 2.0, 4.0, 8.0)
_N_DRAWS = 16
_LYMAN_LIMIT = 912.0
_FAINTEST = 1e-6
_MARGIN = 0.5


def build_forward(
    spec: Parameters,
    ssp: SSPData,
    photometry: Photometry,
    *,
    tolerance: float,
    n_nodes: int | None,
    age_scheme: str,
    h0: float,
    om0: float,
) -> ForwardModel:
    """Build the forward model; see :class:`tengri_ppl.SEDModel` for the arguments."""
    structure = spec.structure
    quadrature = band_quadrature(photometry.filters)
    coefficients = structure.igm.load()
    if n_nodes is None:
        n_nodes = choose_n_nodes(spec, quadrature, tolerance)
    transmission = partial(_transmission, structure, coefficients)
    redshifts = redshift_nodes(spec["redshift"])
    breaks = structure.dust.breaks
    table = build_table(ssp, quadrature, photometry.names, n_nodes, redshifts, transmission, breaks)
    lower, upper = age_intervals(ssp.ssp_lg_age_gyr, age_scheme)
    surviving = ssp.ssp_mass_remaining
    return ForwardModel(
        flux=jnp.asarray(ssp.ssp_flux),
        wave=_floats(ssp.ssp_wave),
        lgmet=_floats(ssp.ssp_lgmet),
        mass_remaining=None if surviving is None else _floats(surviving),
        age_lower=_floats(lower),
        age_upper=_floats(upper),
        table=PhotometryTable(
            _floats(np.asarray(table.values) * flux_unit(ssp.lsun_erg_s)),
            _floats(table.node_wave),
            _floats(table.log1pz),
        ),
        quadrature=jax.tree.map(_floats, quadrature),
        igm=jax.tree.map(_floats, coefficients),
        h0=_floats(h0),
        om0=_floats(om0),
        structure=structure,
        bands=photometry.names,
        age_scheme=age_scheme,
        n_fine=count_fine(lower),
        n_young=_count_young(spec, lower, np.size(ssp.ssp_lg_age_gyr)),
        zsun=ssp.zsun,
        lsun_erg_s=ssp.lsun_erg_s,
    )


def _count_young(spec: Parameters, lower: np.ndarray, n_age: int) -> int:
    """Return how many of the youngest ages can have stars in birth clouds."""
    bounds = {
        name: value.value if isinstance(value, Fixed) else _upper_bound(value)
        for name, value in spec.items()
    }
    oldest = np.asarray(spec.structure.dust.birth_cloud_age(bounds))
    return min(int(np.sum(lower < oldest)), n_age)


def _upper_bound(prior: Any) -> float:
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
    high = _upper_bound(redshift)
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
    breaks = spec.structure.dust.breaks if isinstance(spec["redshift"], Fixed) else ()
    candidates = {k: _band_rules(points, weights, k, breaks) for k in _NODE_CANDIDATES}
    one_plus_z = 1.0 + np.array(_REFERENCE_REDSHIFTS)[:, None, None]
    observed = np.broadcast_to(points, (one_plus_z.size, *points.shape))
    sections = [observed, *(nodes for nodes, _ in candidates.values())]
    rest = np.concatenate(sections, axis=2) / one_plus_z
    params = spec.sample_batch(jax.random.key(0), _N_DRAWS)
    params |= {name: jnp.full(_N_DRAWS, value) for name, value in spec.fixed.items()}
    seen = np.asarray(_transmitted(spec.structure, params, jnp.asarray(rest)))
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
        f"tolerance={tolerance:g} is not reached with {max(_NODE_CANDIDATES)} attenuation nodes "
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
        return jnp.exp(-jnp.stack(structure.dust.optical_depths(rest, p)))

    return jax.vmap(one)(params)


@partial(jax.jit, static_argnums=0)
def _igm_transmission(structure: Structure, coefficients: Any, wave: Array, z: Array) -> Array:
    return igm_transmission(structure, coefficients, wave, z)


def _transmission(
    structure: Structure, coefficients: Any, wave: np.ndarray, redshift: float
) -> np.ndarray:
    """Compiled :func:`igm_transmission` for the table's builder."""
    return np.asarray(_igm_transmission(structure, coefficients, wave, redshift), dtype=float)


def _floats(x: Any) -> Array:
    """Return an array of JAX's default floating-point type."""
    return jnp.asarray(x, dtype=float)
