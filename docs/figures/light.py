"""What the gallery draws of components that shine, and of the absorption on the way to us."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import lru_cache, partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

import tengri_ppl as tg
from figures.drawing import Panel
from figures.values import value_label
from figures.views import Batch, View
from tengri_ppl.physics.agn import AGN, NoLines, NoTorus
from tengri_ppl.physics.component import Parameter
from tengri_ppl.physics.constants import C_ANGSTROM_PER_S, LSUN_ERG_S
from tengri_ppl.physics.emission import Galaxy
from tengri_ppl.physics.xray import KEV_ANGSTROM

__all__ = [
    "AGNPartView",
    "EmissionView",
    "NebularView",
    "gas_model",
    "igm_panels",
    "in_gigahertz",
    "in_kev",
    "in_micron",
]

_GALAXY = (
    Parameter("redshift", "1", "redshift", 0.1),
    Parameter("absorbed", "Lsun", "luminosity that the dust absorbs", 1e10),
    Parameter("sfr", "Msun/yr", "star formation rate", 1.0),
    Parameter("stellar_mass", "Msun", "surviving stellar mass", 1e10),
)
Axes = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def in_micron(wave: np.ndarray, light: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Convert wavelengths [Angstrom] to micron and L_nu [Lsun/Hz] to nu L_nu [Lsun]."""
    return wave * 1e-4, light * (C_ANGSTROM_PER_S / wave)


def in_kev(wave: np.ndarray, light: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Convert wavelengths to energies [keV] and L_nu [Lsun/Hz] to E L_E [erg/s]."""
    energy = KEV_ANGSTROM / wave
    return energy[::-1], (light * (C_ANGSTROM_PER_S / wave) * LSUN_ERG_S)[..., ::-1]


def in_gigahertz(wave: np.ndarray, light: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Convert wavelengths to frequencies [GHz] and L_nu [Lsun/Hz] to W/Hz."""
    return (C_ANGSTROM_PER_S * 1e-9 / wave)[::-1], (light * LSUN_ERG_S * 1e-7)[..., ::-1]


@partial(jax.jit, static_argnums=0)
def _light(component: Any, wave: Any, templates: Any, batch: Batch) -> jax.Array:
    def one(p: dict[str, jax.Array]) -> jax.Array:
        galaxy = Galaxy(*(p[parameter.name] for parameter in _GALAXY))
        return component.light(wave, p, galaxy, templates)

    return jax.vmap(one)(batch)


@dataclass(frozen=True)
class EmissionView(View):
    """Light of a component that emits, in a galaxy with the properties of the context.

    Attributes
    ----------
    convert : callable
        From wavelength [Angstrom] and L_nu [Lsun/Hz] to what is drawn.
    per_absorbed : bool
        Whether to divide by the luminosity that the dust absorbs.
    """

    context: ClassVar[tuple[Parameter, ...]] = _GALAXY
    vary_context: ClassVar[bool] = True
    convert: Axes = in_micron
    per_absorbed: bool = False

    def others(self, component: Any) -> tuple[Parameter, ...]:
        """Return the parameters of the nucleus that radio and X-rays know."""
        nucleus = getattr(component, "agn", None)
        return () if nucleus is None else nucleus.parameters

    def evaluate(self, component: Any, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
        """See :meth:`View.evaluate`."""
        templates = component.load()
        extra = () if templates is None else (templates.wave,)
        wave = np.unique(np.concatenate([component.rest_grid, *extra]))
        light = np.asarray(_light(component, wave, templates, batch), dtype=float)
        if self.per_absorbed:
            light /= np.asarray(batch["absorbed"])[:, None]
        x, y = self.convert(wave, light)
        return x, y[:, None]


@dataclass(frozen=True)
class AGNPartView(EmissionView):
    """A disc, a torus or lines, each in a nucleus; the disc alone.

    Attributes
    ----------
    part : {"disc", "torus", "lines"}
        Which part the component is.
    """

    vary_context: ClassVar[bool] = False
    part: str = "disc"

    def others(self, component: Any) -> tuple[Parameter, ...]:
        """Return the parameters of the whole nucleus."""
        return self._nucleus(component).parameters

    def evaluate(self, component: Any, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
        """See :meth:`View.evaluate`."""
        return super().evaluate(self._nucleus(component), batch)

    def _nucleus(self, component: Any) -> AGN:
        bare = {"torus": NoTorus(), "lines": NoLines()}
        lit = {k: v for k, v in bare.items() if self.part == "disc" or k == "lines"}
        return AGN(**{**lit, self.part: component})


@lru_cache
def gas_model(nebular: Any) -> tg.SEDModel:
    """Return a model of young and old stars with gas and without dust."""
    spec = tg.Parameters(
        sfh="constant",
        dust="none",
        nebular=nebular,
        redshift=0.1,
        sfh_constant_log_mass=10.0,
        sfh_constant_age_max_gyr=10.0,
        met_logzsol=-0.5,
        **{p.name: tg.Uniform(-10.0, 1000.0) for p in nebular.parameters},
    )
    return tg.SEDModel(
        spec, tg.load_ssp_data(), tg.Observation(tg.Photometry.from_names(["sdss_r"]))
    )


@dataclass(frozen=True)
class NebularView(View):
    """Light of the gas in a galaxy that forms 1 Msun/yr."""

    def evaluate(self, component: Any, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
        """See :meth:`View.evaluate`."""
        sed = gas_model(component)
        free = {name: batch[name] for name in sed.spec.free_params}
        light = np.asarray(sed.sed_decomposition(free)["nebular"], dtype=float)
        if light.ndim == 1:
            light = light[None]
        x, y = in_micron(np.asarray(sed.wave), light / LSUN_ERG_S)
        return x, y[:, None]


_transmission = jax.jit(
    lambda igm, wave, z, coefficients: igm.transmission(wave, z, coefficients), static_argnums=0
)
_REDSHIFTS = (2.0, 3.0, 4.0, 5.0, 6.5)
#: Fields of absorbers, with the values to show and the redshift at which they are shown.
_FIELDS: dict[str, tuple[tuple[float, ...], float]] = {
    "log_nhi": ((19.0, 20.3, 21.0, 22.0, 23.0), 3.0),
    "velocity": ((-2000.0, 0.0, 2000.0, 5000.0, 10000.0), 3.0),
    "neutral_fraction": ((0.01, 0.1, 0.3, 0.6, 1.0), 7.0),
    "z_end": ((5.5, 6.0, 6.3, 6.6, 6.9), 7.0),
    "bubble_mpc": ((0.0, 0.3, 1.0, 2.0, 4.0), 7.0),
}
_FIELD_UNITS = {"velocity": " [km/s]", "bubble_mpc": " [Mpc]"}


def igm_panels(component: Any) -> list[Panel]:
    """Draw the transmission at several redshifts, or for several choices of an absorber."""
    chosen = [f.name for f in fields(component) if f.name in _FIELDS]
    if not chosen:
        wave, known = np.linspace(800.0, 1300.0, 2500), component.load()
        curves = [_observe(component, z, wave, known) for z in _REDSHIFTS]
        x = np.stack([c[0] * (1.0 + z) for c, z in zip(curves, _REDSHIFTS, strict=True)])
        labels = [f"z = {z:g}" for z in _REDSHIFTS]
        return [Panel("redshift", labels, x, np.stack([c[1] for c in curves])[:, None])]
    out = []
    for name in chosen:
        values, redshift = _FIELDS[name]
        wave = np.linspace(1190.0, 1310.0, 2500)
        made = [replace(component, **{name: v}).load() for v in values]
        lines = np.stack([_observe(component, redshift, wave, c)[1] for c in made])[:, None]
        title = f"{name}{_FIELD_UNITS.get(name, '')}, z = {redshift:g}"
        out.append(Panel(title, [value_label(np.array(v)) for v in values], wave, lines))
    return out


def _observe(
    igm: Any, redshift: float, wave: np.ndarray, coefficients: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Return rest wavelengths and the transmission there."""
    observed = jnp.asarray(wave * (1.0 + redshift))
    return wave, np.asarray(_transmission(igm, observed, redshift, coefficients))
