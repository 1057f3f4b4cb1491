"""Attenuation laws against other packages, their papers' formulas, and what all laws share."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sedpy import attenuation as sedpy_attenuation

from tengri_ppl.errors import ParameterError
from tengri_ppl.physics import attenuation as att
from tengri_ppl.physics.component import component_names, make_component

LAWS = component_names("dust_law")
#: Jumps where the pieces of a published curve meet, relative to the larger of k and 1; everywhere
#: else curves are continuous. The default is that of Calzetti et al. (2000) at 6300 Angstrom, with
#: slopes of up to 0.4.
JUMPS = {"reddy2015": 0.015, "odonnell": 0.012}
CALZETTI_JUMP = 0.0067


def law_of(name):
    return make_component(att.AttenuationLaw, name)


def parameter_sets(law):
    """Defaults, and both ends of default priors; R_V at the ends of its range."""
    ends = []
    for i in (0, 1):
        values = {}
        for p in law.parameters:
            bounds = p.default if isinstance(p.default, tuple) else (p.default, p.default)
            if p.name == "dust_r_v":
                bounds = (2.0, 6.0)
            values[p.name] = bounds[i]
        ends.append(values)
    return ends


def sample(model, wave):
    """Evaluate a dust_extinction model, which warns of its own deprecated imports."""
    import astropy.units as u

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model(wave * u.AA)


# -- against dust_extinction ---------------------------------------------------------------------

INSIDE = np.geomspace(1001.0, 33000.0, 700)  # the range in which the package evaluates


@pytest.mark.parametrize("r_v", [2.0, 3.1, 4.2, 6.0])
@pytest.mark.parametrize(
    ("ours", "theirs"), [("cardelli", "CCM89"), ("odonnell", "O94"), ("fitzpatrick1999", "F99")]
)
def test_milky_way_laws_agree_with_dust_extinction(ours, theirs, r_v):
    models = pytest.importorskip("dust_extinction.parameter_averages")
    expected = sample(getattr(models, theirs)(Rv=r_v), INSIDE)
    with jax.enable_x64(True):
        np.testing.assert_allclose(getattr(att, ours)(INSIDE, r_v), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("ours", "theirs"), [("smc", "G03_SMCBar"), ("lmc", "G03_LMCAvg"), ("lmc2", "G03_LMC2")]
)
def test_magellanic_averages_agree_with_dust_extinction(ours, theirs):
    models = pytest.importorskip("dust_extinction.averages")
    expected = sample(getattr(models, theirs)(), INSIDE)
    with jax.enable_x64(True):
        np.testing.assert_allclose(getattr(att, ours)(INSIDE), expected, rtol=1e-12)


def test_pei_milky_way_agrees_with_dust_extinction():
    """Its P92 has the coefficients of the Milky Way by default, and A_V by (1 + 1/R_V)."""
    shapes = pytest.importorskip("dust_extinction.shapes")
    wave = np.geomspace(91.0, 9e6, 700)
    expected = sample(shapes.P92(), np.append(wave, 5500.0))
    with jax.enable_x64(True):
        np.testing.assert_allclose(att.pei(wave, "mw"), expected[:-1] / expected[-1], rtol=1e-12)


# -- against sedpy -------------------------------------------------------------------------------


@pytest.mark.parametrize(("slope", "bump"), [(-0.4, 1.5), (0.0, 3.5), (0.3, 0.5)])
def test_noll_agrees_with_sedpy(slope, bump):
    """Redward of 1500 Angstrom, where it has Calzetti's law, too; its bump is in 1/micron.

    It divides Calzetti's law by its value at 5500 Angstrom, 0.99948.
    """
    wave = np.concatenate([np.linspace(1501.0, 6290.0, 200), np.linspace(6310.0, 2.1e4, 100)])
    drude = {"x0": 1e4 / 2175.0, "gamma": 350.0 / 2175.0**2 * 1e4}
    expected = sedpy_attenuation.noll(wave, delta=slope, Ebump=bump, **drude)
    with jax.enable_x64(True):
        value = att.noll(wave, slope, bump)
        value += att.calzetti(wave) * att.power_law(wave, slope) * (1 / att.calzetti(5500.0) - 1)
        np.testing.assert_allclose(value, expected, rtol=1e-10)


def test_cardelli_agrees_with_sedpy():
    wave = np.geomspace(1300.0, 3.2e4, 300)
    with jax.enable_x64(True):
        np.testing.assert_allclose(att.cardelli(wave), sedpy_attenuation.cardelli(wave), rtol=1e-12)


# -- formulas of the papers ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wave", "expected"),
    [
        (1000.0, 13.8802 / 4.05),  # 5.472 + 6.71 - 0.9218 + 2.62, Leitherer et al. (2002), eq. 14
        (1200.0, 11.939_732 / 4.05),  # 5.472 + 5.591667 - 0.640139 + 1.516204
        (2000.0, 8.873_426 / 4.05),  # 4.05 + 2.659 (-2.156 + 7.545 - 4.95 + 1.375), Calzetti
    ],
)
def test_leitherer_at_single_wavelengths(wave, expected):
    assert float(att.leitherer2002(wave)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("wave", "expected"),
    [
        (1000.0, 11.931 / 2.505),  # 2.191 + 9.74, Reddy et al. (2016)
        (3000.0, 5.366_407 / 2.505),  # -5.726 + 13.346667 - 5.833333 + 1.074074 + 2.505
        (10000.0, 0.943 / 2.505),  # -2.672 - 0.01 + 1.532 - 0.412 + 2.505
        (30000.0, 0.0),
    ],
)
def test_reddy_at_single_wavelengths(wave, expected):
    assert float(att.reddy2015(wave)) == pytest.approx(expected, rel=2e-6, abs=1e-7)


def published_calzetti(wave):
    micron = wave / 1e4
    blue = 2.659 * (-2.156 + 1.509 / micron - 0.198 / micron**2 + 0.011 / micron**3) + 4.05
    return np.where(micron < 0.63, blue, 2.659 * (-1.857 + 1.040 / micron) + 4.05)


@pytest.mark.parametrize("slope", [-1.0, -0.2, 0.3])
def test_kriek_conroy_ties_the_bump_to_the_slope(slope):
    """Kriek & Conroy (2013), eqs. 1-3, in their range of wavelengths."""
    wave = np.linspace(1250.0, 2e4, 300)
    bump = (0.85 - 1.9 * slope) * (wave * 350) ** 2
    bump /= (wave**2 - 2175.0**2) ** 2 + (wave * 350) ** 2
    expected = (published_calzetti(wave) + bump) / 4.05 * (wave / 5500.0) ** slope
    with jax.enable_x64(True):
        np.testing.assert_allclose(att.kriek_conroy(wave, slope), expected, rtol=1e-10)


def test_wild_is_what_young_stars_see_in_two_components():
    """Charlot & Fall (2000) with slopes of -1.3 and -0.7, optical depths shared by mu."""
    dust = att.TwoComponentDust(law=att.PowerLaw(), law_bc=att.PowerLaw(suffix="_bc"))
    params = {"dust_tau_diff": 0.3, "dust_tau_bc": 0.7, "dust_slope": -0.7, "dust_slope_bc": -1.3}
    wave = np.geomspace(500.0, 5e4, 100)
    with jax.enable_x64(True):
        young, _ = dust.optical_depths(wave, params)
        np.testing.assert_allclose(att.wild2007(wave, 0.3), young, rtol=1e-12)


def published_li2008(wave, c1, c2, c3, c4):
    """Li et al. (2008) with the rounded constants of the paper."""
    um = wave / 1e4
    rise = c1 / ((um / 0.08) ** c2 + (0.08 / um) ** c2 + c3)
    optical = 233.0 * (1.0 - c1 / (6.88**c2 + 0.145**c2 + c3) - c4 / 4.60)
    optical /= (um / 0.046) ** 2 + (0.046 / um) ** 2 + 90.0
    return rise + optical + c4 / ((um / 0.2175) ** 2 + (0.2175 / um) ** 2 - 1.95)


@pytest.mark.parametrize("preset", ["mw", "lmc", "smc", "calzetti"])
def test_li2008_is_the_published_form(preset):
    wave = np.geomspace(500.0, 1e5, 300)
    coefficients = att.LI2008_PRESETS[preset]
    with jax.enable_x64(True):
        value = att.li2008(wave, *coefficients)
    # the published constants have three digits
    np.testing.assert_allclose(value, published_li2008(wave, *coefficients), rtol=2e-3)


@pytest.mark.parametrize(
    ("preset", "curve", "tolerance"),
    [
        ("calzetti", att.calzetti, 0.11),
        ("mw", lambda w: att.pei(w, "mw"), 0.08),
        ("lmc", lambda w: att.pei(w, "lmc"), 0.12),
        ("smc", lambda w: att.pei(w, "smc"), 0.10),
    ],
)
def test_li2008_presets_mimic_the_curves_they_were_fitted_to(preset, curve, tolerance):
    wave = np.geomspace(1200.0, 1e4, 200)
    fitted = np.asarray(att.li2008(wave, *att.LI2008_PRESETS[preset]))
    np.testing.assert_allclose(fitted, curve(wave), rtol=tolerance)


def test_pei_reproduces_the_tabulated_extinction_of_the_milky_way():
    """E(lambda-V)/E(B-V) of Pei (1992), Table 1, R_V = 3.08, at eight wavenumbers [1/micron]."""
    x = np.array([0.45, 0.80, 1.43, 2.27, 3.65, 4.57, 6.25, 8.00])
    excess = np.array([-2.76, -2.23, -0.78, 1.00, 3.10, 6.57, 4.73, 6.55])
    published_at_pivot = 0.97654547599515  # the paper's own A/A_V at 5500 Angstrom
    value = np.asarray(att.pei(1e4 / x, "mw")) * published_at_pivot
    np.testing.assert_allclose(value, 1.0 + excess / 3.08, rtol=0.06, atol=0.005)


def test_unknown_presets_are_refused():
    with pytest.raises(ParameterError, match="did you mean 'smc'"):
        att.Li2008Law(preset="smcc")
    with pytest.raises(ParameterError, match="expected one of mw, lmc, smc"):
        att.pei(5500.0, "m31")


def test_parameters_of_li2008_default_to_the_preset():
    law = att.Li2008Law(preset="smc", suffix="_bc")
    assert [(p.name, p.default) for p in law.parameters] == [
        ("dust_c1_bc", 38.7),
        ("dust_c2_bc", 3.83),
        ("dust_c3_bc", 6.34),
        ("dust_c4_bc", 0.0),
    ]


# -- what all laws share -------------------------------------------------------------------------


@pytest.mark.parametrize("name", LAWS)
def test_every_law_is_finite_positive_and_continuous_from_x_rays_to_radio(name):
    law = law_of(name)
    wave = np.geomspace(91.0, 1e8, 20_001)
    step = wave * (1.0 + 1e-7)
    allowed = JUMPS.get(name, CALZETTI_JUMP)
    with jax.enable_x64(True):
        for params in parameter_sets(law):
            k = np.asarray(law.curve(wave, params))
            assert np.isfinite(k).all()
            assert k.min() >= 0.0
            assert k[-1] < 2e-3  # falls towards the radio
            np.testing.assert_allclose(law.curve(step, params), k, rtol=1e-5, atol=1e-6)
            edges = np.array(law.breaks)
            below, above = (
                np.asarray(law.curve(edges * (1.0 + d), params)) for d in (-1e-10, 1e-10)
            )
            assert np.all(np.abs(above - below) < allowed * np.maximum(below, 1.0))


@pytest.mark.parametrize("name", LAWS)
def test_breaks_name_every_kink(name):
    """The curvature of a kink is its change of slope over the step, here 10^4 times as much.

    That of the 2175 Angstrom bump is 8 / (350 / 2175)^2 = 310 times its height, which is below 3.
    """
    law = law_of(name)
    assert list(law.breaks) == sorted(law.breaks)
    log_wave = np.arange(np.log(500.0), np.log(1e5), 1e-4)
    near = np.zeros(log_wave.size, bool)
    for edge in law.breaks:
        near |= np.abs(log_wave - np.log(edge)) < 5e-4
    with jax.enable_x64(True):
        for params in parameter_sets(law):
            slope = np.gradient(np.asarray(law.curve(np.exp(log_wave), params)), 1e-4)
            assert np.abs(np.gradient(slope, 1e-4))[~near].max() < 1000.0


@pytest.mark.parametrize("name", LAWS)
def test_every_law_is_one_at_5500_angstrom(name):
    """Within 0.4 %; the docstrings say where a published normalisation differs."""
    law = law_of(name)
    expected = 0.978 if name in ("fitzpatrick1999", "mw") else 1.0
    params = {p.name: p.default for p in law.parameters if not isinstance(p.default, tuple)}
    params = {p.name: 0.0 for p in law.parameters} | params
    assert float(law.curve(5500.0, params)) == pytest.approx(expected, abs=4e-3)


@pytest.mark.parametrize("name", LAWS)
def test_gradients_are_finite_everywhere_in_single_precision(name):
    law = law_of(name)
    wave = jnp.asarray([1.0, 91.0, *law.breaks, 912.0, 1200.0, 2175.0, 5500.0, 1e8, 1e10])
    wave = wave.astype(jnp.float32)
    jacobian = jax.jit(jax.jacrev(lambda p: law.curve(wave, p)))
    slope = jax.jit(jax.grad(lambda w, p: law.curve(w, p).sum()))
    for params in parameter_sets(law):
        params = {k: jnp.float32(v) for k, v in params.items()}
        assert np.isfinite(law.curve(wave, params)).all()
        assert np.isfinite(slope(wave, params)).all()
        if params:
            assert all(np.isfinite(g).all() for g in jacobian(params).values())


@pytest.mark.parametrize("name", [n for n in LAWS if law_of(n).parameters])
def test_gradients_agree_with_central_differences(name):
    law = law_of(name)
    wave = np.geomspace(700.0, 4e4, 60)
    with jax.enable_x64(True):
        lower, upper = parameter_sets(law)
        middle = {k: 0.5 * (lower[k] + upper[k]) + 0.01 for k in lower}
        jacobian = jax.jacfwd(lambda p: law.curve(wave, p))(middle)
        for key in middle:
            up, down = ({**middle, key: middle[key] + s} for s in (1e-6, -1e-6))
            numeric = (law.curve(wave, up) - law.curve(wave, down)) / 2e-6
            np.testing.assert_allclose(jacobian[key], numeric, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", [n for n in LAWS if law_of(n).parameters])
def test_parameters_of_birth_clouds_have_their_suffix(name):
    plain, clouds = law_of(name), make_component(att.AttenuationLaw, name, suffix="_bc")
    params = parameter_sets(plain)[0]
    assert [p.name for p in clouds.parameters] == [p.name + "_bc" for p in plain.parameters]
    renamed = {k + "_bc": v for k, v in params.items()}
    wave = np.array([1000.0, 2175.0, 9000.0])
    np.testing.assert_array_equal(clouds.curve(wave, renamed), plain.curve(wave, params))


def test_curves_keep_their_blue_end_and_fall_as_a_power_law_in_the_infrared():
    with jax.enable_x64(True):
        for curve in (att.smc, att.lmc, att.mw, att.leitherer2002):
            np.testing.assert_allclose(curve(100.0), curve(912.0), rtol=1e-14)
        np.testing.assert_allclose(att.cardelli(100.0), att.cardelli(1000.0), rtol=1e-14)
        for curve in (att.smc, att.lmc2, att.fitzpatrick1999, att.cardelli, att.odonnell):
            np.testing.assert_allclose(curve(1e6) / curve(1e5), 10.0**-1.61, rtol=1e-12)
        np.testing.assert_allclose(att.pei(1e9) / att.pei(1e8), 1e-2, rtol=1e-5)
