"""Fit all galaxies of a GOODS-S comparison of SED codes in one process, and compare the masses.

Usage::

    python benchmarks/goodss.py FOLDER [--method auto] [--limit N] [--output DIR]

FOLDER is a copy of the catalogues of Pacifici et al. (2023, ApJ 944, 141; photometry of Guo et al.
2013, ApJS 207, 24): 204 galaxies in 17 bands. Errors get a floor of 5 %, 10 % in IRAC; missing
bands are masked. Printed are the share that reaches the verdict "converged", the growth of the
memory, and the offset and scatter of log M* from the median of eight codes. Summary, table and
a figure go to DIR. The exit code is 1 if a figure of all 204 is out of its limits.
"""

from __future__ import annotations

import os
import time

os.environ.setdefault("NPROC", "4")

import argparse
import csv
from pathlib import Path
from typing import Any

import jax
import numpy as np

import tengri_ppl as tg
from tengri_ppl.physics.cosmology import age_gyr
from tengri_ppl.runtime.memory import peak_rss_bytes

CATALOGUES = ("CANDELS_GDSS_workshop.dat", "CANDELS_GDSS_workshop_z1_even.dat")
COMPARISON = "code_comparison_z1_even.csv"
FIRST_BAND = 2
FLOOR, IRAC_FLOOR = 0.05, 0.10
#: Least share that converges; largest growth of the memory after the first galaxy, offset and
#: scatter [dex].
MIN_CONVERGED, MAX_GROWTH, MAX_OFFSET, MAX_SCATTER = 0.98, 0.10, 0.10, 0.15
COLUMNS = (
    "id",
    "redshift",
    "converged",
    "method",
    "seconds",
    "log_mstar",
    "minus_median",
    "rss_gb",
)


def read_bands(folder: Path, names: list[str]) -> tg.Photometry:
    """Read the response curves that come with the catalogue.

    Below 1 % of the peak some are noise, of either sign and over a factor of five in wavelength.
    """
    filters = []
    for name in names:
        wave, response = np.loadtxt(folder / "filters" / f"{name}.dat", unpack=True)
        response = np.where(response < 0.01 * response.max(), 0.0, response)
        filters.append(tg.Filter(name, wave, response))
    return tg.Photometry(filters)


def read_galaxies(folder: Path) -> tuple[list[str], list[dict[str, Any]]]:
    """Read names of the bands, and identifier, redshift, magnitudes and errors of each galaxy."""
    galaxies = []
    for catalogue in CATALOGUES:
        lines = (folder / "catalogs" / catalogue).read_text().splitlines()
        columns = lines[0].lstrip("# ").split()
        for line in lines[1:]:
            values = line.split()
            if not values or values[0].startswith("#"):
                continue
            photometry = np.array(values[FIRST_BAND : columns.index("flg1")], dtype=float)
            galaxies.append(
                {
                    "id": str(int(values[0])),
                    "redshift": float(values[1]),
                    "magnitude": photometry[::2],
                    "error": photometry[1::2],
                }
            )
    return columns[FIRST_BAND : columns.index("flg1") : 2], galaxies


def read_medians(folder: Path) -> dict[str, float]:
    """Read the median log M* of the eight codes."""
    with (folder / COMPARISON).open() as file:
        return {row["ID"]: float(row["median_logM"]) for row in csv.DictReader(file)}


def make_fitter(galaxy: dict[str, Any], ssp: tg.SSPData, bands: tg.Photometry) -> tg.Fitter:
    """Double power law, two dust screens, one metallicity; as in examples/goodss_*.toml."""
    spec = tg.Parameters(
        sfh="dpl",
        dust="two_component",
        dust_law="calzetti",
        igm="inoue2014",
        sfh_dpl_log_mass=tg.Uniform(6.0, 12.5),
        sfh_dpl_tau_gyr=tg.Uniform(0.1, float(age_gyr(galaxy["redshift"]))),
        sfh_dpl_alpha=tg.Uniform(0.1, 10.0),
        sfh_dpl_beta=tg.Uniform(0.1, 10.0),
        met_logzsol=tg.Uniform(-1.0, 0.4),
        dust_tau_bc=tg.Uniform(0.0, 3.0),
        dust_tau_diff=tg.Uniform(0.0, 3.0),
        redshift=tg.Fixed(galaxy["redshift"]),
    )
    used = galaxy["error"] > 0.0
    magnitude, error = (np.where(used, galaxy[k], 25.0) for k in ("magnitude", "error"))
    floor = np.where(["IRAC" in name for name in bands.names], IRAC_FLOOR, FLOOR)
    noise = tg.GaussianNoise(sigma=tg.ab_flux_error(magnitude, error), floor=floor)
    model = tg.SEDModel(spec, ssp, tg.Observation(bands))
    return tg.Fitter(model, tg.ab_flux(magnitude), noise, data_mask=used)


def fit_all(folder: Path, method: str, limit: int | None) -> list[dict[str, Any]]:
    """Fit one galaxy after the other."""
    names, galaxies = read_galaxies(folder)
    ssp, bands, medians = tg.load_ssp_data(), read_bands(folder, names), read_medians(folder)
    rows = []
    for seed, galaxy in enumerate(galaxies[:limit]):
        start = time.perf_counter()
        posterior = make_fitter(galaxy, ssp, bands).run(method, key=jax.random.key(seed))
        mass = float(posterior.inference_data.posterior["log_stellar_mass"].median())
        verdict = posterior.convergence()
        row = {
            "id": galaxy["id"],
            "redshift": galaxy["redshift"],
            "converged": bool(verdict),
            "method": posterior.method,
            "seconds": time.perf_counter() - start,
            "log_mstar": mass,
            "minus_median": mass - medians.get(galaxy["id"], np.nan),
            "rss_gb": peak_rss_bytes() / 1e9,
        }
        rows.append(row)
        print(*map(_shown, row.values()), flush=True)
        if not verdict:
            print(f"   {verdict.message}; {'; '.join(posterior.notes)}", flush=True)
    return rows


def figures_of(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Return the figures that have limits; NaN without galaxies that other codes have fitted."""
    difference = np.array([row["minus_median"] for row in rows])
    difference = difference[np.isfinite(difference)]
    offset = float(np.median(difference)) if difference.size else np.nan
    scatter = 1.4826 * float(np.median(np.abs(difference - offset))) if difference.size else np.nan
    return {
        "converged": float(np.mean([row["converged"] for row in rows])),
        "growth": rows[-1]["rss_gb"] / rows[0]["rss_gb"] - 1.0,
        "offset": offset,
        "scatter": scatter,
        "compared": difference.size,
    }


def are_within_limits(found: dict[str, float]) -> bool:
    """Whether the figures of all galaxies are what they should be."""
    return (
        found["converged"] >= MIN_CONVERGED
        and found["growth"] < MAX_GROWTH
        and abs(found["offset"]) <= MAX_OFFSET
        and found["scatter"] <= MAX_SCATTER
    )


def summarise(rows: list[dict[str, Any]], found: dict[str, float]) -> str:
    """Return the figures in words."""
    seconds = [row["seconds"] for row in rows[1:]] or [rows[0]["seconds"]]
    first, last = rows[0]["rss_gb"], rows[-1]["rss_gb"]
    return "\n".join(
        [
            f"converged: {found['converged']:.1%} of {len(rows)} (at least {MIN_CONVERGED:.0%})",
            f"median log M* - median of eight codes: {found['offset']:+.3f} dex (at most "
            f"{MAX_OFFSET:.2f}), robust scatter {found['scatter']:.3f} dex (at most "
            f"{MAX_SCATTER:.2f}), {found['compared']} galaxies",
            f"peak RSS: {first:.2f} GB after the first, {last:.2f} GB at the end "
            f"({found['growth']:+.1%}, at most {MAX_GROWTH:.0%})",
            f"seconds a galaxy: median {np.median(seconds):.1f}, largest {np.max(seconds):.1f}",
        ]
    )


def save(rows: list[dict[str, Any]], summary: str, output: Path) -> None:
    """Write the summary, the table and a figure of the masses against those of the other codes."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    output.mkdir(parents=True, exist_ok=True)
    (output / "summary.txt").write_text(summary + "\n")
    with (output / "goodss.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows({k: _shown(value) for k, value in row.items()} for row in rows)
    ours = np.array([row["log_mstar"] for row in rows])
    theirs = ours - np.array([row["minus_median"] for row in rows])
    figure, (top, bottom) = plt.subplots(
        2, 1, figsize=(5, 6), sharex=True, height_ratios=(3, 1), layout="constrained"
    )
    top.plot(theirs, ours, ".", color="C0")
    limits = np.nanmin(theirs), np.nanmax(theirs)
    top.plot(limits, limits, "-", color="0.5", lw=1)
    top.set_ylabel(r"log $M_*$ / M$_\odot$, tengri_ppl")
    bottom.plot(theirs, ours - theirs, ".", color="C0")
    bottom.axhline(0.0, color="0.5", lw=1)
    bottom.set_xlabel(r"log $M_*$ / M$_\odot$, median of eight codes")
    bottom.set_ylabel("difference")
    figure.savefig(output / "goodss.png", dpi=120)


def _shown(value: Any) -> Any:
    return f"{value:.3f}" if isinstance(value, float) else value


def main() -> int:
    """Fit, print and save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--method", default="auto")
    parser.add_argument("--limit", type=int, help="only the first so many galaxies")
    parser.add_argument("--output", type=Path, default=Path("build/goodss"))
    arguments = parser.parse_args()
    rows = fit_all(arguments.folder, arguments.method, arguments.limit)
    found = figures_of(rows)
    summary = summarise(rows, found)
    print(summary)
    save(rows, summary, arguments.output)
    return int(arguments.limit is None and not are_within_limits(found))


if __name__ == "__main__":
    raise SystemExit(main())
