"""Leaps to draws of a proposal: what they leave as it is, when they are used, and their start."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from scipy import stats

from tengri_ppl.errors import ParameterError
from tengri_ppl.inference.flat import FlatTarget
from tengri_ppl.inference.importance import ImportanceOptions, adapt_from_modes
from tengri_ppl.inference.leaps import Leaps, leap
from tengri_ppl.inference.mixture import StudentTMixture
from tengri_ppl.inference.nuts import NUTSOptions, run_nuts
from tengri_ppl.inference.start import DISPERSION
from tengri_ppl.inference.target import Target
from tengri_ppl.runtime.compilation import count_compilations


def bent(data):
    """A ridge along a parabola."""
    x = numpyro.sample("x", dist.Normal(0.0, 1.0))
    y = numpyro.sample("y", dist.Normal(0.0, 2.0))
    numpyro.sample("data", dist.Normal(y - x**2, 0.3), obs=data)


def mixture(*centres, width=1.0):
    """Components of a proposal in one coordinate."""
    n = len(centres)
    return StudentTMixture(
        jnp.full(n, -jnp.log(n)),
        jnp.asarray(centres)[:, None],
        jnp.full((n, 1, 1), width),
        jnp.asarray(5.0),
    )


@pytest.mark.parametrize("n", [1, 2, 16])
@pytest.mark.parametrize("proposal", [mixture(-1.0, 4.0), mixture(1.0, width=0.3)])
def test_a_leap_leaves_the_posterior_as_it_is(n, proposal):
    """Draws of a gamma distribution stay that, whether the proposal is too wide or too narrow."""
    shape, n_chains = 3.0, 20_000
    x = jax.random.gamma(jax.random.key(0), shape, (n_chains,))

    def log_density(x):
        return jnp.where(x > 0.0, (shape - 1.0) * jnp.log(jnp.abs(x)) - x, -jnp.inf)

    def one(key, x):
        new, leapt = leap(key, x[None], log_density(x), lambda y: log_density(y[:, 0]), proposal, n)
        return new[0], leapt

    new, leapt = jax.vmap(one)(jax.random.split(jax.random.key(1), n_chains), x)
    assert np.mean(leapt) > 0.1
    np.testing.assert_array_equal(new[~leapt], x[~leapt])
    assert stats.kstest(np.asarray(new, dtype=float), stats.gamma(shape).cdf).pvalue > 1e-3


@pytest.fixture(scope="module")
def target():
    return Target(bent, (jnp.asarray(0.5),))


@pytest.fixture(scope="module")
def learnt(target):
    keys = jax.random.split(jax.random.key(2))
    return adapt_from_modes(FlatTarget(target), *keys, ImportanceOptions())


@pytest.fixture(scope="module")
def leaping(target, learnt):
    options = NUTSOptions(n_samples=500, n_leaps=32)
    return run_nuts(target, jax.random.key(0), options, learnt=learnt)


def test_chains_leap_and_say_so(leaping, learnt):
    leapt = leaping.sample_stats["leapt"]
    assert leapt.shape == (4, 500)
    assert leaping.diagnostics["leap_rate"] == pytest.approx(leapt.mean())
    assert leapt.mean() > 0.8
    assert leaping.notes[0].startswith("leaps: ")
    assert leaping.sample_stats["n_steps"].max() <= 31
    assert leaping.settings["max_tree_depth"] == 5
    # 32 densities and a gradient for every leap, in the warm-up of 75 iterations too
    of_leaps = learnt.n_evaluations + 33 * (4 * 75 + leapt.size)
    of_trajectories = leaping.sample_stats["n_steps"].sum()
    more = leaping.diagnostics["n_evaluations"] - of_leaps - of_trajectories
    assert 4 * 75 <= more <= 4 * 75 * 31


def test_chains_that_leap_share_a_step_size(leaping):
    assert len(np.unique(leaping.sample_stats["step_size"])) == 1
    assert abs(leaping.sample_stats["acceptance_rate"].mean() - 0.97) < 0.03


def test_other_data_compile_nothing():
    options = NUTSOptions(n_samples=60, n_leaps=4)
    run_nuts(Target(bent, (jnp.asarray(0.5),)), jax.random.key(0), options)
    with count_compilations() as count:
        run_nuts(Target(bent, (jnp.asarray(0.1),)), jax.random.key(1), options)
    assert count.names == []


def test_chains_start_dispersed(learnt):
    found = Leaps(32, learnt)
    points = found.dispersed_points(jax.random.key(0), 2000)
    spread = points.std(axis=0) / np.sqrt(np.diag(found.covariance))
    assert np.all(spread > 1.1) and spread.max() < DISPERSION**2


def test_leaps_are_as_good_as_the_proposal(learnt):
    good = Leaps(32, learnt)
    assert good.useful and good.frequent
    n = len(learnt.x)
    for poor in ({"ess": 0.01 * n}, {"pareto_k": 0.8}):
        leaps = Leaps(32, replace(learnt, **poor))
        assert leaps.useful and not leaps.frequent
    # many draws to pick from don't make up for a covariance of a few
    assert not Leaps(n, replace(learnt, ess=15.0)).frequent
    for hopeless in ({"ess": 3.0}, {"ess": float(n), "pareto_k": np.inf}):
        leaps = Leaps(32, replace(learnt, **hopeless))
        assert not leaps.useful and leaps.note.startswith("no leaps")


@pytest.mark.parametrize("more", [{}, {"dense_mass_matrix": False, "num_chains": 1}])
def test_a_poor_proposal_is_used_beside_long_trajectories(target, learnt, leaping, more):
    options = NUTSOptions(n_warmup=200, n_samples=400, n_leaps=32, **more)
    poor = replace(learnt, pareto_k=0.8)
    result = run_nuts(target, jax.random.key(3), options, learnt=poor)
    assert result.settings["max_tree_depth"] == 8
    assert result.diagnostics["leap_rate"] > 0.8
    for name, expected in leaping.samples.items():
        x = result.samples[name]
        assert abs(x.mean() - expected.mean()) < 5 * expected.std() / np.sqrt(0.3 * x.size)


def test_a_proposal_that_has_learnt_nothing_is_not_used(target, learnt):
    options = NUTSOptions(n_warmup=100, n_samples=50, n_leaps=32)
    plain = run_nuts(target, jax.random.key(3), replace(options, n_leaps=0))
    result = run_nuts(target, jax.random.key(3), options, learnt=replace(learnt, ess=3.0))
    np.testing.assert_array_equal(result.samples["x"], plain.samples["x"])
    assert result.notes[0].startswith("no leaps")
    assert "leap_rate" not in result.diagnostics


def test_one_coordinate_in_the_tail_of_its_prior():
    def single(data):
        x = numpyro.sample("x", dist.Normal(0.0, 1.0))
        numpyro.sample("data", dist.Normal(x, 0.5), obs=data)

    target = Target(single, (jnp.asarray(4.0),))
    result = run_nuts(target, jax.random.key(4), NUTSOptions(n_samples=500, n_leaps=8))
    x = result.samples["x"]
    assert abs(x.mean() - 3.2) < 5 * 0.2**0.5 / np.sqrt(0.5 * x.size)
    assert x.std() == pytest.approx(0.2**0.5, rel=0.1)


def test_too_many_coordinates_and_negative_numbers_are_refused():
    def model():
        numpyro.sample("x", dist.Normal(0.0, 1.0).expand([51]).to_event(1))

    with pytest.raises(ParameterError, match="n_leaps=8: no proposal serves for 51"):
        run_nuts(Target(model), jax.random.key(0), NUTSOptions(n_leaps=8))
    with pytest.raises(ParameterError, match="n_leaps=-1"):
        NUTSOptions(n_leaps=-1)
