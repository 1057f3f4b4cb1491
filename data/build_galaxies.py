"""Write ``data/galaxies/goodss.ecsv``: three galaxies of GOODS-S, with the figures typed here.

Usage: ``python data/build_galaxies.py``
"""

from __future__ import annotations

from pathlib import Path

import astropy.units as u
import numpy as np
from astropy.table import Table

OUTPUT = Path(__file__).resolve().parent / "galaxies" / "goodss.ecsv"

BANDS = (
    *("vlt_vimos_U", "acs_wfc_f435w", "acs_wfc_f606w", "acs_wfc_f775w", "acs_wfc_f814w"),
    *("acs_wfc_f850lp", "wfc3_ir_f105w", "wfc3_ir_f125w", "wfc3_ir_f160w", "vlt_isaac_Ks"),
    *("spitzer_irac_ch1", "spitzer_irac_ch2", "spitzer_irac_ch3", "spitzer_irac_ch4"),
)

#: Per galaxy: identifier, redshift, and (AB magnitude, 1-sigma error) in the order of `BANDS`.
GALAXIES = (
    (
        7886,
        1.071,
        (
            *((24.714, 0.022), (24.651, 0.095), (24.087, 0.028), (23.155, 0.028)),
            *((22.905, 0.016), (22.359, 0.018), (22.013, 0.006), (21.676, 0.004)),
            *((21.308, 0.004), (20.706, 0.008), (20.199, 0.004), (20.390, 0.006)),
            *((20.765, 0.022), (20.963, 0.027)),
        ),
    ),
    (
        4062,
        1.088,
        (
            *((28.128, 0.346), (26.875, 0.573), (24.903, 0.069), (23.474, 0.038)),
            *((23.122, 0.024), (22.452, 0.018), (21.937, 0.008), (21.546, 0.004)),
            *((21.138, 0.004), (20.550, 0.006), (20.033, 0.003), (20.247, 0.003)),
            *((20.761, 0.021), (21.159, 0.031)),
        ),
    ),
    (
        4376,
        1.097,
        (
            *((25.099, 0.030), (24.672, 0.084), (23.766, 0.026), (22.616, 0.019)),
            *((22.299, 0.013), (21.730, 0.011), (21.375, 0.005), (21.044, 0.003)),
            *((20.708, 0.002), (20.098, 0.004), (19.474, 0.002), (19.527, 0.002)),
            *((19.668, 0.009), (19.395, 0.007)),
        ),
    ),
)


def build_table() -> Table:
    """Return the table: id, redshift, then ``<band>_mag`` and ``<band>_err`` [AB mag] per band."""
    photometry = np.array([row for _, _, row in GALAXIES])
    if photometry.shape != (len(GALAXIES), len(BANDS), 2):
        raise SystemExit(f"unexpected shape {photometry.shape}")
    table = Table()
    table["id"] = [identifier for identifier, _, _ in GALAXIES]
    table["redshift"] = [redshift for _, redshift, _ in GALAXIES]
    for k, band in enumerate(BANDS):
        table[f"{band}_mag"] = photometry[:, k, 0] * u.ABmag
        table[f"{band}_err"] = photometry[:, k, 1] * u.mag
        table[f"{band}_mag"].description = "total AB magnitude"
        table[f"{band}_err"].description = "1-sigma error"
    table["id"].description = "number in the CANDELS GOODS-S catalogue"
    table["redshift"].description = "redshift adopted for the fits of Pacifici et al. (2023)"
    table.meta = {
        "citation": "Guo et al. 2013, ApJS 207, 24, as tabulated by Pacifici et al. 2023, "
        "ApJ 944, 141",
        "bands": "named as in astro-sedpy",
    }
    return table


def main() -> None:
    """Write the file."""
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    build_table().write(OUTPUT, format="ascii.ecsv", overwrite=True)
    print(f"wrote {OUTPUT}")


if __name__ == "__main__":
    main()
