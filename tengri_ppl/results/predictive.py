"""Checks of a population against data that it could have: replications of galaxies, or new ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats  # type: ignore[import-untyped]

from tengri_ppl.errors import ParameterError
from tengri_ppl.models.population import GALAXY
from tengri_ppl.observation.photometry import ab_magnitude
from tengri_ppl.results.datasets import SAMPLE_DIMS, make_dataset, make_inference_data

__all__ = ["PopulationCheck", "build_check"]

_AXES = (GALAXY, "band")
_UNITS = {"flux": "erg/s/cm^2/Hz", "flux_error": "erg/s/cm^2/Hz", "magnitude": "mag"}


@dataclass(frozen=True)
class PopulationCheck:
    """Replicated data of a population, of which ArviZ makes figures.

    Attributes
    ----------
    inference_data : arviz.InferenceData
        ``posterior_predictive`` with ``flux`` [erg/s/cm^2/Hz] and ``magnitude`` [AB mag] (chain,
        draw, galaxy, band), ``observed_data`` with the same (galaxy, band), ``constant_data`` with
        ``flux_error``; NaN in masked bands, and where a flux is negative so are magnitudes. If the
        galaxies are those observed, also ``posterior`` with ``chi2`` (chain, draw, galaxy) of the
        data.
    """

    inference_data: Any

    def __repr__(self) -> str:
        """Return what was replicated and how often."""
        what = "new galaxies" if self.of_new else "galaxies"
        sizes = self.inference_data.posterior_predictive.sizes
        n_draw = sizes["chain"] * sizes["draw"]
        return f"PopulationCheck({n_draw} replications of {sizes[GALAXY]} {what})"

    @property
    def of_new(self) -> bool:
        """Whether the replicated galaxies are others than those observed."""
        return "posterior" not in self.inference_data.groups()

    @property
    def galaxy_p_values(self) -> Any:
        r"""Share of replications that lie further from the model than the data, for each galaxy.

        By :math:`\chi^2` at the parameters of each draw (Gelman, Meng & Stern 1996, Statistica
        Sinica 6, 733), which for replications is known to have as many degrees of freedom as there
        are bands. Small ones are of galaxies that the model can't have made. Because the data have
        decided on the parameters, those of all others lie closer to 1/2 than uniform numbers do,
        the closer the more parameters there are for each band.

        Returns
        -------
        xarray.DataArray
            (galaxy,), NaN for galaxies without any band.

        Raises
        ------
        ParameterError
            If the replications are those of new galaxies.
        """
        if self.of_new:
            raise ParameterError(
                "new galaxies have no data; replicate those observed, with new_galaxies=False, or "
                "compare all of them with p_value(statistic)"
            )
        import xarray as xr

        data = self.inference_data
        n_band = data.constant_data["flux_error"].notnull().sum("band")
        shares = xr.apply_ufunc(stats.chi2.sf, data.posterior["chi2"], n_band)
        return shares.mean(SAMPLE_DIMS).rename("p_value")

    def p_value(self, statistic: Callable[[Any], Any]) -> Any:
        """Share of replications whose statistic is at least that of the data.

        Parameters
        ----------
        statistic : callable
            Of an ``xarray.Dataset`` with ``flux`` and ``magnitude`` (..., galaxy, band), NaN in
            masked bands: for example ``lambda data: data["magnitude"].median("galaxy")``.

        Returns
        -------
        xarray.DataArray
            Of the axes that the statistic leaves: one number, or one for each band. Those close to
            zero and those close to one are of statistics that the model does not reproduce; NaN is
            where the data have none.
        """
        groups = self.inference_data.posterior_predictive, self.inference_data.observed_data
        replicated, observed = map(statistic, groups)
        share = (replicated >= observed).mean(SAMPLE_DIMS, keep_attrs=False)
        return share.where(observed.notnull()).rename("p_value")


def build_check(
    flux: np.ndarray,
    data: np.ndarray,
    sigma: np.ndarray,
    mask: np.ndarray,
    coords: Mapping[str, Any],
    *,
    chi2: np.ndarray | None = None,
) -> PopulationCheck:
    """Join replications and data.

    Parameters
    ----------
    flux : ndarray, shape (chain, draw, galaxy, band)
        Replicated fluxes [erg/s/cm^2/Hz].
    data, sigma : ndarray, shape (galaxy, band)
        Observed fluxes and their errors [erg/s/cm^2/Hz].
    mask : ndarray of bool, shape (galaxy, band)
        True where a band is used.
    coords : mapping
        Labels of the axes ``galaxy`` and ``band``.
    chi2 : ndarray, shape (chain, draw, galaxy), optional
        Of the data at the parameters of the galaxies, if these are replicated.
    """
    import xarray as xr

    def dataset(values: Mapping[str, np.ndarray]) -> Any:
        every = {name: (_AXES, x, {"units": _UNITS[name]}) for name, x in values.items()}
        return xr.Dataset(every, coords=coords)

    flux, data, sigma = (np.where(mask, x, np.nan) for x in (flux, data, sigma))
    dims = {"chi2": [GALAXY], **dict.fromkeys(_UNITS, _AXES)}
    groups = {
        "posterior": make_dataset({} if chi2 is None else {"chi2": chi2}, dims, coords),
        "posterior_predictive": make_dataset(_photometry(flux), dims, coords, _UNITS),
        "observed_data": dataset(_photometry(data)),
        "constant_data": dataset({"flux_error": sigma}),
    }
    return PopulationCheck(make_inference_data(groups, {}))


def _photometry(flux: np.ndarray) -> dict[str, np.ndarray]:
    return {"flux": flux, "magnitude": np.asarray(ab_magnitude(flux))}
