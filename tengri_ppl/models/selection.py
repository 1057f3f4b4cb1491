r"""Selection effects: galaxies are in a sample because their fluxes let them in.

Of galaxies of a population with hyper-parameters :math:`\theta` that were kept by their data, the
likelihood is the one without selection over a power of the fraction that is kept,

.. math::

    \alpha(\theta) = \int p(\mathrm{kept} | \phi) \, p(\phi | \theta) \, d\phi

(Mandel, Farr & Gair 2019, MNRAS 486, 1086). The integral is taken over draws of the priors of the
SED model with weights, as those over the galaxies are (:mod:`~tengri_ppl.models.reweighting`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import jax
from jax import Array

from tengri_ppl.errors import ParameterError, suggest

__all__ = ["FluxLimit", "Selection"]


class Selection(Protocol):
    """What a population asks of a rule that lets galaxies into a sample, a JAX pytree."""

    def log_probability(self, flux: Array, bands: Sequence[str]) -> Array:
        """Logarithm of the probability that galaxies of true fluxes (..., n_band) are kept."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class FluxLimit:
    r"""A galaxy is in the sample if the flux that was measured in a band is above a limit.

    With a Gaussian error :math:`\sigma` of the measurement, a galaxy of flux f is kept with the
    probability :math:`\Phi((f - f_\mathrm{lim}) / \sigma)`.

    Attributes
    ----------
    band : str
        The band.
    limit : float
        :math:`f_\mathrm{lim}` [erg/s/cm^2/Hz].
    error : float
        :math:`\sigma` [erg/s/cm^2/Hz].
    """

    band: str = field(metadata={"static": True})
    limit: Any
    error: Any

    def log_probability(self, flux: Array, bands: Sequence[str]) -> Array:
        """Logarithm of the probability that galaxies are kept.

        Parameters
        ----------
        flux : Array, shape (..., n_band)
            True fluxes [erg/s/cm^2/Hz].
        bands : sequence of str
            Names of the bands.

        Returns
        -------
        Array, shape (...)

        Raises
        ------
        ParameterError
            If the band is not among them.
        """
        if self.band not in bands:
            raise ParameterError(
                f"the sample is limited in {self.band!r}, which is no band of the model"
                f"{suggest(self.band, bands)}"
            )
        own = flux[..., list(bands).index(self.band)]
        return jax.scipy.stats.norm.logcdf((own - self.limit) / self.error)
