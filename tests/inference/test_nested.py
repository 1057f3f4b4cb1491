"""Nested sampling: volumes, chunks, memory, faults. Evidences are in ``conformance/``."""

import signal
import subprocess
import sys
import time

import h5py
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from scipy import stats

from tengri_ppl.errors import DataError, ParameterError
from tengri_ppl.inference import Target
from tengri_ppl.inference.flat import FlatTarget
from tengri_ppl.inference.nested.dead import insertion_p_value, live_counts, weigh
from tengri_ppl.inference.nested.loop import insertion_ranks
from tengri_ppl.inference.nested.programs import lower_first_points, lower_steps
from tengri_ppl.inference.nested.run import NSSOptions, run_nss
from tengri_ppl.runtime.chunks import largest_divisor
from tengri_ppl.runtime.compilation import compiled_bytes, count_compilations

SMALL = {"num_live": 100, "num_delete": 10}


def gaussian(width):
    """Five coordinates, uniform over ten; ln Z = -5 ln 10."""
    x = numpyro.sample("x", dist.Uniform(-5.0, 5.0).expand([5]).to_event(1))
    numpyro.factor("likelihood", dist.Normal(0.0, width).log_prob(x).sum())


def run(model, *args, seed=0, **options):
    return run_nss(Target(model, args), jax.random.key(seed), NSSOptions(**{**SMALL, **options}))


# -- volumes ---------------------------------------------------------------------------------------


def test_points_alive_are_counted_as_by_hand():
    """Three first points; two die together and are replaced inside the contour of the second."""
    birth = np.array([np.nan, np.nan, np.nan, 2.0, 2.0])
    death = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    np.testing.assert_array_equal(live_counts(birth, death), [3, 2, 3, 2, 1])


def test_points_alive_on_a_plateau_decrease():
    birth = np.array([np.nan, np.nan, np.nan, -np.inf])
    death = np.array([-np.inf, -np.inf, 0.0, 1.0])
    np.testing.assert_array_equal(live_counts(birth, death), [3, 2, 2, 1])


def test_evidence_of_perfect_draws():
    """ln L = -X / s for a volume X: the evidence is s (1 - exp(-1 / s)), without any sampler."""
    rng, n_live, n_dead, scale = np.random.default_rng(0), 500, 5000, 0.01
    difference, error, information = [], [], []
    for _ in range(20):
        volume = np.sort(rng.uniform(size=n_live))[::-1]
        birth = np.full(n_live, np.nan)
        dead = []
        for _ in range(n_dead):
            dead.append((volume[0], birth[0]))
            at = rng.uniform(0.0, volume[0])
            place = np.searchsorted(-volume[1:], -at)
            birth = np.insert(birth[1:], place, -volume[0] / scale)
            volume = np.insert(volume[1:], place, at)
        dead += list(zip(volume, birth, strict=True))
        found = weigh(np.array([b for _, b in dead]), -np.array([v for v, _ in dead]) / scale, rng)
        difference.append(found.log_evidence - np.log(scale))
        error.append(found.log_evidence_error)
        information.append(found.information)
        assert np.exp(found.log_weight).sum() == pytest.approx(1.0)
    assert abs(np.mean(difference)) < 4 * np.std(difference) / np.sqrt(20)
    # the scatter of 20 is known to 16 %
    assert np.mean(error) == pytest.approx(np.std(difference), rel=0.5)
    # -1 - ln(s): differential entropy of an exponential distribution
    assert np.mean(information) == pytest.approx(-1.0 - np.log(scale), abs=0.1)


def test_insertion_ranks_tell_uniform_ones_from_others():
    rng = np.random.default_rng(0)
    assert insertion_p_value(rng.uniform(size=5000)) > 1e-3
    assert insertion_p_value(rng.uniform(size=5000) ** 1.1) < 1e-3
    assert insertion_p_value(np.zeros(0)) == 1.0


def test_ranks_of_points_that_are_inserted_together_are_independent():
    """Perfect draws, a fifth replaced at a time from the same survivors."""
    rng, p_values = np.random.default_rng(0), []
    rank = jax.jit(insertion_ranks)
    for _ in range(40):
        live, shares = rng.uniform(size=100), []
        for _ in range(40):
            index = np.argsort(live)[:20]
            new = rng.uniform(live[index].max(), 1.0, size=20)
            shares.append(np.asarray(rank(jnp.asarray(live), jnp.asarray(index), jnp.asarray(new))))
            live[index] = new
        p_values.append(insertion_p_value(np.concatenate(shares)))
    assert stats.kstest(p_values, "uniform").pvalue > 1e-3


# -- chunks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "limit", "size"), [(50, None, 50), (50, 60, 50), (50, 49, 25), (50, 7, 5), (7, 3, 1)]
)
def test_chunks_divide(n, limit, size):
    assert largest_divisor(n, limit) == size


def test_results_do_not_depend_on_chunks():
    with jax.enable_x64(True):
        whole, *others = (run(gaussian, 0.3, chunk_size=size) for size in (None, 5, 1))
    for other in others:
        for name, value in whole.dead_points.items():
            np.testing.assert_allclose(other.dead_points[name], value, rtol=1e-10, atol=1e-12)
        assert other.diagnostics["log_evidence"] == pytest.approx(
            whole.diagnostics["log_evidence"], rel=1e-10
        )


def heavy(data):
    """A likelihood that fills 80 MB in double precision for one point: 20,000 x 500."""
    x = numpyro.sample("x", dist.Normal(0.0, 1.0).expand([4]).to_event(1))
    matrix = jnp.sin(x[0] + jnp.outer(data, jnp.cos(x[1] * jnp.arange(500.0))))
    numpyro.factor("likelihood", -jnp.sum(jnp.sort(matrix, axis=0)[::50] ** 2) / 1e4)


@pytest.mark.optimised
@pytest.mark.parametrize("lower", [lower_steps, lower_first_points])
def test_memory_is_proportional_to_the_chunks(lower):
    """From the compiled programs, without running them."""
    sizes = np.array([16, 8, 5, 4, 2, 1])
    with jax.enable_x64(True):
        flat = FlatTarget(Target(heavy, (jnp.linspace(0.0, 1.0, 20_000),)))
        options = [NSSOptions(num_live=32, num_delete=16, chunk_size=int(n)) for n in sizes]
        needed = np.array([compiled_bytes(lower(flat, option)) for option in options])
    assert needed[0] > 16 * 80e6
    # five does not divide the sixteen to be replaced: four at a time, not a second program
    np.testing.assert_allclose(needed / needed[-1], np.where(sizes == 5, 4, sizes), rtol=0.1)


SHARED = """
import os, sys
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=" + sys.argv[1]
import jax, jax.numpy as jnp, numpyro, numpyro.distributions as dist
import tengri_ppl as tg
from tengri_ppl.inference import Target
from tengri_ppl.inference.flat import FlatTarget
from tengri_ppl.inference.nested import NSSOptions, run_nss
from tengri_ppl.inference.nested.programs import lower_steps

def model(width):
    x = numpyro.sample("x", dist.Uniform(-5.0, 5.0).expand([2]).to_event(1))
    numpyro.factor("likelihood", dist.Normal(0.0, width).log_prob(x).sum())

tg.enable_x64()
target = Target(model, (jnp.asarray(0.3),))
options = NSSOptions(num_live=60, num_delete=6, chunk_size=1)
program = lower_steps(FlatTarget(target), options).compile()
result = run_nss(target, jax.random.key(0), options)
print(f"num_partitions={sys.argv[1]}" in program.as_text(), result.diagnostics["log_evidence"])
print(*result.dead_points["log_likelihood"])
"""


@pytest.mark.slow
def test_several_devices_share_the_particles():
    command = [sys.executable, "-W", "ignore", "-c", SHARED]
    runs = {"capture_output": True, "text": True, "check": True}
    alone = subprocess.run([*command, "1"], **runs).stdout.split()
    shared = subprocess.run([*command, "2"], **runs).stdout.split()
    assert shared[0] == "True"
    np.testing.assert_allclose(
        np.array(shared[1:], float), np.array(alone[1:], float), rtol=1e-10, atol=1e-12
    )


# -- results ---------------------------------------------------------------------------------------


def test_stepping_out_gives_the_same_evidence_for_more_likelihoods():
    found = run(gaussian, 0.3, max_steps=10).diagnostics
    assert abs(found["log_evidence"] + 5 * np.log(10.0)) < 4 * found["log_evidence_error"]
    assert found["n_evaluations"] > 1.5 * run(gaussian, 0.3).diagnostics["n_evaluations"]


def test_a_result_has_equal_draws_and_all_points_and_another_compiles_nothing():
    run(gaussian, jnp.asarray(0.3))
    with count_compilations() as count:
        result = run(gaussian, jnp.asarray(0.2), seed=1, n_samples=4000)
    assert count.programs == 0
    points, found = result.dead_points, result.diagnostics
    n = int(found["n_steps"]) * 10 + 100
    assert points["x"].shape == (n, 5) and points["log_likelihood"].shape == (n,)
    assert np.all(np.diff(points["log_likelihood"]) >= 0)
    assert np.isnan(points["log_likelihood_birth"]).sum() == 100
    born = points["log_likelihood_birth"]
    assert np.all(np.isnan(born) | (points["log_likelihood"] > born))
    assert result.samples["x"].shape == (1, 4000, 5)
    assert found["insertion_p_value"] > 1e-3
    assert found["information"] == pytest.approx(
        5 * (np.log(10 / 0.2) - 0.5 * np.log(2 * np.pi * np.e)), abs=5 * found["log_evidence_error"]
    )


@pytest.mark.parametrize("limit", [{"max_evaluations": 5000}, {"max_seconds": 1e-6}])
def test_a_run_that_is_stopped_says_so(limit):
    result = run(gaussian, 0.1, **limit)
    assert result.diagnostics["unfinished"] > 0.1


# -- checkpoints -----------------------------------------------------------------------------------

SLOW = """
import sys, time, jax, jax.numpy as jnp, numpyro, numpyro.distributions as dist
from tengri_ppl.inference import Target
from tengri_ppl.inference.nested import NSSOptions, run_nss

def model(width):
    x = numpyro.sample("x", dist.Uniform(-5.0, 5.0).expand([5]).to_event(1))
    numpyro.factor("likelihood", dist.Normal(0.0, width).log_prob(x).sum())

def pause(*_):
    time.sleep(float(sys.argv[2]))

options = NSSOptions(num_live=100, num_delete=1, checkpoint=sys.argv[1] or None, every=0.01)
target = Target(model, (jnp.asarray(0.1),))
result = run_nss(target, jax.random.key(0), options, progress=pause)
print(result.dead_points["x"].tobytes().hex()[-4000:], result.diagnostics["log_evidence"])
"""


@pytest.mark.slow
def test_a_killed_run_goes_on_as_if_nothing_had_happened(tmp_path):
    path = tmp_path / "run.h5"
    command = [sys.executable, "-W", "ignore", "-c", SLOW]
    run = {"capture_output": True, "text": True, "check": True}
    with subprocess.Popen([*command, str(path), "1.0"]) as killed:
        while not path.exists():
            assert killed.poll() is None
            time.sleep(0.05)
        killed.send_signal(signal.SIGKILL)
    assert killed.returncode == -signal.SIGKILL
    with h5py.File(path) as file:
        assert 0 < file.attrs["n_steps"] < 500  # the whole run takes about 1000
    resumed = subprocess.run([*command, str(path), "0"], **run)
    whole = subprocess.run([*command, "", "0"], **run)
    assert resumed.stdout == whole.stdout


def test_a_checkpoint_of_another_run_is_refused_by_name(tmp_path):
    path = tmp_path / "run.h5"
    width = jnp.asarray(0.3)
    first = run(gaussian, width, checkpoint=path, max_evaluations=20_000)
    assert first.diagnostics["unfinished"] > 0.0
    with pytest.raises(DataError, match="checkpoint of another data"):
        run(gaussian, jnp.asarray(0.2), checkpoint=path)
    with pytest.raises(DataError, match="checkpoint of another random key"):
        run(gaussian, width, seed=1, checkpoint=path)
    with pytest.raises(DataError, match="checkpoint of another options"):
        run(gaussian, width, checkpoint=path, num_live=200)

    def other(width):
        x = numpyro.sample("x", dist.Uniform(-5.0, 5.0).expand([5]).to_event(1))
        numpyro.factor("likelihood", dist.Normal(0.0, 2.0 * width).log_prob(x).sum())

    with pytest.raises(DataError, match="checkpoint of another model"):
        run(other, width, checkpoint=path)
    whole, rest = run(gaussian, width), run(gaussian, width, checkpoint=path, chunk_size=5)
    assert rest.diagnostics["unfinished"] == 0.0
    assert rest.diagnostics["log_evidence"] == pytest.approx(whole.diagnostics["log_evidence"])
    with h5py.File(path, "r+") as file:
        file.attrs["version"] = "tengri_ppl 0.0.1"
    with pytest.raises(DataError, match="checkpoint of another version"):
        run(gaussian, width, checkpoint=path)
    path.write_text("no HDF5")
    with pytest.raises(DataError, match="is not a checkpoint"):
        run(gaussian, width, checkpoint=path)
    with pytest.raises(DataError, match="does not exist; create it first"):
        run(gaussian, width, checkpoint=tmp_path / "none" / "run.h5")


def test_likelihoods_too_large_for_single_precision_are_noticed():
    def offset():
        x = numpyro.sample("x", dist.Normal(0.0, 1.0))
        numpyro.factor("likelihood", dist.Normal(x, 1.0).log_prob(0.0) - 1e6)

    coarse = run(offset, max_evaluations=1).diagnostics["log_likelihood_rounding"]
    assert coarse == pytest.approx(0.12, rel=0.1)
    with jax.enable_x64(True):
        assert run(offset, max_evaluations=1).diagnostics["log_likelihood_rounding"] < 1e-9


# -- faults ----------------------------------------------------------------------------------------


def test_points_without_a_likelihood_count_as_impossible():
    def half():
        x = numpyro.sample("x", dist.Uniform(-1.0, 1.0))
        numpyro.factor("likelihood", jnp.where(x > 0.0, dist.Normal(0.0, 0.1).log_prob(x), jnp.nan))

    result = run(half)
    error = result.diagnostics["log_evidence_error"]
    assert result.diagnostics["log_evidence"] == pytest.approx(np.log(0.25), abs=4 * error)
    assert np.all(result.samples["x"] > 0.0)


def test_zero_likelihood_over_most_of_the_prior():
    def box():
        x = numpyro.sample("x", dist.Uniform(0.0, 1.0).expand([2]).to_event(1))
        numpyro.factor("likelihood", jnp.where(jnp.all(x < 0.3), 1.0 - x.sum(), -jnp.inf))

    result = run(box)
    found = result.diagnostics
    # the integral of exp(1 - x - y) over the box
    expected = 1.0 + 2.0 * np.log(1.0 - np.exp(-0.3))
    assert found["log_evidence"] == pytest.approx(expected, abs=4 * found["log_evidence_error"])


def test_a_constant_likelihood_gives_the_prior():
    def constant():
        numpyro.sample("x", dist.Normal(2.0, 1.0))
        numpyro.factor("likelihood", jnp.asarray(3.0))

    result = run(constant)
    assert result.diagnostics["log_evidence"] == pytest.approx(3.0, abs=1e-6)
    assert abs(result.samples["x"].mean() - 2.0) < 4 / np.sqrt(100)


@pytest.mark.parametrize("value", [jnp.inf, -jnp.inf])
def test_likelihoods_that_are_infinite_or_zero_everywhere_are_refused(value):
    def model():
        numpyro.sample("x", dist.Normal(0.0, 1.0))
        numpyro.factor("likelihood", jnp.asarray(value))

    message = "infinite at a point" if value > 0 else "none of 100 draws of the prior"
    with pytest.raises(ParameterError, match=message):
        run(model)


def test_discrete_sites_are_refused():
    def model():
        numpyro.sample("n", dist.Poisson(3.0))

    with pytest.raises(ParameterError, match="site 'n' is discrete"):
        run(model)


@pytest.mark.parametrize(
    "options",
    [
        {"num_delete": 500},
        {"live_fraction": 1.0},
        {"chunk_size": 0},
        {"max_seconds": -1.0},
        {"max_steps": -1},
    ],
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ParameterError, match=next(iter(options))):
        NSSOptions(**options)
