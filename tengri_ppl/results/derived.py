"""Physical quantities that are recorded with the draws of the free parameters."""

from __future__ import annotations

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
from jax import Array

from tengri_ppl.models.sed import SEDModel

__all__ = ["DERIVED", "SFR_FLOOR", "derived_quantities", "linear_quantities"]

#: Recorded quantities and their units, in the order of tables and figures.
DERIVED = {
    "log_stellar_mass": "dex(Msun)",
    "log_sfr_100myr": "dex(Msun/yr)",
    "log_sfr_10myr": "dex(Msun/yr)",
    "log_ssfr_100myr": "dex(1/yr)",
    "age_mass_weighted_gyr": "Gyr",
    "a_v": "mag",
    "a_v_diffuse": "mag",
}

#: Star formation rates below this count as this in logarithms [Msun/yr]; it keeps them finite.
SFR_FLOOR = 1e-8


def derived_quantities(sed: SEDModel, params: Mapping[str, Array]) -> dict[str, Array]:
    """Compute the recorded quantities.

    Parameters
    ----------
    sed : SEDModel
        The forward model.
    params : mapping
        Draws of the free parameters, shape (...).

    Returns
    -------
    dict
        The names in `DERIVED`, each of shape (...): log10 of the surviving stellar mass [Msun]
        (of the mass formed where the grid has no surviving masses), log10 of the mean star
        formation rates over 100 and 10 Myr [Msun/yr], not below log10 of `SFR_FLOOR`, log10 of
        the former per stellar mass [1/yr], mass-weighted age [Gyr], attenuation at 5500 Angstrom
        of all starlight and of the diffuse dust [mag].
    """
    values = sed.derived(params)
    log_mass = jnp.log10(values.get("stellar_mass", values["mass_formed"]))
    log_sfr = {
        f"log_{name}": jnp.log10(jnp.maximum(values[name], SFR_FLOOR))
        for name in ("sfr_100myr", "sfr_10myr")
    }
    return {
        "log_stellar_mass": log_mass,
        **log_sfr,
        "log_ssfr_100myr": log_sfr["log_sfr_100myr"] - log_mass,
        **{name: values[name] for name in ("age_mass_weighted_gyr", "a_v", "a_v_diffuse")},
    }


def linear_quantities(logarithms: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return ``x`` for every ``log_x`` [Msun, Msun/yr, 1/yr], same shapes."""
    return {
        name.removeprefix("log_"): 10.0 ** np.asarray(value, dtype=float)
        for name, value in logarithms.items()
        if name.startswith("log_")
    }
