"""Posteriors of several models for the same data, side by side."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from tengri_ppl._arviz import load_arviz
from tengri_ppl.errors import DataError
from tengri_ppl.results.posterior import Posterior

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]

__all__ = ["compare"]

_LOO_COLUMNS = ("elpd_loo", "p_loo", "elpd_diff", "dse", "weight", "warning")


def compare(posteriors: Mapping[str, Posterior]) -> pd.DataFrame:
    """Compare models by their evidences and by leave-one-out cross-validation.

    Parameters
    ----------
    posteriors : mapping of str to Posterior
        At least two, of the same data, by names for the models.

    Returns
    -------
    pandas.DataFrame
        A row per model, the best first: by evidence, or by cross-validation if one of them has
        none. ``log_evidence`` and its error; ``log_bayes_factor`` against the model of the highest
        evidence, and its error; and, from :func:`arviz.compare`, the expected log predictive
        density ``elpd_loo``, its effective number of parameters ``p_loo``, the difference from the
        best with its standard error ``dse``, and the stacking ``weight``. NaN for what an engine
        does not give.

    Raises
    ------
    DataError
        If there are fewer than two posteriors, or their data differ.
    """
    import pandas as pd

    _check_same_data(posteriors)
    evidence = np.array([p.log_evidence for p in posteriors.values()])
    error = np.array([p.log_evidence_error for p in posteriors.values()])
    table = pd.DataFrame({"log_evidence": evidence, "log_evidence_error": error}, list(posteriors))
    if not np.all(np.isnan(evidence)):
        best = int(np.nanargmax(evidence))
        both = np.hypot(error, error[best])
        both[best] = 0.0
        table["log_bayes_factor"], table["log_bayes_factor_error"] = evidence - evidence[best], both
    table = table.join(_cross_validate(posteriors))
    by = "elpd_loo" if np.any(np.isnan(evidence)) else "log_evidence"
    return table.sort_values(by, ascending=False)


def _cross_validate(posteriors: Mapping[str, Posterior]) -> pd.DataFrame:
    """Leave-one-out cross-validation; its warnings are a column of the table."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = {name: p.inference_data for name, p in posteriors.items()}
        table = load_arviz().compare(data, ic="loo")
    return table[list(_LOO_COLUMNS)]


def _check_same_data(posteriors: Mapping[str, Posterior]) -> None:
    if len(posteriors) < 2:
        raise DataError(f"compare needs at least two posteriors, by name; it has {len(posteriors)}")
    (first, reference), *others = (
        (name, p.inference_data.observed_data) for name, p in posteriors.items()
    )
    for name, data in others:
        if not data.equals(reference):
            raise DataError(
                f"{first!r} and {name!r} are posteriors of different data; only models of the same "
                "data, in the same units and with the same points masked, can be compared"
            )
