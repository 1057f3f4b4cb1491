"""Bayes factors and cross-validation of models with known evidences."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from scipy import stats

import tengri_ppl as tg

DATA = jnp.array([0.9, 1.4, 0.3, 1.1, 1.7, 0.6])


def centred(width, y):
    """Mean of normals; the evidence is a normal density."""
    mu = numpyro.sample("mu", dist.Normal(0.0, width))
    numpyro.sample("y", dist.Normal(jnp.broadcast_to(mu, y.shape), 0.5), obs=y)


def log_evidence(width):
    y = np.asarray(DATA, float)
    covariance = 0.25 * np.eye(y.size) + width**2
    return stats.multivariate_normal(np.zeros(y.size), covariance).logpdf(y)


@pytest.fixture(scope="module")
def posteriors():
    options = {"method": "importance", "key": jax.random.key(0)}
    return {
        name: tg.infer(centred, (width,), {"y": DATA}, **options)
        for name, width in {"wide": 30.0, "good": 1.0, "narrow": 0.05}.items()
    }


def test_bayes_factors_and_cross_validation(posteriors):
    table = tg.compare(posteriors)
    widths = {"wide": 30.0, "good": 1.0, "narrow": 0.05}
    expected = {name: log_evidence(width) for name, width in widths.items()}
    assert list(table.index) == sorted(expected, key=expected.get, reverse=True)
    for name, row in table.iterrows():
        assert row.log_evidence == pytest.approx(expected[name], abs=0.05)
        factor = expected[name] - max(expected.values())
        assert row.log_bayes_factor == pytest.approx(factor, abs=0.1)
    assert table.log_bayes_factor_error.iloc[0] == 0.0
    assert np.all(table.log_bayes_factor_error.iloc[1:] > 0.0)
    # priors hardly matter for predictions, but a prior that is off does
    assert table.elpd_loo["narrow"] < table.elpd_loo["good"] - 1.0
    assert abs(table.elpd_loo["wide"] - table.elpd_loo["good"]) < 0.5
    assert table.weight.sum() == pytest.approx(1.0)


def test_engines_without_evidence_are_compared_by_cross_validation(posteriors):
    chains = tg.infer(centred, (1.0,), {"y": DATA}, method="mcmc_nuts", key=jax.random.key(1))
    table = tg.compare({"narrow": posteriors["narrow"], "chains": chains})
    assert list(table.index) == ["chains", "narrow"]
    assert np.isnan(table.log_evidence["chains"]) and np.isnan(table.log_bayes_factor["chains"])


def test_other_data_are_refused(posteriors):
    other = tg.infer(centred, (1.0,), {"y": DATA + 1}, method="laplace", key=jax.random.key(2))
    with pytest.raises(tg.DataError, match="'good' and 'other' are posteriors of different data"):
        tg.compare({"good": posteriors["good"], "other": other})
    with pytest.raises(tg.DataError, match="at least two"):
        tg.compare({"good": posteriors["good"]})
