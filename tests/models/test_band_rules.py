"""Rules that integrate over bands: polynomials, breaks, and how breaks move with redshift."""

import numpy as np
import pytest

import tengri_ppl as tg
from tengri_ppl.models.band_rules import BandRules, band_basis, lagrange_basis
from tengri_ppl.models.smooth_table import SmoothLight, smooth_rules, tabulate_smooth
from tengri_ppl.observation.photometry import band_quadrature

BANDS = ("sdss_g", "sdss_z", "wise_w3", "herschel_spire_250")


@pytest.fixture(scope="module")
def quadrature():
    return band_quadrature(tg.Photometry.from_names(BANDS).filters)


@pytest.mark.parametrize("n", [2, 5, 12])
def test_lagrange_polynomials_sum_to_one_and_pick_their_nodes(n):
    nodes = np.linspace(8.1, 8.4, n)
    x = np.linspace(8.0, 8.5, 40)
    rounding = 1e-6 if n == 12 else 1e-12  # equidistant polynomials grow outside their nodes
    np.testing.assert_allclose(lagrange_basis(nodes, x).sum(axis=0), 1.0, atol=rounding)
    np.testing.assert_allclose(lagrange_basis(nodes, nodes), np.eye(n), atol=1e-13)


@pytest.mark.parametrize("n", [2, 5, 12])
def test_lagrange_polynomials_reproduce_polynomials_below_their_number(n):
    nodes = np.sort(np.random.default_rng(n).uniform(-1.0, 1.0, n))
    polynomial = np.polynomial.Polynomial(np.arange(1.0, n + 1.0))
    x = np.linspace(nodes[0], nodes[-1], 50)
    expected = polynomial(x)
    got = polynomial(nodes) @ lagrange_basis(nodes, x)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-9 * np.abs(expected).max())


def test_nodes_are_gauss_legendre_nodes_inside_the_band():
    """Two nodes stand at +-1/sqrt(3) of the half width."""
    nodes, basis = band_basis(np.linspace(8.0, 9.0, 11), 2)
    np.testing.assert_allclose(nodes, 8.5 + np.array([-0.5, 0.5]) / np.sqrt(3.0), rtol=1e-14)
    np.testing.assert_allclose(basis.sum(axis=0), 1.0, rtol=1e-13)


@pytest.mark.parametrize("n", [2, 3, 6, 12])
def test_functions_that_jump_at_a_break_are_reproduced(n):
    """A line on one side and another on the other: exact with two nodes on each side."""
    x = np.linspace(8.0, 9.0, 401)
    nodes, basis = band_basis(x, n, (7.0, 8.3, 9.4))

    def broken(t):
        return np.where(t < 8.3, 1.0 + t, 5.0 - 2.0 * t)

    assert nodes.size == n
    np.testing.assert_allclose(basis.sum(axis=0), 1.0, rtol=1e-9)
    worst = np.abs(broken(nodes) @ basis - broken(x)).max()
    if n > 3:
        assert worst < 1e-8  # rounding of polynomials of degree up to 8
    else:
        assert 0.05 < worst < 1.1  # a single node makes a constant: half the part times its slope


def test_a_band_with_more_breaks_than_nodes_is_not_cut():
    x = np.linspace(8.0, 9.0, 11)
    np.testing.assert_array_equal(band_basis(x, 2, (8.2, 8.5))[0], band_basis(x, 2)[0])


def test_slivers_beyond_a_break_take_one_node():
    """A twentieth of the band; the polynomial on the rest then has five nodes."""
    nodes, _ = band_basis(np.linspace(8.0, 9.0, 401), 6, (8.95,))
    assert (nodes > 8.95).sum() == 1


@pytest.mark.parametrize("redshift", [0.0, 0.4, 0.9])
def test_bands_are_cut_where_the_break_is_at_this_redshift(quadrature, redshift):
    """exp(-tau) with a jump at 5000 Angstrom at rest is integrated as on the band's own points."""
    rules = BandRules(quadrature, (5000.0,), 8)

    def jump(wave):
        rest = wave / (1.0 + redshift)
        return np.exp(-1.5 * (rest / 5000.0) ** -0.7) * np.where(rest < 5000.0, 1.0, 0.8)

    points, weights = np.asarray(quadrature.wave), np.asarray(quadrature.weight)
    cut = 0
    for rule, wave, weight in zip(rules.at(redshift), points, weights, strict=True):
        exact = jump(wave) @ weight
        assert jump(rule.nodes) @ rule.weights.sum(axis=1) == pytest.approx(exact, rel=1e-6)
        cut += wave[0] < 5000.0 * (1.0 + redshift) < wave[-1]
    assert cut == (redshift != 0.4)  # in g, between the bands, in z


def test_rules_of_bands_without_a_break_are_made_once(quadrature):
    rules = BandRules(quadrature, (5000.0,), 4)
    near, far = rules.at(0.0), rules.at(0.9)
    assert near[2] is far[2]
    assert near[0] is not far[0]


def test_smooth_light_is_evaluated_only_in_the_bands_that_it_may_reach(quadrature):
    assert smooth_rules(SmoothLight((1e6, np.inf), (1e6,)), quadrature).bands.tolist() == [3]
    assert smooth_rules(SmoothLight((4e4, 1e8), ()), quadrature).bands.tolist() == [2, 3]
    assert smooth_rules(SmoothLight((0.06, 41.0), ()), quadrature) is None


def test_smooth_light_with_a_break_is_integrated_in_every_band(quadrature):
    """A power law that begins at 100 micron, which redshift 0.9 moves into 250 micron."""
    rules = smooth_rules(SmoothLight((1e6, np.inf), (1e6,)), quadrature)
    points, weights = np.asarray(quadrature.wave), np.asarray(quadrature.weight)
    igm = np.full(points.shape, 0.5)
    for redshift in (0.3, 1.4, 1.6):

        def light(rest):
            return np.where(rest >= 1e6, (rest / 1e6) ** 0.8, 0.0)

        table = tabulate_smooth(rules, redshift, igm)
        exact = 0.5 * np.sum(light(points / (1.0 + redshift)) * weights, axis=1)
        np.testing.assert_allclose(light(table.wave) @ table.weight, exact, rtol=1e-6)
