"""Maps over a chunked model: the same values and derivatives, and memory of one chunk."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

from tengri_ppl.inference import Target
from tengri_ppl.inference.chunked import Chunked, in_chunks
from tengri_ppl.inference.flat import FlatTarget, flat_potential
from tengri_ppl.inference.run import run_method


def model(width, y):
    x = numpyro.sample("x", dist.Normal(0.0, 1.0).expand([3]).to_event(1))
    numpyro.deterministic("norm", jnp.sum(x**2))
    matrix = jnp.sin(jnp.outer(jnp.arange(1000.0) / 1000.0, jnp.ones(100) * x[0])) + x[1] * x[2]
    prediction = jnp.sort(matrix, axis=0)[::100].mean(axis=1)
    numpyro.sample("y", dist.Normal(prediction, width), obs=y)


ARGUMENTS = (0.5, jnp.linspace(0.0, 1.0, 10))
X = jax.random.normal(jax.random.key(0), (12, 3))


def on_all(kind, size, x=X):
    """A function of all points that uses values, gradients, Hessians, or loops of them."""
    target = Target(model if size is None else Chunked(model, size), ARGUMENTS)
    layout = FlatTarget(target).layout

    def energy(x):
        return flat_potential(target.model, layout, x, *arguments)

    def descend(x):
        still = jax.lax.while_loop(
            lambda s: s[0] < jnp.where(s[1][0] > 0.0, 5, 8),
            lambda s: (s[0] + 1, s[1] - 1e-3 * jax.grad(energy)(s[1])),
            (0, x),
        )
        return still[1]

    one = {
        "values": energy,
        "gradients": jax.grad(energy),
        "hessians": jax.hessian(energy),
        "loops": descend,
        "sites": lambda x: FlatTarget(target).values(x[None]),
    }[kind]
    arguments = (target.args, {})
    return jax.jit(jax.vmap(one)), x


@pytest.mark.parametrize("kind", ["values", "gradients", "hessians", "loops", "sites"])
def test_values_and_derivatives_do_not_depend_on_chunks(kind):
    function, x = on_all(kind, None)
    expected = function(x)
    for size in (12, 5, 1):
        function, x = on_all(kind, size)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4), function(x), expected
        )


@pytest.mark.parametrize("kind", ["values", "gradients", "loops"])
def test_memory_is_that_of_a_chunk(kind):
    needed = {}
    for size in (None, 4, 2, 1):
        function, x = on_all(kind, size)
        needed[size] = function.lower(x).compile().memory_analysis().temp_size_in_bytes
    assert needed[1] < 1.2 * needed[2] / 2 < 1.2**2 * needed[4] / 4 < 1.2**3 * needed[None] / 12


def test_what_is_not_mapped_is_evaluated_once():
    def add(x, y):
        return {"sum": x + y, "double": 2.0 * y}

    function = in_chunks(Chunked(model, 2), add)
    out = jax.vmap(function, (0, None))(jnp.arange(6.0), 1.0)
    np.testing.assert_allclose(out["sum"], jnp.arange(6.0) + 1.0)
    np.testing.assert_allclose(out["double"], 2.0)


def regression(x, y):
    slope = numpyro.sample("slope", dist.Normal(0.0, 1.0))
    width = numpyro.sample("width", dist.HalfNormal(1.0))
    numpyro.deterministic("height", slope * x[-1])
    numpyro.sample("y", dist.Normal(slope * x, width), obs=y)


@pytest.mark.parametrize("method", ["mcmc_nuts", "importance", "smc", "vi", "nss", "laplace"])
def test_engines_run_on_chunked_models(method):
    options = {"mcmc_nuts": {"n_warmup": 50, "n_samples": 50}, "vi": {"max_steps": 200}}
    x = jnp.linspace(0.0, 1.0, 10)
    target = Target(Chunked(regression, 4), (x, 0.5 * x + 0.1 * jnp.sin(99.0 * x)))
    result = run_method(target, method, jax.random.key(0), options=options.get(method))
    assert abs(np.mean(result.samples["height"]) - 0.5) < 0.2
