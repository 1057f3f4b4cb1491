"""Effective sample sizes, R-hat and errors, which know what kind of draws they are of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tengri_ppl._arviz import load_arviz
from tengri_ppl.inference.convergence import rank_rhat
from tengri_ppl.results.variables import chain_draws, free_parameters

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]

__all__ = [
    "autocorrelations",
    "effective_sample_sizes",
    "free_draws",
    "independent_draws",
    "rhats",
    "summary_table",
]


def effective_sample_sizes(inference_data: Any, method: str = "bulk") -> dict[str, float]:
    """Effective sample size of each free scalar, ``"bulk"`` or ``"tail"`` as ArviZ has them.

    Of draws that form no chains it is their number, or, if they were resampled from weighted ones,
    as many as the weights allow.
    """
    az, draws = load_arviz(), free_draws(inference_data)
    if not _are_chains(inference_data):
        return dict.fromkeys(draws, independent_draws(inference_data))
    return {name: float(az.ess(x, method=method)) for name, x in draws.items()}


def rhats(inference_data: Any) -> dict[str, float]:
    """Rank-normalised split R-hat of each free scalar; NaN for draws that form no chains."""
    draws = free_draws(inference_data)
    if not _are_chains(inference_data):
        return dict.fromkeys(draws, math.nan)
    return {name: rank_rhat(x) for name, x in draws.items()}


def summary_table(inference_data: Any, names: Sequence[str], hdi_prob: float) -> pd.DataFrame:
    """Make the table of ``arviz.summary``, with errors that know which draws are independent."""
    az, options = load_arviz(), {"var_names": list(names), "hdi_prob": hdi_prob, "round_to": "none"}
    if _are_chains(inference_data):
        chains: pd.DataFrame = az.summary(inference_data, **options)
        return chains.round(4)
    table: pd.DataFrame = az.summary(inference_data, kind="stats", **options)
    n, draws = independent_draws(inference_data), chain_draws(inference_data, names).values()
    table["mcse_mean"], table["mcse_sd"] = zip(*(_errors(x, n) for x in draws), strict=True)
    table["ess_bulk"] = table["ess_tail"] = n
    table["r_hat"] = math.nan
    return table.round(4)


def _errors(x: np.ndarray, n: float) -> tuple[float, float]:
    """Return the standard errors of mean and standard deviation, from n independent draws."""
    if np.size(x) < 2:
        return math.nan, math.nan
    deviation = np.square(np.ravel(x) - np.mean(x, dtype=float))
    variance = float(np.mean(deviation))
    relative = float(np.mean((deviation / variance - 1.0) ** 2)) if variance else 0.0
    return math.sqrt(variance / n), math.sqrt(variance * relative / n) / 2.0


def autocorrelations(inference_data: Any) -> dict[str, np.ndarray]:
    """Autocorrelation of each free scalar at all lags, the mean over chains, (draw,)."""
    draws = free_draws(inference_data)
    return {name: np.mean(load_arviz().autocorr(x), axis=0) for name, x in draws.items()}


def independent_draws(inference_data: Any) -> float:
    """Count draws that form no chains; of resampled ones, as many as the weights allow.

    The errors of the weighted draws and of resampling them add up: 1/n = 1/n_eff + 1/n_draws.
    """
    n_effective = float(inference_data.attrs.get("n_effective", math.inf))
    sizes = inference_data.posterior.sizes
    return 1.0 / (1.0 / n_effective + 1.0 / (sizes["draw"] * sizes["chain"]))


def _are_chains(inference_data: Any) -> bool:
    """Whether draws follow one another, so that R-hat says something."""
    attrs = inference_data.attrs
    independent = "n_effective" in attrs or "approximation_k" in attrs
    return not independent and attrs.get("method") != "map"


def free_draws(inference_data: Any) -> dict[str, np.ndarray]:
    """Draws (chain, draw) of each free parameter, and of each element of a vector.

    Elements that are constant by construction, as of a Cholesky factor, are left out: those that
    never move while others of the same vector do.
    """
    free: dict[str, np.ndarray] = {}
    for name in free_parameters(inference_data):
        elements = chain_draws(inference_data, [name])
        moving = {element: x for element, x in elements.items() if np.ptp(x) > 0.0}
        free |= moving or elements
    return free
