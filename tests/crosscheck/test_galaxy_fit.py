"""A galaxy that BAGPIPES has fitted: 20 bands, six free parameters, gas and dust included.

The reference is BAGPIPES' posterior, sampled by nautilus and reweighted to a fine wavelength grid:
1928 effective draws, which give its medians to 0.03 and its widths to 1 to 3 %. At these draws the
likelihood here is that of BAGPIPES, so that both have the same posterior: the first test. Limits
are 0.15 of a width for medians, 12 % for widths and 0.15 for ln Z. Importance sampling, with thirty
times as many draws, is held to them first; its widths are what those of other engines are compared
with, for the mass is 10 % wider than in the reference's draws (three of their standard errors).
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from mock_fit import LOGARITHMIC, ours, read_mock, theirs

from tengri_ppl.physics.constants import MICROJANSKY_CGS

pytestmark = pytest.mark.optimised

#: Engine, its options, and whether it estimates the evidence.
ENGINES = [
    ("auto", {"min_ess": 4000.0, "n_samples": 20_000}, True),
    ("mcmc_nuts", {"n_samples": 2000}, False),
    ("mcmc_nuts", {"n_samples": 2000, "n_leaps": 32}, False),
    ("smc", {"n_particles": 2000}, True),
    ("geovi", {"reweight": True, "n_expansions": 6, "n_samples": 9000}, True),
    ("mgvi", {"reweight": True, "n_expansions": 24, "n_samples": 40_000}, True),
]

#: So many draws that widths have errors of 0.7 %.
DENSE = {"min_ess": 60_000.0, "n_batch": 65_536, "n_samples": 200_000}
QUANTILES = (0.16, 0.5, 0.84)


@pytest.fixture(scope="module")
def mock(validation_data, bagpipes_ssp, bagpipes_nebular):
    reference = validation_data / "bagpipes_reference"
    if not (reference / "fit_mock_sf_hires_result.json").is_file():
        pytest.skip(f"no reference posterior in {reference}")
    return read_mock(reference, bagpipes_ssp, bagpipes_nebular)


def test_the_likelihood_at_the_draws_of_bagpipes_is_that_of_bagpipes(mock, measured):
    """Reweighted to our likelihood, the reference does not change."""
    x, weight = mock.draws, mock.weights
    params = {name: jnp.asarray(value) for name, value in ours(x).items()}
    fitter = mock.fitter
    flux = np.asarray(fitter.model.predict_photometry(params, mode="fast"), dtype=float)
    residual = (flux - np.asarray(fitter.data, float)) / fitter.noise.scale(fitter.data)
    excess = np.sum(np.square(residual, dtype=float), axis=1) - mock.chi2
    measured("chi^2 at the draws of BAGPIPES' posterior, difference", np.abs(excess))
    assert np.quantile(np.abs(excess), 0.95) < 0.1
    reweighted = weight * np.exp(-0.5 * excess)
    for value in x.values():
        before, after = (
            np.quantile(value, QUANTILES, weights=w, method="inverted_cdf")
            for w in (weight, reweighted)
        )
        assert np.max(np.abs(after - before)) < 0.02 * np.ptp(before)


@pytest.fixture(scope="module")
def dense(mock):
    return mock.fitter.run("importance", key=jax.random.key(1), **DENSE)


@pytest.mark.slow
def test_importance_sampling_finds_the_posterior_of_bagpipes(mock, dense):
    reference = {name: np.asarray(value) for name, value in mock.quantiles.items()}
    for name in LOGARITHMIC:
        reference[name] = np.log10(reference[name])
    check(mock, [dense], {name: high - low for name, (low, _, high) in reference.items()}, True)


@pytest.mark.slow
@pytest.mark.parametrize(("method", "options", "has_evidence"), ENGINES)
def test_every_engine_finds_the_posterior_of_bagpipes(
    mock, dense, method, options, has_evidence, measured
):
    posterior = mock.fitter.run(method, key=jax.random.key(1), **options)
    found = check(mock, [posterior], widths_of(dense), has_evidence)
    for what in (name for name, errors in found.items() if errors):
        measured(f"{method} of the mock galaxy, {what}", found[what])


@pytest.mark.slow
def test_nested_sampling_finds_the_posterior_of_bagpipes(mock, dense, measured):
    """By the mean of four runs: in one of them ln Z has an error of 0.14, as much as the limit."""
    runs = [mock.fitter.run("nss", key=jax.random.key(seed)) for seed in range(4)]
    found = check(mock, runs, widths_of(dense), True)
    for what, errors in found.items():
        measured(f"nested sampling of the mock galaxy, {what}", errors)


def widths_of(posterior):
    return {
        name: np.ptp(np.quantile(x, QUANTILES)) for name, x in theirs(posterior.samples).items()
    }


def check(mock, runs, widths, has_evidence):
    """Medians and evidence as BAGPIPES has them, and the widths given; return the differences."""
    found = {"medians [sigma]": [], "widths - 1": [], "ln Z": []}
    for run in runs:
        verdict = run.convergence()
        assert verdict.converged, verdict.message
    draws = [theirs(run.samples) for run in runs]
    for name, width in widths.items():
        low, middle, high = np.quantile(np.concatenate([x[name] for x in draws]), QUANTILES)
        reference = np.asarray(mock.quantiles[name])
        reference = np.log10(reference) if name in LOGARITHMIC else reference
        sigma = 0.5 * (reference[2] - reference[0])
        found["medians [sigma]"].append((middle - reference[1]) / sigma)
        found["widths - 1"].append((high - low) / width - 1.0)
        assert abs(middle - reference[1]) < 0.15 * sigma, name
        assert (high - low) / width == pytest.approx(1.0, abs=0.12), name
    if has_evidence:
        # densities are per erg/s/cm^2/Hz here, per microjansky there
        unit = mock.fitter.data.size * np.log(MICROJANSKY_CGS)
        evidence = np.mean([run.log_evidence for run in runs]) + unit
        found["ln Z"].append(evidence - mock.log_evidence)
        assert evidence == pytest.approx(mock.log_evidence, abs=0.15)
    return found
