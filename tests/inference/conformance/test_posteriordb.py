"""The posteriors of posteriordb that come with reference draws, in 64 bits as Stan computes."""

import jax
import posteriordb
import pytest
from checks import check_exact

from tengri_ppl.inference.auto import AutoOptions
from tengri_ppl.inference.hamiltonian import HMCOptions
from tengri_ppl.inference.nuts import NUTSOptions
from tengri_ppl.inference.registry import get_method


@pytest.fixture(scope="module", autouse=True)
def _x64():
    jax.clear_caches()
    with jax.enable_x64(True):
        yield
    jax.clear_caches()


@pytest.fixture(scope="module")
def folder(validation_data):
    path = validation_data / "posteriordb_subset"
    if not path.is_dir():
        pytest.skip(f"no reference draws at {path}")
    return path


#: A hierarchy, and a recursion with constraints that depend on one another: for engines whose
#: programs are those of others but for their transition.
SOME = ("eight_schools-eight_schools_noncentered", "garch-garch11")

PAIRS = [
    *((name, "mcmc_nuts", NUTSOptions(n_samples=1000)) for name in posteriordb.NAMES),
    *((name, "auto", AutoOptions()) for name in posteriordb.NAMES),
    *((name, "mcmc_dynamic_hmc", HMCOptions(n_samples=2000)) for name in SOME),
]


@pytest.mark.parametrize(
    ("name", "method", "options"), PAIRS, ids=[f"{method}-{name}" for name, method, _ in PAIRS]
)
def test_reference_draws(folder, name, method, options, measured):
    known = posteriordb.load(name, folder)
    result = get_method(method).run(known.target, jax.random.key(3), options)
    check_exact(result, known, measured, f"{method}, {name}")
