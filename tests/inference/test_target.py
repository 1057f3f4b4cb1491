"""Target: prior and likelihood of any NumPyro model, and the models that it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro import handlers
from numpyro.infer.reparam import LocScaleReparam
from numpyro.infer.util import potential_energy

from tengri_ppl.errors import ParameterError
from tengri_ppl.inference.target import Target

DATA = np.linspace(-1.0, 2.0, 6)


def regression(x, y=None):
    slope = numpyro.sample("slope", dist.Normal(0.0, 2.0))
    scale = numpyro.sample("scale", dist.HalfNormal(1.0))
    weight = numpyro.sample("weight", dist.Dirichlet(jnp.ones(3)))
    bounded = numpyro.sample("bounded", dist.Uniform(-1.0, slope**2 + 1.0))
    numpyro.deterministic("twice", 2.0 * slope)
    with numpyro.plate("data", x.size):
        offset = numpyro.sample("offset", dist.Normal(0.0, scale))
        numpyro.sample("y", dist.Normal(slope * x + offset + bounded * weight[0], 0.5), obs=y)
    numpyro.factor("penalty", -0.1 * slope**2)


def scaled(x, y=None):
    with handlers.scale(scale=2.5):
        slope = numpyro.sample("slope", dist.LogNormal(0.0, 1.0))
    with handlers.mask(mask=x > 0):
        numpyro.sample("y", dist.Normal(slope * x, 0.5), obs=y)


def non_centred(x, y=None):
    with handlers.reparam(config={"slope": LocScaleReparam(0.0)}):
        slope = numpyro.sample("slope", dist.Normal(1.0, 2.0))
    numpyro.sample("y", dist.Normal(slope * x, 0.5), obs=y)


@pytest.mark.parametrize("model", [regression, scaled, non_centred])
def test_potential_equals_numpyros_and_splits_into_prior_and_likelihood(model):
    target = Target(model, (DATA,), {"y": DATA**2})
    z = jax.tree.map(lambda x: x[0], target.initial(jax.random.key(0), 1))
    expected = potential_energy(model, (DATA,), {"y": DATA**2}, z)
    # the same sum in another order, in 32 bit
    assert float(target.potential(z)) == pytest.approx(float(expected), rel=1e-5)
    split = target.log_prior(z) + target.log_likelihood(z)
    assert float(split) == pytest.approx(-float(expected), rel=1e-5)


def test_likelihood_holds_observations_and_factors_only():
    target = Target(regression, (DATA,), {"y": None})
    z = jax.tree.map(lambda x: x[0], target.initial(jax.random.key(0), 1))
    slope = float(z["slope"])
    assert float(target.log_likelihood({k: z[k] for k in z})) == pytest.approx(-0.1 * slope**2)


def test_constrain_and_unconstrain_are_inverse():
    target = Target(regression, (DATA,), {"y": DATA})
    z = jax.tree.map(lambda x: x[0], target.initial(jax.random.key(2), 1))
    values = target.constrain(z)
    assert float(values["twice"]) == pytest.approx(2 * float(values["slope"]))
    assert float(values["weight"].sum()) == pytest.approx(1.0, abs=1e-6)
    back = target.unconstrain(values)
    for name in z:
        np.testing.assert_allclose(back[name], z[name], rtol=1e-3, atol=1e-4)


def test_sites_and_dimension_count_unconstrained_coordinates():
    target = Target(regression, (DATA,), {"y": DATA})
    assert target.sites["weight"].shape == (3,)
    assert target.sites["weight"].unconstrained_shape == (2,)
    assert target.dimension == 1 + 1 + 2 + 1 + 6


def test_start_points_are_dispersed_and_finite():
    target = Target(regression, (DATA,), {"y": DATA})
    z = target.initial(jax.random.key(0), 8)
    assert z["slope"].shape == (8,)
    assert np.std(np.asarray(z["slope"])) > 0
    assert np.all(np.isfinite(jax.vmap(target.potential)(z)))


def discrete(y=None):
    numpyro.sample("k", dist.Bernoulli(0.5))
    numpyro.sample("y", dist.Normal(0.0, 1.0), obs=y)


def subsampled(y=None):
    mean = numpyro.sample("mean", dist.Normal(0.0, 1.0))
    with numpyro.plate("data", 10, subsample_size=2):
        numpyro.sample("y", dist.Normal(mean, 1.0), obs=jnp.zeros(2))


def nothing(y=None):
    numpyro.sample("y", dist.Normal(0.0, 1.0), obs=y)


def impossible(y=None):
    mean = numpyro.sample("mean", dist.Normal(0.0, 1.0))
    numpyro.factor("never", jnp.where(mean > 1e6, 0.0, -jnp.inf))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (discrete, "no latent sample site that is continuous"),
        (subsampled, "plate 'data' is subsampled"),
        (nothing, "no latent sample site"),
    ],
)
def test_models_that_cannot_be_treated_are_refused(model, message):
    with pytest.raises(ParameterError, match=message):
        Target(model, (0.0,))


def test_a_density_that_is_nowhere_finite_is_refused():
    with pytest.raises(ParameterError, match="no start point found"):
        Target(impossible).initial(jax.random.key(0), 2)


def test_unconstrain_names_missing_sites():
    with pytest.raises(ParameterError, match="missing: scale, weight"):
        Target(regression, (DATA,)).unconstrain({"slope": 0.0, "bounded": 0.0, "offset": DATA})


def test_improper_priors_have_starts_and_no_density():
    def model(y):
        with numpyro.plate("i", 3):
            x = numpyro.sample("x", dist.ImproperUniform(dist.constraints.positive, (), ()))
        width = numpyro.sample("width", dist.ImproperUniform(dist.constraints.positive, (), ()))
        numpyro.sample("y", dist.Normal(x, width), obs=y)

    target = Target(model, (jnp.ones(3),))
    assert target.sites["x"].shape == (3,)
    z = target.initial(jax.random.key(0), 4)
    assert z["x"].shape == (4, 3)
    assert jnp.all(jnp.abs(z["x"]) <= 2.0)
    point = {"x": jnp.zeros(3), "width": jnp.zeros(())}
    # the Jacobian of exp at 0
    assert float(target.log_prior(point)) == pytest.approx(0.0)
