"""tg.infer: any model in, an ArviZ posterior out, whatever its sites are."""

from __future__ import annotations

import arviz as az
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

import tengri_ppl as tg
from tengri_ppl.results import Posterior
from tengri_ppl.results.marginals import compare_marginals
from tengri_ppl.runtime.compilation import count_compilations

EFFECT = np.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
ERROR = np.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])


def eight_schools(error, effect=None):
    mu = numpyro.sample("mu", dist.Normal(0.0, 5.0))
    tau = numpyro.sample("tau", dist.HalfNormal(5.0))
    with numpyro.plate("school", error.size):
        base = numpyro.sample("base", dist.Normal(0.0, 1.0))
        theta = numpyro.deterministic("theta", mu + tau * base)
        numpyro.sample("effect", dist.Normal(theta, error), obs=effect)


@pytest.fixture(scope="module")
def schools():
    names = [f"school {i}" for i in range(8)]
    data = (jnp.asarray(ERROR), jnp.asarray(EFFECT))
    return tg.infer(eight_schools, data, key=jax.random.key(0), coords={"school": names})


def test_groups_have_the_dimensions_of_the_plates(schools):
    data = schools.inference_data
    assert set(data.groups()) == {
        "posterior",
        "sample_stats",
        "log_likelihood",
        "posterior_predictive",
        "prior",
        "observed_data",
    }
    for name in ("base", "theta"):
        assert data.posterior[name].dims == ("chain", "draw", "school")
    assert data.log_likelihood["effect"].dims == ("chain", "draw", "school")
    assert list(data.posterior.school.values[:2]) == ["school 0", "school 1"]
    np.testing.assert_array_equal(data.observed_data["effect"], EFFECT.astype("float32"))
    assert list(data.posterior) == ["mu", "tau", "base", "theta"]
    assert data.prior["theta"].shape == (1, 500, 8)


def test_log_likelihood_and_replications_belong_to_the_draws(schools):
    data = schools.inference_data
    theta = data.posterior["theta"].values
    expected = -0.5 * ((EFFECT - theta) / ERROR) ** 2 - np.log(ERROR * np.sqrt(2.0 * np.pi))
    np.testing.assert_allclose(data.log_likelihood["effect"], expected, rtol=1e-4)
    scaled = (data.posterior_predictive["effect"].values - theta) / ERROR
    n = scaled.size
    assert abs(scaled.mean()) < 4.0 / np.sqrt(n)
    assert abs(scaled.std() - 1.0) < 4.0 / np.sqrt(2.0 * n)
    assert np.isfinite(az.loo(data).elpd_loo)


def test_the_result_says_what_was_done(schools):
    assert schools.method.startswith("auto (")
    assert schools.notes
    assert schools.convergence().converged
    assert np.isfinite(schools.log_evidence) == ("importance" in schools.method)


def test_a_result_starts_another_engine_and_is_checked_by_it(schools):
    check = schools.validate(key=jax.random.key(1), num_chains=2)
    assert check.passed
    assert check.check.method == "mcmc_nuts"
    assert check.check.inference_data.posterior.sizes["draw"] == 200
    # two chains of 200 draws: effective sizes of 100 and more, errors of the mean of 0.1 sd
    assert abs(check.shift["mu"]) < 0.4
    assert check.width["mu"] == pytest.approx(1.0, abs=0.3)
    assert schools.resample(jax.random.key(0), 7)["base"].shape == (7, 8)
    assert schools.autocorrelation()["mu"][0] == pytest.approx(1.0)


def test_a_check_whose_chains_disagree_proves_nothing(schools):
    """Half of the chains are moved, so that the marginals of all draws still overlap."""
    check = schools.refine("mcmc_nuts", jax.random.key(1), n_samples=200, num_chains=4)
    assert compare_marginals(schools, check).passed
    for name in ("mu", "tau"):
        values = check.inference_data.posterior[name].values
        values[:2] += 1.5 * values.std()
    moved = compare_marginals(schools, Posterior(check.inference_data))
    assert min(moved.overlap.values()) > 0.5
    assert not moved.agreed and not moved.passed


def test_other_data_of_the_same_shape_compile_nothing():
    data = (jnp.asarray(ERROR), jnp.asarray(EFFECT))
    tg.infer(eight_schools, data, method="importance", key=jax.random.key(0))
    other = (jnp.asarray(ERROR[::-1].copy()), jnp.asarray(2.0 * EFFECT))
    with count_compilations() as count:
        tg.infer(eight_schools, other, method="importance", key=jax.random.key(0))
    assert count.programs == 0


def test_multivariate_and_discrete_data_and_factors():
    def model(counts, pairs):
        rate = numpyro.sample("rate", dist.Gamma(2.0, 1.0))
        centre = numpyro.sample("centre", dist.MultivariateNormal(jnp.zeros(2), jnp.eye(2)))
        numpyro.sample("counts", dist.Poisson(rate).expand([3]), obs=counts)
        with numpyro.plate("pair", 2):
            numpyro.sample("pairs", dist.MultivariateNormal(centre, jnp.eye(2)), obs=pairs)
        numpyro.factor("extra", -0.5 * rate)

    counts, pairs = jnp.array([2, 1, 3]), jnp.array([[0.0, 1.0], [1.0, 1.0]])
    data = tg.infer(model, (counts, pairs), method="importance").inference_data
    assert data.log_likelihood["pairs"].dims == ("chain", "draw", "pair")
    assert data.posterior_predictive["pairs"].dims[2:] == ("pair", "pairs_dim_1")
    assert data.posterior_predictive["counts"].dtype.kind in "iu"
    assert set(data.observed_data) == {"counts", "pairs"}
    # Gamma(2 + 6, 1 + 3 + 1/2)
    mean = float(data.posterior["rate"].mean())
    assert mean == pytest.approx(8.0 / 4.5, abs=4.0 * np.sqrt(8.0) / 4.5 / np.sqrt(1000.0))


def test_what_an_engine_records_on_its_way_is_kept(tmp_path):
    data = (jnp.asarray(ERROR), jnp.asarray(EFFECT))
    fitted = tg.infer(eight_schools, data, method="vi", key=jax.random.key(0), guide="normal")
    stored = tg.Posterior.load(fitted.save(tmp_path / "vi.nc")).inference_data.sample_stats
    assert stored["elbo"].dims == ("elbo_step",)
    assert stored["elbo"][-100:].mean() > stored["elbo"][:100].mean()


def test_a_start_from_another_model_is_refused(schools):
    def other():
        numpyro.sample("x", dist.Normal(0.0, 1.0))

    with pytest.raises(tg.ParameterError, match=r"no draws of 'x'.*same model"):
        tg.infer(other, method="importance", init_from=schools)


def test_unknown_methods_and_options_get_a_suggestion():
    with pytest.raises(tg.ParameterError, match="did you mean 'importance'"):
        tg.infer(eight_schools, (jnp.asarray(ERROR), jnp.asarray(EFFECT)), method="importence")
    with pytest.raises(tg.ParameterError, match="did you mean 'n_samples'"):
        tg.infer(eight_schools, (jnp.asarray(ERROR),), method="importance", n_sample=3)


def test_arguments_in_the_wrong_place_are_refused():
    with pytest.raises(tg.ParameterError, match="tuple of the model's positional arguments"):
        tg.infer(eight_schools, jnp.asarray(ERROR))
    with pytest.raises(tg.ParameterError, match=r"keyword arguments.*method="):
        tg.infer(eight_schools, (jnp.asarray(ERROR),), "importance")


def test_a_posterior_from_a_file_cannot_fit_again(schools, tmp_path):
    loaded = tg.Posterior.load(schools.save(tmp_path / "schools.nc"))
    np.testing.assert_allclose(loaded.samples["mu"], schools.samples["mu"])
    with pytest.raises(tg.ParameterError, match="init_from"):
        loaded.refine()
