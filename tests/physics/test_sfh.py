"""Star formation histories: shapes, amplitudes, integrals over age, gradients."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad

from tengri_ppl.errors import ParameterError
from tengri_ppl.physics.composite import age_intervals, count_fine, form_mass
from tengri_ppl.physics.sfh import (
    ConstantSFH,
    DelayedSFH,
    DoublePowerLawSFH,
    ExponentialSFH,
    LognormalSFH,
)

AGE = 9.0  # of the universe [Gyr]
CASES = [
    (DoublePowerLawSFH, {"tau_gyr": 3.0, "alpha": 2.5, "beta": 0.8}),
    (DelayedSFH, {"tau_gyr": 1.3, "age_gyr": 5.0}),
    (ExponentialSFH, {"tau_gyr": 1.3, "age_gyr": 5.0}),
    (ConstantSFH, {"age_max_gyr": 4.0, "age_min_gyr": 0.7}),
    (LognormalSFH, {"tmax_gyr": 3.0, "fwhm_gyr": 2.0}),
]
IDS = [family.name for family, _ in CASES]
every_family = pytest.mark.parametrize(("family", "params"), CASES, ids=IDS)


def dpl(t, p):
    """Carnall et al. (2018), eq. 10; t is cosmic time."""
    x = t / p["tau_gyr"]
    return 1.0 / (x ** p["alpha"] + x ** -p["beta"])


def lognormal(t, p):
    """Width and centre from the peak's time and width, as BAGPIPES' README has them."""
    s = np.arcsinh(p["fwhm_gyr"] / (2.0 * p["tmax_gyr"])) / np.sqrt(2.0 * np.log(2.0))
    centre = np.log(p["tmax_gyr"]) + s**2
    return np.exp(-((np.log(t) - centre) ** 2) / (2.0 * s**2)) / t


def delayed(t, p):
    since = t - (AGE - p["age_gyr"])
    return since * np.exp(-since / p["tau_gyr"])


def exponential(t, p):
    return np.exp(-(t - (AGE - p["age_gyr"])) / p["tau_gyr"])


CLOSED = {
    "dpl": dpl,
    "lognormal": lognormal,
    "delayed": delayed,
    "exponential": exponential,
    "constant": lambda t, p: np.ones_like(t),
}


def intervals(scheme="linear"):
    """Age intervals like those of the shipped grid, 1/30 dex."""
    return age_intervals(-2.95 + np.arange(-1, 124) / 30.0, scheme)


def full(sfh, params, amplitude=0.0):
    return {sfh.prefix + k: v for k, v in params.items()} | {sfh.amplitude_name: amplitude}


def formed(sfh, params, cosmic_age=AGE, amplitude=0.0):
    lower, upper = intervals()
    every = full(sfh, params, amplitude)
    return compiled_form_mass(sfh, count_fine(lower), every, cosmic_age, lower, upper)


@partial(jax.jit, static_argnums=(0, 1))
def compiled_form_mass(sfh, n_fine, params, cosmic_age, lower, upper):
    return form_mass(sfh, params, cosmic_age, lower, upper, n_fine)


def inside(sfh, params, n=200):
    """Lookback times at which stars form."""
    end, onset = sfh.window(AGE, **params)
    return np.linspace(end, min(onset, AGE), n + 2)[1:-1]


@every_family
def test_shape_is_the_closed_formula_over_its_peak(family, params):
    sfh = family()
    lookback = inside(sfh, params)
    expected = CLOSED[sfh.name](AGE - lookback, params)
    with jax.enable_x64(True):
        shape = np.exp(sfh.log_shape(lookback, AGE, **params))
    np.testing.assert_allclose(shape / shape[0], expected / expected[0], rtol=1e-12)


@every_family
def test_peak_of_the_shape_is_one(family, params):
    """All chosen histories have their peak inside the window; a grid of 1 Myr misses it by 1e-6."""
    sfh = family()
    lookback = inside(sfh, params, 10_000)
    with jax.enable_x64(True):
        peak = float(jnp.max(jnp.exp(sfh.log_shape(lookback, AGE, **params))))
    # the exponential declines by age / (10^4 tau) = 4e-4 within the first step
    assert peak == pytest.approx(1.0, abs=5e-4 if family is ExponentialSFH else 1e-6)


def test_lognormal_peaks_at_tmax_with_its_full_width_at_half_maximum():
    params = {"tmax_gyr": 3.0, "fwhm_gyr": 2.0}
    with jax.enable_x64(True):
        time = np.linspace(0.5, 8.9, 84_001)
        shape = np.exp(LognormalSFH().log_shape(AGE - time, AGE, **params))
    above = time[shape > 0.5]
    assert time[shape.argmax()] == pytest.approx(3.0, abs=1e-4)  # one step
    assert above[-1] - above[0] == pytest.approx(2.0, abs=2e-4)  # two steps


@every_family
def test_mass_of_unit_peak_rate_is_the_integral_of_the_shape(family, params):
    """Peak 1 Msun/yr; the Gauss rules leave 1e-6."""
    sfh = family(amplitude="log_peak_sfr")
    end, onset = sfh.window(AGE, **params)
    with jax.enable_x64(True):
        mass = float(formed(sfh, params).mass.sum())
        peak = np.exp(sfh.log_shape(inside(sfh, params)[0], AGE, **params))
        unit = float(peak) / CLOSED[sfh.name](AGE - inside(sfh, params)[0], params)
    expected, _ = quad(
        lambda t: CLOSED[sfh.name](AGE - t, params), end, min(onset, AGE), epsrel=1e-10, limit=200
    )
    assert mass == pytest.approx(expected * unit * 1e9, rel=2e-6)


@every_family
def test_mass_in_each_interval_is_the_integral_over_it(family, params):
    sfh = family()
    lower, upper = intervals()
    end, onset = sfh.window(AGE, **params)
    onset = min(onset, AGE)
    with jax.enable_x64(True):
        got = np.asarray(formed(sfh, params).mass)
    expected = np.array(
        [
            quad(lambda t: CLOSED[sfh.name](AGE - t, params), a, b, epsrel=1e-10)[0]
            for a, b in zip(np.clip(lower, end, onset), np.clip(upper, end, onset), strict=True)
        ]
    )
    # 1e-5 of the total: the first interval after the Big Bang holds t^beta with beta = 0.8
    np.testing.assert_allclose(got, expected / expected.sum(), atol=1e-5)


@every_family
def test_amplitude_is_the_mass_formed(family, params):
    with jax.enable_x64(True):
        mass = float(formed(family(), params, amplitude=10.7).mass.sum())
    assert mass == pytest.approx(10.0**10.7, rel=1e-12)


@every_family
def test_no_stars_form_before_the_big_bang_or_outside_the_window(family, params):
    sfh = family()
    young = 2.0  # Gyr, shorter than the ages and windows of all cases
    with jax.enable_x64(True):
        got = jax.tree.map(np.asarray, formed(sfh, params, cosmic_age=young))
    forming = got.mass > 0
    assert got.old_edge[forming].max() <= young
    assert got.young_edge[forming].min() >= sfh.window(young, **params)[0]
    assert np.all(got.mass[got.lower >= young] == 0.0)
    assert got.mass.sum() == pytest.approx(1.0, rel=1e-12)


@every_family
def test_masses_are_continuous_in_every_parameter(family, params):
    """Steps of 1e-7 over two intervals of ages change no mass by more than a few 1e-6."""
    sfh = family()

    def masses(name, value):
        return formed(sfh, params | {name: value}).mass

    with jax.enable_x64(True):
        for name, centre in params.items():
            for value in np.linspace(0.9, 1.1, 9) * centre:
                step = np.abs(masses(name, value * (1 + 1e-7)) - masses(name, value))
                assert step.max() < 1e-5


@every_family
def test_gradients_agree_with_central_differences(family, params):
    """Mean age against each parameter; the differences are good to 1e-6."""
    sfh = family()

    def mean_age(p):
        return formed(sfh, p).mean_age()

    with jax.enable_x64(True):
        gradient = jax.grad(mean_age)({k: jnp.asarray(v) for k, v in params.items()})
        for name, value in params.items():
            h = 1e-5 * value
            up, down = params | {name: value + h}, params | {name: value - h}
            numeric = (mean_age(up) - mean_age(down)) / (2 * h)
            np.testing.assert_allclose(gradient[name], numeric, rtol=1e-5, atol=1e-8)


EXTREMES = [
    (DoublePowerLawSFH, {"tau_gyr": 0.1, "alpha": 100.0, "beta": 100.0}),
    (DoublePowerLawSFH, {"tau_gyr": 15.0, "alpha": 100.0, "beta": 100.0}),
    (DoublePowerLawSFH, {"tau_gyr": 0.1, "alpha": 0.1, "beta": 0.1}),
    (DelayedSFH, {"tau_gyr": 0.01, "age_gyr": 13.0}),
    (DelayedSFH, {"tau_gyr": 100.0, "age_gyr": 0.001}),
    (ExponentialSFH, {"tau_gyr": 0.01, "age_gyr": 13.0}),
    (ConstantSFH, {"age_max_gyr": 13.0, "age_min_gyr": 0.0}),
    (ConstantSFH, {"age_max_gyr": 1e-3, "age_min_gyr": 0.0}),
    (LognormalSFH, {"tmax_gyr": 0.1, "fwhm_gyr": 0.01}),
    (LognormalSFH, {"tmax_gyr": 15.0, "fwhm_gyr": 0.01}),
]


@pytest.mark.parametrize("cosmic_age", [0.5, 13.4])
@pytest.mark.parametrize(("family", "params"), EXTREMES)
def test_extreme_histories_have_finite_masses_and_gradients_in_single_precision(
    family, params, cosmic_age
):
    sfh = family()

    def mean_age(p):
        return formed(sfh, p, cosmic_age).mean_age()

    value, gradient = jax.value_and_grad(mean_age)({k: jnp.float32(v) for k, v in params.items()})
    assert value.dtype == jnp.float32
    assert 0.0 <= value <= cosmic_age * (1 + 1e-5)
    assert all(np.isfinite(g) for g in gradient.values())
    assert float(formed(sfh, params, cosmic_age).mass.sum()) == pytest.approx(1.0, rel=1e-5)


def test_unknown_amplitude_is_refused_with_the_known_ones():
    with pytest.raises(ParameterError, match=r"log_mas.*log_mass.*log_peak_sfr"):
        DoublePowerLawSFH(amplitude="log_mas")
