"""Eight posteriors of posteriordb (Magnusson et al. 2024), their models written in NumPyro.

Priors are those of the Stan programs. Flat ones are written as a proper distribution whose density
is masked: it says where to start and leaves no trace in the posterior.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from problems import Problem


def flat(like):
    """A density of one, with start points drawn from ``like``."""
    return like.mask(False)


def line(design, y, beta_prior, sigma_prior, intercept=None):
    """A linear regression; the priors are distributions."""
    with numpyro.plate("coefficient", design.shape[1]):
        beta = numpyro.sample("beta", beta_prior)
    sigma = numpyro.sample("sigma", sigma_prior)
    mean = design @ beta if intercept is None else intercept + design @ beta
    with numpyro.plate("datum", y.size):
        numpyro.sample("y", dist.Normal(mean, sigma), obs=y)


def eight_schools(y, error):
    mu = numpyro.sample("mu", dist.Normal(0.0, 5.0))
    tau = numpyro.sample("tau", dist.HalfCauchy(5.0))
    with numpyro.plate("school", y.size):
        offset = numpyro.sample("offset", dist.Normal(0.0, 1.0))
        theta = numpyro.deterministic("theta", mu + tau * offset)
        numpyro.sample("y", dist.Normal(theta, error), obs=y)


def ark(lags, y):
    alpha = numpyro.sample("alpha", dist.Normal(0.0, 10.0))
    line(lags, y, dist.Normal(0.0, 10.0), dist.HalfCauchy(2.5), intercept=alpha)


def blr(design, y):
    line(design, y, dist.Normal(0.0, 10.0), dist.HalfNormal(10.0))


def kidscore(design, y):
    line(design, y, flat(dist.Normal(0.0, 10.0)), dist.HalfCauchy(2.5))


def flat_line(design, y):
    line(design, y, flat(dist.Normal(0.0, 3.0)), flat(dist.LogNormal(0.0, 1.0)))


def kilpisjarvi(x, y, alpha_prior, beta_prior):
    alpha = numpyro.sample("alpha", dist.Normal(*alpha_prior))
    beta = numpyro.sample("beta", dist.Normal(*beta_prior))
    sigma = numpyro.sample("sigma", flat(dist.LogNormal(0.0, 1.0)))
    with numpyro.plate("datum", y.size):
        numpyro.sample("y", dist.Normal(alpha + beta * x, sigma), obs=y)


def garch(y, first_sigma):
    mu = numpyro.sample("mu", flat(dist.Normal(5.0, 1.0)))
    alpha0 = numpyro.sample("alpha0", flat(dist.LogNormal(0.0, 1.0)))
    alpha1 = numpyro.sample("alpha1", dist.Uniform(0.0, 1.0))
    beta1 = numpyro.sample("beta1", flat(dist.Uniform(0.0, 1.0 - alpha1)))

    def advance(variance, residual):
        variance = alpha0 + alpha1 * residual**2 + beta1 * variance
        return variance, variance

    _, later = jax.lax.scan(advance, first_sigma**2, y[:-1] - mu)
    sigma = jnp.sqrt(jnp.append(first_sigma**2, later))
    with numpyro.plate("datum", y.size):
        numpyro.sample("y", dist.Normal(mu, sigma), obs=y)


Data = Mapping[str, Any]


def _eight_schools_data(data: Data) -> tuple[Any, ...]:
    return data["y"], data["sigma"]


def _ark_data(data: Data) -> tuple[Any, ...]:
    y, order = np.asarray(data["y"]), data["K"]
    lags = np.stack([y[order - k : y.size - k] for k in range(1, order + 1)], axis=1)
    return lags, y[order:]


def _kidiq_data(data: Data) -> tuple[Any, ...]:
    iq = np.asarray(data["mom_iq"])
    return np.stack([np.ones_like(iq), iq], axis=1), data["kid_score"]


def _earnings_data(data: Data) -> tuple[Any, ...]:
    height, male = np.asarray(data["height"], float), np.asarray(data["male"], float)
    z = (height - height.mean()) / height.std(ddof=1)
    return np.stack([np.ones_like(z), z, male, z * male], axis=1), np.log(data["earn"])


def _mesquite_data(data: Data) -> tuple[Any, ...]:
    sizes = ("diam1", "diam2", "canopy_height", "total_height", "density")
    logs = [np.log(data[name]) for name in sizes]
    group = np.asarray(data["group"], float)
    return np.stack([np.ones_like(group), *logs, group], axis=1), np.log(data["weight"])


def _kilpisjarvi_data(data: Data) -> tuple[Any, ...]:
    alpha, beta = (data["pmualpha"], data["psalpha"]), (data["pmubeta"], data["psbeta"])
    return data["x"], data["y"], alpha, beta


#: Name of the reference draws -> (model, name of the data, arguments from the data).
_POSTERIORS: dict[str, tuple[Callable[..., Any], str, Callable[[Data], tuple[Any, ...]]]] = {
    "eight_schools-eight_schools_noncentered": (
        eight_schools,
        "eight_schools",
        _eight_schools_data,
    ),
    "arK-arK": (ark, "arK", _ark_data),
    "sblrc-blr": (blr, "sblrc", lambda data: (data["X"], data["y"])),
    "kidiq-kidscore_momiq": (kidscore, "kidiq", _kidiq_data),
    "earnings-logearn_interaction_z": (flat_line, "earnings", _earnings_data),
    "mesquite-logmesquite": (flat_line, "mesquite", _mesquite_data),
    "kilpisjarvi_mod-kilpisjarvi": (kilpisjarvi, "kilpisjarvi_mod", _kilpisjarvi_data),
    "garch-garch11": (garch, "garch", lambda data: (data["y"], data["sigma1"])),
}

NAMES = tuple(_POSTERIORS)


def _read(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read(archive.namelist()[0]))


def load(name: str, folder: Path) -> Problem:
    """Read data and reference draws of one posterior from a copy of posteriordb."""
    model, data, arguments = _POSTERIORS[name]
    args = arguments(_read(folder / "data" / f"{data}.json.zip"))
    chains = _read(folder / "draws" / f"{name}.json.zip")
    draws: dict[str, list[np.ndarray]] = {}
    for parameter in chains[0]:
        values = np.concatenate([chain[parameter] for chain in chains])
        draws.setdefault(parameter.split("[")[0], []).append(values)
    stacked = {site: np.stack(values, axis=-1) for site, values in draws.items()}
    shaped = {site: x[..., 0] if x.shape[-1] == 1 else x for site, x in stacked.items()}
    return Problem(
        name=name,
        model=model,
        args=tuple(
            jax.tree.map(float, a) if isinstance(a, tuple) else jnp.asarray(a, float) for a in args
        ),
        mean={site: x.mean(axis=0) for site, x in shaped.items()},
        sd={site: x.std(axis=0) for site, x in shaped.items()},
        n_reference=float(len(next(iter(shaped.values())))),
    )
