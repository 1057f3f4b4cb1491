"""The cases of ``bagpipes_reference`` as models of this package, with BAGPIPES' conventions.

BAGPIPES 1.3.6 (Carnall et al. 2018) differs from the defaults in these ways:

* 42 ages, log10(age/yr) = 6.0 (0.1) 10.1, edges at mid-log, the SSP of a bin is the mean over its
  width: the shipped grid is integrated over the bins, and read with ``age_scheme="bins"``. (Its
  own mean takes SSPs as constant around their ages, where the shipped grid is linear between
  them: up to 4e-4 in all bands of populations of a few ages.)
* The star formation rate is sampled every 0.0025 dex in age and put into the bins by histogram;
  edges of the bins coincide with samples, which count as older. So a bin of the star formation
  history begins half a sample, 0.00125 dex, before that of the SSPs; so does, here, the age at
  which stars leave their birth clouds.
* F_lambda is interpolated linearly in wavelength between the native nodes of BC03 and Cloudy, also
  where they lie 0.22 dex apart.
* Metallicity is interpolated linearly in Z; gas shines per mass of stars formed.
* Mpc = 3.086e24 cm, c = 2.9979e18 A/s.

Programs run without compilation (:func:`jax.disable_jit`): the cases have 31 structures, and a
prediction takes one second, but its compilation five.
"""

import contextlib
import dataclasses
import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import jax
import jax.numpy as jnp
import numpy as np

import tengri_ppl as tg
from tengri_ppl._resources import resource_path
from tengri_ppl.physics.attenuation import MAG_PER_TAU
from tengri_ppl.physics.component import Parameter
from tengri_ppl.physics.constants import C_ANGSTROM_PER_S, MICROJANSKY_CGS, MPC_CM
from tengri_ppl.physics.metallicity import InterpolatedMetallicity
from tengri_ppl.physics.nebular import CloudyNebular
from tengri_ppl.physics.nebular.grid import DEFAULT_NEBULAR
from tengri_ppl.physics.sfh import SFH
from tengri_ppl.physics.sfh.base import History

LOG_AGES = 6.0 + 0.1 * np.arange(42)
HALF_SAMPLE = 0.00125
OLDEST_GYR = 13.466984  # age of the universe, BAGPIPES' last edge
FAR_INFRARED = 1e5
#: What BAGPIPES returns for umin above 8: its table lists a U = 10 that its grid does not have.
RETURNED_UMIN = {15.0: 20.0, 9.0: 10.0}
#: Their area and their unit of frequency, as factors on our fluxes.
AREA = (MPC_CM / 3.086e24) ** 2
FREQUENCY = C_ANGSTROM_PER_S / 2.9979e18
SFH_NAMES = {
    "dblplaw": ("dpl", {"alpha": "alpha", "beta": "beta", "tau": "tau_gyr"}),
    "delayed": ("delayed", {"age": "age_gyr", "tau": "tau_gyr"}),
    "constant": ("constant", {"age_max": "age_max_gyr", "age_min": "age_min_gyr"}),
    "lognormal": ("lognormal", {"tmax": "tmax_gyr", "fwhm": "fwhm_gyr"}),
}
LAWS = {
    "Calzetti": lambda dust: {"dust_law": "calzetti"},
    "CF00": lambda dust: {"dust_law": "power_law", "dust_slope": -dust["n"]},
    "Salim": lambda dust: {
        "dust_law": "salim",
        "dust_slope": dust["delta"],
        "dust_bump": dust["B"],
    },
}


class Case(NamedTuple):
    """One galaxy of the tables.

    Attributes
    ----------
    name : str
        Its identifier.
    components : dict
        BAGPIPES' ``model_components``.
    dust_emission : bool
        Whether the dust emits; BAGPIPES was patched where it does not.
    masses : ndarray, shape (42,)
        Mass formed in BAGPIPES' age bins [Msun].
    """

    name: str
    components: dict[str, Any]
    dust_emission: bool
    masses: np.ndarray


class Prediction(NamedTuple):
    """What the package says of a case.

    Attributes
    ----------
    exact, fast : ndarray, shape (n_band,)
        Fluxes [microjansky], with BAGPIPES' constants.
    lines : ndarray, shape (n_line,), or None
        Line fluxes [erg/s/cm^2], with BAGPIPES' constants.
    derived : dict
        Derived quantities.
    masses : ndarray, shape (42,)
        Mass formed in the age bins [Msun].
    wave : ndarray, shape (n_wave,)
        Rest-frame wavelengths of spectra [Angstrom].
    parts : dict
        Decomposition of the spectrum [erg/s/Hz].
    """

    exact: np.ndarray
    fast: np.ndarray
    lines: np.ndarray | None
    derived: dict[str, float]
    masses: np.ndarray
    wave: np.ndarray
    parts: dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class BinMasses(SFH):
    """A star formation history that is a list of masses in BAGPIPES' age bins."""

    name = "masses"
    amplitudes = ("log_mass",)

    @property
    def shape_parameters(self) -> tuple[Parameter, ...]:
        return (Parameter("share", "1", "mass in each bin", 1.0, (LOG_AGES.size,)),)

    def history(self, params, cosmic_age, lower, upper, n_fine=0) -> History:
        mass = params["sfh_masses_share"]
        zero, onset = jnp.zeros(()), jnp.asarray(OLDEST_GYR * 10.0**-HALF_SAMPLE)
        return History(mass, 0.5 * mass * (upper - lower), zero, onset, zero, jnp.zeros_like)


def read_cases(reference: dict[str, np.ndarray]) -> list[Case]:
    columns = ("id", "params_json", "dust_emission", "ceh_grid")
    return [
        Case(str(name), json.loads(str(components)), bool(emission), grid.sum(axis=0))
        for name, components, emission, grid in zip(*(reference[c] for c in columns), strict=True)
    ]


def parameters(case: Case, nebular: Path, *, history: bool = True) -> tg.Parameters:
    """Translate a case, all parameters fixed; without ``history``, its masses are BAGPIPES'."""
    components = case.components
    name = next(n for n in SFH_NAMES if n in components)
    choices: dict[str, Any] = {
        "metallicity": InterpolatedMetallicity(space="linear"),
        "met_logzsol": np.log10(components[name]["metallicity"]),
    }
    choices |= _history(name, components[name]) if history else _masses(case.masses)
    t_bc = components.get("t_bc", 0.01) * 10.0**-HALF_SAMPLE
    if "nebular" in components:
        choices["neb_logu"] = components["nebular"]["logU"]
        choices["nebular"] = CloudyNebular(
            normalisation="mass", space="linear", path=str(nebular), age_max_gyr=t_bc
        )
    dust = components.get("dust")
    if dust is None:
        choices["dust"] = "none"
    else:
        choices |= _dust(dust, t_bc)
        choices |= _dust_emission(dust) if case.dust_emission else {}
    return tg.Parameters(redshift=components["redshift"], **choices)


def _history(name: str, values: dict[str, Any]) -> dict[str, Any]:
    family, names = SFH_NAMES[name]
    ours = {f"sfh_{family}_{ours}": values[theirs] for theirs, ours in names.items()}
    return {"sfh": family, f"sfh_{family}_log_mass": values["massformed"], **ours}


def _masses(masses: np.ndarray) -> dict[str, Any]:
    total = masses.sum()
    return {
        "sfh": BinMasses(),
        "sfh_masses_log_mass": np.log10(total),
        "sfh_masses_share": masses / total,
    }


def _dust(dust: dict[str, Any], t_bc: float) -> dict[str, Any]:
    """Old stars behind A_V, young ones behind eta A_V."""
    tau = dust["Av"] / MAG_PER_TAU
    depths = {"dust_tau_diff": tau, "dust_tau_bc": (dust["eta"] - 1.0) * tau, "dust_t_bc_gyr": t_bc}
    return LAWS[dust["type"]](dust) | depths


def _dust_emission(dust: dict[str, Any]) -> dict[str, Any]:
    """Draine & Li; the defaults are BAGPIPES'."""
    umin = dust.get("umin", 1.0)
    return {
        "dust_emission": "draine_li2007",
        "dust_qpah": dust.get("qpah", 2.0),
        "dust_umin": RETURNED_UMIN.get(umin, umin),
        "dust_gamma": dust.get("gamma", 0.01),
    }


@contextlib.contextmanager
def interpreted() -> Iterator[None]:
    """Double precision, and nothing compiled."""
    with jax.enable_x64(True), jax.disable_jit():
        yield


def make_model(
    spec: tg.Parameters, ssp: Any, names: list[str], age_scheme: str = "bins", **options: Any
) -> tg.SEDModel:
    """To be called in :func:`interpreted`."""
    assert spec.free_params == []
    observation = tg.Observation(tg.Photometry.from_names(names))
    return tg.SEDModel(spec, ssp, observation, age_scheme=age_scheme, h0=70.0, om0=0.3, **options)


def exact_photometry(model: tg.SEDModel, mode: str = "exact") -> np.ndarray:
    """Fluxes with BAGPIPES' constants [microjansky]."""
    flux = np.asarray(model.predict_photometry({}, mode=mode))
    return flux / MICROJANSKY_CGS * (AREA * FREQUENCY)


def line_fluxes(model: tg.SEDModel) -> np.ndarray | None:
    """Line fluxes with BAGPIPES' constants [erg/s/cm^2]."""
    if model.forward.nebula is None:
        return None
    return np.asarray(model.predict_lines({}).flux) * AREA


def predict(model: tg.SEDModel) -> Prediction:
    """Evaluate a model through the public interface."""
    fixed = {name: jnp.asarray(value) for name, value in model.spec.fixed.items()}
    return Prediction(
        exact=exact_photometry(model),
        fast=exact_photometry(model, "fast"),
        lines=line_fluxes(model),
        derived={name: float(value) for name, value in model.derived({}).items()},
        masses=np.asarray(model.forward.starlight.formed(fixed).mass),
        wave=np.asarray(model.wave),
        parts={name: np.asarray(part) for name, part in model.sed_decomposition({}).items()},
    )


# -- grids, in BAGPIPES' reading -------------------------------------------------------------------


def bin_average(age: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Mean over each bin of functions that are linear between ages; (n_bin, n_age) weights."""
    rows = []
    for low, high in pairwise(edges):
        inside = age[(age > low * (1 + 1e-9)) & (age < high * (1 - 1e-9))]
        knots = np.concatenate([[low], inside, [high]])
        middle = 0.5 * (knots[1:] + knots[:-1])
        hats = np.stack([np.interp(middle, age, row) for row in np.eye(age.size)], axis=1)
        rows.append(np.diff(knots) @ hats / (high - low))
    return np.stack(rows)


def linear_in_flambda(
    wave: np.ndarray, flux: np.ndarray, n_step: int = 32
) -> tuple[np.ndarray, np.ndarray]:
    """Replace the nodes inserted above 1e5 Angstrom by ones linear in F_lambda between natives."""
    native = np.flatnonzero(wave >= FAR_INFRARED)[::4]
    knots = wave[native]
    steps = [np.linspace(a, b, n_step, endpoint=False) for a, b in pairwise(knots)]
    fine = np.concatenate([*steps, knots[-1:]])
    hats = np.stack([np.interp(fine, knots, row) for row in np.eye(knots.size)])
    far = (flux[..., native] / knots**2) @ hats * fine**2
    blue = slice(0, native[0])
    return np.concatenate([wave[blue], fine]), np.concatenate([flux[..., blue], far], axis=-1)


def bin_ssp(ssp: Any) -> Any:
    """The shipped stars in BAGPIPES' age bins and wavelength interpolation."""
    age = 10.0**ssp.ssp_lg_age_gyr
    edges = np.concatenate([[0.0], 10.0 ** (LOG_AGES[:-1] + 0.05 - 9.0), [OLDEST_GYR]])
    binned = np.einsum("bt,mtw->mbw", bin_average(age, edges), np.asarray(ssp.ssp_flux, float))
    wave, flux = linear_in_flambda(ssp.ssp_wave, binned)
    centre = 10.0 ** (LOG_AGES - 9.0)
    return dataclasses.replace(
        ssp,
        ssp_flux=flux,
        ssp_wave=wave,
        ssp_lg_age_gyr=LOG_AGES - 9.0 - HALF_SAMPLE,
        ssp_mass_remaining=np.stack([np.interp(centre, age, m) for m in ssp.ssp_mass_remaining]),
    )


def write_nebular(path: Path) -> Path:
    """Write the shipped nebular grid in BAGPIPES' wavelength interpolation."""
    with h5py.File(resource_path(DEFAULT_NEBULAR)) as source, h5py.File(path, "w") as file:
        content = {name: source[name][()] for name in source}
        wave, continuum = linear_in_flambda(content["wave"], content["continuum"].astype(float))
        for name, values in (content | {"wave": wave, "continuum": continuum}).items():
            file[name] = values
        file.attrs.update(source.attrs)
    return path
