"""Labels, colours and ticks that the figures share."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["PALETTE", "label_of", "log_ticks", "new_figure"]

#: Colours that colour-blind readers can tell apart (Okabe & Ito 2008), for light backgrounds.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")

_LABELS = {
    "redshift": r"$z$",
    "met_logzsol": r"$\log_{10}(Z/Z_\odot)$",
    "met_scatter": r"$\sigma(\log_{10} Z)$",
    "dust_tau_bc": r"$\tau_\mathrm{bc}$",
    "dust_tau_diff": r"$\tau_\mathrm{diff}$",
    "dust_t_bc_gyr": r"$t_\mathrm{bc}$ [Gyr]",
    "log_stellar_mass": r"$\log_{10}(M_\star/M_\odot)$",
    "log_sfr_100myr": r"$\log_{10}(\mathrm{SFR}_{100}/M_\odot\,\mathrm{yr}^{-1})$",
    "log_sfr_10myr": r"$\log_{10}(\mathrm{SFR}_{10}/M_\odot\,\mathrm{yr}^{-1})$",
    "log_ssfr_100myr": r"$\log_{10}(\mathrm{sSFR}_{100}/\mathrm{yr}^{-1})$",
    "age_mass_weighted_gyr": r"$t_\mathrm{mass}$ [Gyr]",
    "a_v": r"$A_V$ [mag]",
    "a_v_diffuse": r"$A_{V,\mathrm{diff}}$ [mag]",
}
#: Parameters of all star formation histories, by what follows ``sfh_<family>_``.
_SFH_LABELS = {
    "log_mass": r"$\log_{10}(M_\mathrm{formed}/M_\odot)$",
    "log_peak_sfr": r"$\log_{10}(\mathrm{SFR}_\mathrm{peak}/M_\odot\,\mathrm{yr}^{-1})$",
    "tau_gyr": r"$\tau_\mathrm{SFH}$ [Gyr]",
    "alpha": r"$\alpha_\mathrm{SFH}$",
    "beta": r"$\beta_\mathrm{SFH}$",
    "age_gyr": r"$t_\mathrm{onset}$ [Gyr]",
    "age_max_gyr": r"$t_\mathrm{onset}$ [Gyr]",
    "age_min_gyr": r"$t_\mathrm{end}$ [Gyr]",
    "tmax_gyr": r"$t_\mathrm{peak}$ [Gyr]",
    "fwhm_gyr": r"FWHM$_\mathrm{SFH}$ [Gyr]",
}
#: Largest range of an axis, and the multiples of powers of ten that are labelled on it.
_LOG_TICKS = (
    (6.0, (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)),
    (16.0, (1.0, 2.0, 3.0, 5.0)),
    (40.0, (1.0, 2.0, 5.0)),
    (300.0, (1.0, 3.0)),
)


def label_of(name: str) -> str:
    """Return the axis label of a quantity, with its unit; unknown names are returned readable."""
    if name in _LABELS:
        return _LABELS[name]
    match = re.fullmatch(r"sfh_[^_]+_(.+)", name)
    if match and match.group(1) in _SFH_LABELS:
        return _SFH_LABELS[match.group(1)]
    return name.replace("_", " ")


def new_figure(width: float, height: float, **options: Any) -> Any:
    """Make a figure [inch] that no pyplot state knows about."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), **options)


def log_ticks(axis: Any, low: float, high: float) -> None:
    """Label a logarithmic axis with plain numbers, dense enough for its range."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    subs = next((subs for limit, subs in _LOG_TICKS if high / low < limit), (1.0,))
    axis.set_major_locator(LogLocator(subs=subs, numticks=20))
    axis.set_major_formatter(FuncFormatter(lambda value, _: _plain_number(value)))
    axis.set_minor_formatter(NullFormatter())


def _plain_number(value: float) -> str:
    if 1e-3 <= value < 1e5:
        return f"{value:g}"
    mantissa, exponent = f"{value:.0e}".split("e")
    power = rf"10^{{{int(exponent)}}}"
    return f"${power}$" if mantissa == "1" else rf"${mantissa}\times{power}$"
