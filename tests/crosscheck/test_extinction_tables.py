"""Extinction in the Magellanic Clouds against the tabulated averages of Gordon et al. (2003).

Table 4 of the paper: A/A_V of the SMC bar, the LMC 2 supershell and the LMC average, each with its
error, at 30 wavelengths; 999 where there is none.
"""

import jax
import numpy as np
import pytest

from tengri_ppl.physics.attenuation import lmc, lmc2, smc

pytestmark = pytest.mark.crosscheck

#: Points that Gordon et al. (2016) amended, for a smooth curve [micron].
AMENDED = {"smc": (2.198, 1.25), "lmc": (2.198,), "lmc2": (1.65,)}


@pytest.fixture(scope="module")
def table(validation_data):
    path = validation_data / "physics_tables" / "dust_laws" / "Gordon03_table4.dat"
    if not path.is_file():
        pytest.skip(f"no {path}")
    return np.loadtxt(path)


@pytest.mark.parametrize(("curve", "column", "points"), [(smc, 2, 28), (lmc2, 4, 26), (lmc, 6, 26)])
def test_curve_goes_through_the_table(curve, column, points, table):
    """Anchors exactly; in the ultraviolet, where six parameters stand for 20 points, in percent."""
    micron, value, error = table[:, 0], table[:, column], table[:, column + 1]
    used = (value < 900) & ~np.isin(micron, AMENDED[curve.__name__])
    assert used.sum() == points
    with jax.enable_x64(True):
        difference = np.asarray(curve(1e4 * micron)) - value
    anchors, near_lyman_alpha = micron > 0.36, micron < 0.125
    np.testing.assert_allclose(difference[used & anchors], 0.0, atol=1e-12)
    ultraviolet = used & ~anchors & ~near_lyman_alpha
    assert np.abs(difference / value)[ultraviolet].max() < 0.025
    # hydrogen in the spectra disturbs the bluest points
    assert np.abs(difference / error)[used & near_lyman_alpha].max() < 2.6
