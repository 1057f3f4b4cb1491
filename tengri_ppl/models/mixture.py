"""Populations of several classes of galaxies: which class a galaxy is of is summed out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from jax import Array

from tengri_ppl.errors import ParameterError
from tengri_ppl.models.parameters import Parameters
from tengri_ppl.models.relations import bounded_normal, static, wide

__all__ = ["CLASS", "GALAXY_CLASS", "MixturePopulation"]

#: Name of the plate of classes.
CLASS = "class"
#: Name of the discrete site in the plate of galaxies.
GALAXY_CLASS = "galaxy_class"


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class MixturePopulation:
    """Galaxies are of several classes; in each, parameters follow Gaussians of its own.

    The Gaussians are truncated to the supports of the SED model's priors. Engines sum over the
    classes of every galaxy; results have draws of ``galaxy_class``, the number of the class.

    Sites: ``class_share`` (n_class,), of which ``class_fraction`` is the copy with the plate
    ``class``; in this plate ``<name>_loc`` and ``<name>_scale`` for each parameter; and in the
    plate ``galaxy`` the discrete ``galaxy_class``, and ``<name>``.

    Attributes
    ----------
    names : tuple of str
        The parameters.
    classes : tuple of str
        Labels of the classes, in the order of the means of the first parameter, so that classes
        can't be exchanged: a priori the means are draws from their prior, sorted.
    concentration : float
        Of the symmetric Dirichlet prior of the fractions: 1 is flat.
    loc : mapping of str to distribution
        Priors of the mean of a parameter in each class; the SED model's prior by default. That of
        the first parameter needs an ``icdf``.
    scale : mapping of str to distribution
        Priors of its standard deviation; by default a half-normal as wide as the SED model's
        prior.
    """

    names: tuple[str, ...] = static()
    classes: tuple[str, ...] = static()
    concentration: float = 1.0
    loc: Mapping[str, Any] = field(default_factory=dict)
    scale: Mapping[str, Any] = field(default_factory=dict)

    needs = ()

    def __post_init__(self) -> None:
        """Check names and classes."""
        for what, given, least in (("names", self.names, 1), ("classes", self.classes, 2)):
            if isinstance(given, str) or len(set(given)) < max(least, len(given)):
                raise ParameterError(
                    f"{what}={given!r}; expected a tuple of at least {least} different names"
                )

    def sample_shared(self, spec: Parameters) -> dict[str, Array]:
        """Sample fractions, means and standard deviations of the classes."""
        n = len(self.classes)
        share = numpyro.sample("class_share", dist.Dirichlet(jnp.full(n, self.concentration)))
        first, *others = self.names
        shared = {f"{first}_loc": self._sorted_means(spec)}
        with numpyro.plate(CLASS, n):
            shared["class_fraction"] = numpyro.deterministic("class_fraction", share)
            numpyro.deterministic(f"{first}_loc", shared[f"{first}_loc"])
            for name in others:
                prior = self.loc.get(name, spec[name])
                shared[f"{name}_loc"] = numpyro.sample(f"{name}_loc", prior)
            for name in self.names:
                prior = self.scale[name] if name in self.scale else wide(name, spec[name])
                shared[f"{name}_scale"] = numpyro.sample(f"{name}_scale", prior)
        return shared

    def _sorted_means(self, spec: Parameters) -> Array:
        """Sample means of the first parameter from their prior, in increasing order.

        Gaps between sorted uniform numbers have a flat Dirichlet distribution (Devroye 1986,
        Non-Uniform Random Variate Generation, chapter V).
        """
        name, n = self.names[0], len(self.classes)
        gaps = numpyro.sample(f"{name}_loc_gaps", dist.Dirichlet(jnp.ones(n + 1)))
        means: Array = self.loc.get(name, spec[name]).icdf(jnp.cumsum(gaps)[:-1])
        return means

    def sample_galaxies(
        self, spec: Parameters, shared: Mapping[str, Array], known: Mapping[str, Any]
    ) -> dict[str, Array]:
        """Sample the class, and the parameters given it."""
        fraction, present = shared["class_fraction"], known.get("present")
        if present is not None:
            fraction = jnp.where(present[:, None], fraction, 1.0 / len(self.classes))
        own = numpyro.sample(
            GALAXY_CLASS, dist.Categorical(fraction), infer={"enumerate": "parallel"}
        )
        return {
            name: numpyro.sample(
                name,
                bounded_normal(
                    spec[name], shared[f"{name}_loc"][own], shared[f"{name}_scale"][own], known
                ),
            )
            for name in self.names
        }

    def shared_sites(self) -> tuple[str, ...]:
        """Return fractions, means and standard deviations."""
        each = (f"{name}_{what}" for name in self.names for what in ("loc", "scale"))
        return "class_fraction", *each

    def sites(self) -> tuple[str, ...]:
        """Return none: where a galaxy is can't be told from its class while that is not known."""
        return ()

    def site_values(self, params: Mapping[str, Array]) -> dict[str, Array]:
        """Return those of the parameters."""
        return {name: params[name] for name in self.names}
