"""Fixtures that all tests share."""

from __future__ import annotations

import gc
import os
from collections import defaultdict
from pathlib import Path

os.environ.setdefault("NPROC", "4")  # XLA's thread pool may deadlock on two threads

import jax
import numpy as np
import pytest

import tengri_ppl as tg
from tengri_ppl.runtime.cache import enable_persistent_cache

QUICK_FLAGS = (
    "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1 "
    "--xla_backend_optimization_level=0"
)
ROOT = Path(__file__).resolve().parent.parent
MAX_MEMORY_MAPS = 30_000


def pytest_addoption(parser):
    parser.addoption(
        "--optimise",
        action="store_true",
        help="compile as users do: for tests marked `optimised`, whose programs run long",
    )


def pytest_configure(config):
    """Compile fast, in a third of the time: most programs of tests run once or twice."""
    if not config.getoption("optimise"):
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {QUICK_FLAGS}"
        jax.config.update("jax_disable_most_optimizations", True)


@pytest.fixture(scope="session", autouse=True)
def _compilation_cache():
    enable_persistent_cache(ROOT / ".cache" / "jax-tests")


@pytest.fixture(autouse=True)
def _few_memory_maps():
    """Drop compiled programs before their memory maps reach Linux's limit of 65530.

    XLA maps every compiled program into memory; past the limit the process dies.
    """
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and maps.read_bytes().count(b"\n") > MAX_MEMORY_MAPS:
        jax.clear_caches()
        gc.collect()


#: Files that take minutes, the longest first.
LONGEST = (
    *("test_conformance.py", "test_every_component.py", "test_nested_evidence.py"),
    *("test_galaxy_fit.py", "test_posteriordb.py", "test_histories.py", "test_marginal.py"),
    *("test_bagpipes_energy.py", "test_bagpipes_photometry.py", "test_geometric.py"),
    *("test_nested.py", "test_population_fitter.py", "test_two_step.py", "test_examples.py"),
)


def pytest_collection_modifyitems(items):
    """Begin with the longest files, so that no worker is left with one of them at the end."""
    order = {name: i for i, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Let ``--dist loadfile`` keep in one worker all that compares whole models with BAGPIPES."""
    if config.option.dist != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class ByFile(LoadFileScheduling):
        def _split_scope(self, nodeid):
            file = super()._split_scope(nodeid)
            return "bagpipes" if "/test_bagpipes" in file else file

    return ByFile(config, log)


@pytest.fixture
def measured(record_property):
    """Record errors, ``measured("photometry", errors)``: the end of the run prints how large."""

    def measured(what, errors):
        errors = np.abs(np.ravel(np.asarray(errors, float)))
        record_property(what, errors[np.isfinite(errors)].tolist())

    return measured


def pytest_terminal_summary(terminalreporter):
    """Print what tests have measured, those of the same name together."""
    figures = defaultdict(list)
    for outcome in ("passed", "failed", "xfailed"):
        for report in terminalreporter.getreports(outcome):
            for what, errors in report.user_properties:
                figures[what] += errors
    if figures:
        terminalreporter.section("measured")
    for what, errors in sorted(figures.items()):
        median, p95, largest = np.quantile(errors, [0.5, 0.95, 1.0])
        terminalreporter.write_line(
            f"{what}: {len(errors)} values, "
            f"median {median:.2g}, 95 % below {p95:.2g}, largest {largest:.2g}"
        )


@pytest.fixture(scope="session")
def ssp():
    return tg.load_ssp_data()


@pytest.fixture(scope="session")
def validation_data() -> Path:
    path = Path(os.environ.get("TENGRI_PPL_VALIDATION_DATA", ROOT.parent / "shared" / "data"))
    if not path.is_dir():
        pytest.skip(f"no validation data at {path}; set TENGRI_PPL_VALIDATION_DATA")
    return path


@pytest.fixture(scope="session")
def sdss() -> tg.Observation:
    bands = ["sdss_u", "sdss_g", "sdss_r", "sdss_i", "sdss_z"]
    return tg.Observation(photometry=tg.Photometry.from_names(bands))


@pytest.fixture(scope="session")
def delayed_spec() -> tg.Parameters:
    """Galaxies that differ in redshift, mass, e-folding time, metallicity and dust."""
    return tg.Parameters(
        sfh="delayed",
        dust="single",
        dust_law="calzetti",
        redshift=tg.Uniform(0.02, 0.3),
        sfh_delayed_log_mass=tg.Uniform(7.0, 12.5),
        sfh_delayed_tau_gyr=tg.Uniform(0.3, 5.0),
        sfh_delayed_age_gyr=8.0,
        met_logzsol=tg.Uniform(-1.5, 0.3),
        dust_tau_diff=tg.Uniform(0.0, 2.0),
    )


@pytest.fixture
def key():
    return jax.random.key(0)


@pytest.fixture
def x64():
    """64-bit numbers inside the test; programs traced in the other precision are dropped."""
    jax.clear_caches()
    with jax.enable_x64(True):
        yield
    jax.clear_caches()
