"""The verdict on convergence, on chains whose answer is known."""

from __future__ import annotations

import arviz as az
import numpy as np
import pytest

from tengri_ppl.results import convergence
from tengri_ppl.results.statistics import effective_sample_sizes, rhats, summary_table

CHAINS, DRAWS = 4, 1000


def chains(n_chain=CHAINS, n_draw=DRAWS):
    return np.random.default_rng(0).normal(size=(n_chain, n_draw))


def inference_data(draws, diverging=None):
    stats = {} if diverging is None else {"sample_stats": {"diverging": diverging}}
    rng = np.random.default_rng(1)
    return az.from_dict(posterior={"x": draws, "y": rng.normal(size=draws.shape)}, **stats)


def test_independent_normals_converge():
    verdict = convergence(inference_data(chains(), np.zeros((CHAINS, DRAWS), bool)))
    assert verdict
    assert verdict.message.startswith("converged")
    assert verdict.frozen_chains == ()
    # Independent draws: the effective sample size is their number, within its own error.
    assert verdict.min_ess_bulk == pytest.approx(CHAINS * DRAWS, rel=0.1)


def test_a_single_chain_is_judged_by_its_halves():
    assert convergence(inference_data(chains(1, 4 * DRAWS)))
    drifting = chains(1, 4 * DRAWS) + np.linspace(-2, 2, 4 * DRAWS)
    assert not convergence(inference_data(drifting))


def test_a_shifted_chain_does_not_converge():
    draws = chains()
    draws[2] += 3.0
    verdict = convergence(inference_data(draws))
    assert not verdict.converged
    assert verdict.worst_rhat == "x"
    assert verdict.max_rhat > 1.1
    assert "R-hat of x" in verdict.message
    assert "n_warmup" in verdict.message


def test_correlated_draws_ask_for_more():
    rng = np.random.default_rng(2)
    draws = np.zeros((CHAINS, DRAWS))
    for i in range(1, DRAWS):
        draws[:, i] = 0.9 * draws[:, i - 1] + rng.normal(size=CHAINS)
    # An AR(1) chain with coefficient r has n (1 - r) / (1 + r) effective draws: 210 of 4000.
    idata = inference_data(draws)
    assert effective_sample_sizes(idata)["x"] == pytest.approx(210, rel=0.4)
    verdict = convergence(idata, max_rhat=1.1)
    assert not verdict
    assert verdict.worst_ess == "x"
    assert "run longer (n_samples=" in verdict.message


def test_divergences_fail_and_are_named():
    diverging = np.zeros((CHAINS, DRAWS), bool)
    diverging[:, :50] = True
    verdict = convergence(inference_data(chains(), diverging))
    assert not verdict
    assert verdict.divergences == pytest.approx(0.05)
    assert "5.0% of the draws diverged" in verdict.message
    assert "target_accept_rate" in verdict.message
    assert "run longer" not in verdict.message
    assert convergence(inference_data(chains(), diverging), max_divergences=0.1)


def test_a_frozen_chain_is_named():
    idata = inference_data(chains())
    for name in ("x", "y"):
        idata.posterior[name].values[1] = 0.3
    verdict = convergence(idata)
    assert not verdict
    assert verdict.frozen_chains == (1,)
    assert "chain 1 did not move" in verdict.message


def test_a_constant_parameter_is_no_convergence():
    assert not convergence(inference_data(np.ones((CHAINS, DRAWS))))


def test_elements_that_are_constant_by_construction_do_not_count():
    """Above the diagonal of a Cholesky factor; but a vector that does not move at all is frozen."""
    factor = np.random.default_rng(4).normal(size=(CHAINS, DRAWS, 2, 2))
    factor[..., 0, 1] = 0.0
    free = {"model_free": '["factor"]'}
    verdict = convergence(az.from_dict(posterior={"factor": factor}, attrs=free))
    assert verdict.converged, verdict.message
    assert not convergence(az.from_dict(posterior={"factor": np.ones_like(factor)}, attrs=free))


def test_only_free_parameters_count():
    idata = inference_data(chains())
    idata.posterior["a_v"] = idata.posterior["x"] + 10.0 * idata.posterior["chain"]
    assert convergence(idata)


def approximation(**attrs):
    data = inference_data(chains(1))
    data.attrs.update(attrs)
    return convergence(data)


def test_an_approximation_is_judged_by_its_k_hat_and_the_modes_it_left_out():
    assert approximation(method="laplace", approximation_k=0.3, mode_share=1.0)
    off = approximation(method="laplace", approximation_k=0.9)
    assert not off
    assert "k-hat of the approximation is 0.90" in off.message
    wide = approximation(method="vi", approximation_k=0.1, kl_divergence=1.0)
    assert not wide
    assert "divergence of the approximation is 1.00" in wide.message
    lonely = approximation(method="laplace", approximation_k=0.1, mode_share=0.6)
    assert not lonely
    assert "other modes hold 40% of the probability" in lonely.message


@pytest.mark.parametrize("figures", [{"n_effective": 3000.0, "pareto_k": 0.1}, {}])
def test_draws_that_could_not_be_made_are_no_convergence_even_reweighted(figures):
    figures = {"approximation_k": 0.1, **figures}
    assert approximation(method="geovi", unsolved_share=0.001, **figures)
    holes = approximation(method="geovi", unsolved_share=0.4, **figures)
    assert not holes
    assert "40% of the draws have no solution (limit 1%)" in holes.message
    hidden = approximation(method="geovi", unseen_share=0.07, **figures)
    assert not hidden
    assert "7% of the posterior may be out of reach of all means (limit 1%)" in hidden.message


def test_a_point_is_judged_by_its_distance_from_the_mode():
    assert approximation(method="map", newton_decrement=0.01)
    assert not approximation(method="map", newton_decrement=2.0)


def test_draws_whose_distance_from_the_posterior_is_unknown_are_no_convergence():
    unknown = approximation(method="vi", approximation_k=np.nan)
    assert not unknown
    assert "nothing tells how far the draws are from the posterior" in unknown.message
    assert "use method='auto'" in unknown.message


def test_draws_that_stand_for_weighted_ones_have_the_errors_of_these():
    """The mean of n weighted draws of a normal, resampled N times, scatters by 1/n + 1/N."""
    n, n_draws = 500, CHAINS * DRAWS
    rng = np.random.default_rng(3)
    weighted = rng.normal(size=(400, n))
    means = [x[rng.integers(n, size=n_draws)].mean() for x in weighted]
    data = inference_data(weighted[0][rng.integers(n, size=(1, n_draws))])
    plain = az.summary(data, var_names=["x"], hdi_prob=0.68)
    data.attrs.update(method="importance", pareto_k=0.1, n_effective=float(n))
    table = summary_table(data, ["x"], 0.68)
    # 400 means give their scatter to 3.5 %, 500 draws their standard deviation to 3 %
    assert table.loc["x", "mcse_mean"] == pytest.approx(np.std(means), rel=0.15)
    assert plain.loc["x", "mcse_mean"] < 0.5 * np.std(means)
    # of a normal, the error of the standard deviation is 1/sqrt(2) of that of the mean
    ratio = table.loc["x", "mcse_sd"] / table.loc["x", "mcse_mean"]
    assert ratio == pytest.approx(np.sqrt(0.5), rel=0.1)
    assert list(table) == list(plain)
    expected = 1.0 / (1.0 / n + 1.0 / n_draws)
    for size in (table.loc["x", "ess_bulk"], effective_sample_sizes(data)["x"]):
        assert size == pytest.approx(expected, abs=1e-3)
    assert np.isnan(table.loc["x", "r_hat"]) and np.isnan(rhats(data)["x"])
    assert convergence(data).min_ess_bulk == pytest.approx(expected)


def test_the_table_of_chains_is_that_of_arviz():
    data = inference_data(chains())
    ours = summary_table(data, ["x", "y"], 0.68)
    assert ours.equals(az.summary(data, var_names=["x", "y"], hdi_prob=0.68, round_to=4))


def nested(**attrs):
    sound = {
        **{"n_effective": 2000.0, "insertion_p_value": 0.4, "unfinished": 0.0},
        **{"stuck_share": 0.0, "log_likelihood_rounding": 1e-5},
        **{"log_evidence": -3.0, "log_evidence_error": 0.1},
    }
    return approximation(method="nss", **{**sound, **attrs})


@pytest.mark.parametrize(
    ("attrs", "message"),
    [
        ({"unfinished": 0.4}, "stopped with 40% of the evidence in the live points; raise max_ev"),
        ({"insertion_p_value": 1e-5}, "p = 1e-05, 0.0% of the slices empty); double num_inner"),
        ({"stuck_share": 0.2}, "20.0% of the slices empty"),
        ({"log_likelihood_rounding": 0.3}, "rounded to 0.3; use 64 bits"),
        ({"n_effective": 50.0}, "effective draws (400 needed); raise num_live"),
    ],
)
def test_nested_sampling_is_judged_by_its_end_and_its_ranks(attrs, message):
    assert nested().message.startswith("converged: ln Z = -3.00 +- 0.10")
    assert not nested(**attrs)
    assert message in nested(**attrs).message
