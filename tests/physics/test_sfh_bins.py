"""Histories in bins: exact integrals, and the published definitions of the families."""

from functools import partial
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tengri_ppl.errors import ParameterError
from tengri_ppl.physics.composite import age_intervals, form_mass, star_formation_rate
from tengri_ppl.physics.sfh import (
    BurstyContinuitySFH,
    ContinuitySFH,
    DirichletSFH,
    FlexibleContinuitySFH,
    PostStarburstContinuitySFH,
    ProspectorBetaSFH,
    TabulatedSFH,
)
from tengri_ppl.physics.sfh.prospector_beta import (
    bin_edges,
    cosmic_sfr_density,
    expected_log_ratios,
)

LG_AGE = -2.95 + np.arange(-1, 124) / 30.0  # log10(age/Gyr) of the shipped grid
LOWER, UPPER = age_intervals(LG_AGE, "linear")
AGE = 9.0  # of the universe [Gyr]
RATIOS = np.array([0.4, -0.3, 0.2, -0.6, 0.1, 0.5])


@pytest.fixture(autouse=True)
def _double_precision():
    with jax.enable_x64(True):
        yield


@partial(jax.jit, static_argnums=0)
def compiled_form_mass(sfh, params, cosmic_age):
    return form_mass(sfh, params, cosmic_age, LOWER, UPPER)


@partial(jax.jit, static_argnums=0)
def compiled_rate(sfh, params, cosmic_age, lookback):
    return star_formation_rate(sfh, params, cosmic_age, lookback, LOWER, UPPER)


def full(sfh, params, amplitude=0.0):
    values = {sfh.prefix + k: jnp.asarray(v, float) for k, v in params.items()}
    return values | {sfh.amplitude_name: amplitude}


def formed(sfh, params, cosmic_age=AGE, amplitude=0.0):
    out = compiled_form_mass(sfh, full(sfh, params, amplitude), cosmic_age)
    return jax.tree.map(np.asarray, out)


def bins(sfh, params, cosmic_age=AGE):
    return [np.asarray(x) for x in sfh.bins(cosmic_age, **params)]


def overlap(edges, share):
    """Mass and first moment of bins in each age interval, by a plain double loop."""
    mass, moment = np.zeros(LOWER.size), np.zeros(LOWER.size)
    for i, (low, high) in enumerate(zip(LOWER, UPPER, strict=True)):
        for (a, b), m in zip(pairwise(edges), share, strict=True):
            start, stop = max(low, a), min(high, b)
            if stop > start:
                part = m * (stop - start) / (b - a)
                mass[i] += part
                moment[i] += part * (0.5 * (start + stop) - low) / (high - low)
    return mass, moment


def test_masses_and_moments_are_the_overlap_of_bins_and_intervals():
    sfh, params = ContinuitySFH(), {"logsfr_ratios": RATIOS}
    edges, share = bins(sfh, params)
    mass, moment = overlap(edges, share / share.sum())
    got = formed(sfh, params)
    np.testing.assert_allclose(got.mass, mass, rtol=1e-12, atol=1e-17)
    np.testing.assert_allclose(got.moment, moment, rtol=1e-12, atol=1e-17)
    assert got.mean_age() == pytest.approx(
        np.sum(0.5 * (edges[1:] + edges[:-1]) * share) / share.sum(), rel=1e-12
    )


@settings(max_examples=30, deadline=None)
@given(
    widths=st.lists(st.floats(1e-3, 5.0), min_size=6, max_size=6),
    fractions=st.lists(st.floats(0.0, 1.0), min_size=6, max_size=6),
    cosmic_age=st.floats(0.5, 13.8),
)
def test_mass_is_conserved_and_cut_at_the_big_bang(widths, fractions, cosmic_age):
    """Edges at times that depend on the draw, passed as a table: they may lie anywhere."""
    sfh = TabulatedSFH(amplitude="log_mass", n_time=7)
    time = cosmic_age - np.concatenate([[0.0], np.cumsum(widths)])[::-1]
    params = {"time_gyr": time, "sfr": np.array([*fractions, 1.0])}
    got = formed(sfh, params, cosmic_age, amplitude=10.0)
    assert got.mass.sum() == pytest.approx(1e10, rel=1e-12)
    assert np.all(got.mass >= 0.0)
    assert np.all(got.mass[got.lower >= cosmic_age] == 0.0)
    assert np.all((got.moment >= 0.0) & (got.moment <= got.mass * (1 + 1e-12)))


def test_fixed_bins_before_the_big_bang_carry_no_mass():
    """Edges of Prospector-alpha at 5 Gyr: the bin of 3-6 Gyr is cut, that of 6-13.6 Gyr empty."""
    edges = (0.0, 0.1, 0.3, 1.0, 3.0, 6.0, 13.6)
    sfh = DirichletSFH(edges_gyr=edges)
    assert sfh.n_bins == 6
    rates = np.array([0.3, 0.1, 0.2, 0.1, 0.1, 0.2])
    got = formed(sfh, {"sfr_fraction": rates}, cosmic_age=5.0)
    widths = np.diff(np.minimum(edges, 5.0))
    cut = np.concatenate([edges[:5], [5.0]])
    mass, _ = overlap(cut, (rates * widths)[:5] / (rates * widths).sum())
    np.testing.assert_allclose(got.mass, mass, rtol=1e-12, atol=1e-17)


@pytest.mark.parametrize("cosmic_age", [2.9999, 3.0, 3.0001])
def test_masses_are_continuous_where_a_bin_reaches_the_big_bang(cosmic_age):
    sfh = DirichletSFH(edges_gyr=(0.0, 1.0, 3.0, 6.0))
    params = {"sfr_fraction": np.array([0.2, 0.3, 0.5])}
    step = formed(sfh, params, cosmic_age + 1e-7).mass - formed(sfh, params, cosmic_age).mass
    assert np.abs(step).max() < 1e-6


def test_edges_are_those_of_leja_2019():
    """0, 30, 100 Myr, four log-spaced bins to 0.85 t, and t."""
    edges, _ = bins(ContinuitySFH(), {"logsfr_ratios": np.zeros(6)})
    expected = [0.0, 0.03, *np.geomspace(0.1, 0.85 * AGE, 5), AGE]
    np.testing.assert_allclose(edges, expected, rtol=1e-12)


@pytest.mark.parametrize("family", [ContinuitySFH, BurstyContinuitySFH])
def test_ratios_of_continuity_are_those_of_adjacent_rates(family):
    edges, share = bins(family(), {"logsfr_ratios": RATIOS})
    rate = share / np.diff(edges)
    np.testing.assert_allclose(np.log10(rate[:-1] / rate[1:]), RATIOS, rtol=1e-12)
    assert share.sum() == pytest.approx(1.0, rel=1e-12)


def test_bursty_continuity_has_the_wider_prior():
    default = {f: f().shape_parameters[0].default for f in (ContinuitySFH, BurstyContinuitySFH)}
    assert (default[ContinuitySFH].df, default[ContinuitySFH].scale) == (2.0, 0.3)
    assert (default[BurstyContinuitySFH].df, default[BurstyContinuitySFH].scale) == (2.0, 1.0)


def test_fractions_of_dirichlet_are_those_of_the_rates():
    fraction = np.array([0.1, 0.3, 0.05, 0.2, 0.15, 0.12, 0.08])
    edges, share = bins(DirichletSFH(), {"sfr_fraction": fraction})
    rate = share / np.diff(edges)
    np.testing.assert_allclose(rate / rate.sum(), fraction, rtol=1e-12)


def test_flexible_bins_form_equal_masses_with_the_ratios_given():
    """Widths by Leja et al. (2019): dt_1 = t_flex / (1 + sum of products of the ratios)."""
    ratios, young, old = np.array([0.5, -0.4, 0.2, 0.1]), 0.7, -0.3
    params = {"logsfr_ratios": ratios, "logsfr_ratio_young": young, "logsfr_ratio_old": old}
    edges, share = bins(FlexibleContinuitySFH(), params)
    width, rate = np.diff(edges), share / np.diff(edges)
    # the floor on the widths is 1e-5 of 7.6 Gyr, on widths of at least 0.4 Gyr
    tolerance = 3e-4
    np.testing.assert_allclose(share[1:-1], share[1], rtol=1e-12)
    products = np.cumprod(10.0**ratios)
    first = (0.85 * AGE - 0.03) / (1.0 + products.sum())
    np.testing.assert_allclose(width[1:-1], first * np.append(1.0, products), rtol=tolerance)
    np.testing.assert_allclose(np.log10(rate[1:-2] / rate[2:-1]), ratios, atol=tolerance)
    assert np.log10(rate[0] / rate[1]) == pytest.approx(young, rel=1e-10)
    assert np.log10(rate[-1] / rate[-2]) == pytest.approx(old, rel=1e-10)
    np.testing.assert_allclose(edges[[0, 1, -2, -1]], [0.0, 0.03, 0.85 * AGE, AGE], rtol=1e-12)


def test_post_starburst_bins_are_those_of_suess_2022():
    """Youngest of free length, five of equal mass to 2 Gyr, three of equal length before."""
    ratios, old = np.array([0.5, -0.4, 0.2, 0.1]), np.array([0.1, -0.2, 0.4])
    params = {
        "tlast_gyr": 0.3,
        "logsfr_ratios": ratios,
        "logsfr_ratio_young": -1.2,
        "logsfr_ratio_old": old,
    }
    edges, share = bins(PostStarburstContinuitySFH(), params)
    rate = share / np.diff(edges)
    np.testing.assert_allclose(share[1:6], share[1], rtol=1e-12)
    np.testing.assert_allclose(edges[[0, 1]], [0.0, 0.3], rtol=1e-12)
    np.testing.assert_allclose(edges[6:], 2.0 + np.arange(4) * (AGE - 2.0) / 3.0, rtol=1e-12)
    assert np.log10(rate[0] / rate[1]) == pytest.approx(-1.2, rel=1e-10)
    np.testing.assert_allclose(np.log10(rate[1:5] / rate[2:6]), ratios, atol=3e-4)  # the floor
    np.testing.assert_allclose(np.log10(rate[5:8] / rate[6:9]), old, rtol=1e-10)


def test_bins_keep_their_order_in_a_young_universe():
    """At 50 Myr, younger than the recent edges of all families."""
    cases = [
        (ContinuitySFH(), {"logsfr_ratios": RATIOS}),
        (ProspectorBetaSFH(), {"logsfr_deviations": RATIOS, "expected_at_log_mass": 10.0}),
        (
            FlexibleContinuitySFH(),
            {"logsfr_ratios": RATIOS[:4], "logsfr_ratio_young": 0.0, "logsfr_ratio_old": 0.0},
        ),
        (
            PostStarburstContinuitySFH(),
            {
                "tlast_gyr": 1.5,
                "logsfr_ratios": RATIOS[:4],
                "logsfr_ratio_young": 0.0,
                "logsfr_ratio_old": RATIOS[:3],
            },
        ),
    ]
    for sfh, params in cases:
        edges, share = bins(sfh, params, cosmic_age=0.05)
        assert np.all(np.diff(edges) > 0), sfh
        assert edges[-1] == pytest.approx(0.05)
        assert share.sum() == pytest.approx(1.0)


# -- prospector-beta -----------------------------------------------------------------------------

#: z, log mass, log ratios: computed once by the published algorithm (spline of the tabulated
#: density integrated over its bins, WMAP9), independently of this package.
WANG_2023 = [
    (0.5, 10.0, [-0.005, -0.053, -0.138, -0.239, -0.135, 0.728]),
    (1.0, 9.0, [0.003, 0.030, 0.095, 0.164, 0.366, 1.018]),
    (2.0, 11.0, [-0.006, -0.071, -0.158, -0.185, 0.074, 0.797]),
    (4.0, 9.0, [0.062, 0.139, 0.195, 0.331, 0.585, 0.970]),
    (8.0, 10.0, [0.067, 0.146, 0.216, 0.351, 0.577, 0.944]),
]
WMAP9_AGES = {0.5: 8.6573, 1.0: 5.9055, 2.0: 3.3094, 4.0: 1.5464, 8.0: 0.6479}


@pytest.mark.parametrize(("redshift", "log_mass", "expected"), WANG_2023)
def test_expected_ratios_are_those_of_prospector_beta(redshift, log_mass, expected):
    """Their tables have three digits; the density is interpolated to 2 %, at z > 12 to 5 %."""
    got = np.asarray(expected_log_ratios(log_mass, WMAP9_AGES[redshift], 7))
    np.testing.assert_allclose(got[:-1], expected[:-1], atol=0.008)
    assert got[-1] == pytest.approx(expected[-1], abs=0.03)


def test_cosmic_density_peaks_at_cosmic_noon():
    """Behroozi et al. (2019): 0.068 at z = 1.6, 0.012 today, 0.0028 at z = 9 [Msun/yr/Mpc^3]."""
    age = np.linspace(0.3, 13.7, 5000)
    density = np.asarray(cosmic_sfr_density(age))
    assert age[density.argmax()] == pytest.approx(4.18, abs=0.05)
    assert density.max() == pytest.approx(0.0677, rel=1e-2)
    assert float(cosmic_sfr_density(0.5530)) == pytest.approx(2.797e-3, rel=1e-6)


def test_edges_of_prospector_beta_before_and_after_redshift_three():
    late, early = np.asarray(bin_edges(8.0, 7)), np.asarray(bin_edges(1.2, 7))
    np.testing.assert_allclose(late, [0, 0.03, *np.geomspace(0.1, 7.2, 5), 8.0], rtol=1e-12)
    first = np.geomspace(10 ** (7.1295 - 9), 1.08, 7)[1:]
    np.testing.assert_allclose(early, [0, *first, 1.2], rtol=1e-12)


def test_deviations_are_added_to_the_expected_ratios():
    sfh = ProspectorBetaSFH()
    params = {"logsfr_deviations": RATIOS, "expected_at_log_mass": 10.5}
    edges, share = bins(sfh, params)
    rate = share / np.diff(edges)
    expected = RATIOS + np.asarray(expected_log_ratios(10.5, AGE, 7))
    np.testing.assert_allclose(np.log10(rate[:-1] / rate[1:]), expected, rtol=1e-10)


# -- tables --------------------------------------------------------------------------------------


def test_a_table_keeps_its_absolute_rates():
    """Mass by the trapezoidal rule; the mean rate between two rows; the amplitude is a factor."""
    time = np.linspace(0.5, AGE, 18)
    sfr = 3.0 + 2.0 * np.sin(time)
    sfh, params = TabulatedSFH(n_time=18), {"time_gyr": time, "sfr": sfr}
    got = formed(sfh, params)
    assert got.mass.sum() == pytest.approx(np.trapezoid(sfr, time) * 1e9, rel=1e-12)
    assert formed(sfh, params, amplitude=1.0).mass.sum() == pytest.approx(
        10.0 * got.mass.sum(), rel=1e-12
    )
    middle = 0.5 * (time[1:] + time[:-1])
    rate = compiled_rate(sfh, full(sfh, params), AGE, AGE - middle)
    np.testing.assert_allclose(rate, 0.5 * (sfr[1:] + sfr[:-1]), rtol=1e-12)


def test_gradients_of_a_table_reach_its_rates_and_times():
    """Mass-weighted age against central differences."""
    time = np.linspace(0.5, AGE, 9)
    sfh = TabulatedSFH(n_time=9)

    def mean_age(sfr, time):
        params = full(sfh, {"time_gyr": time, "sfr": sfr})
        return compiled_form_mass(sfh, params, AGE).mean_age()

    sfr = 3.0 + 2.0 * np.sin(time)
    gradients = jax.grad(mean_age, argnums=(0, 1))(jnp.asarray(sfr), jnp.asarray(time))
    for index in (0, 4, 7):
        step = 1e-5 * np.eye(9)[index]
        by_sfr = (mean_age(sfr + step, time) - mean_age(sfr - step, time)) / 2e-5
        by_time = (mean_age(sfr, time + step) - mean_age(sfr, time - step)) / 2e-5
        assert float(gradients[0][index]) == pytest.approx(float(by_sfr), rel=1e-6, abs=1e-9)
        assert float(gradients[1][index]) == pytest.approx(float(by_time), rel=1e-6, abs=1e-9)


def test_rows_after_the_epoch_of_observation_are_left_out():
    time = np.array([1.0, 3.0, 5.0, 11.0])
    sfh, params = TabulatedSFH(n_time=4), {"time_gyr": time, "sfr": np.array([2.0, 2.0, 2.0, 2.0])}
    assert formed(sfh, params, cosmic_age=7.0).mass.sum() == pytest.approx(12e9, rel=1e-12)


# -- all -----------------------------------------------------------------------------------------


def test_rates_integrate_to_the_mass():
    """Midpoints of 1 Myr; a bin's edge between two of them costs its rate times 1 Myr."""
    sfh, params = ContinuitySFH(), full(ContinuitySFH(), {"logsfr_ratios": RATIOS}, 10.0)
    lookback = (np.arange(9000) + 0.5) * 1e-3
    rate = np.asarray(compiled_rate(sfh, params, AGE, lookback))
    assert rate.sum() * 1e6 == pytest.approx(1e10, rel=1e-3)
    assert np.all(np.asarray(compiled_rate(sfh, params, AGE, np.array([9.1, 12.0]))) == 0.0)


def test_peak_rate_is_that_of_the_highest_bin():
    sfh = ContinuitySFH(amplitude="log_peak_sfr")
    params = full(sfh, {"logsfr_ratios": RATIOS}, 1.0)
    lookback = np.linspace(0.0, AGE, 2000)
    assert np.asarray(compiled_rate(sfh, params, AGE, lookback)).max() == pytest.approx(10.0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ContinuitySFH(n_bins=3), "expected 4 or more"),
        (lambda: DirichletSFH(edges_gyr=(0.0, 2.0, 1.0)), "increasing"),
        (lambda: ProspectorBetaSFH(n_bins=2), "expected 4 or more"),
        (lambda: TabulatedSFH(amplitude="log_peak_sfr"), "log_scale"),
    ],
)
def test_impossible_bins_are_refused(make, message):
    with pytest.raises(ParameterError, match=message):
        make()
