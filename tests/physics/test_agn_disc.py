"""Accretion discs against the published slopes, and their bolometric luminosity."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from emission_cases import C_ANGSTROM_PER_S, midpoint

from tengri_ppl.errors import ParameterError
from tengri_ppl.physics.agn import (
    DISC_RANGE,
    PowerLawDisc,
    Temple2021Disc,
    broken_power_law,
    disc_rule,
    grandi_balmer_continuum,
)

DISCS = [PowerLawDisc(), PowerLawDisc("stalevski2016"), Temple2021Disc()]
IDS = ["schartmann2005", "stalevski2016", "temple2021"]


@pytest.fixture(autouse=True)
def _double_precision():
    with jax.enable_x64(True):
        yield


def slope(disc, low, high, params):
    """Slope of nu L_nu in wavelength between two wavelengths."""
    values = np.log(np.asarray(disc.nu_l_nu(np.array([low, high]), params)))
    return (values[1] - values[0]) / np.log(high / low)


@pytest.mark.parametrize("disc", DISCS, ids=IDS)
def test_bolometric_luminosity_is_one(disc):
    """By the trapezoidal rule on 2e5 points, whose own error is below 1e-7."""
    wave = np.geomspace(DISC_RANGE[0] * (1 + 1e-12), DISC_RANGE[1] * (1 - 1e-12), 200_001)
    total = np.trapezoid(np.asarray(disc.nu_l_nu(wave, midpoint(disc))), np.log(wave))
    assert total == pytest.approx(1.0, rel=1e-7)


def test_slopes_of_schartmann():
    """L_lambda ~ lambda^(1, -0.2, -1.5, -4) with breaks at 50, 125 and 10^4 nm."""
    disc, params = DISCS[0], {"agn_disc_slope": 0.0}
    for low, high, expected in [
        (80, 500, 1.0),
        (500, 1250, -0.2),
        (1250, 1e5, -1.5),
        (1e5, 1e7, -4.0),
    ]:
        assert slope(disc, low, high, params) == pytest.approx(expected + 1.0, abs=1e-9)
    steep = {"agn_disc_slope": -0.36}
    assert slope(disc, 2000.0, 9000.0, steep) == pytest.approx(-0.86, abs=1e-9)
    assert slope(disc, 500.0, 1250.0, steep) == pytest.approx(0.8, abs=1e-9)


def test_slopes_of_stalevski():
    """lambda L_lambda ~ lambda^(1.2, 0, -0.5, -3) with breaks at 0.01, 0.1 and 5 micron."""
    disc, params = DISCS[1], {"agn_disc_slope": 0.0}
    for low, high, expected in [(50, 100, 1.2), (100, 1000, 0.0), (1e3, 5e4, -0.5), (5e4, 1e7, -3)]:
        assert slope(disc, low, high, params) == pytest.approx(expected, abs=1e-9)


def test_quasar_continuum_is_that_of_qsogen():
    """f_nu = 1 at 5500 A, nu^0.593 to 3880 A, nu^-0.349 to 1200 A, nu^-1.349 below; by hand."""
    wave = np.array([912.0, 1200.0, 3000.0, 3880.0, 5500.0, 20000.0])
    at_break = (5500 / 3880) ** 0.593
    expected = [
        at_break * (1200 / 3880) ** 0.349 * (912 / 1200) ** 1.349,
        at_break * (1200 / 3880) ** 0.349,
        at_break * (3000 / 3880) ** 0.349,
        at_break,
        1.0,
        (5500 / 20000) ** 0.593,
    ]
    l_nu = np.asarray(DISCS[2].l_nu(wave, midpoint(DISCS[2])))
    np.testing.assert_allclose(l_nu / l_nu[4], expected, rtol=1e-12)


def correction(edges, slopes, at):
    """L_bol / nu L_nu at a wavelength for a broken power law, its segments integrated by hand."""
    edges = np.array([DISC_RANGE[0], *edges, DISC_RANGE[1]])
    steps = np.array(slopes) * np.diff(np.log(edges))
    heights = np.exp(np.concatenate([[0.0], np.cumsum(steps)]))  # at the edges
    safe = np.where(np.array(slopes) == 0.0, 1.0, slopes)
    rising = np.diff(heights) / safe
    total = np.sum(np.where(np.array(slopes) == 0.0, heights[:-1] * np.diff(np.log(edges)), rising))
    return total / np.exp(np.interp(np.log(at), np.log(edges), np.log(heights)))


@pytest.mark.parametrize(
    ("disc", "edges", "slopes"),
    [
        (DISCS[0], (500.0, 1250.0, 1e5), (2.0, 0.8, -0.5, -3.0)),
        (DISCS[1], (100.0, 1000.0, 5e4), (1.2, 0.0, -0.5, -3.0)),
        (DISCS[2], (1200.0, 3880.0), (0.349, -0.651, -1.593)),
    ],
    ids=IDS,
)
def test_bolometric_corrections_follow_from_the_slopes(disc, edges, slopes):
    """At 5100 Angstrom they are 5.5, 10.4 and 10.3; quasars, with their dust, have about 9-10."""
    for wave in (1450.0, 3000.0, 5100.0):
        expected = correction(edges, slopes, wave)
        assert 1.0 / float(disc.nu_l_nu(wave, midpoint(disc))) == pytest.approx(expected, rel=1e-9)


def test_balmer_continuum_has_its_edge_and_height():
    params = midpoint(DISCS[2]) | {"agn_disc_balmer": 0.3}
    bare = midpoint(DISCS[2])
    shape = grandi_balmer_continuum(np.array([2000.0, 3000.0, 3646.0, 3800.0]))
    # Planck's law and the optical depth of Grandi (1982) by hand
    x = 1.4387769e8 / (15000.0 * np.array([2000.0, 3000.0]))
    depth = (np.array([2000.0, 3000.0]) / 3646.0) ** 3
    planck = (x**3 / np.expm1(x)) * (1.0 - np.exp(-depth))
    assert float(shape[0]) == pytest.approx(planck[0] / planck[1], rel=1e-6)
    assert float(shape[1]) == pytest.approx(1.0, rel=1e-12)
    assert float(shape[3]) < 0.001
    norm = 5500.0  # redward of the edge only the normalisation differs
    ratio = DISCS[2].nu_l_nu(3000.0, params) / DISCS[2].nu_l_nu(norm, params)
    without = DISCS[2].nu_l_nu(3000.0, bare) / DISCS[2].nu_l_nu(norm, bare)
    assert float(ratio / without) == pytest.approx(1.3, rel=1e-6)


def test_nothing_outside_the_range_and_l_nu_is_per_frequency():
    disc = DISCS[0]
    params = midpoint(disc)
    assert not np.any(disc.nu_l_nu(np.array([1.0, 41.0, 1.01e7, 1e10]), params))
    at = float(disc.l_nu(5000.0, params)) * C_ANGSTROM_PER_S / 5000.0
    assert at == pytest.approx(float(disc.nu_l_nu(5000.0, params)), rel=1e-12)


def test_broken_power_law_is_one_at_its_pivot_and_continuous():
    for breaks in ((1000.0, 2000.0), (6000.0, 9000.0)):
        assert float(broken_power_law(5500.0, breaks, (1.0, 2.0, -3.0))) == pytest.approx(1.0)
        at = np.array(breaks)[:, None] * (1.0 + 1e-9 * np.array([-1.0, 1.0]))
        values = np.asarray(broken_power_law(at, breaks, (1.0, 2.0, -3.0)))
        np.testing.assert_allclose(values[:, 0], values[:, 1], rtol=1e-7)


def test_rule_integrates_a_power_law_with_a_break():
    wave, weight = disc_rule((1000.0,))
    low, high = DISC_RANGE
    value = np.sum(weight * np.where(wave < 1000.0, wave, 1000.0 * (wave / 1000.0) ** -2.0))
    assert value == pytest.approx((1000 - low) + 500.0 * (1 - (high / 1000.0) ** -2), rel=1e-10)


def test_unknown_form_is_refused():
    with pytest.raises(ParameterError, match="schartmann2005"):
        PowerLawDisc("schartman")


@pytest.mark.parametrize("disc", DISCS, ids=IDS)
def test_gradients_are_finite_in_32_bit(disc):
    wave = np.array([0.1, 41.33, 912.0, 1200.0, 3646.0, 5500.0, 1e5, 1e7, 1e10], np.float32)
    with jax.enable_x64(False):

        def total(params):
            return jnp.sum(disc.nu_l_nu(jnp.asarray(wave), params))

        value, gradient = jax.value_and_grad(total)(
            {k: jnp.float32(v) for k, v in midpoint(disc).items()}
        )
        assert np.isfinite(value)
        assert all(np.isfinite(g) for g in gradient.values())
        assert any(float(g) != 0.0 for g in gradient.values())
