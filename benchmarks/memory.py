"""Memory of fits beside what another code documents for the same workloads.

Usage::

    python benchmarks/memory.py [WORKLOAD ...]

Every workload is a process of its own on the photometric model of ``sbc.py``: seven parameters in
ten bands; 137 with a stochastic field of 128 cells; with a dense basis instead of the delayed
history as many as that has. The first fit compiles, the second is warm. Columns are resident
memory [GB = 10^9 bytes]: with the model in memory, at the peak of the first fit, after it, at the
peak of all fits; and what :func:`tengri_ppl.plan` says before the first. The documented figures are
those of tengri's page on memory: steady state, peak while it compiles. It advises one NUTS fit per
process, because a third runs out of memory; here three follow one another, in other bands each.
"""

from __future__ import annotations

import os

os.environ.setdefault("NPROC", "4")

import argparse
import json
from dataclasses import dataclass, field
from typing import Any

from apart import measure_apart

FIELD = {"sfh_field": "drw"}
DENSE_BASIS = {"sfh": "dense_basis"}


@dataclass(frozen=True)
class Workload:
    """A kind of fit.

    Attributes
    ----------
    method : str
        Engine.
    documented : str
        Steady state, and peak while compiling, of the other code [GB].
    components : dict
        Of the model, beyond those of ``sbc.py``.
    options : dict
        Of the engine.
    n_models : int
        Models fitted one after the other, each with a band fewer.
    """

    method: str
    documented: str
    components: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    n_models: int = 1


WORKLOADS = {
    "nuts": Workload("mcmc_nuts", "0.1, 3-6"),
    "nuts, diagonal": Workload("mcmc_nuts", "0.1, 1-2", options={"dense_mass_matrix": False}),
    "nuts, dense basis": Workload("mcmc_nuts", "-, above 20", components=DENSE_BASIS),
    "nuts, three models": Workload("mcmc_nuts", "-, out of memory", n_models=3),
    "map": Workload("map", "0.1, 1"),
    "laplace": Workload("laplace", "0.1, 1"),
    "pathfinder": Workload("pathfinder", "0.1, 1"),
    "geovi, field": Workload("geovi", "1.5, 5-6", components=FIELD),
    "auto": Workload("auto", "-"),
    "nss": Workload("nss", "-"),
}


def measure(workload: Workload) -> dict[str, float]:
    """Fit in this process."""
    import jax
    from sbc import BANDS, make_model

    import tengri_ppl as tg
    from tengri_ppl.runtime.memory import GIGABYTE, peak_rss_bytes, rss_bytes

    found: dict[str, float] = {}
    for i in range(workload.n_models):
        sed = make_model(BANDS[i:], **workload.components)
        truth = sed.spec.sample(jax.random.key(1))
        flux = sed.predict_photometry(truth)
        fitter = tg.Fitter(sed, flux, 0.05 * flux)
        if not found:
            found["before"] = rss_bytes() / GIGABYTE
            plan = fitter.plan(workload.method, **workload.options)
            found["planned"] = max(map(plan.total_bytes, plan.programs)) / GIGABYTE
        for key in jax.random.split(jax.random.key(i), 2):
            fitter.run(workload.method, key=key, **workload.options)
            found.setdefault("first", peak_rss_bytes() / GIGABYTE)
            found.setdefault("steady", rss_bytes() / GIGABYTE)
    return found | {"peak": peak_rss_bytes() / GIGABYTE}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workloads", nargs="*", default=list(WORKLOADS))
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(WORKLOADS[options.one])))
        return
    print("workload             before  first fit    after     peak  planned   documented [GB]")
    for name in options.workloads:
        found = measure_apart(__file__, "--one", name)
        print(f"{name:20s}", found.get("failure") or _row(found), end="   ", flush=True)
        print(WORKLOADS[name].documented, flush=True)


def _row(found: dict[str, float]) -> str:
    columns = ("before", "first", "steady", "peak", "planned")
    return " ".join(f"{found[name]:8.2f}" for name in columns)


if __name__ == "__main__":
    main()
