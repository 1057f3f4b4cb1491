"""The cache of compiled programs on disk."""

import subprocess
import sys

import jax
import pytest
from jax.experimental.compilation_cache.compilation_cache import reset_cache

import tengri_ppl as tg
from tengri_ppl.errors import ParameterError

#: Compiles a program, or fetches it; prints how many programs came from the disk.
SCRIPT = """
import sys

import jax
import jax.numpy as jnp

import tengri_ppl as tg
from tengri_ppl.runtime import cache

cache._LEAST_COMPILE_TIME_S = 0.0
tg.enable_persistent_cache(sys.argv[1], max_size_gb=float(sys.argv[2]))
hits = []
jax.monitoring.register_event_listener(lambda event, **_: hits.append(event))
for n in range(2, 5):
    value = jax.jit(lambda x: jnp.linalg.svd(jnp.sin(x))[1].sum())(jnp.ones((n, n)))
print(hits.count("/jax/compilation_cache/cache_hits"), round(float(value), 3))
"""


#: Compiles into one directory, then into another; prints how many programs are in both, in use.
SWITCH = """
import sys

import jax
import jax.numpy as jnp

import tengri_ppl as tg
from tengri_ppl.runtime import cache

cache._LEAST_COMPILE_TIME_S = 0.0
jax.jit(jnp.tan)(jnp.ones(2))
for folder, function in zip(sys.argv[1:], (jnp.sin, jnp.cosh)):
    tg.enable_persistent_cache(folder)
    jax.jit(lambda x: function(x).sum())(jnp.ones(3))
print(*(tg.cache_stats(folder).n_programs for folder in sys.argv[1:]), tg.clear_cache())
"""


@pytest.fixture
def directory(tmp_path):
    names = ("jax_compilation_cache_dir", "jax_compilation_cache_max_size")
    before = {name: getattr(jax.config, name) for name in names}
    yield tg.enable_persistent_cache(tmp_path / "cache")
    for name, value in before.items():
        jax.config.update(name, value)
    reset_cache()


@pytest.fixture
def start(tmp_path):
    def start(max_size_gb="1"):
        command = [sys.executable, "-c", SCRIPT, str(tmp_path / "shared"), max_size_gb]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    return start


def finish(process):
    """Number of programs that came from the disk, a result, and what was complained about."""
    out, complaints = process.communicate(timeout=300)
    assert process.returncode == 0, complaints
    n, value = out.split()
    return int(n), value, complaints


def fill(directory, *names):
    for name in names:
        (directory / name).write_text("")


def test_cached_programs_are_counted_and_cleared_and_nothing_else(directory):
    fill(directory, "jit_f-12ab-cache", "jit_f-12ab-atime", "jit_g-34cd-cache", "notes.txt")
    (directory / "jit_g-34cd-cache").write_bytes(b"x" * 1000)
    assert tg.cache_stats(directory) == tg.cache_stats(str(directory))
    assert tg.cache_stats(directory).n_programs == 2
    assert tg.cache_stats(directory).size_gb == 1e-6
    assert tg.clear_cache(directory) == 2
    assert [path.name for path in directory.iterdir() if path.name[0] != "."] == ["notes.txt"]


def test_there_may_be_nothing(tmp_path):
    assert tg.clear_cache(tmp_path / "none") == 0
    assert tg.cache_stats(tmp_path / "none").n_programs == 0


@pytest.mark.parametrize("variable", ["TENGRI_JAX_CACHE_DIR", "TENGRI_PPL_JAX_CACHE_DIR"])
def test_the_directory_can_be_named_by_the_environment(monkeypatch, tmp_path, directory, variable):
    monkeypatch.delenv("TENGRI_PPL_JAX_CACHE_DIR", raising=False)
    monkeypatch.setenv("TENGRI_JAX_CACHE_DIR", str(tmp_path / "other"))
    monkeypatch.setenv(variable, str(tmp_path / "named"))
    assert tg.enable_persistent_cache() == tmp_path / "named"


def test_the_directory_in_use_is_counted_and_cleared(directory):
    fill(directory, "jit_f-12ab-cache")
    assert tg.cache_stats().directory == directory
    assert tg.clear_cache() == 1


def test_another_directory_takes_over(tmp_path):
    command = [sys.executable, "-c", SWITCH, str(tmp_path / "a"), str(tmp_path / "b")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    first, second, cleared = map(int, done.stdout.split())
    assert first > 0 and second > 0 and cleared == second


def test_a_size_must_be_positive(tmp_path):
    with pytest.raises(ParameterError, match="max_size_gb=0"):
        tg.enable_persistent_cache(tmp_path, max_size_gb=0)


def test_broken_entries_are_made_again(start, tmp_path):
    n, value, _ = finish(start())
    assert n == 0
    programs = sorted((tmp_path / "shared").glob("jit*-cache"))
    whole = programs[0].stat().st_size
    programs[0].write_bytes(programs[0].read_bytes()[:100])
    unfinished = programs[-1]
    unfinished.with_name(unfinished.name.replace("-cache", "-atime")).unlink()
    again, same, complaints = finish(start())
    assert same == value
    assert 0 < again <= len(programs) - 2
    assert "Error reading" not in complaints
    assert programs[0].stat().st_size > 0.9 * whole
    assert finish(start())[0] == len(programs)


def test_two_processes_share_a_cache(start):
    results = [finish(process) for process in (start(), start())]
    assert len({value for _, value, _ in results}) == 1
    n, _, complaints = finish(start())
    assert n > 0 and not complaints


def test_old_programs_make_room(start, tmp_path):
    finish(start())
    everything = tg.cache_stats(tmp_path / "shared")
    tg.clear_cache(tmp_path / "shared")
    finish(start(str(0.6 * everything.size_gb)))
    kept = tg.cache_stats(tmp_path / "shared")
    assert 0 < kept.n_programs < everything.n_programs
    assert kept.size_gb < 0.6 * everything.size_gb
