"""The default engine: which way it goes, what it says of it, and that both ways are right."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

from tengri_ppl.inference import Target
from tengri_ppl.inference.auto import AutoOptions, run_auto
from tengri_ppl.inference.nuts import run_nuts

pytestmark = pytest.mark.optimised


def rotated(scale):
    x = numpyro.sample("x", dist.Normal(0.0, 1.0))
    numpyro.sample("y", dist.Normal(jnp.sin(x), scale), obs=0.3)


def horseshoe():
    """Scales in two directions that no mixture of a few t distributions follows."""
    width = numpyro.sample("width", dist.HalfCauchy(1.0))
    with numpyro.plate("i", 15):
        numpyro.sample("x", dist.Normal(0.0, width))


def test_an_easy_posterior_is_left_to_importance_sampling():
    result = run_auto(Target(rotated, (0.5,)), jax.random.key(0))
    assert result.method == "auto (importance)"
    assert result.diagnostics["pareto_k"] < 0.7
    assert result.notes[0].startswith("importance sampling: k-hat")
    grid = np.linspace(-6.0, 6.0, 4001)
    density = np.exp(-0.5 * grid**2 - 0.5 * ((0.3 - np.sin(grid)) / 0.5) ** 2)
    mean = np.sum(grid * density) / density.sum()
    sd = np.sqrt(np.sum((grid - mean) ** 2 * density) / density.sum())
    x = result.samples["x"]
    assert abs(x.mean() - mean) < 4 * sd / np.sqrt(1000.0)
    assert abs(x.std() / sd - 1.0) < 0.08


def test_a_hard_posterior_goes_to_chains_that_know_what_was_learnt():
    result = run_auto(Target(horseshoe), jax.random.key(1), AutoOptions(max_rounds=2))
    assert result.method == "auto (mcmc_nuts)"
    assert result.notes[0].endswith("went on to mcmc_nuts")
    assert result.samples["x"].shape[0] == 4
    assert "pareto_k" not in result.diagnostics


def test_chains_leap_to_what_was_learnt():
    """More effective draws are asked for than there are."""
    options = AutoOptions(min_ess=1e6, max_rounds=2)
    result = run_auto(Target(rotated, (0.5,)), jax.random.key(3), options)
    assert result.method == "auto (mcmc_nuts)"
    assert result.notes[1].startswith("leaps: ")
    assert result.diagnostics["leap_rate"] > 0.8


def test_many_coordinates_go_to_chains_at_once():
    def model():
        with numpyro.plate("i", 21):
            numpyro.sample("x", dist.Normal(2.0, 0.1))

    result = run_auto(Target(model), jax.random.key(2))
    assert result.notes[0].startswith("21 coordinates are too many")
    np.testing.assert_allclose(result.samples["x"].mean(axis=(0, 1)), 2.0, atol=0.03)


def test_very_many_coordinates_are_left_to_reweighted_geovi():
    """Rates along a random walk, for which the posterior is neither Gaussian nor separable."""

    def walk(counts):
        with numpyro.plate("i", counts.size):
            step = numpyro.sample("step", dist.Normal(0.0, 1.0))
        level = numpyro.deterministic("level", 2.0 + 0.1 * jnp.cumsum(step))
        numpyro.sample("n", dist.Poisson(jnp.exp(level)), obs=counts)

    counts = jax.random.poisson(jax.random.key(0), 10.0, (51,))
    result = run_auto(Target(walk, (counts,)), jax.random.key(1))
    assert result.method == "auto (geovi)"
    assert result.notes[0].startswith("geovi: k-hat")
    assert result.diagnostics["n_effective"] > 1000
    chains = run_nuts(Target(walk, (counts,)), jax.random.key(2))
    a, b = (r.samples["level"].reshape(-1, 51) for r in (result, chains))
    error = a.std(axis=0) * np.sqrt(1.0 / 1000.0 + 1.0 / 400.0)
    np.testing.assert_array_less(np.abs(a.mean(axis=0) - b.mean(axis=0)), 4.5 * error)
    np.testing.assert_allclose(a.std(axis=0), b.std(axis=0), rtol=4.5 * np.sqrt(0.5 * 0.0035))


def test_what_geovi_refuses_goes_to_chains():
    def model():
        with numpyro.plate("i", 51):
            x = numpyro.sample("x", dist.Normal(2.0, 0.1))
        numpyro.factor("weight", -0.5 * jnp.sum(((x - 2.0) / 0.1) ** 2))

    result = run_auto(Target(model), jax.random.key(2))
    assert result.method == "auto (mcmc_nuts)"
    assert result.notes[0].startswith("geovi: ") and "factor" in result.notes[0]
    np.testing.assert_allclose(result.samples["x"].std(axis=(0, 1)), 0.1 / np.sqrt(2.0), rtol=0.2)
