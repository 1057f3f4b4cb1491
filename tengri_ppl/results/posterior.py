"""Posterior: draws, statistics and data of a fit, with the model that made them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax import Array

from tengri_ppl.errors import DataError, ParameterError, suggest
from tengri_ppl.models.parameters import Parameters
from tengri_ppl.models.sed import SEDModel
from tengri_ppl.results import diagnostics, statistics
from tengri_ppl.results.derived import linear_quantities
from tengri_ppl.results.diagnostics import Convergence
from tengri_ppl.results.marginals import Validation, compare_marginals, marginal_priors
from tengri_ppl.results.provenance import check_model
from tengri_ppl.results.storage import read_inference_data, write_inference_data
from tengri_ppl.results.variables import (
    chain_draws,
    derived_names,
    flat_draws,
    free_parameters,
    shown_parameters,
)

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]
    from matplotlib.figure import Figure

__all__ = ["Posterior"]


class Posterior:
    """Result of a fit of one galaxy, or of any other model.

    Everything that was computed is in `inference_data`, which all of ArviZ works on; the methods
    here are short cuts for what is asked most often.

    Parameters
    ----------
    inference_data : arviz.InferenceData
        As `build_inference_data` makes it; at least a group ``posterior``.
    model : SEDModel, optional
        The model of a galaxy that was fitted; `plot_sed` and `plot_sfh` need it.
    rerun : callable, optional
        ``rerun(method=..., key=..., init_from=..., **options)`` fits the same data again; `refine`
        and `validate` need it.

    Raises
    ------
    DataError, ParameterError
        If the model has other bands, components, free parameters or fixed values than the one
        that the posterior was made with.
    """

    def __init__(
        self,
        inference_data: Any,
        model: SEDModel | None = None,
        rerun: Callable[..., Posterior] | None = None,
    ) -> None:
        if "posterior" not in inference_data.groups():
            raise DataError("the InferenceData has no group 'posterior', so there is no result")
        if model is not None:
            check_model(inference_data.attrs, model)
        self.inference_data = inference_data
        self.model = model
        self._rerun = rerun

    def __repr__(self) -> str:
        """Return the method, the size and the verdict on convergence."""
        sizes = self.inference_data.posterior.sizes
        return (
            f"Posterior({self.method}: {sizes['chain']} chains x {sizes['draw']} draws, "
            f"{len(self.samples)} free parameters; {self.convergence()})"
        )

    # -- values ------------------------------------------------------------------------------------

    @property
    def method(self) -> str:
        """Name of the engine."""
        return str(self.inference_data.attrs.get("method", "unknown"))

    @property
    def wall_time_s(self) -> float:
        """Duration of the run [s], NaN if it is not known."""
        return float(self.inference_data.attrs.get("wall_time_s", np.nan))

    @cached_property
    def samples(self) -> dict[str, np.ndarray]:
        """Draws of the free parameters with the chains joined: name -> (chain * draw, ...)."""
        return flat_draws(self.inference_data, free_parameters(self.inference_data))

    @property
    def start_values(self) -> dict[str, np.ndarray]:
        """Draws of everything that an engine may start from, (chain * draw, ...) each.

        The free parameters, and the coordinates that were sampled in their place.
        """
        data = self.inference_data
        coordinates = getattr(data, "unconstrained_posterior", {})
        values = {**data.posterior, **{name: coordinates[name] for name in coordinates}}
        return {str(n): x.values.reshape(-1, *x.shape[2:]) for n, x in values.items()}

    @property
    def log_evidence(self) -> float:
        """Natural logarithm of the evidence, NaN for engines that don't estimate it."""
        return float(self.inference_data.attrs.get("log_evidence", np.nan))

    @property
    def log_evidence_error(self) -> float:
        """Standard error of `log_evidence`, NaN where there is none."""
        return float(self.inference_data.attrs.get("log_evidence_error", np.nan))

    @property
    def notes(self) -> tuple[str, ...]:
        """What the engine says about the run: what was tried, and why it moved on."""
        return tuple(filter(None, str(self.inference_data.attrs.get("notes", "")).split("\n")))

    @property
    def params(self) -> dict[str, Any]:
        """Posterior mean of each free parameter: a number, or an array for a vector."""
        return {name: _plain(np.mean(x, 0, dtype=float)) for name, x in self.samples.items()}

    @property
    def median(self) -> dict[str, Any]:
        """Posterior median of each free parameter: a number, or an array for a vector."""
        return {name: _plain(np.median(x, axis=0)) for name, x in self.samples.items()}

    @cached_property
    def derived(self) -> dict[str, np.ndarray]:
        """Draws of the derived quantities: name -> (chain * draw,).

        The recorded ones (`tengri_ppl.results.DERIVED`), and ``stellar_mass`` [Msun],
        ``sfr_100myr``, ``sfr_10myr`` [Msun/yr] and ``ssfr_100myr`` [1/yr] for the logarithms.
        """
        recorded = flat_draws(self.inference_data, derived_names(self.inference_data))
        return recorded | linear_quantities(recorded)

    # -- tables ------------------------------------------------------------------------------------

    def summary(self, *, hdi_prob: float = 0.68, derived: bool = True) -> pd.DataFrame:
        """Mean, standard deviation, interval and convergence of every parameter.

        Parameters
        ----------
        hdi_prob : float
            Probability in the highest-density interval.
        derived : bool
            Include the derived quantities.

        Returns
        -------
        pandas.DataFrame
            One row a quantity; the columns are those of ``arviz.summary``. Of draws that were
            resampled from weighted ones, errors and effective sample sizes are those of the
            weighted ones, which ArviZ does not know of; ``r_hat`` is NaN for draws that form no
            chains. Vectors of more than `tengri_ppl.results.variables.LONGEST_SHOWN` elements are
            left out: ``arviz.summary(posterior.inference_data)`` has them.
        """
        names = shown_parameters(self.inference_data)
        names += derived_names(self.inference_data) if derived else []
        return statistics.summary_table(self.inference_data, names, hdi_prob)

    def summary_str(self, *, verdict: bool = True) -> str:
        """Return method, size, duration, the table of `summary` and the verdict."""
        sizes = self.inference_data.posterior.sizes
        title = (
            f"{self.method}: {sizes['chain']} chains x {sizes['draw']} draws "
            f"in {self.wall_time_s:.1f} s"
        )
        shown = shown_parameters(self.inference_data)
        hidden = [f"{k} {x.shape[1:]}" for k, x in self.samples.items() if k not in shown]
        note = f"\nnot shown: {', '.join(hidden)}" if hidden else ""
        end = f"\n{self.convergence().message}" if verdict else ""
        return f"{title}\n{self.summary().to_string()}{note}{end}"

    def to_arviz(self) -> Any:
        """Return `inference_data`."""
        return self.inference_data

    # -- convergence -------------------------------------------------------------------------------

    def convergence(self, **limits: float) -> Convergence:
        """Judge the chains; see `tengri_ppl.results.diagnostics.convergence` for the limits."""
        return diagnostics.convergence(self.inference_data, **limits)

    def check_convergence(self, **limits: float) -> Convergence:
        """Judge the chains: the same as `convergence`."""
        return self.convergence(**limits)

    def effective_sample_size(self) -> dict[str, float]:
        """Bulk effective sample size of each free parameter, and of each element of a vector.

        Of draws that were resampled from weighted ones only as many count as the weights allow.
        """
        return statistics.effective_sample_sizes(self.inference_data)

    def rhat(self) -> dict[str, float]:
        """Rank-normalised split R-hat of each free parameter, and of each element of a vector.

        NaN for draws that form no chains.
        """
        return statistics.rhats(self.inference_data)

    def autocorrelation(self) -> dict[str, np.ndarray]:
        """Autocorrelation of each free parameter at lags 0, 1, ..., the mean over chains."""
        return statistics.autocorrelations(self.inference_data)

    # -- more of it --------------------------------------------------------------------------------

    def resample(self, key: Array, n: int = 1) -> dict[str, np.ndarray]:
        """Draw from the draws, with replacement: name -> (n, ...)."""
        size = len(next(iter(self.samples.values())))
        index = np.asarray(jax.random.randint(key, (n,), 0, size))
        return {name: x[index] for name, x in self.samples.items()}

    def refine(
        self, method: str = "mcmc_nuts", key: Array | None = None, **options: Any
    ) -> Posterior:
        """Fit the same data again with another method, which starts from this result.

        Parameters
        ----------
        method : str
            Name of an engine.
        key : Array, optional
            Random key.
        **options
            Options of the engine.

        Raises
        ------
        ParameterError
            If the posterior comes from a file, and so can't fit again.
        """
        return self._need_rerun("refine")(method=method, key=key, init_from=self, **options)

    def validate(
        self,
        method: str = "mcmc_nuts",
        key: Array | None = None,
        n_steps: int = 200,
        **options: Any,
    ) -> Validation:
        """Check this posterior against a short run of an exact method that starts from it.

        Parameters
        ----------
        method : str
            An exact engine that makes chains.
        key : Array, optional
            Random key.
        n_steps : int
            Draws per chain.
        **options
            More options of the engine.
        """
        check = self.refine(method, key, n_samples=n_steps, **options)
        return compare_marginals(self, check)

    def to_param_spec(self) -> Parameters:
        """Return priors that say what this posterior says of each parameter on its own.

        A truncated normal between the smallest and the largest draw for every free parameter; a
        fixed value where there is only one draw. ``Fitter.run`` takes it as ``init_from=``, but
        correlations are lost: better give it the posterior itself.
        """
        return marginal_priors(self._need_model("to_param_spec").spec, self.samples)

    def _need_rerun(self, method: str) -> Callable[..., Posterior]:
        if self._rerun is None:
            raise ParameterError(
                f"{method} fits the data again, and this posterior does not have them: it was "
                "loaded from a file. Run Fitter(...).run(..., init_from=posterior)"
            )
        return self._rerun

    # -- figures -----------------------------------------------------------------------------------

    def plot_corner(self, params: Sequence[str] | None = None, **options: Any) -> Figure:
        """Plot one- and two-dimensional marginals; see `tengri_ppl.results.plots.plot_corner`.

        Parameters
        ----------
        params : sequence of str, optional
            Free parameters and derived quantities, ``"x[3]"`` for an element of a vector ``x``; by
            default all free parameters but long vectors.
        **options
            ``truths``, ``color``, ``fig``, ``label``, ``bins``.
        """
        from tengri_ppl.results.plots import plot_corner

        draws = chain_draws(self.inference_data, self._select(params))
        return plot_corner({name: x.reshape(-1) for name, x in draws.items()}, **options)

    def plot_trace(self, params: Sequence[str] | None = None, **options: Any) -> Figure:
        """Plot draws in their order, and marginals; see `tengri_ppl.results.plots.plot_trace`."""
        from tengri_ppl.results.plots import plot_trace

        return plot_trace(self.inference_data, params=self._select(params), **options)

    def plot_sed(self, **options: Any) -> Figure:
        """Plot data, model and residuals; see `tengri_ppl.results.plots.plot_sed`."""
        from tengri_ppl.results.plots import plot_sed

        return plot_sed(self._need_model("plot_sed"), self.inference_data, **options)

    def plot_sfh(self, **options: Any) -> Figure:
        """Plot the star formation history; see `tengri_ppl.results.plots.plot_sfh`."""
        from tengri_ppl.results.plots import plot_sfh

        return plot_sfh(self._need_model("plot_sfh"), self.samples, **options)

    def _select(self, params: Sequence[str] | None) -> list[str]:
        """Check the names of variables, or of elements of vectors; choose them where none are."""
        if params is None:
            return shown_parameters(self.inference_data)
        known = [*free_parameters(self.inference_data), *derived_names(self.inference_data)]
        valid = {*known, *chain_draws(self.inference_data, known)}
        for name in params:
            if name not in valid:
                raise ParameterError(
                    f"{name!r} is not in this posterior{suggest(name, valid)} "
                    f"It has: {', '.join(known)}"
                )
        return list(params)

    def _need_model(self, method: str) -> SEDModel:
        if self.model is None:
            raise ParameterError(
                f"{method} needs the SEDModel of a galaxy, and this posterior has none: it is of "
                "another model, or comes from a file, which Posterior.load(path, model=sed) reads"
            )
        return self.model

    # -- files -------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> Path:
        """Write `inference_data` to a netCDF-4 (= HDF5) file; see `write_inference_data`."""
        return write_inference_data(self.inference_data, path)

    @classmethod
    def load(cls, path: str | Path, model: SEDModel | None = None) -> Posterior:
        """Read what `save` wrote.

        Parameters
        ----------
        path : str or Path
            The file.
        model : SEDModel, optional
            The model that was fitted, which the file does not hold.

        Raises
        ------
        DataError
            If the file is missing or holds no posterior, or the model has other bands.
        ParameterError
            If the model has other components, free parameters or fixed values.
        """
        return cls(read_inference_data(path), model=model)


def _plain(value: Any) -> Any:
    """Return a number for an array without axes."""
    return value if np.ndim(value) else float(value)
