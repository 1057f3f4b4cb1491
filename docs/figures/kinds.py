"""Every kind of component: how it is shown, and examples of those that need more than a name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from figures.drawing import Look, draw_panels
from figures.light import (
    AGNPartView,
    EmissionView,
    NebularView,
    igm_panels,
    in_gigahertz,
    in_kev,
)
from figures.values import example_values
from figures.views import AttenuationView, GeometryView, MetallicityView, SFHView, View, panels
from tengri_ppl.errors import ParameterError
from tengri_ppl.physics.agn import AGN
from tengri_ppl.physics.component import Component, registered_components
from tengri_ppl.physics.metallicity import TabulatedMetallicity
from tengri_ppl.physics.nebular import CloudyNebular
from tengri_ppl.physics.sfh import (
    BinnedSFH,
    BurstSFH,
    DelayedQuenchSFH,
    DelayedSFH,
    PostStarburstSFH,
    ProspectorBetaSFH,
    StochasticSFH,
    TabulatedSFH,
)

__all__ = ["component_figure", "component_of"]

_LINEAR_TIME = Look(
    "lookback time [Gyr]", "SFR [Msun/yr]", xscale="linear", yscale="linear", xlim=(0.0, 12.5)
)
_RECENT = replace(_LINEAR_TIME, xscale="log", yscale="log", xlim=(3e-3, 12.5), decades=3.0)
_METALLICITY = replace(_LINEAR_TIME, ylabel="log10 Z/Zsun", ylim=(-2.4, 0.6))
_SHARES = Look(
    "log10 Z/Zsun of the SSP grid", "share of mass", xscale="linear", yscale="linear", marker="o"
)
_LAW = Look(
    "wavelength [Angstrom]", "k(wavelength)", yscale="linear", xlim=(9e2, 2.5e4), ylim=(0.0, 10.0)
)
_SCREEN = replace(_LAW, ylabel="attenuation [mag]", ylim=None)
_DUST = Look("wavelength [micron]", "nu L_nu / L_absorbed", xlim=(1.0, 2e3), decades=3.5)
_GAS = Look("wavelength [micron]", "nu L_nu [Lsun]", xlim=(0.08, 1.2), decades=5.0)
_NUCLEUS = Look("wavelength [micron]", "nu L_nu [Lsun]", xlim=(1e-2, 1e3), decades=3.0)
_LINES = replace(_NUCLEUS, xscale="linear", xlim=(0.42, 0.70), decades=1.5)
_RADIO = Look("frequency at rest [GHz]", "L_nu [W/Hz]", xlim=(0.1, 3e3))
_XRAY = Look("energy at rest [keV]", "E L_E [erg/s]", xlim=(0.3, 200.0), decades=3.0)
_OBSERVED = Look(
    "observed wavelength [Angstrom]", "transmission", "linear", "linear", ylim=(-0.03, 1.05)
)
_AT_REST = replace(_OBSERVED, xlabel="wavelength at rest [Angstrom]")
#: Histories whose parameters act on the last gigayear, which a logarithmic axis shows.
_ACT_RECENTLY = (BinnedSFH, DelayedQuenchSFH, PostStarburstSFH, StochasticSFH)
#: What fields and bursts are shown on top of.
_BASE = DelayedSFH()
_OPTICAL = (0.36, 0.69)
_VIEWS: dict[str, View] = {
    "dust_law": AttenuationView(_LAW),
    "dust": GeometryView(_SCREEN),
    "dust_emission": EmissionView(_DUST, per_absorbed=True),
    "nebular": NebularView(
        _GAS,
        {"neb_line_width_kms": (0.645, 0.667), "neb_logu": _OPTICAL, "neb_logzsol": _OPTICAL},
    ),
    "agn": EmissionView(_NUCLEUS, {"agn_polar_beta": (20.0, 1e3)}, only="lbol|covering|ebv|polar"),
    "agn_disc": AGNPartView(
        replace(_NUCLEUS, xlim=(1e-2, 10.0)),
        {"agn_disc_balmer": (0.15, 0.6)},
        held={"agn_polar_ebv": 0.0},
        part="disc",
    ),
    "agn_torus": AGNPartView(replace(_NUCLEUS, xlim=(0.1, 100.0), decades=2.0), part="torus"),
    "agn_lines": AGNPartView(
        _LINES,
        {"agn_line_narrow": (0.48, 0.51), "agn_line_narrow_fwhm_kms": (0.48, 0.51)},
        part="lines",
    ),
    "radio": EmissionView(_RADIO, convert=in_gigahertz),
    "xray": EmissionView(_XRAY, convert=in_kev),
    "shock": EmissionView(_DUST),
}


def component_of(kind: str, name: str) -> Component | None:
    """Make a component to show; None if there is nothing to see or it needs a user's file."""
    match kind, name:
        case _, "none":
            return None
        case "sfh", "tabulated":
            return TabulatedSFH(n_time=len(example_values("sfh_tabulated_sfr")))
        case "metallicity", "tabulated":
            return TabulatedMetallicity(n_time=len(example_values("met_tabulated_logzsol")))
        case "nebular", "cloudy":
            return CloudyNebular(gas="free")
    try:
        component = registered_components()[kind, name]()
    except ParameterError:
        return None
    return replace(component, agn=AGN()) if hasattr(component, "agn") else component


def component_figure(component: Any) -> Any:
    """Return the figure of a component."""
    if component.kind == "igm":
        made = igm_panels(component)
        return draw_panels(made, _OBSERVED if made[0].title == "redshift" else _AT_REST)
    views = _views(component)
    made = [panel for view, drawn in views for panel in panels(drawn, view)]
    return draw_panels(made, views[0][0].look)


def _views(component: Any) -> list[tuple[View, Any]]:
    """Return how to show a component: views, and what to evaluate for each."""
    kind = component.kind
    if kind == "sfh_field":
        component = StochasticSFH(base=_BASE, field=component)
    if isinstance(component, StochasticSFH | BurstSFH):
        return [(SFHView(_RECENT, base=_BASE.parameters), component)]
    if kind == "sfh":
        return [(_history_view(component), component)]
    if kind == "metallicity":
        view = MetallicityView(_METALLICITY)
        return [(view if view.changes(component) else replace(view, look=_SHARES), component)]
    view = _VIEWS[kind]
    if hasattr(component, "agn"):
        dark = replace(component, agn=None)
        return [(view, dark), (replace(view, only="_agn_"), component)]
    own = [(view, component)]
    if hasattr(component, "cmb"):
        cold = {"dust_temperature": 20.0}
        heated = replace(view, only="redshift", held=cold, galaxy="cmb=True, ")
        return [*own, (heated, replace(component, cmb=True))]
    return own


def _history_view(component: Any) -> SFHView:
    """Return the view of a star formation history."""
    if isinstance(component, TabulatedSFH) or not isinstance(component, _ACT_RECENTLY):
        return SFHView(_LINEAR_TIME)
    early = {"redshift": 1.0} if isinstance(component, ProspectorBetaSFH) else {}
    return SFHView(_RECENT, held=early)
