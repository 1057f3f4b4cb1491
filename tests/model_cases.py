"""A small model of every registered component, so that tests can loop over the registry.

A model has few bands, chosen such that its component matters in them, and a thinned SSP grid.
Every parameter is free: those with a fixed default vary by 10 % around it, or from 0 to 0.1 where
it is zero.
"""

from __future__ import annotations

import dataclasses
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpyro.distributions as dist

import tengri_ppl as tg
from tengri_ppl.physics.agn import AGN
from tengri_ppl.physics.component import registered_components
from tengri_ppl.physics.templates import TemplateAxis, TemplateFile, save_templates

#: Every registered component: the test that loops over these covers what is registered. Models
#: that leave a kind out have ``none`` of it.
CHOICES = sorted(choice for choice in registered_components() if choice[1] != "none")
#: Kinds that one model has at once, so that fewer models cover everything; what later ones need
#: replaces what earlier ones need.
TOGETHER = (
    ("sfh", "metallicity", "dust_law", "dust"),
    ("shock", "agn", "radio", "xray", "nebular", "dust_emission"),
    ("agn_disc", "agn_lines", "agn_torus"),
    ("sfh_field",),
    ("igm",),
)
STELLAR = ("sdss_u", "sdss_r", "sdss_z")
INFRARED = ("sdss_u", "sdss_r", "spitzer_irac_ch1", "wise_w3", "herschel_pacs_100")
#: Bands in which the components of a model matter, by its first kind; those of stars where that is
#: not listed.
BANDS = {
    "shock": (*INFRARED, "radio_1.4", "xray_soft", "xray_hard"),
    "agn_disc": INFRARED,
}
REDSHIFT = {"igm": 3.2}
#: What parameters without a default are set to.
REQUIRED = {
    "sfh_tabulated_time_gyr": np.array([0.5, 2.0, 5.0, 13.0]),
    "sfh_tabulated_sfr": dist.Uniform(0.5, 20.0).expand((4,)),
    "met_tabulated_time_gyr": np.array([0.5, 2.0, 13.0]),
    "met_tabulated_logzsol": dist.Uniform(-1.5, 0.3).expand((3,)),
}
_FILES = {"dust_emission": (3e4, 1e7), "agn_torus": (5e3, 1e7), "shock": (1e3, 1e5)}


def thin_grid(ssp: Any) -> Any:
    """Every fourth age, every third metallicity and every sixth wavelength of an SSP grid."""
    ages, mets, waves = slice(None, None, 4), slice(None, None, 3), slice(None, None, 6)
    return dataclasses.replace(
        ssp,
        ssp_flux=np.asarray(ssp.ssp_flux)[mets, ages, waves],
        ssp_lg_age_gyr=np.asarray(ssp.ssp_lg_age_gyr)[ages],
        ssp_lgmet=np.asarray(ssp.ssp_lgmet)[mets],
        ssp_wave=np.asarray(ssp.ssp_wave)[waves],
        ssp_mass_remaining=np.asarray(ssp.ssp_mass_remaining)[mets, ages],
    )


@lru_cache
def observation(names: tuple[str, ...]) -> tg.Observation:
    """Bands by name, and made-up ones: ``xray_soft``, ``xray_hard`` and ``radio_1.4``."""
    return tg.Observation(tg.Photometry([_MADE.get(name, name) for name in names]))


def _box(name: str, low: float, high: float, unit: str) -> tg.Filter:
    """A band of constant transmission."""
    wave = np.geomspace(low, high, 20)
    response = np.where((wave > low) & (wave < high), 1.0, 0.0)
    return tg.Filter.from_arrays(name, wave, response, wave_unit=unit)


_MADE = {
    "xray_soft": _box("xray_soft", 0.5, 2.0, "keV"),
    "xray_hard": _box("xray_hard", 2.0, 7.0, "keV"),
    "radio_1.4": _box("radio_1.4", 1.37, 1.43, "GHz"),
    "radio_5": _box("radio_5", 4.8, 5.2, "GHz"),
}


def template_file(folder: Path, kind: str) -> str:
    """Write templates of two slopes of a power law, with a bump; return the path."""
    low, high = _FILES[kind]
    wave = np.geomspace(low, high, 60)
    bump = 1.0 + 3.0 * np.exp(-0.5 * (np.log(wave / np.sqrt(low * high)) / 0.1) ** 2)
    spectra = np.stack([(wave / low) ** slope * bump for slope in (0.2, 0.8, 1.0)])
    axes = (TemplateAxis("slope", np.array([0.2, 0.8, 1.0])),)
    file = TemplateFile(wave=wave, spectra=spectra, axes=axes, kind=kind)
    return str(save_templates(folder / f"{kind}.h5", file))


def models_of_everything() -> list[dict[str, str]]:
    """Name by kind of the components of models that together have every registered one."""
    models = []
    for kinds in TOGETHER:
        names = {kind: [n for k, n in CHOICES if k == kind] for kind in kinds}
        models += [
            {kind: found[i % len(found)] for kind, found in names.items()}
            for i in range(max(map(len, names.values())))
        ]
    return models


def choices_of(kind: str, name: str, folder: Path) -> dict[str, Any]:
    """Arguments of ``Parameters`` that make a model of one component, with what it needs."""
    cls = registered_components()[kind, name]
    needs_file = "path" in {f.name: f.default for f in dataclasses.fields(cls) if f.default == ""}
    made = cls(path=template_file(folder, kind)) if needs_file else name
    attenuated = {"dust": "single", "dust_law": "calzetti"}
    match kind:
        case "agn_disc" | "agn_lines" | "agn_torus":
            return {kind: made if needs_file else cls(), "dust": "none"}
        case "agn":
            return {"agn": name, **attenuated, "dust_emission": "modified_blackbody"}
        case "radio" | "xray":
            return {kind: name, "agn": "nucleus", **attenuated}
        case "dust_law":
            return {"dust": "two_component", "dust_law": name}
        case "sfh_field":
            return {"sfh": "delayed", "sfh_field": name, "dust": "none"}
        case "dust_emission":
            return {"dust_emission": made, **attenuated}
        case "nebular":
            return {"dust_law": "calzetti", kind: made}
        case "dust":
            return {kind: made}
        case _:
            return {"dust": "none", kind: made}


def parameters(redshift: float, **choices: Any) -> tg.Parameters:
    """Parameters with every one of the model free."""
    tabulated = {"sfh": "sfh_tabulated", "metallicity": "met_tabulated"}
    needed = [start for kind, start in tabulated.items() if choices.get(kind) == "tabulated"]
    given = {name: v for name, v in REQUIRED.items() if name.startswith(tuple(needed))}
    spec = tg.Parameters(**choices, **given, redshift=redshift)
    fixed = {n: v for n, v in spec.fixed.items() if n not in given and n != "redshift"}
    return spec.replace(**{name: _around(value) for name, value in fixed.items()})


def _around(value: Any) -> dist.Distribution:
    """A prior around the fixed value of a parameter."""
    low, high = sorted((0.9 * float(value), 1.1 * float(value)))
    return dist.Uniform(low, high if high > low else 0.1)


def small_model(names: dict[str, str], ssp: Any, folder: Path) -> tg.SEDModel:
    """The model of one registered component, or of one of each of several kinds."""
    choices: dict[str, Any] = {}
    for kind, name in names.items():
        choices |= choices_of(kind, name, folder)
    parts = {k: choices.pop(k) for k in [*choices] if k.startswith("agn_")}
    if parts:
        choices["agn"] = AGN(**{k.removeprefix("agn_"): part for k, part in parts.items()})
    kind = next(iter(names))
    spec = parameters(REDSHIFT.get(kind, 0.3), **choices)
    return tg.SEDModel(spec, thin_grid(ssp), observation(BANDS.get(kind, STELLAR)), n_nodes=4)
