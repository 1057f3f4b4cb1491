"""Nested sampling beside nautilus, dynesty and BAGPIPES: evaluations, time, error of ln Z.

Usage::

    pip install nautilus-sampler dynesty        # optional, peers
    pip install bagpipes==1.3.6                 # optional, for its own fit of the galaxy
    python benchmarks/nested.py [PROBLEM ...] [--galaxy REFERENCE] [--samplers SAMPLER ...]

Problems are those of ``tests/inference/conformance/evidences.py``, whose evidence is known from
formulae. REFERENCE is the folder with ``fit_mock_sf.json``, as for ``single_galaxy.py``: it adds a
galaxy with 20 bands and six free parameters, whose evidence BAGPIPES knows to 0.02 from its own
draws. All samplers have their default settings (500 live points here and with dynesty, 2000 with
nautilus), and evaluate the same compiled function: nautilus in batches, dynesty point by point.

Every sampler does every problem in a process of its own, without a cache on disk, with several
seeds: cold, from the start of Python to the first result, and then warm with the other seeds.
Everything but the cold time is a median. The error of ln Z that nautilus reports is that of its
effective draws. ``nss, fitter`` is ``Fitter.run``, which integrates the mass out. BAGPIPES fits
with nautilus and 1000 live points; its likelihood differs a little.
"""

from __future__ import annotations

import os
import time

START = time.perf_counter()
os.environ.setdefault("NPROC", "4")

import argparse
import json
import math
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from apart import measure_apart

PROBLEMS = ("shells 2", "shells 10", "eggbox", "log-gamma 6", "gaussian 10")
GALAXY, FITTER, BAGPIPES = "galaxy", "nss, fitter", "bagpipes"
#: Samplers of the galaxy only.
OF_GALAXY = (FITTER, BAGPIPES)
TESTS = Path(__file__).resolve().parent.parent / "tests"


class Run(NamedTuple):
    """What a sampler found: likelihoods evaluated, ln Z and its error."""

    evaluations: float
    log_evidence: float
    error: float


def run_nss(problem: Any, seed: int) -> Run:
    """Sample with this package."""
    import jax

    import tengri_ppl as tg

    posterior = tg.infer(problem.model, problem.args, method="nss", key=jax.random.key(seed))
    found = posterior.inference_data.attrs
    return Run(found["n_evaluations"], found["log_evidence"], found["log_evidence_error"])


def run_fitter(problem: Any, seed: int) -> Run:
    """Sample the galaxy as users do, which integrates the mass out."""
    import jax

    import tengri_ppl as tg

    sed, noise, data = problem.args
    found = tg.Fitter(sed, data, noise).run("nss", key=jax.random.key(seed)).inference_data.attrs
    return Run(found["n_evaluations"], found["log_evidence"], found["log_evidence_error"])


def run_nautilus(problem: Any, seed: int) -> Run:
    """Sample with nautilus, in batches of its own size."""
    from nautilus import Sampler

    def log_likelihood(u: np.ndarray) -> np.ndarray:
        return np.asarray(problem.log_likelihood(u), dtype=float)

    sampler = Sampler(_same, log_likelihood, n_dim=problem.dimension, vectorized=True, seed=seed)
    sampler.run()
    return Run(sampler.n_like, sampler.log_z, 1.0 / math.sqrt(sampler.n_eff))


def run_dynesty(problem: Any, seed: int) -> Run:
    """Sample with dynesty's static sampler, point by point."""
    from dynesty import NestedSampler

    def log_likelihood(u: np.ndarray) -> float:
        return float(problem.log_likelihood(u[None])[0])

    rng = np.random.default_rng(seed)
    sampler = NestedSampler(log_likelihood, _same, problem.dimension, rstate=rng)
    sampler.run_nested(print_progress=False)
    found = sampler.results
    return Run(np.sum(found.ncall), found.logz[-1], found.logzerr[-1])


def _same(u: np.ndarray) -> np.ndarray:
    """Leave points in the unit cube: the problem itself knows its prior."""
    return u


SAMPLERS: dict[str, Callable[[Any, int], Run]] = {
    "nss": run_nss,
    FITTER: run_fitter,
    "nautilus": run_nautilus,
    "dynesty": run_dynesty,
}
#: Names on PyPI.
PACKAGES = {"nautilus": "nautilus-sampler", "dynesty": "dynesty", BAGPIPES: "bagpipes==1.3.6"}


def read_problem(name: str, reference: Path | None) -> Any:
    """Build a problem by name."""
    sys.path[:0] = [str(TESTS / "inference" / "conformance"), str(TESTS / "crosscheck")]
    from evidences import EVIDENCES

    return _galaxy(reference) if name == GALAXY else EVIDENCES[name]()


def _galaxy(reference: Path) -> Any:
    """Describe the mock galaxy as the problems of the tests are described."""
    from bagpipes_cases import bin_ssp, write_nebular
    from evidences import EvidenceProblem
    from mock_fit import read_mock

    import tengri_ppl as tg
    from tengri_ppl.models.galaxy import galaxy_model
    from tengri_ppl.physics.constants import MICROJANSKY_CGS

    with tempfile.TemporaryDirectory() as folder:
        nebular = write_nebular(Path(folder) / "nebular.h5")
        mock = read_mock(reference, bin_ssp(tg.load_ssp_data()), nebular)
    priors = mock.fitter.model.spec.priors
    return EvidenceProblem(
        name=GALAXY,
        model=galaxy_model,
        args=(mock.fitter.model, mock.fitter.noise, mock.fitter.data),
        mean={},
        sd={},
        # densities are per erg/s/cm^2/Hz here, per microjansky there
        log_evidence=mock.log_evidence - mock.fitter.data.size * math.log(MICROJANSKY_CGS),
        dimension=len(priors),
        transform=lambda u: {
            n: prior.icdf(x) for (n, prior), x in zip(priors.items(), u, strict=True)
        },
    )


def measure(name: str, sampler: str, reference: Path | None, n_seeds: int) -> dict[str, Any]:
    """Sample a problem with all seeds in this process."""
    import jax

    problem = read_problem(name, reference)
    runs, walls = [], []
    for seed in range(n_seeds):
        begin = time.perf_counter()
        runs.append(SAMPLERS[sampler](problem, seed))
        walls.append(time.perf_counter() - (begin if seed else START))
    return {
        "evaluations": np.median([run.evaluations for run in runs]).item(),
        "difference": np.median([run.log_evidence for run in runs]).item() - problem.log_evidence,
        "error": np.median([run.error for run in runs]).item(),
        "cold": walls[0],
        "warm": np.median(walls[1:]).item() if n_seeds > 1 else math.nan,
        "device": jax.devices()[0].device_kind,
    }


def measure_peer_fit(reference: Path) -> dict[str, Any]:
    """Fit the galaxy once with BAGPIPES; the truth is that of its own, coarser likelihood."""
    from single_galaxy import measure_bagpipes

    answer = json.loads((reference / "fit_mock_sf_hires_result.json").read_text())
    found = measure_bagpipes(reference)
    return {
        "evaluations": found["evaluations"],
        "difference": found["log_evidence"] - (answer["lnZ_cgs"] - answer["dlnZ"]),
        "error": found["log_evidence_error"],
        "cold": found["cold"],
        "warm": found["wall"],
    }


def run_one(name: str, sampler: str, reference: Path | None, n_seeds: int) -> dict[str, Any]:
    """Measure in this process."""
    try:
        if sampler == BAGPIPES:
            return measure_peer_fit(reference)
        return measure(name, sampler, reference, n_seeds)
    except ModuleNotFoundError as error:
        if error.name != sampler:
            raise
        raise SystemExit(f"not installed: pip install {PACKAGES[sampler]}") from error


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("problems", nargs="*", help=f"of the tests, or {GALAXY}")
    parser.add_argument("--galaxy", type=Path, metavar="REFERENCE")
    samplers = [*SAMPLERS, BAGPIPES]
    parser.add_argument("--samplers", nargs="+", default=samplers, choices=samplers)
    parser.add_argument("--seeds", type=int, default=3, help="runs of each")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(run_one(*options.problems, options.one, options.galaxy, options.seeds)))
        return
    names = options.problems or [*PROBLEMS, *([GALAXY] if options.galaxy else [])]
    if GALAXY in names and options.galaxy is None:
        parser.error(f"{GALAXY} needs --galaxy REFERENCE")
    pairs = [(n, s) for n in names for s in options.samplers if n == GALAXY or s not in OF_GALAXY]
    print(
        "problem       sampler      evaluations  ln Z - truth   error  cold [s]  warm [s]  device"
    )
    for name, sampler in pairs:
        print(f"{name:13s} {sampler:11s}", end=" ", flush=True)
        one = [name, "--one", sampler, "--seeds", str(options.seeds)]
        one += ["--galaxy", str(options.galaxy)] if name == GALAXY else []
        found = measure_apart(__file__, *one)
        print(found.get("failure") or _row(found), flush=True)


def _row(found: dict[str, Any]) -> str:
    return (
        f"{found['evaluations']:12.0f} {found['difference']:+13.3f} {found['error']:7.3f} "
        f"{found['cold']:9.1f} {found['warm']:9.2f}  {found.get('device', 'CPU')}"
    )


if __name__ == "__main__":
    main()
