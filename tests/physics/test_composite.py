"""From star formation histories to masses of SSPs: what is conserved and what is exact."""

from functools import partial
from itertools import pairwise

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from tengri_ppl.errors import ParameterError
from tengri_ppl.physics.composite import (
    AGE_SCHEMES,
    age_intervals,
    count_fine,
    form_mass,
    node_masses,
)
from tengri_ppl.physics.sfh import ConstantSFH, DelayedSFH, DoublePowerLawSFH, LognormalSFH

LG_AGE = -2.95 + np.arange(-1, 124) / 30.0  # log10(age/Gyr) of the shipped grid
AGE = 9.0  # of the universe [Gyr]
DPL = {"tau_gyr": 3.0, "alpha": 2.5, "beta": 0.8}


def formed(sfh, params, cosmic_age=AGE, scheme="linear", lg_age=LG_AGE, log_mass=0.0):
    lower, upper = age_intervals(lg_age, scheme)
    every = {sfh.prefix + k: v for k, v in params.items()} | {sfh.amplitude_name: log_mass}
    out = compiled_form_mass(sfh, count_fine(lower), every, cosmic_age, lower, upper)
    return jax.tree.map(np.asarray, out)


@partial(jax.jit, static_argnums=(0, 1))
def compiled_form_mass(sfh, n_fine, params, cosmic_age, lower, upper):
    return form_mass(sfh, params, cosmic_age, lower, upper, n_fine)


@pytest.fixture(autouse=True)
def _double_precision():
    with jax.enable_x64(True):
        yield


def test_linear_intervals_lie_between_the_nodes():
    lower, upper = age_intervals([-1.0, 0.0, 1.0], "linear")
    np.testing.assert_allclose(lower, [0.0, 0.1, 1.0, 10.0])
    np.testing.assert_allclose(upper[:-1], [0.1, 1.0, 10.0])
    assert upper[-1] > 14.0  # beyond the age of any universe


def test_bins_have_edges_at_the_logarithmic_midpoints():
    lower, upper = age_intervals([-1.0, 0.0, 1.0], "bins")
    np.testing.assert_allclose(lower, [0.0, 10**-0.5, 10**0.5])
    np.testing.assert_allclose(upper[:-1], [10**-0.5, 10**0.5])
    assert upper[-1] > 14.0


def test_unknown_scheme_is_refused_with_the_known_ones():
    with pytest.raises(ParameterError, match=r"cubic.*linear.*bins"):
        age_intervals(LG_AGE, "cubic")


@pytest.mark.parametrize("scheme", AGE_SCHEMES)
@given(
    tau=st.floats(0.1, 15.0),
    alpha=st.floats(0.1, 100.0),
    beta=st.floats(0.1, 100.0),
    cosmic_age=st.floats(0.3, 13.8),
    split=st.floats(0.0, 14.0),
)
@settings(max_examples=60, deadline=None)
def test_mass_is_conserved_whatever_the_history(scheme, tau, alpha, beta, cosmic_age, split):
    """Total, its share among the SSPs, and the sum of young and old."""
    params = {"tau_gyr": tau, "alpha": alpha, "beta": beta}
    whole = formed(DoublePowerLawSFH(), params, cosmic_age, scheme, log_mass=10.0)
    assert whole.mass.sum() == pytest.approx(1e10, rel=1e-12)
    on_nodes = np.asarray(node_masses(whole, scheme))
    assert on_nodes.shape == LG_AGE.shape
    assert on_nodes.sum() == pytest.approx(1e10, rel=1e-12)
    assert on_nodes.min() >= -1e-12 * 1e10  # rounding of differences
    young = whole.younger_than(split)
    assert np.all(young.mass <= whole.mass * (1 + 1e-12))
    assert float(whole.mass_younger_than(split)) == pytest.approx(
        float(young.mass.sum()), rel=1e-12
    )
    assert float(np.asarray(node_masses(young, scheme)).sum()) == pytest.approx(
        float(young.mass.sum()), rel=1e-12, abs=1e-2
    )


@pytest.mark.parametrize("scheme", AGE_SCHEMES)
@pytest.mark.parametrize("t_bc", [0.003, 0.01, 0.0173])
def test_birth_clouds_hold_rate_times_their_age_for_a_constant_history(scheme, t_bc):
    """1 Msun/yr for t_bc, wherever t_bc lies between the nodes."""
    sfh = ConstantSFH(amplitude="log_peak_sfr")
    whole = formed(sfh, {"age_max_gyr": 5.0, "age_min_gyr": 0.0}, scheme=scheme)
    young = whole.younger_than(t_bc)
    assert float(young.mass.sum()) == pytest.approx(t_bc * 1e9, rel=1e-12)
    assert float(young.mean_age()) == pytest.approx(t_bc / 2.0, rel=1e-12)


@pytest.mark.parametrize("scheme", AGE_SCHEMES)
def test_young_mass_is_zero_at_age_zero_and_everything_beyond_the_onset(scheme):
    whole = formed(DelayedSFH(), {"tau_gyr": 1.0, "age_gyr": 4.0}, scheme=scheme)
    assert float(whole.younger_than(0.0).mass.sum()) == 0.0
    np.testing.assert_allclose(whole.younger_than(4.0).mass, whole.mass, rtol=1e-14)
    np.testing.assert_allclose(whole.younger_than(4.0).moment, whole.moment, rtol=1e-12)


@pytest.mark.parametrize("scheme", AGE_SCHEMES)
def test_mean_age_of_a_constant_history_is_the_middle(scheme):
    whole = formed(ConstantSFH(), {"age_max_gyr": 5.3, "age_min_gyr": 0.7}, scheme=scheme)
    assert float(whole.mean_age()) == pytest.approx(3.0, rel=1e-12)


def test_composite_of_a_spectrum_linear_in_age_is_exact():
    """L(t) = t between nodes: sum of node masses times node ages is the mean age, by quadrature.

    Below the first node the SSP is constant, L = max(t, first age). The Gauss rules leave 1e-5.
    """
    first = 10.0 ** LG_AGE[0]

    def rate(t):
        x = (AGE - t) / DPL["tau_gyr"]
        return 1.0 / (x ** DPL["alpha"] + x ** -DPL["beta"])

    options = {"epsrel": 1e-11, "limit": 500}
    mass, _ = quad(rate, 0.0, AGE, **options)
    light, _ = quad(lambda t: rate(t) * max(t, first), 0.0, AGE, points=[first], **options)
    masses = np.asarray(node_masses(formed(DoublePowerLawSFH(), DPL), "linear"))
    assert masses @ 10.0**LG_AGE == pytest.approx(light / mass, rel=1e-5)


def test_composite_of_a_curved_spectrum_is_the_integral_of_the_interpolated_one():
    """L(t) = sqrt(t) at the nodes of a coarse grid, linear between them."""
    lg_age = np.linspace(-2.5, 1.2, 12)
    age = 10.0**lg_age
    params = {"tau_gyr": 2.0, "age_gyr": 6.0}

    def rate(t):
        return (6.0 - t) * np.exp(-(6.0 - t) / 2.0)

    cuts = np.concatenate([[0.0], age[age < 6.0], [6.0]])
    mass = light = 0.0
    for a, b in pairwise(cuts):
        mass += quad(rate, a, b, epsrel=1e-12)[0]
        light += quad(lambda t: rate(t) * np.interp(t, age, np.sqrt(age)), a, b, epsrel=1e-12)[0]
    masses = np.asarray(node_masses(formed(DelayedSFH(), params, lg_age=lg_age), "linear"))
    # three Gauss points over intervals of up to a third of tau
    assert masses @ np.sqrt(age) == pytest.approx(light / mass, rel=1e-6)


def test_young_part_of_a_straddled_interval_has_its_own_mean_age():
    """Linear spectrum, constant rate: the young half of [1, 3] Gyr has the mean age 1.5 Gyr."""
    lg_age = np.log10([1.0, 3.0, 10.0])
    whole = formed(ConstantSFH(), {"age_max_gyr": 3.0, "age_min_gyr": 1.0}, lg_age=lg_age)
    masses = np.asarray(node_masses(whole.younger_than(2.0), "linear"))
    np.testing.assert_allclose(masses, [0.375, 0.125, 0.0], atol=1e-14)


@pytest.mark.parametrize("scheme", AGE_SCHEMES)
def test_first_age_may_be_zero(scheme):
    """Age 0, log10 = -inf, makes an empty first interval; nothing is lost and nothing NaN."""
    lg_age = np.concatenate([[-np.inf], np.linspace(-3.0, 1.15, 30)])
    params = {"age_max_gyr": 0.01, "age_min_gyr": 0.0}

    def total(t):
        return formed_nodes(t, lg_age, scheme, params).sum()

    masses = np.asarray(formed_nodes(0.01, lg_age, scheme, params))
    assert masses.shape == lg_age.shape
    assert masses.sum() == pytest.approx(1.0, rel=1e-12)
    assert np.isfinite(jax.grad(total)(0.01))
    if scheme == "linear":
        # [0, 1 Myr] is shared equally by ages 0 and 1 Myr: a tenth of the mass
        assert masses[0] == pytest.approx(0.05, rel=1e-12)


def formed_nodes(age_max, lg_age, scheme, params):
    sfh = ConstantSFH()
    lower, upper = age_intervals(lg_age, scheme)
    every = {sfh.prefix + k: v for k, v in params.items()} | {sfh.amplitude_name: 0.0}
    every[sfh.prefix + "age_max_gyr"] = age_max
    out = form_mass(sfh, every, AGE, lower, upper, count_fine(lower))
    return node_masses(out.younger_than(0.02), scheme)


def test_narrow_old_bursts_keep_their_mass_and_age():
    """0.3 Gyr wide, 10.9 Gyr old, in intervals of 0.8 Gyr: what the finer rule is for."""
    sfh = LognormalSFH(amplitude="log_peak_sfr")
    params = {"tmax_gyr": 1.9191, "fwhm_gyr": 0.3231}
    cosmic_age = 12.793
    whole = formed(sfh, params, cosmic_age)

    def rate(t):
        return float(np.exp(sfh.log_shape(t, cosmic_age, **params)))

    options = {"points": [10.87], "limit": 500}
    mass, _ = quad(rate, 9.0, 12.7, **options)
    age, _ = quad(lambda t: t * rate(t), 9.0, 12.7, **options)
    assert whole.mass.sum() == pytest.approx(mass * 1e9, rel=1e-3)
    assert float(whole.mean_age()) == pytest.approx(age / mass, abs=1e-3)
