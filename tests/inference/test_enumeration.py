"""Discrete sites: summed out of densities, and drawn given everything else."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from scipy import integrate, stats

import tengri_ppl as tg
from tengri_ppl.errors import ParameterError
from tengri_ppl.inference import Target

LOC = jnp.array([-1.0, 1.0])
Y = np.array([-1.4, -1.1, -0.6, 0.1, 0.9, 1.2, 1.3, 0.7, 1.9, 0.2])


def classes(y):
    """Two classes of which the fraction is unknown."""
    fraction = numpyro.sample("fraction", dist.Beta(2.0, 3.0))
    with numpyro.plate("galaxy", len(y)):
        quiescent = numpyro.sample("quiescent", dist.Bernoulli(fraction))
        numpyro.deterministic("loc", LOC[quiescent])
        numpyro.sample("y", dist.Normal(LOC[quiescent], 0.7), obs=y)


def likelihoods():
    """Likelihoods of the classes, (2, n)."""
    return stats.norm.pdf(Y, np.asarray(LOC)[:, None], 0.7)


def density(fraction):
    """Unnormalised posterior density of the fraction."""
    first, second = likelihoods()
    return stats.beta.pdf(fraction, 2, 3) * np.prod((1 - fraction) * first + fraction * second)


def moment(power):
    return integrate.quad(lambda f: f**power * density(f), 0.0, 1.0, epsabs=1e-12)[0]


def responsibility(fraction):
    """Probability of the second class for each y."""
    first, second = likelihoods()
    return fraction * second / ((1 - fraction) * first + fraction * second)


def nested_classes(y):
    """A global discrete site, one in a plate that depends on it, and a latent one on both."""
    kind = numpyro.sample("kind", dist.Categorical(jnp.array([0.2, 0.5, 0.3])))
    width = numpyro.sample("width", dist.HalfNormal(1.0))
    with numpyro.plate("galaxy", len(y)):
        member = numpyro.sample("member", dist.Bernoulli(jnp.array([0.1, 0.6, 0.8])[kind]))
        loc = jnp.array([0.0, 0.5, 1.0])[kind] + member
        x = numpyro.sample("x", dist.Normal(loc, 0.3 + width))
        numpyro.sample("y", dist.Normal(x * (1.0 + member), 0.5), obs=y)


def by_hand(width, x, y):
    """Prior and joint density of nested_classes, every combination of values written out."""
    prior, joint = [], []
    for kind, *member in itertools.product(range(3), *[range(2)] * len(y)):
        member = np.array(member)
        p = [0.2, 0.5, 0.3][kind] * stats.halfnorm.pdf(width)
        p *= np.prod(stats.bernoulli.pmf(member, [0.1, 0.6, 0.8][kind]))
        p *= np.prod(stats.norm.pdf(x, [0.0, 0.5, 1.0][kind] + member, 0.3 + width))
        prior.append(p)
        joint.append(p * np.prod(stats.norm.pdf(y, x * (1 + member), 0.5)))
    return np.log(np.sum(prior)), np.log(np.sum(joint))


def test_densities_are_sums_over_all_combinations():
    x, y = jnp.array([0.3, 1.4, 2.0]), jnp.array([0.5, 1.0, 4.1])
    target = Target(nested_classes, (y,))
    assert set(target.sites) == {"width", "x"} and target.discrete == ("kind", "member")
    z = {"width": jnp.log(0.4), "x": x}
    prior, joint = by_hand(0.4, np.asarray(x), np.asarray(y))
    jacobian = np.log(0.4)
    np.testing.assert_allclose(target.log_prior(z), prior + jacobian, rtol=1e-5)
    np.testing.assert_allclose(target.log_likelihood(z), joint - prior, rtol=1e-5)


def test_draws_follow_their_distribution_given_the_other_sites():
    target = Target(classes, (jnp.asarray(Y),))
    n = 20_000
    # a range of fractions so narrow that the probabilities are equal, with a key for each draw
    fraction = jnp.linspace(0.4, 0.401, n)
    z = {"fraction": jnp.log(fraction) - jnp.log1p(-fraction)}
    values = jax.jit(jax.vmap(target.constrain))(z)
    expected = responsibility(0.4005)
    error = np.sqrt(expected * (1 - expected) / n)
    found = values["quiescent"]
    np.testing.assert_array_less(np.abs(np.mean(found, axis=0) - expected), 4 * error + 1e-3)
    np.testing.assert_array_equal(values["loc"], np.asarray(LOC)[found])
    correlation = np.corrcoef(np.asarray(found, float).T) - np.eye(len(Y))
    assert np.max(np.abs(correlation)) < 5 / np.sqrt(n)


@pytest.mark.parametrize("method", ["mcmc_nuts", "nss", "importance"])
def test_engines_find_the_posterior_and_its_classes(method):
    posterior = tg.infer(classes, (jnp.asarray(Y),), method=method, key=jax.random.key(1))
    evidence, mean = moment(0), moment(1) / moment(0)
    sd = np.sqrt(moment(2) / evidence - mean**2)
    fraction = posterior.samples["fraction"]
    error = sd / np.sqrt(posterior.convergence().min_ess_bulk)
    assert abs(fraction.mean() - mean) < 4 * error
    if method != "mcmc_nuts":
        assert abs(posterior.log_evidence - np.log(evidence)) < 4 * posterior.log_evidence_error
    found = posterior.inference_data.posterior["quiescent"]
    assert found.dims == ("chain", "draw", "galaxy")
    weight = [
        integrate.quad(lambda f, i=i: density(f) * responsibility(f)[i], 0.0, 1.0)[0] / evidence
        for i in range(len(Y))
    ]
    weight = np.array(weight)
    count = min(posterior.convergence().min_ess_bulk, found[..., 0].size)
    error = np.sqrt(weight * (1 - weight) / count)
    assert np.all(np.abs(found.mean(("chain", "draw")) - weight) < 4.5 * error)


def unbounded(y=None):
    numpyro.sample("mean", dist.Normal(0.0, 1.0))
    numpyro.sample("k", dist.Poisson(0.5))


def joined(y=None):
    numpyro.sample("mean", dist.Normal(0.0, 1.0))
    numpyro.sample("k", dist.Bernoulli(0.5).expand([3]).to_event(1))


@pytest.mark.parametrize("model", [unbounded, joined])
def test_what_has_no_list_of_values_is_refused(model):
    with pytest.raises(ParameterError, match="site 'k' is discrete, and its values can't"):
        Target(model, (0.0,))


def test_methods_that_need_normals_refuse_discrete_sites():
    with pytest.raises(ParameterError, match=r"'quiescent' .* use method='mcmc_nuts'"):
        tg.infer(classes, (jnp.asarray(Y),), method="geovi", key=jax.random.key(0))
