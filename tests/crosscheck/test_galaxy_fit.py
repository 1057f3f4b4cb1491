"""A galaxy that BAGPIPES has fitted: 20 bands, six free parameters, gas and dust included.

The reference is BAGPIPES' posterior, sampled by nautilus and reweighted to a fine wavelength grid:
1928 effective draws, which give its medians to 0.03 and its widths to 3 %. Limits are 0.15 of a
width for medians, 12 % for widths and 0.15 for ln Z.
"""

import jax
import numpy as np
import pytest
from mock_fit import LOGARITHMIC, read_mock, theirs

from tengri_ppl.physics.constants import MICROJANSKY_CGS

#: So many draws that widths have errors of 1.5 %: one of them is 8 % wider than the reference.
MANY = {"min_ess": 4000.0, "n_samples": 20_000}
#: Engine, its options, and whether it estimates the evidence.
ENGINES = [
    ("auto", MANY, True),
    ("importance", MANY, True),
    ("mcmc_nuts", {"n_samples": 5000}, False),
    pytest.param(
        *("smc", {}, True),
        marks=pytest.mark.xfail(
            run=False, reason="islands of 1000 particles agree to R-hat 1.04 only"
        ),
    ),
    pytest.param(
        *("geovi", {}, False),
        marks=pytest.mark.xfail(
            run=False, reason="geoVI's widths are off where the prior cuts a long ridge"
        ),
    ),
]


@pytest.fixture(scope="module")
def mock(validation_data, bagpipes_ssp, bagpipes_nebular):
    reference = validation_data / "bagpipes_reference"
    if not (reference / "fit_mock_sf_hires_result.json").is_file():
        pytest.skip(f"no reference posterior in {reference}")
    return read_mock(reference, bagpipes_ssp, bagpipes_nebular)


@pytest.mark.slow
@pytest.mark.parametrize(("method", "options", "has_evidence"), ENGINES)
def test_every_engine_finds_the_posterior_of_bagpipes(mock, method, options, has_evidence):
    posterior = mock.fitter.run(method, key=jax.random.key(1), **options)
    for name, draws in theirs(posterior.samples).items():
        low, middle, high = np.quantile(draws, [0.16, 0.5, 0.84])
        reference = np.asarray(mock.quantiles[name])
        reference = np.log10(reference) if name in LOGARITHMIC else reference
        width = reference[2] - reference[0]
        assert abs(middle - reference[1]) < 0.15 * 0.5 * width, name
        assert (high - low) / width == pytest.approx(1.0, abs=0.12), name
    assert posterior.convergence().converged, posterior.convergence().message
    if has_evidence:
        # densities are per erg/s/cm^2/Hz here, per microjansky there
        evidence = posterior.log_evidence + mock.fitter.data.size * np.log(MICROJANSKY_CGS)
        assert evidence == pytest.approx(mock.log_evidence, abs=0.15)
