"""Histories that jump, burst or are skewed, against their published formulas by quadrature."""

from functools import partial
from itertools import pairwise

import jax
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from tengri_ppl.errors import ParameterError
from tengri_ppl.physics.composite import (
    age_intervals,
    count_fine,
    form_mass,
    star_formation_rate,
)
from tengri_ppl.physics.sfh import (
    BurstSFH,
    ContinuitySFH,
    DelayedQuenchSFH,
    DelayedSFH,
    DoublePowerLawSFH,
    PostStarburstSFH,
    SkewNormalSFH,
)

LOWER, UPPER = age_intervals(-2.95 + np.arange(-1, 124) / 30.0, "linear")
AGE = 9.0  # of the universe [Gyr]
DPL = {"tau_gyr": 3.0, "alpha": 2.5, "beta": 0.8}
QUENCH = {"tau_gyr": 1.3, "age_gyr": 5.0, "change_gyr": 0.31, "log_r_sfr": -0.7}
PSB = {
    "tau_gyr": 2.0,
    "age_gyr": 7.0,
    "burst_age_gyr": 0.9,
    "burst_fraction": 0.3,
    "alpha": 40.0,
    "beta": 250.0,
}
SKEW = {"peak_gyr": 4.0, "period_gyr": 1.7, "skew": 0.4}


@pytest.fixture(autouse=True)
def _double_precision():
    with jax.enable_x64(True):
        yield


@partial(jax.jit, static_argnums=0)
def compiled_form_mass(sfh, params, cosmic_age):
    return form_mass(sfh, params, cosmic_age, LOWER, UPPER, count_fine(LOWER))


@partial(jax.jit, static_argnums=0)
def compiled_rate(sfh, params, cosmic_age, lookback):
    return star_formation_rate(sfh, params, cosmic_age, lookback, LOWER, UPPER, count_fine(LOWER))


def full(sfh, params, amplitude=0.0):
    return {sfh.prefix + k: v for k, v in params.items()} | {sfh.amplitude_name: amplitude}


def formed(sfh, every, cosmic_age=AGE):
    return jax.tree.map(np.asarray, compiled_form_mass(sfh, every, cosmic_age))


def skewnormal(t):
    """Bellstedt et al. (2020), eqs. 1-5, with m_trunc = 2; t is the lookback time."""
    x = (t - SKEW["peak_gyr"]) / SKEW["period_gyr"]
    y = x * np.exp(SKEW["skew"]) ** np.arcsinh(x)
    distance = abs(AGE - SKEW["peak_gyr"])
    return np.exp(-(y**2) / 2) * norm.sf(t, SKEW["peak_gyr"] + distance / 2, distance / 4)


def quench(t):
    """Ciesla et al. (2017)."""
    since, change = QUENCH["age_gyr"] - t, QUENCH["age_gyr"] - QUENCH["change_gyr"]
    if since < 0:
        return 0.0
    before = min(since, change)
    rate = before * np.exp(-before / QUENCH["tau_gyr"])
    return rate if since <= change else 10.0 ** QUENCH["log_r_sfr"] * rate


def exponential(t):
    inside = PSB["burst_age_gyr"] < t < PSB["age_gyr"]
    return np.exp((t - PSB["age_gyr"]) / PSB["tau_gyr"]) if inside else 0.0


def power_laws(t, alpha=PSB["alpha"]):
    log_x = np.log((AGE - t) / (AGE - PSB["burst_age_gyr"]))
    return np.exp(-np.logaddexp(alpha * log_x, -PSB["beta"] * log_x))


OLD_MASS = quad(exponential, 0.9, 7.0, epsabs=1e-13)[0]
BURST_MASS = sum(quad(power_laws, a, b, epsabs=1e-13)[0] for a, b in ((0.0, 0.9), (0.9, 9 - 1e-6)))


def psb(t):
    """Wild et al. (2020); each of the components is normalised by its mass."""
    fraction = PSB["burst_fraction"]
    old, recent = exponential(t) / OLD_MASS, power_laws(t) / BURST_MASS
    return (1.0 - fraction) * old + fraction * recent


CASES = [
    (SkewNormalSFH, SKEW, skewnormal, []),
    (DelayedQuenchSFH, QUENCH, quench, [0.31, 5.0]),
    (PostStarburstSFH, PSB, psb, [0.9, 7.0]),
]
IDS = [family.name for family, *_ in CASES]


@pytest.mark.parametrize(("family", "params", "rate", "cuts"), CASES, ids=IDS)
def test_rates_are_the_published_formula(family, params, rate, cuts):
    sfh = family()
    lookback = np.linspace(0.005, 8.9, 60)
    got = np.asarray(compiled_rate(sfh, full(sfh, params), AGE, lookback))
    expected = np.array([rate(t) for t in lookback])
    # the components of psb are normalised by the quadrature in the age intervals
    rtol = 1e-5 if family is PostStarburstSFH else 1e-9
    np.testing.assert_allclose(got / got.max(), expected / expected.max(), rtol=rtol, atol=1e-30)


@pytest.mark.parametrize(("family", "params", "rate", "cuts"), CASES, ids=IDS)
def test_masses_are_the_integral_of_the_published_formula(family, params, rate, cuts):
    """In bins of about 1 Gyr and in the last 100 Myr, to 1e-4 of the whole mass."""
    sfh = family()
    got = formed(sfh, full(sfh, params))
    edges = np.array([0.0, *UPPER[UPPER > 0.1][:-1:4], 30.0])
    expected = []
    for a, b in pairwise(edges):
        points = [a, *[c for c in cuts if a < c < b], min(b, AGE)]
        parts = [(x, y) for x, y in pairwise(points) if y > x]
        expected.append(sum(quad(rate, x, y, epsabs=1e-12)[0] for x, y in parts))
    index = np.searchsorted(edges, LOWER, side="right") - 1
    binned = np.bincount(index, weights=got.mass, minlength=edges.size - 1)
    np.testing.assert_allclose(binned, np.array(expected) / sum(expected), atol=1e-4)
    assert got.mass.sum() == pytest.approx(1.0, rel=1e-12)


@pytest.mark.parametrize("log_r", [-2.0, 0.8])
def test_ratio_of_rates_at_the_change_is_r_sfr(log_r):
    sfh = DelayedQuenchSFH(amplitude="log_peak_sfr")
    every = full(sfh, QUENCH | {"log_r_sfr": log_r})
    after, before = compiled_rate(sfh, every, AGE, np.array([0.31 - 1e-9, 0.31 + 1e-9]))
    assert float(after / before) == pytest.approx(10.0**log_r, rel=1e-6)


def test_no_change_is_the_delayed_exponential_with_a_constant_end():
    """Peak amplitude: the part before the change is that of the delayed family."""
    sfh, plain = DelayedQuenchSFH(amplitude="log_peak_sfr"), DelayedSFH(amplitude="log_peak_sfr")
    old = QUENCH["change_gyr"] < LOWER
    got = formed(sfh, full(sfh, QUENCH | {"log_r_sfr": 0.0}, 1.0)).mass
    expected = formed(plain, full(plain, {k: QUENCH[k] for k in ("tau_gyr", "age_gyr")}, 1.0)).mass
    np.testing.assert_allclose(got[old], expected[old], rtol=1e-12)


def test_burst_of_a_post_starburst_forms_its_share():
    """After the old population has ended there is only the falling side of the burst."""
    sfh = PostStarburstSFH()
    recent = UPPER < 0.9
    got = formed(sfh, full(sfh, PSB)).mass[recent].sum()
    last = float(UPPER[recent].max())
    falling = quad(power_laws, 0.0, last, epsabs=1e-13)[0]
    assert got == pytest.approx(0.3 * falling / BURST_MASS, rel=1e-5)


BASES = [
    (DoublePowerLawSFH(), {"sfh_dpl_" + k: v for k, v in DPL.items()}),
    (ContinuitySFH(), {"sfh_continuity_logsfr_ratios": np.array([0.3, 0.1, -0.2, 0.4, 0.0, 0.2])}),
]
BURST = {"sfh_burst_fraction": 0.2, "sfh_burst_age_gyr": 0.07}


@pytest.mark.parametrize(("base", "values"), BASES, ids=["dpl", "continuity"])
def test_a_burst_adds_its_share_of_the_mass_to_any_family(base, values):
    sfh = BurstSFH(base=base)
    whole = formed(sfh, values | BURST | {sfh.amplitude_name: 10.0})
    plain = formed(base, values | {base.amplitude_name: 10.0})
    assert sfh.amplitude_name == base.amplitude_name
    assert whole.mass.sum() == pytest.approx(1e10, rel=1e-12)
    old = LOWER >= 0.07
    np.testing.assert_allclose(whole.mass[old], 0.8 * plain.mass[old], rtol=1e-12)
    assert float(whole.mean_age()) == pytest.approx(
        0.8 * float(plain.mean_age()) + 0.2 * 0.035, rel=1e-10
    )


def test_rate_of_an_exponential_burst_declines():
    sfh = BurstSFH(base=DoublePowerLawSFH(amplitude="log_peak_sfr"), shape="exponential")
    every = full(sfh.base, DPL, 0.5) | BURST | {"sfh_burst_tau_gyr": 0.03}
    times = np.array([0.02, 0.05, 0.2])
    with_burst = np.asarray(compiled_rate(sfh, every, AGE, times))
    plain = np.asarray(compiled_rate(sfh.base, full(sfh.base, DPL, 0.5), AGE, times))
    extra = with_burst - plain
    # the amplitude is that of the double power law, which is left as it is
    assert extra[2] == pytest.approx(0.0, abs=1e-12 * plain[2])
    assert np.log(extra[1] / extra[0]) == pytest.approx(0.03 / 0.03, rel=1e-9)
    burst_mass = extra[0] * 0.03e9 * (np.exp(0.05 / 0.03) - np.exp(-0.02 / 0.03))
    total = float(formed(sfh, every).mass.sum())
    assert burst_mass == pytest.approx(0.2 * total, rel=1e-6)


def test_no_burst_and_nothing_but_a_burst():
    sfh = BurstSFH()
    every = full(sfh.base, DPL, 10.0) | BURST
    none = formed(sfh, every | {"sfh_burst_fraction": 0.0})
    plain = formed(sfh.base, full(sfh.base, DPL, 10.0))
    np.testing.assert_allclose(none.mass, plain.mass, rtol=1e-12)
    only = formed(sfh, every | {"sfh_burst_fraction": 1.0})
    assert float(only.mass[LOWER < 0.07].sum()) == pytest.approx(1e10, rel=1e-12)


def test_unknown_shape_of_a_burst_is_refused():
    with pytest.raises(ParameterError, match="did you mean 'constant'"):
        BurstSFH(shape="constnt")
