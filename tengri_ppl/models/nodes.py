"""How finely to tabulate: nodes per band, and redshifts."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from tengri_ppl.errors import ParameterError
from tengri_ppl.models.band_rules import BandRule, BandRules
from tengri_ppl.models.entries import Fixed
from tengri_ppl.models.parameters import Parameters
from tengri_ppl.models.structure import Structure
from tengri_ppl.observation.photometry import BandQuadrature
from tengri_ppl.runtime.compiled import Compiled

__all__ = ["choose_n_nodes", "redshift_nodes", "upper_bound"]

_LOG1PZ_STEP = 0.01
_CANDIDATES = range(2, 13)
_REFERENCE_RANGE = (0.0, 8.0)
_N_SPREAD = 12
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


def choose_n_nodes(
    spec: Parameters, quadrature: BandQuadrature, tolerance: float, bands: Sequence[str]
) -> int:
    """Return the smallest number of attenuation nodes per band that reaches a tolerance.

    The error is that of the band-averaged transmission of the dust for a flat spectrum, over
    draws from the prior and bands. Its 95th percentile has to be below half the tolerance at each
    of several redshifts that are spread over the prior of a free redshift; models of a fixed one
    share a set of redshifts, over all of which the percentile is taken (so that the choice, and
    with it the shape of the compiled program, is the same for all galaxies).

    Raises
    ------
    ParameterError
        If no number up to 12 suffices; it names the band that errs most.
    """
    structure = spec.structure
    redshifts = _spread_redshifts(spec["redshift"])
    params = spec.sample_batch(jax.random.key(0), _N_DRAWS)
    params |= {n: jnp.broadcast_to(v, (_N_DRAWS, *v.shape)) for n, v in spec.fixed.items()}
    points = np.asarray(quadrature.wave)
    seen = [
        np.asarray(_transmitted(structure, params, jnp.asarray(points / (1.0 + z))))
        for z in redshifts
    ]
    for k in _CANDIDATES:
        rules = BandRules(quadrature, structure.dust.breaks, k)
        errors = [
            _errors(rules.at(z), quadrature, at_z, z)
            for z, at_z in zip(redshifts, seen, strict=True)
        ]
        groups = [np.concatenate(errors)] if isinstance(spec["redshift"], Fixed) else errors
        if all(_percentile(x) < _MARGIN * tolerance for x in groups):
            return k
    by_band = [_percentile(x) for x in np.moveaxis(np.concatenate(errors), -1, 0)]
    worst = int(np.argmax(by_band))
    raise ParameterError(
        f"tolerance={tolerance:g} is not reached with {max(_CANDIDATES)} attenuation nodes per "
        f"band: the dust errs by {by_band[worst]:.1g} in {bands[worst]}. Look whether its "
        "transmission is cut to its passband, ask for less, or use mode='exact'"
    )


def _percentile(errors: np.ndarray) -> float:
    """95th percentile of the errors that count; zero if none does."""
    counts = errors[~np.isnan(errors)]
    return float(np.percentile(counts, 95)) if counts.size else 0.0


def _spread_redshifts(redshift: Any) -> np.ndarray:
    """Return redshifts that are evenly spread in ln(1 + z), between those of the tables."""
    fixed = isinstance(redshift, Fixed)
    low, high = np.log1p(_REFERENCE_RANGE if fixed else redshift_nodes(redshift)[[0, -1]])
    return np.expm1(low + (high - low) * (np.arange(_N_SPREAD) + 0.5) / _N_SPREAD)


def _errors(
    rules: list[BandRule], quadrature: BandQuadrature, seen: np.ndarray, redshift: float
) -> np.ndarray:
    """Relative errors of the transmission through bands, (n_draw, 2, n_band); NaN where dark.

    Parameters
    ----------
    rules : list of BandRule
        The bands' rules at this redshift.
    quadrature : BandQuadrature
        The bands.
    seen : ndarray, shape (n_draw, 2, n_band, n_q)
        Transmission of the dust at the points of the quadrature.
    redshift : float
        Redshift.
    """
    points, weights = np.asarray(quadrature.wave), np.asarray(quadrature.weight)
    truth = np.einsum("dpbq,bq->dpb", seen, weights)
    fast = np.stack(
        [
            _at_nodes(seen[:, :, band], points[band], rule.nodes) @ rule.weights.sum(axis=1)
            for band, rule in enumerate(rules)
        ],
        axis=-1,
    )
    relevant = (points.min(axis=1) > _LYMAN_LIMIT * (1.0 + redshift)) & (truth > _FAINTEST)
    return np.where(relevant, np.abs(fast / np.where(relevant, truth, 1.0) - 1.0), np.nan)


def _at_nodes(seen: np.ndarray, points: np.ndarray, nodes: np.ndarray) -> np.ndarray:
    """Interpolate (..., n_q) at ``points`` linearly to ``nodes``, (..., K)."""
    upper = np.searchsorted(points, nodes)
    share = (nodes - points[upper - 1]) / (points[upper] - points[upper - 1])
    return seen[..., upper - 1] * (1.0 - share) + seen[..., upper] * share


@partial(Compiled, static_argnums=0)
def _transmitted(structure: Structure, params: dict[str, Array], rest: Array) -> Array:
    """Transmission of the dust towards young and old stars, (n_draw, 2, *rest.shape)."""

    def one(p: dict[str, Array]) -> Array:
        return jnp.stack(structure.dust.transmission(rest, p))

    return jax.vmap(one)(params)
