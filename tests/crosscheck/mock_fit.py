"""The mock galaxy of ``fit_mock_sf.json``: 20 bands, six free parameters, BAGPIPES' conventions."""

import json
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from bagpipes_cases import AREA, FREQUENCY, Case, parameters
from jax import Array

import tengri_ppl as tg
from tengri_ppl.physics.attenuation import MAG_PER_TAU
from tengri_ppl.physics.constants import MICROJANSKY_CGS

#: Our parameters, and BAGPIPES' as functions of them.
THEIRS = {
    "dblplaw:massformed": lambda p: p["sfh_dpl_log_mass"],
    "dblplaw:tau": lambda p: p["sfh_dpl_tau_gyr"],
    "dblplaw:alpha": lambda p: p["sfh_dpl_alpha"],
    "dblplaw:beta": lambda p: p["sfh_dpl_beta"],
    "dblplaw:metallicity": lambda p: 10.0 ** p["met_logzsol"],
    "dust:Av": lambda p: MAG_PER_TAU * p["dust_tau_diff"],
}
#: BAGPIPES samples these in their logarithm.
LOGARITHMIC = ("dblplaw:alpha", "dblplaw:beta")


class LogOfUniform(dist.Distribution):
    """Logarithm to the base of ten of a uniform number between ``low`` and ``high``."""

    arg_constraints: ClassVar = {
        "low": dist.constraints.positive,
        "high": dist.constraints.positive,
    }

    def __init__(self, low: Any, high: Any, *, validate_args: bool | None = None) -> None:
        self.low, self.high = jnp.asarray(low, dtype=float), jnp.asarray(high, dtype=float)
        super().__init__(jnp.shape(self.low), (), validate_args=validate_args)

    @property
    def support(self) -> Any:
        return dist.constraints.interval(jnp.log10(self.low), jnp.log10(self.high))

    def sample(self, key: Array, sample_shape: tuple[int, ...] = ()) -> Array:
        return self.icdf(jax.random.uniform(key, sample_shape + self.batch_shape))

    def log_prob(self, value: Array) -> Array:
        return value * jnp.log(10.0) + jnp.log(jnp.log(10.0) / (self.high - self.low))

    def cdf(self, value: Array) -> Array:
        return (10.0**value - self.low) / (self.high - self.low)

    def icdf(self, q: Array) -> Array:
        return jnp.log10(self.low + q * (self.high - self.low))


class Mock(NamedTuple):
    """A fit to be made, with the answer.

    The answer is BAGPIPES': quantiles, evidence, and weighted draws of its own parameters (in
    their logarithm where it samples that) with chi^2 at each.
    """

    fitter: tg.Fitter
    quantiles: dict[str, tuple[float, float, float]]
    log_evidence: float
    draws: dict[str, np.ndarray]
    weights: np.ndarray
    chi2: np.ndarray


def read_mock(reference: Path, ssp: Any, nebular: Path) -> Mock:
    """Read the mock and its reference posterior."""
    problem = json.loads((reference / "fit_mock_sf.json").read_text())
    answer = json.loads((reference / "fit_mock_sf_hires_result.json").read_text())
    fitter = tg.Fitter(
        tg.SEDModel(
            _spec(problem, nebular),
            ssp,
            tg.Observation(tg.Photometry.from_names(problem["filters"])),
            age_scheme="bins",
            h0=70.0,
            om0=0.3,
        ),
        *(np.asarray(problem[k]) * _unit() for k in ("flux_mujy", "err_mujy")),
    )
    quantiles = {
        name: (entry["p16"], entry["p50"], entry["p84"])
        for name, entry in answer["posterior"].items()
    }
    with np.load(reference / "fit_mock_sf_hires_samples.npz") as table:
        points = dict(zip(table["params"].tolist(), table["points"].T, strict=True))
        weights, chi2 = table["weights"], table["chi2_hires"]
    draws = {n: np.log10(x) if n in LOGARITHMIC else x for n, x in points.items()}
    return Mock(fitter, quantiles, answer["lnZ_mujy"], draws, weights, chi2)


def _unit() -> float:
    """Their microjansky in ours [erg/s/cm^2/Hz]."""
    return MICROJANSKY_CGS / (AREA * FREQUENCY)


def _spec(problem: dict[str, Any], nebular: Path) -> tg.Parameters:
    values = {key.split(":")[1]: value for key, value in problem["truth"].items()}
    history = {k: v for k, v in values.items() if k != "Av"}
    components = {
        **problem["fixed"],
        "dblplaw": history,
        "dust": problem["fixed"]["dust"] | {"Av": values["Av"]},
    }
    case = Case("mock", components, True, np.zeros(42))
    limits = {key.split(":")[1]: prior["limits"] for key, prior in problem["priors"].items()}
    return parameters(case, nebular).replace(
        sfh_dpl_log_mass=dist.Uniform(*limits["massformed"]),
        sfh_dpl_tau_gyr=dist.Uniform(*limits["tau"]),
        sfh_dpl_alpha=dist.LogUniform(*limits["alpha"]),
        sfh_dpl_beta=dist.LogUniform(*limits["beta"]),
        met_logzsol=LogOfUniform(*limits["metallicity"]),
        dust_tau_diff=dist.Uniform(*(x / MAG_PER_TAU for x in limits["Av"])),
    )


def theirs(samples: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Turn draws of our parameters into draws of BAGPIPES', logarithms where it samples them."""
    values = {name: np.asarray(rule(samples), dtype=float) for name, rule in THEIRS.items()}
    return {n: np.log10(x) if n in LOGARITHMIC else x for n, x in values.items()}


def ours(draws: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Turn draws of BAGPIPES' parameters into ours: the inverse of :func:`theirs`."""
    return {
        "sfh_dpl_log_mass": draws["dblplaw:massformed"],
        "sfh_dpl_tau_gyr": draws["dblplaw:tau"],
        "sfh_dpl_alpha": 10.0 ** draws["dblplaw:alpha"],
        "sfh_dpl_beta": 10.0 ** draws["dblplaw:beta"],
        "met_logzsol": np.log10(draws["dblplaw:metallicity"]),
        "dust_tau_diff": draws["dust:Av"] / MAG_PER_TAU,
    }
