"""Choose posterior draws for figures."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

__all__ = ["bands_of", "spread_draws"]


def spread_draws(samples: Mapping[str, np.ndarray], n: int) -> dict[str, np.ndarray]:
    """Return ``n`` draws (n,), evenly spread over all; repeated where there are fewer.

    Always ``n``, so that the programs that evaluate the model are compiled once.
    """
    size = len(next(iter(samples.values())))
    index = np.linspace(0, size - 1, n).round().astype(int)
    return {name: np.asarray(x)[index] for name, x in samples.items()}


def bands_of(values: np.ndarray) -> dict[float, np.ndarray]:
    """Quantiles 2.5, 16, 50, 84 and 97.5 % over the first axis: level -> (...)."""
    levels = (2.5, 16.0, 50.0, 84.0, 97.5)
    return dict(zip(levels, np.percentile(values, levels, axis=0), strict=True))
