"""Populations of two classes: sums over the classes, and what is learnt of classes told apart."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from jax.nn import logsumexp
from numpyro import handlers
from scipy import stats

import tengri_ppl as tg
from tengri_ppl.inference import Target
from tengri_ppl.models.reweighting import InterimDraws, reweighting_model

TAU, DUST = "sfh_delayed_tau_gyr", "dust_tau_diff"
SHARED = {
    "class_fraction": np.array([0.3, 0.7]),
    f"{TAU}_loc": np.array([0.8, 3.0]),
    f"{TAU}_scale": np.array([0.2, 0.9]),
    f"{DUST}_loc": np.array([0.2, 0.9]),
    f"{DUST}_scale": np.array([0.1, 0.4]),
}
SUPPORT = {TAU: (0.3, 5.0), DUST: (0.0, 2.0)}


@pytest.fixture(scope="module")
def mixture():
    return tg.MixturePopulation((TAU, DUST), classes=("quiescent", "star_forming"))


def truncated(name, values, k):
    """Log-density of a parameter in class k."""
    loc, scale = SHARED[f"{name}_loc"][k], SHARED[f"{name}_scale"][k]
    low, high = SUPPORT[name]
    return stats.truncnorm.logpdf(values, (low - loc) / scale, (high - loc) / scale, loc, scale)


def by_hand(tau, dust):
    """Log-density of galaxies, the sum over the classes written out."""
    every = [
        np.log(SHARED["class_fraction"][k]) + truncated(TAU, tau, k) + truncated(DUST, dust, k)
        for k in range(2)
    ]
    return np.asarray(logsumexp(jnp.array(every), axis=0))


def test_the_prior_of_galaxies_is_a_sum_over_classes(mixture, delayed_spec, ssp, sdss):
    """Differences between two populations of galaxies with the same hyper-parameters."""
    sed = tg.SEDModel(delayed_spec, ssp, sdss)
    error = jnp.full((3, sed.n_band), 1e-28)
    columns = {"redshift": np.array([0.1, 0.2, 0.05])}
    target = Target(
        tg.population_model,
        (sed, tg.GaussianNoise(sigma=error), error),
        {"population": tg.Population(mixture), "columns": columns},
    )
    assert target.discrete == ("galaxy_class",)
    own = {name: jnp.full(3, float(delayed_spec[name].mean)) for name in delayed_spec.priors}
    gaps = jnp.array([0.1, 0.3, 0.6])
    own |= {name: jnp.asarray(x) for name, x in SHARED.items()}
    own |= {"class_share": own["class_fraction"], f"{TAU}_loc_gaps": gaps}
    loc = SUPPORT[TAU][0] + np.diff(SUPPORT[TAU]) * np.cumsum(gaps)[:-1]
    np.testing.assert_allclose(loc, [0.77, 2.18], rtol=1e-5)
    galaxies = [
        {TAU: jnp.array([0.6, 1.5, 4.0]), DUST: jnp.array([0.1, 0.4, 1.5])},
        {TAU: jnp.array([0.9, 2.5, 0.5]), DUST: jnp.array([0.8, 0.2, 0.3])},
    ]
    found, expected = [], []
    for each in galaxies:
        z = target.unconstrain({**own, **each})
        jacobian = sum(
            np.sum(np.log((x - SUPPORT[n][0]) * (SUPPORT[n][1] - x))) for n, x in each.items()
        )
        found.append(target.log_prior(z) - jacobian)
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(SHARED, f"{TAU}_loc", loc)
            expected.append(np.sum(by_hand(each[TAU], each[DUST])))
    assert found[0] - found[1] == pytest.approx(expected[0] - expected[1], abs=2e-4)


def test_weights_of_draws_are_sums_over_classes(mixture, delayed_spec, key):
    draws = jax.tree.map(lambda x: x.reshape(50, 2), delayed_spec.sample_batch(key, 100))
    interim = InterimDraws.from_draws(delayed_spec, tg.Population(mixture), {}, draws)
    shared = {name: jnp.asarray(x) for name, x in SHARED.items()}
    by_class = interim.log_weights_by_class(shared)
    assert by_class.shape == (2, 50, 2)
    expected = by_hand(draws[TAU], draws[DUST]) + np.log(4.7 * 2.0)
    np.testing.assert_allclose(interim.log_weights(shared), expected, rtol=1e-4, atol=1e-3)


def test_means_are_sorted_draws_from_their_prior(mixture, delayed_spec):
    keys = jax.random.split(jax.random.key(1), 2000)

    def draw(key):
        return handlers.seed(mixture.sample_shared, key)(delayed_spec)[f"{TAU}_loc"]

    low, high = np.asarray(jax.vmap(draw)(keys)).T
    assert np.all(low < high)
    # the smaller and the larger of two uniform numbers
    for value, shape in ((low, (1, 2)), (high, (2, 1))):
        assert stats.kstest((value - 0.3) / 4.7, stats.beta(*shape).cdf).pvalue > 1e-3


def test_fractions_of_classes_far_apart_are_counted(delayed_spec):
    """30 galaxies, known exactly, in two heaps: their fraction has a beta distribution."""
    n, n_first = 30, 21
    rng = np.random.default_rng(0)
    loc = np.where(np.arange(n) < n_first, 1.0, 4.0)
    tau = loc + 0.1 * rng.normal(size=n)
    draws = {TAU: np.broadcast_to(tau, (4, n))}
    mixture = tg.MixturePopulation((TAU,), ("short", "long"), scale={TAU: dist.HalfNormal(0.3)})
    interim = InterimDraws.from_draws(delayed_spec, tg.Population(mixture), {}, draws)
    posterior = tg.infer(reweighting_model, (interim,), method="mcmc_nuts", key=jax.random.key(2))
    assert posterior.convergence().converged
    fraction = posterior.inference_data.posterior["class_fraction"].values.reshape(-1, 2)[:, 0]
    expected = stats.beta(1 + n_first, 1 + n - n_first)
    ess = min(posterior.effective_sample_size().values())
    assert abs(fraction.mean() - expected.mean()) < 4 * expected.std() / np.sqrt(ess)
    assert fraction.std() == pytest.approx(expected.std(), rel=4 / np.sqrt(2 * ess))


@pytest.mark.parametrize(
    ("names", "classes", "message"),
    [
        ((TAU,), ("all",), "classes=.* at least 2 different names"),
        ((TAU,), ("same", "same"), "classes=.* at least 2 different names"),
        (TAU, ("a", "b"), "names=.* at least 1 different names"),
        ((), ("a", "b"), "names=.* at least 1 different names"),
    ],
)
def test_names_and_classes_are_checked(names, classes, message):
    with pytest.raises(tg.ParameterError, match=message):
        tg.MixturePopulation(names, classes)


def test_there_is_one_mixture_in_a_population(delayed_spec, ssp, sdss, mixture):
    sed = tg.SEDModel(delayed_spec, ssp, sdss)
    again = tg.MixturePopulation(("sfh_delayed_log_mass",), ("light", "heavy"))
    galaxy = {"flux_obs": np.full(5, 1e-28), "noise": np.full(5, 1e-29)}
    with pytest.raises(tg.ParameterError, match="class_fraction: two relations sample it"):
        tg.PopulationFitter(sed, [galaxy], population=tg.Population(mixture, again))
