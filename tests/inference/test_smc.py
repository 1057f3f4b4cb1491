"""Tempered sequential Monte Carlo: known posteriors, evidences, and two modes."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

from tengri_ppl.errors import ParameterError
from tengri_ppl.inference import Target
from tengri_ppl.inference.smc import SMCOptions, run_smc

D, PRIOR, NOISE = 5, 3.0, 0.1
DATA = jnp.linspace(-2.0, 2.0, D)


def narrow(data):
    """Posterior a thirtieth of the prior's width in five directions."""
    with numpyro.plate("i", D):
        x = numpyro.sample("x", dist.Normal(0.0, PRIOR))
        numpyro.sample("y", dist.Normal(x, NOISE), obs=data)


def two_modes():
    """Modes at -3 and 3 of unequal width, a third of the mass in the right one."""
    x = numpyro.sample("x", dist.Normal(0.0, 5.0))
    parts = jnp.stack([dist.Normal(-3.0, 0.5).log_prob(x), dist.Normal(3.0, 0.25).log_prob(x)])
    density = jax.nn.logsumexp(parts + jnp.log(jnp.array([2.0, 1.0]) / 3.0))
    numpyro.factor("modes", density - dist.Normal(0.0, 5.0).log_prob(x))


def test_a_narrow_posterior_with_its_evidence():
    result = run_smc(Target(narrow, (DATA,)), jax.random.key(0))
    variance = 1.0 / (PRIOR**-2 + NOISE**-2)
    x = result.samples["x"]
    n = x.shape[0] * x.shape[1]
    sd = np.sqrt(variance)
    assert x.shape == (4, 1000, D)
    # moves decorrelate resampled particles only in part: a quarter of them counts
    errors = sd / np.sqrt(n / 4)
    np.testing.assert_array_less(np.abs(x.mean((0, 1)) - variance / NOISE**2 * DATA), 4 * errors)
    np.testing.assert_allclose(x.std((0, 1)), sd, rtol=0.06)
    evidence = float(dist.Normal(0.0, np.hypot(PRIOR, NOISE)).log_prob(DATA).sum())
    error = result.diagnostics["log_evidence_error"]
    assert 0.0 < error < 0.15
    assert abs(result.diagnostics["log_evidence"] - evidence) < 0.2


def test_particles_are_moved_until_the_islands_agree():
    """Small islands never agree on the shares of two modes; larger ones on one mode at once."""

    def stages(target, n_particles, max_moves):
        options = SMCOptions(n_particles=n_particles, max_moves=max_moves)
        return run_smc(target, jax.random.key(2), options).diagnostics["n_stages"]

    assert stages(Target(two_modes), 50, 5) == stages(Target(two_modes), 50, 1) + 4
    narrow_one = Target(narrow, (DATA,))
    assert stages(narrow_one, 1000, 5) == stages(narrow_one, 1000, 1)


def test_both_modes_get_their_share():
    result = run_smc(Target(two_modes), jax.random.key(1))
    right = result.samples["x"] > 0
    # shares scatter between islands, and the weights of the stages add to it
    assert right.mean() == pytest.approx(1.0 / 3.0, abs=0.06)
    assert result.samples["x"][right].std() == pytest.approx(0.25, rel=0.1)
    assert abs(result.diagnostics["log_evidence"]) < 0.15


def test_an_improper_prior_is_refused():
    def model():
        x = numpyro.sample("x", dist.ImproperUniform(dist.constraints.real, (), ()))
        numpyro.sample("y", dist.Normal(x, 1.0), obs=0.0)

    with pytest.raises(ParameterError, match="improper"):
        run_smc(Target(model), jax.random.key(0), SMCOptions(n_particles=10))


def test_too_few_stages_say_so():
    with pytest.raises(ParameterError, match="max_stages"):
        run_smc(
            Target(narrow, (DATA,)), jax.random.key(0), SMCOptions(n_particles=50, max_stages=1)
        )


@pytest.mark.parametrize("option", [{"n_particles": 0}, {"target_ess": 1.0}])
def test_options_out_of_range_are_refused(option):
    with pytest.raises(ParameterError, match=next(iter(option))):
        SMCOptions(**option)
