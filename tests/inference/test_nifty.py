"""geoVI beside its reference implementation, ``nifty.re`` (PyPI: nifty, version 9)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_targets import RIDGE_ERROR, ridge

from tengri_ppl.inference import Target
from tengri_ppl.inference.geometric import GeometricOptions, run_geovi

jft = pytest.importorskip("nifty.re")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_means_and_widths_of_a_curved_ridge_agree_with_nifty():
    y, n = 3.0, 100
    likelihood = jft.Gaussian(jnp.array([y]), noise_cov_inv=lambda r: r / RIDGE_ERROR**2).amend(
        lambda x: jnp.exp(x).sum()[None], domain=jax.ShapeDtypeStruct((2,), jnp.float32)
    )
    newton = {"name": None, "xtol": 1e-3, "cg_kwargs": {"name": None}, "maxiter": 15}
    draws, _ = jft.optimize_kl(
        likelihood,
        jnp.array([0.1, 0.2]),
        n_total_iterations=5,
        n_samples=n,
        key=jax.random.key(0),
        draw_linear_kwargs={"cg_name": None, "cg_kwargs": {"absdelta": 1e-5, "maxiter": 20}},
        nonlinearly_update_kwargs={"minimize_kwargs": newton},
        kl_kwargs={"minimize_kwargs": newton},
        sample_mode="nonlinear_resample",
        odir=None,
    )
    theirs = np.array([np.asarray(x) for x in draws])
    assert len(theirs) == 2 * n
    ours = run_geovi(Target(ridge, (y,)), jax.random.key(1), GeometricOptions(n_pairs=50))
    x = ours.samples["x"][0]
    # 200 draws: their widths are known to 5 %, their means, which are mirrored pairs', to better
    # than 0.1 widths; three standard errors
    np.testing.assert_allclose(x.std(axis=0), theirs.std(axis=0), rtol=0.15)
    distance = np.abs(x.mean(axis=0) - theirs.mean(axis=0)) / theirs.std(axis=0)
    np.testing.assert_array_less(distance, 0.25)
