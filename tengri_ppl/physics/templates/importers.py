"""Turn other codes' published template files into the layout of this package."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tengri_ppl.errors import DataError, ParameterError, suggest
from tengri_ppl.physics.templates.files import save_templates
from tengri_ppl.physics.templates.grid import TemplateAxis, TemplateFile

__all__ = ["IMPORT_FORMATS", "QUANTITIES", "WAVE_UNITS", "import_templates"]

#: Units of wavelength [Angstrom].
WAVE_UNITS = {"angstrom": 1.0, "nm": 10.0, "micron": 1e4, "mm": 1e7, "cm": 1e8}
#: Power of the wavelength that turns a quantity into one per unit frequency.
QUANTITIES = {"f_nu": 0, "f_lambda": 2, "nu_f_nu": 1}
#: Dale et al. (2014): where the stellar light is matched, and where dust emission begins [micron].
_DALE_STARS_ROW, _DALE_BLUE_END = 7, 2.0
#: Of spectra that their authors publish without saying more.
_UNKNOWN_LICENCE = "none known; published by the authors, who are to be cited"


def import_templates(
    format: str, path: str | Path, output: str | Path, **options: Any
) -> TemplateFile:
    """Convert a published template library and write it in the layout of this package.

    Parameters
    ----------
    format : str
        ``"dale2014"``, a folder with spectra.0.00AGN.dat, dhcal.dat and
        stellar_SED_age13Gyr_tau10Gyr.spec; ``"schreiber2016"``, a folder with g15_dust.fits and
        g15_pah.fits; ``"nenkova2008"`` and ``"temple2021"``, one file each; or ``"ascii"``, a
        table whose first column is the wavelength and each other one a spectrum.
    path : str or Path
        The file or folder.
    output : str or Path
        The file to write, by custom ending in ``.h5``.
    **options
        For ``"ascii"``: see :func:`read_ascii`. The other formats take none.

    Returns
    -------
    TemplateFile
        What was written.

    Raises
    ------
    ParameterError
        If the format or an option is unknown.
    DataError
        If a file is missing or does not hold what the format says.
    """
    if format not in IMPORT_FORMATS:
        raise ParameterError(
            f"template format {format!r} is unknown{suggest(format, IMPORT_FORMATS)} "
            f"(available: {', '.join(IMPORT_FORMATS)})"
        )
    reader = IMPORT_FORMATS[format]
    known = [*inspect.signature(reader).parameters][1:]
    unknown = [name for name in options if name not in known]
    if unknown:
        raise ParameterError(
            f"the format {format!r} has no option {unknown[0]!r}{suggest(unknown[0], known)} "
            f"(options: {', '.join(known) or 'none'})"
        )
    content = reader(Path(path).expanduser(), **options)
    save_templates(output, content)
    return content


def read_dale2014(folder: Path) -> TemplateFile:
    """Read the star-forming templates of Dale et al. (2014, ApJ 784, 83), without stellar light.

    The published spectra are log10(nu F_nu) and contain the light of a 13 Gyr old population. Its
    spectrum is scaled to the eighth row of each template and subtracted; what is left, positive,
    at 2 micron and beyond is dust. It has no radio emission: it falls as dust does out to 15 cm.
    """
    table = _columns(folder / "spectra.0.00AGN.dat")
    alpha = _columns(folder / "dhcal.dat")[:, 1]
    stars = _columns(folder / "stellar_SED_age13Gyr_tau10Gyr.spec")
    if table.shape[1] != 1 + len(alpha):
        raise DataError(
            f"{folder}: {table.shape[1] - 1} spectra, but {len(alpha)} alpha in dhcal.dat"
        )
    micron = table[:, 0]
    with_stars = 10.0 ** table[:, 1:].T / micron
    end = stars[-1, 0] * 1e-4
    stellar = np.interp(micron, stars[:, 0] * 1e-4, stars[:, 1])
    stellar *= np.minimum(end / micron, 1.0) ** 4  # Rayleigh and Jeans, beyond the table
    scale = with_stars[:, _DALE_STARS_ROW] / stellar[_DALE_STARS_ROW]
    dust = np.maximum(with_stars - scale[:, None] * stellar, 0.0)
    red = micron >= _DALE_BLUE_END
    return TemplateFile(
        wave=micron[red] * 1e4,
        spectra=_per_frequency(micron[red], dust[:, red], "f_lambda"),
        axes=(TemplateAxis("alpha", alpha, "1", "slope of dM/dU = U^-alpha over the galaxy"),),
        kind="dust_emission",
        normalisation="unit",
        name="Dale et al. (2014), no AGN",
        reference="Dale et al. 2014, ApJ 784, 83",
        licence=_UNKNOWN_LICENCE,
        description="Dust at 2 micron and beyond; no AGN, no radio emission.",
    )


def read_schreiber2016(folder: Path) -> TemplateFile:
    """Read the dust and PAH templates of Schreiber et al. (2018, A&A 609, A30; g15_*.fits).

    Both are nu L_nu per mass of dust, so that they mix by mass fraction.
    """
    names = ("g15_dust.fits", "g15_pah.fits")
    dust, pah = (_fits_row(folder / name, ("LAM", "SED", "TDUST")) for name in names)
    micron = dust["LAM"][0]
    same = all(np.array_equal(dust[key], pah[key]) for key in ("LAM", "TDUST"))
    if not same or np.any(dust["LAM"] != micron):
        raise DataError(f"{folder}: the templates don't share wavelengths and temperatures")
    # the first point of some continua is NaN: there is no emission at 1 micron
    spectra = np.stack([np.nan_to_num(table["SED"]) for table in (dust, pah)], axis=1)
    return TemplateFile(
        wave=micron * 1e4,
        spectra=_per_frequency(micron, spectra, "nu_f_nu"),
        axes=(
            TemplateAxis(
                "temperature", dust["TDUST"], "K", "mean temperature of the dust", (15.0, 60.0)
            ),
            TemplateAxis(
                "f_pah", np.array([0.0, 1.0]), "1", "mass fraction of PAHs in the dust", (0.0, 0.1)
            ),
        ),
        kind="dust_emission",
        normalisation="relative",
        name="Schreiber et al. (2018), first release",
        reference="Schreiber et al. 2018, A&A 609, A30",
        licence=_UNKNOWN_LICENCE,
        description="Dust continuum and PAH emission per mass of dust.",
    )


def read_nenkova2008(path: Path) -> TemplateFile:
    """Read a table of clumpy tori of Nenkova et al. (2008, ApJ 685, 160), as FSPS has it.

    Below the comments stands a row with the optical depths of a clump; below it the wavelength
    [Angstrom] and f_nu for each of them.
    """
    rows = [line.split() for line in _lines(path)]
    depth = np.array(rows[0], dtype=float)
    table = np.array(rows[1:], dtype=float)
    if table.ndim != 2 or table.shape[1] != 1 + len(depth):
        raise DataError(
            f"{path}: expected {1 + len(depth)} columns below the row of optical depths"
        )
    return TemplateFile(
        wave=table[:, 0],
        spectra=table[:, 1:].T,
        axes=(TemplateAxis("tau", depth, "1", "optical depth of a clump at 5500 Angstrom"),),
        kind="agn_torus",
        name=path.stem,
        reference="Nenkova et al. 2008, ApJ 685, 160",
        licence="MIT, as part of FSPS",
        description="Clumpy torus; the file's name gives its radius, clouds and radial slope.",
    )


def read_temple2021(path: Path) -> TemplateFile:
    """Read a quasar spectrum after Temple et al. (2021, MNRAS 508, 737): wavelength and f_nu."""
    table = _columns(path)
    return TemplateFile(
        wave=table[:, 0],
        spectra=table[:, 1],
        kind="agn_disc",
        name=path.stem,
        reference="Temple et al. 2021, MNRAS 508, 737",
        licence=_UNKNOWN_LICENCE,
    )


def read_ascii(
    path: Path,
    *,
    kind: str = "dust_emission",
    quantity: str = "f_nu",
    wave_unit: str = "angstrom",
    axis: str = "index",
    values: Sequence[float] | None = None,
    unit: str = "1",
    normalisation: str = "unit",
    reference: str = "",
    licence: str = "",
    description: str = "",
) -> TemplateFile:
    """Read columns of text: the wavelength, then one spectrum per grid point.

    Parameters
    ----------
    path : Path
        The file; lines that begin with ``#`` are comments.
    kind, normalisation, reference, licence, description : str
        See :mod:`tengri_ppl.physics.templates`.
    quantity : {"f_nu", "f_lambda", "nu_f_nu"}
        What the spectra are.
    wave_unit : {"angstrom", "nm", "micron", "mm", "cm"}
        Unit of the first column.
    axis, unit : str
        Name and unit of the parameter that distinguishes the spectra, where there are several.
    values : sequence of float, optional
        Its grid points, by default 0, 1, 2, ...
    """
    for name, value, known in (
        ("quantity", quantity, QUANTITIES),
        ("wave_unit", wave_unit, WAVE_UNITS),
    ):
        if value not in known:
            raise ParameterError(f"{name}={value!r}: expected one of {', '.join(known)}")
    table = _columns(path)
    n = table.shape[1] - 1
    nodes = np.arange(float(n)) if values is None else np.asarray(values, dtype=float)
    if len(nodes) != n:
        raise DataError(f"{path} has {n} spectra, but {len(nodes)} values of {axis!r} were given")
    spectra = _per_frequency(table[:, 0], table[:, 1:].T, quantity)
    single = n == 1
    return TemplateFile(
        wave=table[:, 0] * WAVE_UNITS[wave_unit],
        spectra=spectra[0] if single else spectra,
        axes=() if single else (TemplateAxis(axis, nodes, unit),),
        kind=kind,
        normalisation=normalisation,
        name=path.stem,
        reference=reference,
        licence=licence,
        description=description,
    )


#: Readers by the name of the format.
IMPORT_FORMATS: dict[str, Callable[..., TemplateFile]] = {
    "ascii": read_ascii,
    "dale2014": read_dale2014,
    "nenkova2008": read_nenkova2008,
    "schreiber2016": read_schreiber2016,
    "temple2021": read_temple2021,
}


def _per_frequency(wave: np.ndarray, values: np.ndarray, quantity: str) -> np.ndarray:
    """Return relative f_nu."""
    return values * wave ** QUANTITIES[quantity]


def _lines(path: Path) -> list[str]:
    """Lines of a text file that are neither empty nor comments."""
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} can't be read as text ({error})") from None
    lines = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if not lines:
        raise DataError(f"{path} is empty; expected columns of numbers")
    return lines


def _columns(path: Path) -> np.ndarray:
    """Return a table of at least two columns of numbers."""
    try:
        table = np.loadtxt(_lines(path), ndmin=2)
    except ValueError as error:
        raise DataError(f"{path}: expected columns of numbers ({error})") from None
    if table.shape[1] < 2:
        raise DataError(f"{path}: expected a column of wavelengths and at least one spectrum")
    return table


def _fits_row(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Return columns of the only row of a FITS table."""
    from astropy.io import fits

    try:
        with fits.open(path, memmap=False) as hdus:
            row = hdus[1].data[0]
            return {name: np.asarray(row[name], dtype=float) for name in names}
    except (OSError, KeyError, IndexError) as error:
        raise DataError(
            f"{path}: expected a FITS table with {', '.join(names)} ({error})"
        ) from None
