"""The cache of compiled programs on disk."""

import jax
import pytest

import tengri_ppl as tg


@pytest.fixture
def directory(tmp_path):
    before = jax.config.jax_compilation_cache_dir
    yield tg.enable_persistent_cache(tmp_path / "cache")
    jax.config.update("jax_compilation_cache_dir", before)


def test_cached_programs_are_cleared_and_nothing_else(directory):
    for name in ("jit_f-12ab-cache", "jit_f-12ab-atime", "jit_g-34cd-cache", "notes.txt"):
        (directory / name).write_text("")
    assert tg.clear_cache(directory) == 2
    assert [path.name for path in directory.iterdir()] == ["notes.txt"]


def test_there_may_be_nothing_to_clear(tmp_path):
    assert tg.clear_cache(tmp_path / "none") == 0


def test_the_directory_can_be_named_by_the_environment(monkeypatch, tmp_path, directory):
    monkeypatch.setenv("TENGRI_PPL_JAX_CACHE_DIR", str(tmp_path / "named"))
    assert tg.enable_persistent_cache() == tmp_path / "named"
