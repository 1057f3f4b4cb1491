"""PopulationPosterior: what galaxies share, and the galaxies, after a fit of all of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from jax import Array

from tengri_ppl._arviz import load_arviz
from tengri_ppl.errors import ParameterError, suggest
from tengri_ppl.models.mixture import CLASS, GALAXY_CLASS
from tengri_ppl.models.parameters import Parameters
from tengri_ppl.models.population import GALAXY, Population, population_parameters
from tengri_ppl.results.posterior import Posterior
from tengri_ppl.results.variables import free_parameters

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["GalaxyDraws", "PopulationPosterior", "with_population"]


def with_population(
    inference_data: Any,
    spec: Parameters,
    population: Population,
    columns: Mapping[str, Array],
) -> Any:
    """Record what the parameters are, in their order, their relations, and what was known.

    Parameters
    ----------
    inference_data : arviz.InferenceData
        Its group ``posterior`` has the parameters, and what was sampled in their place.
    spec : Parameters
        Priors of a galaxy.
    population : Population
        What the galaxies share.
    columns : mapping of str to Array, shape (n_galaxy,)
        What is known of the galaxies.

    Returns
    -------
    arviz.InferenceData
        With the columns in ``constant_data``, and the group ``unconstrained_posterior`` if there
        are other coordinates.
    """
    import xarray as xr

    names = list(population_parameters(spec, population, set(columns)))
    posterior, out = inference_data.posterior, inference_data.copy()
    kept = names + [GALAXY_CLASS] * (GALAXY_CLASS in posterior)
    others = [name for name in posterior if name not in kept]
    out.posterior = posterior[kept]
    if others:
        out.add_groups({"unconstrained_posterior": posterior[others]}, warn_on_custom_groups=False)
    known = {name: (GALAXY, np.asarray(x)) for name, x in columns.items()}
    constant = xr.Dataset(known, coords={GALAXY: posterior[GALAXY]})
    if "constant_data" in out:
        out.constant_data = out.constant_data.merge(constant)
    elif known:
        out.add_groups(constant_data=constant)
    pivots = {name: {x: float(p) for x, p in on.items()} for name, on in population.lines.items()}
    out.attrs |= {"model_free": json.dumps(names), "model_relations": json.dumps(pivots)}
    return out


@dataclass(frozen=True)
class GalaxyDraws:
    """Draws of the parameters of one galaxy, under the population.

    Attributes
    ----------
    name : object
        Its label.
    samples : dict
        Parameter -> draws (n, ...).
    """

    name: Any
    samples: dict[str, np.ndarray]

    @property
    def params(self) -> dict[str, Any]:
        """Posterior mean of each parameter."""
        return {name: np.mean(x, axis=0, dtype=float) for name, x in self.samples.items()}


class PopulationPosterior(Posterior):
    """Result of a fit of a population of galaxies; parameters as for :class:`Posterior`."""

    @property
    def galaxies(self) -> np.ndarray:
        """Labels of the galaxies."""
        found = self.inference_data
        galaxies = found.posterior if GALAXY in found.posterior.coords else found.constant_data
        return np.asarray(galaxies[GALAXY].values)

    @cached_property
    def shared_samples(self) -> dict[str, np.ndarray]:
        """Draws of what galaxies share, with the chains joined: name -> (chain * draw, ...)."""
        return self._draws(of_galaxies=False)

    @property
    def shared_params(self) -> dict[str, Any]:
        """Posterior means of what galaxies share."""
        means = {n: np.mean(x, axis=0, dtype=float) for n, x in self.shared_samples.items()}
        return {name: x if x.shape else float(x) for name, x in means.items()}

    @cached_property
    def individual_samples(self) -> dict[str, np.ndarray]:
        """Draws of the parameters of all galaxies: name -> (chain * draw, galaxy, ...)."""
        return self._draws(of_galaxies=True)

    @property
    def individual(self) -> list[GalaxyDraws]:
        """The galaxies one by one, in the order of the data."""
        every = self.individual_samples
        return [
            GalaxyDraws(label, {name: x[:, i] for name, x in every.items()})
            for i, label in enumerate(self.galaxies)
        ]

    @property
    def class_probabilities(self) -> Any:
        """Probability of each class for each galaxy, an ``xarray.DataArray`` (galaxy, class).

        Raises
        ------
        ParameterError
            If the population has no classes.
        """
        posterior = self.inference_data.posterior
        if GALAXY_CLASS not in posterior:
            raise ParameterError(
                "the population has no classes; fit one that has a MixturePopulation"
            )
        import xarray as xr

        labels = posterior[CLASS]
        numbers = xr.DataArray(np.arange(labels.size), coords={CLASS: labels}, dims=CLASS)
        return (posterior[GALAXY_CLASS] == numbers).mean(("chain", "draw"))

    def population_diagnostics(
        self, exclude_prefixes: Sequence[str] = ("psd_xi",)
    ) -> dict[str, dict[str, dict[str, float]]]:
        """Split R-hat and effective sample size of what galaxies share, and over the galaxies.

        Parameters
        ----------
        exclude_prefixes : sequence of str
            Parameters of galaxies whose names begin so are left out: by default latent fields.

        Returns
        -------
        dict
            ``shared``: name -> ``rhat`` and ``ess``, of vectors the worst element. ``per_galaxy``:
            name -> ``rhat_p50``, ``rhat_p90``, ``rhat_max``, ``ess_p50``, ``ess_min`` and
            ``n_galaxies``; a large ``rhat_max`` beside a small ``rhat_p50`` is a single galaxy
            whose chain is stuck. What does not vary is left out.
        """
        shared, per_galaxy = {}, {}
        for name in self.shared_samples:
            if (worst := self._rhat_and_ess(name)) is not None:
                shared[name] = {"rhat": float(worst[0].max()), "ess": float(worst[1].min())}
        for name in self.individual_samples:
            if name.startswith(tuple(exclude_prefixes)):
                continue
            if (found := self._rhat_and_ess(name)) is not None:
                rhat, ess = found
                per_galaxy[name] = {
                    "rhat_p50": float(np.median(rhat)),
                    "rhat_p90": float(np.quantile(rhat, 0.9)),
                    "rhat_max": float(rhat.max()),
                    "ess_p50": float(np.median(ess)),
                    "ess_min": float(ess.min()),
                    "n_galaxies": len(rhat),
                }
        return {"shared": shared, "per_galaxy": per_galaxy}

    def plot_population(self, params: Sequence[str] | None = None, **options: Any) -> Figure:
        """Plot the marginals of what galaxies share, as a corner plot.

        Parameters
        ----------
        params : sequence of str, optional
            Shared parameters; by default all.
        **options
            As for `plot_corner`.
        """
        known = list(self.shared_samples)
        for name in params or ():
            if name.split("[")[0] not in known:
                raise ParameterError(
                    f"{name!r} is not shared by the galaxies{suggest(name, known)} "
                    f"They share: {', '.join(known)}"
                )
        return self.plot_corner(list(params or known), **options)

    def plot_relation(self, name: str, on: str | None = None) -> Figure:
        """Plot a scaling relation and the galaxies; see `tengri_ppl.results.plots.plot_relation`.

        Parameters
        ----------
        name : str
            The parameter of a :class:`~tengri_ppl.ScalingRelation`.
        on : str, optional
            What of several things that it depends on is plotted, while the others are at their
            pivots; the first by default.

        Raises
        ------
        ParameterError
            If there is no such relation.
        """
        from tengri_ppl.results.plots import plot_relation

        relations = json.loads(self.inference_data.attrs.get("model_relations", "{}"))
        if name not in relations:
            raise ParameterError(
                f"{name!r} has no scaling relation; {', '.join(relations) or 'no parameter'} has"
            )
        pivots = relations[name]
        on = next(iter(pivots)) if on is None else on
        if on not in pivots:
            raise ParameterError(f"{name} depends on {', '.join(pivots)}, not on {on!r}")
        own = self.individual_samples
        n_draw = len(own[name])
        x = own[on] if on in own else self.inference_data.constant_data[on].values
        x = np.broadcast_to(x, (n_draw, len(self.galaxies)))
        return plot_relation(x, own[name], self.shared_samples, name=name, on=on, pivot=pivots[on])

    def plot_shrinkage(
        self, alone: Sequence[Posterior], params: Sequence[str] | None = None
    ) -> Figure:
        """Compare with fits one by one; see `tengri_ppl.results.plots.plot_shrinkage`.

        Parameters
        ----------
        alone : sequence of Posterior
            Of the galaxies, from :meth:`~tengri_ppl.PopulationFitter.fit_galaxies`.
        params : sequence of str, optional
            Scalar parameters of the galaxies; by default all.

        Raises
        ------
        ParameterError
            If there is not a posterior for each galaxy, or a parameter is unknown.
        """
        from tengri_ppl.results.plots import plot_shrinkage

        if len(alone) != len(self.galaxies):
            raise ParameterError(
                f"{len(alone)} posteriors for {len(self.galaxies)} galaxies; expected as many"
            )
        own = {name: x for name, x in self.individual_samples.items() if x.ndim == 2}
        for name in params or ():
            if name not in own:
                raise ParameterError(
                    f"{name!r} is no scalar parameter of the galaxies{suggest(name, own)}"
                )
        chosen = list(params or own)
        means = {name: self.shared_samples.get(f"{name}_loc") for name in chosen}
        return plot_shrinkage(
            {name: [p.samples[name] for p in alone] for name in chosen},
            own,
            loc={name: x for name, x in means.items() if x is not None and x.ndim == 1},
        )

    def _draws(self, *, of_galaxies: bool) -> dict[str, np.ndarray]:
        posterior = self.inference_data.posterior
        names = free_parameters(self.inference_data)
        wanted = [n for n in names if (GALAXY in posterior[n].dims) == of_galaxies]
        return {n: posterior[n].values.reshape(-1, *posterior[n].shape[2:]) for n in wanted}

    def _rhat_and_ess(self, name: str) -> tuple[np.ndarray, np.ndarray] | None:
        """Worst R-hat and ESS over all axes but that of the galaxies; None if nothing varies."""
        variable = self.inference_data.posterior[name]
        n = variable.sizes.get(GALAXY, 1)
        chains = variable.values.reshape(*variable.shape[:2], n, -1)
        varies = np.ptp(chains, axis=(0, 1)) > 0
        if not varies.any():
            return None
        arviz = load_arviz()
        dataset = arviz.convert_to_dataset({"x": chains.astype(float)})
        rhat = np.where(varies, arviz.rhat(dataset)["x"].values, -np.inf).max(axis=1)
        ess = np.where(varies, arviz.ess(dataset)["x"].values, np.inf).min(axis=1)
        return rhat[varies.any(axis=1)], ess[varies.any(axis=1)]
