"""Marginals of a posterior: as priors of another fit, and compared with those of a check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpyro.distributions as dist
from jax import Array

from tengri_ppl.models.parameters import Fixed, Parameters
from tengri_ppl.results.variables import elements

if TYPE_CHECKING:
    from tengri_ppl.results.posterior import Posterior

__all__ = ["Validation", "compare_marginals", "marginal_draws", "marginal_priors", "overlap"]

_LEAST_OVERLAP = 0.5
_N_BINS = 20
#: Limits of convergence for chains of which there are few draws.
_AGREEMENT = {"max_rhat": 1.1, "min_ess": 0.0, "max_divergences": 1.0}
#: Draws of marginal priors to start from.
_N_DRAWS = 1000


@dataclass(frozen=True)
class Validation:
    """Agreement of a posterior with a check by another method.

    Attributes
    ----------
    overlap : dict of str to float
        Common area of the two marginals of each parameter: 1 for equal ones, 0 for disjoint.
    shift : dict of str to float
        Difference of the means, in standard deviations of the check.
    width : dict of str to float
        Ratio of the standard deviations, this posterior's to the check's.
    agreed : bool
        Whether the chains of the check agree with one another (R-hat below 1.1); otherwise it
        proves nothing.
    passed : bool
        Whether they do, and every overlap is above 0.5.
    check : Posterior
        The result of the check.
    """

    overlap: dict[str, float]
    shift: dict[str, float]
    width: dict[str, float]
    agreed: bool
    passed: bool
    check: Posterior

    def __bool__(self) -> bool:
        """Return ``passed``."""
        return self.passed


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Return the common area of the histograms of two samples, in 20 bins over both ranges."""
    edges = np.histogram_bin_edges(np.concatenate([first, second]), bins=_N_BINS)
    shares = [np.histogram(x, bins=edges)[0] / x.size for x in (first, second)]
    return float(np.minimum(*shares).sum())


def compare_marginals(posterior: Posterior, check: Posterior) -> Validation:
    """Compare the marginals of two posteriors of the same parameters."""
    ours, theirs = (elements(p.samples) for p in (posterior, check))
    common = {name: overlap(ours[name], theirs[name]) for name in theirs}
    spread = {name: float(np.std(x)) for name, x in theirs.items()}
    agreed = bool(check.convergence(**_AGREEMENT))
    return Validation(
        overlap=common,
        shift={n: float(ours[n].mean() - theirs[n].mean()) / spread[n] for n in theirs},
        width={n: float(np.std(ours[n])) / spread[n] for n in theirs},
        agreed=agreed,
        passed=agreed and all(value > _LEAST_OVERLAP for value in common.values()),
        check=check,
    )


def marginal_priors(spec: Parameters, samples: Mapping[str, np.ndarray]) -> Parameters:
    """Replace the priors of a specification by the marginals of a posterior."""
    return spec.replace(**{name: _prior(np.asarray(x)) for name, x in samples.items()})


def marginal_draws(spec: Parameters, names: Sequence[str], key: Array) -> dict[str, np.ndarray]:
    """Draw from what :func:`marginal_priors` made; fixed values are a single draw if all are."""
    known = [name for name in names if name in spec]
    n = 1 if all(name in spec.fixed for name in known) else _N_DRAWS
    drawn = spec.sample_batch(key, n)
    fixed = {name: np.asarray(value) for name, value in spec.fixed.items()}
    return {
        name: np.broadcast_to(fixed[name], (n, *fixed[name].shape))
        if name in fixed
        else np.asarray(drawn[name])
        for name in known
    }


def _prior(draws: np.ndarray) -> dist.Distribution | Fixed:
    """Make a truncated normal of draws (n, ...), or a fixed value where there is only one."""
    if len(draws) == 1:
        return Fixed(draws[0])
    bounds = {"low": draws.min(axis=0), "high": draws.max(axis=0)}
    prior = dist.TruncatedNormal(np.median(draws, axis=0), draws.std(axis=0), **bounds)
    return prior.to_event(draws.ndim - 1)
