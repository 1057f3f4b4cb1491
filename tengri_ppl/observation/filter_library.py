"""The transmission curves of astro-sedpy, by name or by what astronomers type instead."""

from __future__ import annotations

import functools

import numpy as np

from tengri_ppl.errors import ParameterError, suggest
from tengri_ppl.observation.filters import Filter

__all__ = ["canonical_filter_name", "list_filters", "load_filter"]

# What astronomers type in place of the first part of a sedpy name.
_PREFIX_ALIASES = {
    "acs_wfc_": ("acs_", "hst_acs_", "hst_acs_wfc_"),
    "decam_": ("des_",),
    "herschel_pacs_": ("pacs_", "pacs"),
    "herschel_spire_": ("spire_", "spire"),
    "hsc_": ("subaru_hsc_",),
    "jwst_niriss_": ("niriss_",),
    "lsst_baseline_": ("lsst_", "rubin_"),
    "panstarrs_": ("ps1_", "pan-starrs_"),
    "roman_wfi_": ("roman_",),
    "spitzer_irac_ch": ("irac_ch", "irac_", "irac", "spitzer_irac_"),
    "spitzer_mips_": ("mips_", "mips"),
    "twomass_": ("2mass_",),
    "ukirt_wfcam_": ("ukidss_", "wfcam_"),
    "vista_vircam_": ("vista_", "vircam_"),
    "vlt_isaac_": ("isaac_",),
    "vlt_vimos_": ("vimos_",),
    "wfc3_ir_": ("wfc3_", "hst_wfc3_", "hst_wfc3_ir_"),
    "wfc3_uvis_": ("wfc3_", "hst_wfc3_", "hst_wfc3_uvis_"),
}
_MIRI_BANDS = (
    "f560w",
    "f770w",
    "f1000w",
    "f1130w",
    "f1280w",
    "f1500w",
    "f1800w",
    "f2100w",
    "f2550w",
)
_OTHER_ALIASES = {
    "2mass_k": "twomass_Ks",
    "twomass_k": "twomass_Ks",
    "vista_k": "vista_vircam_Ks",
}


def list_filters() -> list[str]:
    """Return the names of all filters that astro-sedpy holds, sorted."""
    return sorted(_sedpy_names())


def load_filter(name: str) -> Filter:
    """Load a filter of astro-sedpy.

    Parameters
    ----------
    name : str
        A name of `list_filters` in upper or lower case, or an alias such as ``sdss_u``,
        ``2mass_k``, ``irac_ch1``, ``acs_f814w`` or ``nircam_f200w``.

    Returns
    -------
    Filter
        The curve, under the name that was asked for.

    Raises
    ------
    ParameterError
        If there is no such filter.

    Examples
    --------
    >>> round(load_filter("sdss_r").pivot_wavelength)
    6175
    """
    wave, transmission = _sedpy_curve(canonical_filter_name(name))
    return Filter(name, wave, transmission)


def canonical_filter_name(name: str) -> str:
    """Return astro-sedpy's name of the filter that a name or an alias means.

    Parameters
    ----------
    name : str
        As in `load_filter`.

    Raises
    ------
    ParameterError
        If there is no such filter.
    """
    found = _aliases().get(str(name).strip().lower().replace(" ", "_"))
    if found is None:
        names = list_filters()
        hint = suggest(str(name), names) or "."
        raise ParameterError(
            f"filter {name!r} is unknown{hint} `tengri_ppl.list_filters()` lists all {len(names)}"
        )
    return found


@functools.cache
def _sedpy_names() -> tuple[str, ...]:
    from sedpy.observate import list_available_filters

    return tuple(list_available_filters())


@functools.cache
def _aliases() -> dict[str, str]:
    """Map every spelling, in lower case, to the name in sedpy."""
    names = _sedpy_names()
    aliases = dict(_OTHER_ALIASES)
    for name in names:
        for prefix, others in _PREFIX_ALIASES.items():
            if name.startswith(prefix):
                aliases.update(
                    {(other + name.removeprefix(prefix)).lower(): name for other in others}
                )
        if name.startswith("sdss_"):
            aliases[name.removesuffix("0")] = name
        band = name.removeprefix("jwst_")
        if name == f"jwst_{band}" and band.startswith("f"):
            camera = "miri" if band in _MIRI_BANDS else "nircam"
            aliases.update({f"{camera}_{band}": name, f"jwst_{camera}_{band}": name})
    return aliases | {name.lower(): name for name in names}


@functools.lru_cache(maxsize=512)
def _sedpy_curve(name: str) -> tuple[np.ndarray, np.ndarray]:
    from sedpy.observate import Filter as SedpyFilter

    curve = SedpyFilter(name)
    return np.array(curve.wavelength, dtype=float), np.array(curve.transmission, dtype=float)
