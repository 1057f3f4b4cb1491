"""Populations in batches of galaxies: against integrals, with draws of known posteriors."""

from types import SimpleNamespace

import jax
import numpy as np
import numpyro.distributions as dist
import pytest

import tengri_ppl as tg
from tengri_ppl.workflows.many_galaxies import GalaxyBatches, fit_in_batches

MASS, TAU = "sfh_delayed_log_mass", "sfh_delayed_tau_gyr"
N, N_DRAWS, BATCH = 5300, 200, 500
LOC, SCALE, ERROR = 10.1, 0.3, 0.25
SUPPORT = (7.0, 13.0)
#: Few steps, small programs.
SHORT = {"n_steps": 300, "n_particles": 4}


def simulate(n, n_draws, seed=0):
    """Galaxies whose own posteriors are Gaussians around what was observed."""
    rng = np.random.default_rng(seed)
    observed = rng.normal(LOC, np.hypot(SCALE, ERROR), n)
    draws = observed[:, None] + ERROR * rng.normal(size=(n, n_draws))
    values = {MASS: draws.astype(np.float32), TAU: rng.uniform(size=(n, n_draws), low=1, high=9)}
    effective = np.full(n, float(n_draws))
    spec = SimpleNamespace(priors={MASS: tg.Uniform(*SUPPORT)})
    population = tg.Population(
        tg.NormalPopulation(MASS, dist.Uniform(9.0, 11.0), dist.HalfNormal(1.0))
    )
    fitter = SimpleNamespace(
        model=SimpleNamespace(spec=Spec(spec.priors)),
        population=population,
        known={},
        ids=[f"G{i}" for i in range(n)],
    )
    return observed, fitter, tg.InterimSample(fitter.ids, values, effective, np.zeros(n))


class Spec(dict):
    """Priors by name, as Parameters has them."""

    @property
    def priors(self):
        return self


jax.tree_util.register_pytree_node(Spec, lambda s: ((), s), lambda s, _: s)


def exact(observed):
    """Means and widths of the population's mean and width, by sums over a grid."""
    n, mean, square = len(observed), observed.mean(), np.mean(observed**2)
    width = 8.0 * np.hypot(SCALE, ERROR) / np.sqrt(n)
    loc = np.linspace(LOC - width, LOC + width, 201)[:, None]
    scale = np.linspace(max(0.01, SCALE - 2 * width), SCALE + 2 * width, 401)[None]
    variance = scale**2 + ERROR**2
    squares = square - 2.0 * loc * mean + loc**2
    log_p = -0.5 * n * (np.log(variance) + squares / variance) - 0.5 * scale**2
    p = np.exp(log_p - log_p.max())
    p /= p.sum()
    out = {}
    for name, x in ((f"{MASS}_loc", loc), (f"{MASS}_scale", scale)):
        m = np.sum(p * x)
        out[name] = m, np.sqrt(np.sum(p * (x - m) ** 2))
    return out


@pytest.fixture(scope="module")
def simulated():
    return simulate(N, N_DRAWS)


@pytest.fixture(scope="module")
def posterior(simulated):
    _, fitter, sample = simulated
    return fit_in_batches(fitter, jax.random.key(0), sample, BATCH, **SHORT)


def test_the_posterior_is_that_of_all_galaxies(simulated, posterior):
    """To a fifth of its width, beside the noise of 200 draws of each galaxy."""
    noise = posterior.inference_data.attrs["draws_error"]
    assert noise < 0.3
    for name, (mean, width) in exact(simulated[0]).items():
        found = posterior.shared_samples[name]
        assert abs(found.mean() - mean) < (0.2 + noise) * width, name
        assert found.std() == pytest.approx(width, rel=0.1), name


def test_it_tells_how_good_it_is(posterior):
    attrs = posterior.inference_data.attrs
    assert attrs["approximation_k"] < 0.7 and attrs["kl_divergence"] < 0.05
    assert attrs["n_passes"] < 200


def test_galaxies_are_summarised_under_the_population(simulated, posterior):
    """The conjugate answer: a weighted mean of what was observed and of the population."""
    observed = simulated[0]
    found = posterior.inference_data.constant_data
    assert list(found["galaxy"].values[:2]) == ["G0", "G1"] and found.sizes["galaxy"] == N
    assert list(posterior.galaxies[-1:]) == [f"G{N - 1}"]
    weight = SCALE**2 / (SCALE**2 + ERROR**2)
    expected = weight * observed + (1.0 - weight) * LOC
    deviation = (found[f"{MASS}_mean"].values - expected) / (np.sqrt(weight) * ERROR)
    effective = found["effective_draws"].values
    assert np.std(deviation) < 2.0 / np.sqrt(np.median(effective))
    assert np.median(found[f"{MASS}_sd"].values) == pytest.approx(np.sqrt(weight) * ERROR, rel=0.1)
    assert np.all((effective > 1.0) & (effective <= N_DRAWS))


def test_every_galaxy_is_read_once(simulated):
    _, fitter, sample = simulated
    batches = GalaxyBatches(fitter, sample, [MASS], BATCH)
    assert batches.shares.sum() == pytest.approx(1.0) and len(batches) == 11
    seen = []
    for i in range(len(batches)):
        draws, _ = batches.draws(i)
        present = np.asarray(batches[i][2])
        assert draws[MASS].shape == (N_DRAWS, BATCH) and present.shape == (BATCH,)
        seen.append(draws[MASS].T[present])
    np.testing.assert_array_equal(np.concatenate(seen), sample.values[MASS])


def test_too_few_draws_are_refused():
    _, fitter, sample = simulate(2000, 6)
    with pytest.raises(tg.DataError, match=r"6 draws of each galaxy leave an error"):
        fit_in_batches(fitter, jax.random.key(0), sample, 1000, **SHORT)


def test_wrong_wishes_are_refused(simulated):
    _, fitter, sample = simulated
    with pytest.raises(tg.ParameterError, match=r"no option 'n_step'"):
        fit_in_batches(fitter, jax.random.key(0), sample, BATCH, n_step=3)
    with pytest.raises(tg.ParameterError, match=r"guide 'dais' has no density"):
        fit_in_batches(fitter, jax.random.key(0), sample, BATCH, guide="dais")
