"""What a run needs is known before, and a budget is kept."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
import pytest

import tengri_ppl as tg
from tengri_ppl.errors import MemoryBudgetError
from tengri_ppl.inference import Target
from tengri_ppl.inference.chunked import Chunked
from tengri_ppl.inference.plan import COMPILER_BYTES, plan_memory, within_budget
from tengri_ppl.inference.run import run_method
from tengri_ppl.runtime.memory import GIGABYTE, rss_bytes

pytestmark = pytest.mark.optimised


def heavy(data):
    """A likelihood whose sorted matrix takes 160 MB for one point."""
    x = numpyro.sample("x", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
    matrix = jnp.sin(x[0] + jnp.outer(data, jnp.cos(x[1] * jnp.arange(100.0))))
    numpyro.factor("likelihood", -jnp.sum(jnp.sort(matrix, axis=0)[::50] ** 2) / 1e3)


def light(y):
    x = numpyro.sample("x", dist.Normal(0.0, 1.0))
    numpyro.sample("y", dist.Normal(x, 1.0), obs=y)


HEAVY = Target(heavy, (jnp.linspace(0.0, 1.0, 400_000),))
LIGHT = Target(light, (jnp.array([1.0, 2.0]),))


def budget(gigabytes):
    """So much more than is in use, of which four fifths are planned for."""
    return ((rss_bytes() + COMPILER_BYTES) / GIGABYTE + gigabytes) / 0.8


def test_the_plan_says_what_is_needed_for_every_chunk_size():
    plan = plan_memory(HEAVY, "mcmc_nuts", {}, chunk_sizes=(8, 1))
    few, one = plan.programs
    assert (few.chunk_size, one.chunk_size, plan.chunk_size) == (8, 1, None)
    assert few.bytes == pytest.approx(8 * one.bytes, rel=0.1)
    assert one.bytes > 160e6
    assert plan.data_bytes == 1_600_000
    assert 0.5 * rss_bytes() < plan.used_bytes < 1.1 * rss_bytes()
    assert "mcmc_nuts, no limit" in str(plan)


def test_draws_are_counted_with_what_is_computed_at_them():
    plan = plan_memory(LIGHT, "mcmc_nuts", {"n_samples": 100, "num_chains": 3})
    # one site, two log-likelihoods, two replications
    assert plan.draws_bytes == 300 * 5 * 4


@pytest.mark.parametrize("method", ["mcmc_nuts", "nss"])
def test_the_largest_chunk_that_fits_is_chosen(method):
    options = {"num_delete": 8, "num_live": 64} if method == "nss" else {}
    one = plan_memory(HEAVY, method, options, chunk_sizes=(1,)).programs[0].bytes
    room = budget(5.0 * one / GIGABYTE)
    plan = plan_memory(HEAVY, method, options, max_memory_gb=room)
    assert plan.chunk_size in (2, 4)
    assert any(line.endswith("<- chosen") for line in str(plan).splitlines())
    target, options = within_budget(HEAVY, method, options, room)
    assert isinstance(target.model, Chunked)
    assert options.get("chunk_size") == (plan.chunk_size if method == "nss" else None)


def test_what_fits_is_left_alone():
    assert within_budget(LIGHT, "mcmc_nuts", {}, 1000.0) == (LIGHT, {})
    assert within_budget(LIGHT, "mcmc_nuts", {}, None) == (LIGHT, {})


def test_too_little_is_refused_with_what_is_needed():
    with pytest.raises(MemoryBudgetError, match=r"needs \d+\.\d+ GB even with one point") as error:
        tg.infer(light, LIGHT.args, method="mcmc_nuts", max_memory_gb=0.01)
    assert "raise it, ask for fewer draws" in str(error.value)


class Shortage:
    """Memory that ends after some blocks of sampling."""

    def __init__(self, phase, blocks):
        self.phase, self.blocks = phase, blocks

    def __call__(self, phase, *_):
        self.blocks -= phase.startswith(self.phase)
        if self.blocks < 0:
            raise MemoryBudgetError("the run was stopped, with 1.90 of 2 GB in use")


@pytest.mark.parametrize(
    ("method", "phase", "options"),
    [
        ("mcmc_nuts", "sample", {"n_samples": 1000}),
        ("mcmc_hmc", "sample", {"n_samples": 1000}),
        ("nss", "ln Z", {"live_fraction": 1e-8}),
    ],
)
def test_what_was_sampled_before_memory_ran_out_is_kept(method, phase, options):
    shortage = Shortage(phase, 1)
    result = run_method(LIGHT, method, jax.random.key(0), options=options, progress=shortage)
    assert result.notes == ("the run was stopped, with 1.90 of 2 GB in use",)
    draws = result.samples["x"]
    if method == "nss":
        assert result.diagnostics["unfinished"] > 0
    else:
        assert draws.shape[1] == 100
    assert abs(draws.mean() - 1.0) < 0.3


def test_memory_that_ends_before_there_is_a_draw_is_an_error():
    with pytest.raises(MemoryBudgetError, match="was stopped"):
        run_method(LIGHT, "mcmc_nuts", jax.random.key(0), progress=Shortage("warmup", 1))


LIMITED = """
import resource
import sys

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist

import tengri_ppl as tg


def heavy(data):
    # 80 MB in double precision for one point: 20,000 x 500
    x = numpyro.sample("x", dist.Normal(0.0, 1.0))
    matrix = jax.lax.optimization_barrier(jnp.outer(data, x + jnp.arange(500.0)))
    numpyro.factor("likelihood", -1e-9 * jnp.sum(matrix * matrix[::-1]))


tg.enable_x64()
resource.setrlimit(resource.RLIMIT_AS, (3_600_000_000, 3_600_000_000))
budget = {"max_memory_gb": float(sys.argv[1])} if len(sys.argv) > 1 else {}
posterior = tg.infer(
    heavy,
    (jnp.linspace(0.0, 1.0, 20_000),),
    method="nss",
    key=jax.random.key(0),
    num_live=32,
    num_delete=16,
    live_fraction=0.9,
    n_samples=10,
    **budget,
)
print("draws:", posterior.inference_data.posterior.sizes["draw"])
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits address space")
def test_a_hard_limit_that_kills_a_run_leaves_one_with_a_budget_alone(tmp_path):
    script = tmp_path / "limited.py"
    script.write_text(LIMITED)
    command = [sys.executable, "-W", "ignore", str(script)]
    killed = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)
    assert killed.returncode != 0
    assert "draws" not in killed.stdout
    budgeted = [*command, "1.8"]
    done = subprocess.run(budgeted, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "draws: 10\n"
