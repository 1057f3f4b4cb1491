"""What the gallery draws of each kind of component: quantities over time or wavelength."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

import tengri_ppl as tg
from figures.drawing import Look, Panel
from figures.values import reference_value, shown_values, value_label
from tengri_ppl.physics.attenuation import MAG_PER_TAU
from tengri_ppl.physics.component import Component, Parameter
from tengri_ppl.physics.composite import (
    age_intervals,
    count_fine,
    form_mass,
    star_formation_rate,
)
from tengri_ppl.physics.cosmology import age_gyr
from tengri_ppl.physics.sfh import DelayedSFH

__all__ = ["AttenuationView", "GeometryView", "MetallicityView", "SFHView", "View", "panels"]

Batch = Mapping[str, Any]
_REDSHIFT = Parameter("redshift", "1", "redshift", 0.1)


@dataclass(frozen=True)
class View:
    """A kind of figure. Subclasses define :meth:`evaluate`.

    Attributes
    ----------
    look : Look
        Axes.
    zoom : mapping
        Ranges of x for single parameters.
    held : mapping
        Values at which parameters stay, where they differ from those of all other figures.
    only : str
        Pattern that the names of the parameters with a panel match.
    galaxy : str
        What comes before the name of a property of the galaxy.
    """

    look: Look
    zoom: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    held: Mapping[str, float] = field(default_factory=dict)
    only: str = ""
    galaxy: str = "galaxy: "
    #: What the result depends on besides the component's own parameters.
    context: ClassVar[tuple[Parameter, ...]] = (_REDSHIFT,)
    #: Whether what is in the context gets panels too.
    vary_context: ClassVar[bool] = False

    def parameters(self, component: Any) -> tuple[Parameter, ...]:
        """Return the parameters that get a panel."""
        return component.parameters

    def others(self, component: Any) -> tuple[Parameter, ...]:
        """Return further parameters that :meth:`evaluate` needs."""
        return ()

    def evaluate(self, component: Any, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
        """Return x, (n_x,), and the curves, (n_value, n_line, n_x), for a batch of parameters."""
        raise NotImplementedError


def panels(component: Component, view: View) -> list[Panel]:
    """Vary one parameter after the other; those that change nothing that is drawn are left out."""
    own = view.parameters(component)
    varied = own + (view.context if view.vary_context else ())
    every = dict.fromkeys((*varied, *view.others(component), *view.context))
    reference = {p.name: view.held.get(p.name, reference_value(p)) for p in every}
    out = []
    for parameter in varied:
        values = shown_values(parameter)
        if values is None or not re.search(view.only, parameter.name):
            continue
        x, lines = view.evaluate(component, _batch(reference, parameter.name, values))
        if np.allclose(lines, lines[:1], rtol=1e-5, atol=1e-6 * np.max(np.abs(lines))):
            continue
        title = ("" if parameter in own else view.galaxy) + parameter.name
        title += f" [{parameter.unit}]" if parameter.unit != "1" else ""
        drawn = parameter.shape != ()
        labels = ["draws from the prior"] if drawn else [value_label(v) for v in values]
        out.append(Panel(title, labels, x, lines, view.zoom.get(parameter.name)))
    if not out and not view.only:
        x, lines = view.evaluate(component, _batch(reference, "", np.zeros(1)))
        out.append(Panel(component.name, [], x, lines))
    return out


def _batch(reference: Batch, name: str, values: np.ndarray) -> dict[str, jax.Array]:
    """Repeat the reference once per value of one parameter."""
    rows = {k: np.broadcast_to(v, (len(values), *np.shape(v))) for k, v in reference.items()}
    if name:
        rows[name] = values
    return {k: jnp.asarray(v, dtype=float) for k, v in rows.items()}


@lru_cache
def age_axis() -> tuple[np.ndarray, np.ndarray, int]:
    """Return the age intervals of the SSP grid that ships [Gyr], and how many are old."""
    lower, upper = age_intervals(tg.load_ssp_data().ssp_lg_age_gyr, "linear")
    return lower, upper, count_fine(lower)


@partial(jax.jit, static_argnums=(0, 3))
def _rates(sfh: Any, batch: Batch, lookback: jax.Array, n_fine: int) -> jax.Array:
    lower, upper, _ = age_axis()

    def one(p: dict[str, jax.Array]) -> jax.Array:
        age = age_gyr(p["redshift"])
        return star_formation_rate(sfh, p, age, lookback, lower, upper, n_fine)

    return jax.vmap(one)(batch)


@dataclass(frozen=True)
class SFHView(View):
    """Star formation rate over lookback time, of a galaxy that formed 10^10 Msun by z = 0.1.

    Attributes
    ----------
    base : tuple of Parameter
        Parameters of a history below the component, which get no panel.
    """

    base: tuple[Parameter, ...] = ()

    def parameters(self, component: Any) -> tuple[Parameter, ...]:
        """Return those of the shape, and a scale if that is the amplitude."""
        mass = component.prefix + "log_mass"
        return tuple(p for p in component.parameters if p not in self.base and p.name != mass)

    def others(self, component: Any) -> tuple[Parameter, ...]:
        """Return the rest."""
        return component.parameters

    def evaluate(self, component: Any, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
        """See :meth:`View.evaluate`."""
        ends = self.look.xlim or (0.0, 12.5)
        space = np.geomspace if self.look.xscale == "log" else np.linspace
        lookback = space(*ends, 1500)
        mass = component.prefix + "log_mass"
        if mass in batch:
            batch = {**batch, mass: jnp.full_like(batch[mass], 10.0)}
        rate = _rates(component, batch, jnp.asarray(lookback), age_axis()[2])
        return lookback, np.asarray(rate)[:, None]


@partial(jax.jit, static_argnums=(0, 1))
def _metallicity_shares(metallicity: Any, n_fine: int, lgmet: Any, batch: Batch) -> Any:
    lower, upper, _ = age_axis()
    sfh = DelayedSFH()

    def one(p: dict[str, jax.Array]) -> Any:
        formed = form_mass(sfh, p, age_gyr(p["redshift"]), lower, upper, n_fine)
        return formed.middle(), metallicity.weights(lgmet, 0.02, p, formed)

    return jax.vmap(one)(batch)


@dataclass(frozen=True)
class MetallicityView(View):
    """Mean log Z over lookback time for a delayed history, or a distribution."""

    def others(self, component: Any) -> tuple[Parameter, ...]:
        """Return the parameters of the history, and those of a table."""
        return (*DelayedSFH().parameters, *component.parameters)

    def changes(self, component: Any) -> bool:
        """Whether the metallicity changes with time."""
        reference = {p.name: reference_value(p) for p in (*self.others(component), *self.context)}
        batch = _batch(reference, "", np.zeros(1))
        return self._shares(component, batch)[1].ndim == 3

    def evaluate(self, component: Any, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
        """See :meth:`View.evaluate`; x is log Z where the metallicity does not change with time."""
        time, share = self._shares(component, batch)
        logz = np.asarray(tg.load_ssp_data().ssp_lgmet) - np.log10(0.02)
        if share.ndim == 2:
            return logz, share[:, None]
        return time[0], np.einsum("vmi,m->vi", share, logz)[:, None]

    @staticmethod
    def _shares(component: Any, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
        """Return lookback times and the share of the mass at each metallicity."""
        ssp = tg.load_ssp_data()
        batch = {**batch, "sfh_delayed_age_gyr": jnp.full_like(batch["redshift"], 12.0)}
        shares = _metallicity_shares(component, age_axis()[2], ssp.ssp_lgmet, batch)
        return tuple(np.asarray(x) for x in shares)


@partial(jax.jit, static_argnums=0)
def _curves(law: Any, wave: Any, batch: Batch) -> jax.Array:
    return jax.vmap(lambda p: law.curve(wave, p))(batch)


@dataclass(frozen=True)
class AttenuationView(View):
    """k over wavelength."""

    def evaluate(self, component: Any, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
        """See :meth:`View.evaluate`."""
        wave = np.geomspace(900.0, 2.5e4, 800)
        return wave, np.asarray(_curves(component, wave, batch))[:, None]


@partial(jax.jit, static_argnums=0)
def _depths(screen: Any, wave: Any, batch: Batch) -> jax.Array:
    return jax.vmap(lambda p: jnp.stack(screen.optical_depths(wave, p)[::-1]))(batch)


@dataclass(frozen=True)
class GeometryView(View):
    """Attenuation of old stars, and dashed that of young ones, over wavelength."""

    def evaluate(self, component: Any, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
        """See :meth:`View.evaluate`."""
        wave = np.geomspace(900.0, 2.5e4, 800)
        lines = MAG_PER_TAU * np.asarray(_depths(component, wave, batch))
        same = np.allclose(lines[:, 0], lines[:, 1])
        return wave, lines[:, :1] if same else lines
