"""Figures that show several components at once: all laws, a whole galaxy, its fast photometry."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np

import tengri_ppl as tg
from figures.drawing import colours, save
from figures.light import gas_model
from figures.values import reference_value
from tengri_ppl.physics.component import registered_components
from tengri_ppl.physics.nebular import CloudyNebular
from tengri_ppl.results.plots.style import PALETTE, log_ticks, new_figure

__all__ = ["write_overviews"]

_EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
_N_DRAWS = 100
_COLUMNS = 5


def write_overviews(folder: Path) -> None:
    """Write all overview figures, and a table of the error of the fast mode, into a folder."""
    save(law_comparison(), folder / "all_laws.png")
    save(line_ratios(), folder / "line_ratios.png")
    sys.path.insert(0, str(_EXAMPLES))
    import whole_galaxy

    matplotlib.use("Agg")
    sed = whole_galaxy.build_model()
    parts = sed.sed_decomposition(whole_galaxy.GALAXY)
    save(whole_galaxy.plot_decomposition(sed, parts), folder / "whole_galaxy.png")
    (folder / "fast_error.md").write_text(error_table(sed))


def law_comparison() -> Any:
    """Draw every law with its default parameters, each in front of all others."""
    wave = jnp.geomspace(950.0, 2.5e4, 400)
    curves = {}
    for (kind, name), cls in registered_components().items():
        if kind == "dust_law":
            law = cls()
            params = {p.name: jnp.asarray(reference_value(p)) for p in law.parameters}
            curves[name] = np.asarray(law.curve(wave, params))
    n_row = -(-len(curves) // _COLUMNS)
    figure = new_figure(9.8, 1.75 * n_row + 0.4, layout="constrained")
    axes = figure.subplots(n_row, _COLUMNS, sharex=True, sharey=True)
    for axis, name in zip(axes.flat, curves, strict=False):
        for other in curves.values():
            axis.plot(wave, other, color="0.85", lw=0.6)
        axis.plot(wave, curves[name], color=PALETTE[0], lw=1.4)
        axis.set_title(name, fontsize=8, family="monospace")
        axis.set(xscale="log", xlim=(950.0, 2.5e4), ylim=(0.0, 8.0))
        log_ticks(axis.xaxis, 950.0, 2.5e4)
        axis.tick_params(labelsize=7)
    for axis in axes.flat[len(curves) :]:
        axis.remove()
    figure.supxlabel("wavelength [Angstrom]", fontsize=9)
    figure.supylabel("k(wavelength)", fontsize=9)
    return figure


def line_ratios() -> Any:
    """Draw [O III]/H beta over [N II]/H alpha for all metallicities and ionisation parameters."""
    sed = gas_model(CloudyNebular(gas="free"))
    logz, logu = np.array([-1.5, -1.0, -0.7, -0.4, 0.0, 0.4]), np.linspace(-4.0, -1.0, 7)
    grid = jnp.meshgrid(jnp.asarray(logz), jnp.asarray(logu), indexing="ij")
    params = {p.name: jnp.asarray(reference_value(p)) for p in CloudyNebular().parameters}
    params |= dict(zip(("neb_logzsol", "neb_logu"), grid, strict=True))
    lines = sed.predict_lines(params)
    wave = np.asarray(lines.wave_vacuum)

    def light(vacuum: float) -> np.ndarray:
        return np.asarray(lines.luminosity)[..., np.argmin(np.abs(wave - vacuum))]

    x = np.log10(light(6585.3) / light(6564.6))
    y = np.log10(light(5008.2) / light(4862.7))
    figure = new_figure(6.0, 4.2, layout="constrained")
    axis = figure.subplots()
    axis.plot(x, y, color="0.75", lw=0.8)
    for row, value, colour in zip(range(len(logz)), logz, colours(len(logz)), strict=True):
        axis.plot(x[row], y[row], "o-", color=colour, ms=3, lw=1.2, label=f"{value:g}")
    axis.set(xlabel="log10 [N II] 6585 / H alpha", ylabel="log10 [O III] 5008 / H beta")
    axis.legend(title="neb_logzsol", fontsize=8, title_fontsize=8)
    return figure


def error_table(sed: tg.SEDModel) -> str:
    """Return a Markdown table of the error of the fast mode in each band, over prior draws."""
    params = sed.spec.sample_batch(jax.random.key(1), _N_DRAWS)
    fast, exact = (
        np.asarray(sed.predict_photometry(params, mode=mode), dtype=float)
        for mode in ("fast", "exact")
    )
    error = np.abs(fast / exact - 1.0)
    rows = ["| band | median | 95th percentile | largest |", "|---|---|---|---|"]
    for i, band in enumerate(sed.bands):
        p50, p95 = np.percentile(error[:, i], [50, 95])
        rows.append(f"| `{band}` | {p50:.1e} | {p95:.1e} | {error[:, i].max():.1e} |")
    return "\n".join(rows) + "\n"
