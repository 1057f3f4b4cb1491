"""One ArviZ InferenceData from an engine's draws, the model and the data.

The forward model is evaluated in chunks of a fixed number of draws, by programs that take model,
noise and data as arguments: another galaxy, or another number of draws, compiles nothing new.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from tengri_ppl.inference.result import InferenceResult
from tengri_ppl.models.amplitude import DECENTRED
from tengri_ppl.models.coordinates import STANDARD
from tengri_ppl.models.likelihoods import flux_distribution
from tengri_ppl.models.sed import SEDModel
from tengri_ppl.observation.noise import GaussianNoise
from tengri_ppl.physics.constants import MICROJANSKY_CGS
from tengri_ppl.results.datasets import (
    make_dataset,
    make_dead_points,
    make_inference_data,
    make_sample_stats,
)
from tengri_ppl.results.derived import DERIVED, derived_quantities
from tengri_ppl.results.provenance import model_attributes, run_attributes
from tengri_ppl.runtime.chunks import CHUNK, map_draws
from tengri_ppl.runtime.compiled import Compiled

__all__ = ["build_inference_data"]

_FLUX_UNIT = "erg/s/cm^2/Hz"


def build_inference_data(
    result: InferenceResult,
    sed: SEDModel,
    noise: GaussianNoise,
    data: ArrayLike,
    *,
    key: Array,
    attrs: Mapping[str, Any] | None = None,
) -> Any:
    """Join the draws of one galaxy with everything that ArviZ knows what to do with.

    Parameters
    ----------
    result : InferenceResult
        Draws (chain, draw) of at least all free parameters.
    sed : SEDModel
        The model that was fitted.
    noise : GaussianNoise
        Errors (n_band,) [erg/s/cm^2/Hz].
    data : array_like, shape (n_band,)
        Observed f_nu [erg/s/cm^2/Hz].
    key : Array
        Random key for the predictive and the prior draws.
    attrs : mapping, optional
        More attributes for the root: numbers and strings as they are, everything else as JSON.

    Returns
    -------
    arviz.InferenceData
        ``posterior`` (free parameters in the model's order, then `DERIVED`),
        ``unconstrained_posterior`` (coordinates that the engine sampled), ``sample_stats``,
        ``log_likelihood``, ``posterior_predictive``, ``prior`` and ``prior_predictive`` (500
        draws), ``observed_data``, and ``constant_data`` with ``flux_error``, the total error
        [erg/s/cm^2/Hz], NaN in masked bands, ``mask``, True where a band is used, and
        ``pivot_wavelength`` [Angstrom]. Groups without content are left out. In masked bands
        predictive fluxes are the model's, without noise, and the log-likelihood is zero.

    Raises
    ------
    ParameterError
        If the draws lack a free parameter of the model.
    """
    noise, data = _as_arrays(noise), jnp.asarray(data, dtype=float)
    params = {k: np.asarray(v) for k, v in sed.spec.free_values(result.samples).items()}
    key_posterior, key_prior, key_predictive = jax.random.split(key, 3)
    prior = {k: np.asarray(v)[None] for k, v in _prior_draws(sed, key_prior).items()}
    fitted = _evaluate(sed, noise, data, params, key_posterior)
    expected = _evaluate(sed, noise, data, prior, key_predictive)
    coordinates = {name: x for name, x in result.samples.items() if _is_coordinate(name)}
    units = _units(sed)
    dims, bands = {"flux": ["band"]}, {"band": list(sed.bands)}
    cgs = {"flux": _FLUX_UNIT}
    groups = {
        "posterior": make_dataset({**params, **fitted["derived"]}, units=units),
        "unconstrained_posterior": make_dataset(coordinates),
        "sample_stats": make_sample_stats(result),
        "dead_points": make_dead_points(result),
        "log_likelihood": make_dataset({"flux": fitted["log_likelihood"]}, dims, bands),
        "posterior_predictive": make_dataset({"flux": fitted["flux"]}, dims, bands, cgs),
        "prior": make_dataset({**prior, **expected["derived"]}, units=units),
        "prior_predictive": make_dataset({"flux": expected["flux"]}, dims, bands, cgs),
        **_data_groups(sed, noise, data),
    }
    own = model_attributes(sed) | dict(attrs or {})
    return make_inference_data(groups, run_attributes(result, key, own))


# -- evaluation ------------------------------------------------------------------------------------


@Compiled
def _prior_draws(sed: SEDModel, key: Array) -> dict[str, Array]:
    return sed.spec.sample_batch(key, CHUNK)


@Compiled
def _evaluate_chunk(
    sed: SEDModel, noise: GaussianNoise, data: Array, params: dict[str, Array], key: Array
) -> dict[str, Any]:
    """Compute derived quantities, pointwise log-likelihood and predictive fluxes [microjansky]."""
    flux = sed.predict_photometry(params) / MICROJANSKY_CGS
    scatter = noise.resolved(data).sigma / MICROJANSKY_CGS
    if noise.mask is not None:
        scatter = jnp.where(noise.mask, scatter, 0.0)
    return {
        "derived": derived_quantities(sed, params),
        "log_likelihood": flux_distribution(flux, noise, data).log_prob(data),
        "flux": flux + scatter * jax.random.normal(key, flux.shape),
    }


def _evaluate(
    sed: SEDModel,
    noise: GaussianNoise,
    data: Array,
    params: Mapping[str, np.ndarray],
    key: Array,
) -> dict[str, Any]:
    """Evaluate draws (chain, draw)."""
    out = map_draws(partial(_evaluate_chunk, sed, noise, data), params, key)
    # Squares of fluxes in cgs units vanish in 32 bits.
    out["flux"] = np.multiply(out["flux"], MICROJANSKY_CGS, dtype=float)
    out["derived"] = {name: out["derived"][name] for name in DERIVED}
    return out


def _as_arrays(noise: GaussianNoise) -> GaussianNoise:
    """Return the noise with arrays of one type, so that it selects one compiled program."""
    mask = None if noise.mask is None else jnp.asarray(noise.mask, dtype=bool)
    sigma, floor = (jnp.asarray(x, dtype=float) for x in (noise.sigma, noise.floor))
    return GaussianNoise(sigma=sigma, floor=floor, mask=mask)


# -- groups ----------------------------------------------------------------------------------------


def _data_groups(sed: SEDModel, noise: GaussianNoise, data: Array) -> dict[str, Any]:
    """Make ``observed_data`` and ``constant_data``."""
    import xarray as xr

    error = np.asarray(noise.resolved(data).sigma, dtype=float)
    used = np.ones(sed.n_band, bool) if noise.mask is None else np.asarray(noise.mask)
    error = np.where(used, error, np.nan)
    coords = {"band": list(sed.bands)}
    flux = {"flux": ("band", np.asarray(data, dtype=float), {"units": _FLUX_UNIT})}
    constant = {
        "flux_error": ("band", error, {"units": _FLUX_UNIT}),
        "mask": ("band", used),
        "pivot_wavelength": ("band", _pivot_wavelengths(sed), {"units": "Angstrom"}),
    }
    return {
        "observed_data": xr.Dataset(flux, coords=coords),
        "constant_data": xr.Dataset(constant, coords=coords),
    }


def _pivot_wavelengths(sed: SEDModel) -> np.ndarray:
    """Pivot wavelengths (n_band,) [Angstrom], from the nodes of the filters."""
    quadrature = sed.forward.quadrature
    wave, weight = (np.asarray(x, dtype=float) for x in (quadrature.wave, quadrature.weight))
    return np.sqrt(np.sum(weight * wave**2, axis=1) / np.sum(weight, axis=1))


def _units(sed: SEDModel) -> dict[str, str]:
    """Units of the free parameters and of the derived quantities, ``"1"`` where there is none."""
    known = sed.spec.structure.parameters
    return {name: known[name].unit for name in sed.spec.free_params} | DERIVED


def _is_coordinate(name: str) -> bool:
    return name.endswith((STANDARD, DECENTRED))
