"""Maps over many points, some of them at a time."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tengri_ppl.runtime.chunks import CHUNK, map_chunks, map_draws
from tengri_ppl.runtime.compilation import count_compilations


# 12 has the divisor 4, of 13 the last chunk is filled up, 500 at 221 makes four chunks of 125
@pytest.mark.parametrize(
    ("n", "at_most"), [(1, 4), (4, 4), (12, 5), (13, 5), (13, 1), (23, 11), (500, 221)]
)
def test_every_point_is_mapped_in_chunks_of_one_size(n, at_most):
    sizes, x = [], np.arange(2.0 * n).reshape(n, 2)

    def function(point):
        sizes.append(point["x"].shape)
        return {"sum": point["x"].sum(), "twice": 2.0 * point["x"]}

    found = jax.jit(lambda x: map_chunks(function, {"x": x}, at_most))(x)
    np.testing.assert_array_equal(found["sum"], x.sum(axis=1))
    np.testing.assert_array_equal(found["twice"], 2.0 * x)
    assert sizes == [(2,)]


@pytest.mark.parametrize(("n", "at_most", "expected"), [(12, 5, 4), (13, 5, 5), (500, 221, 125)])
def test_chunks_are_as_large_as_may_be(n, at_most, expected):
    lowered = jax.jit(lambda x: map_chunks(jnp.sin, x, at_most)).lower(jnp.zeros(n))
    assert f"tensor<{expected}xf32>" in lowered.as_text()


def test_random_keys_are_points_too():
    keys = jax.random.split(jax.random.key(0), 7)
    found = map_chunks(jax.random.uniform, keys, 3)
    np.testing.assert_array_equal(found, jax.vmap(jax.random.uniform)(keys))


@pytest.mark.parametrize("n_draw", [1, CHUNK // 2, CHUNK])
def test_draws_keep_their_places_and_other_numbers_of_them_compile_nothing(n_draw):
    """Three chains: less than a chunk, a chunk and a half, and three chunks."""
    x = np.arange(6.0 * n_draw).reshape(3, n_draw, 2)

    @jax.jit
    def function(draws, key):
        noise = jax.random.normal(key, draws["x"].shape)
        return {"sum": draws["x"].sum(axis=1), "noise": noise}

    found = map_draws(function, {"x": x}, jax.random.key(0))
    np.testing.assert_array_equal(found["sum"], x.sum(axis=2))
    assert found["noise"].shape == x.shape
    # some numbers of 32 bits are drawn twice, but no chunk is
    assert len(np.unique(found["noise"])) > 0.99 * x.size
    with count_compilations() as count:
        map_draws(function, {"x": np.zeros((2, 2 * CHUNK + 1, 2))}, jax.random.key(1))
    assert count.programs == 0
