"""Dust emission: energy balance, published formulas and shapes, gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tengri_ppl.errors import DataError, ParameterError
from tengri_ppl.physics.blackbody import cmb_heated, grey_body
from tengri_ppl.physics.component import component_names, make_component
from tengri_ppl.physics.dust_emission import (
    Casey2012,
    DraineLi2007,
    DustEmission,
    ModifiedBlackbody,
    NoDustEmission,
    TemplateDustEmission,
    TwoTemperature,
    casey2012,
)
from tengri_ppl.physics.emission import Galaxy
from tengri_ppl.physics.templates import (
    TemplateAxis,
    TemplateFile,
    integrate_spectra,
    save_templates,
)

C = 2.99792458e18  # Angstrom/s
MICRON = 1e4
ANALYTIC = [
    ModifiedBlackbody(),
    ModifiedBlackbody(cmb=True),
    ModifiedBlackbody(optically_thick=True),
    ModifiedBlackbody(optically_thick=True, cmb=True),
    TwoTemperature(),
    TwoTemperature(cmb=True),
    Casey2012(),
    Casey2012(cmb=True),
]


def galaxy(absorbed=3e10, redshift=2.0):
    return Galaxy(*map(jnp.asarray, (redshift, absorbed, 1.0, 1e10)))


def prior_draws(component, n, seed=0):
    """Parameters of n draws from the default prior, the corners of which come first."""
    rng = np.random.default_rng(seed)
    draws = {}
    for p in component.parameters:
        low, high = p.default if isinstance(p.default, tuple) else (p.default, p.default)
        unit = np.concatenate([[0.0, 1.0], rng.uniform(size=n - 2)])
        draws[p.name] = jnp.asarray(low + (high - low) * unit)
    return draws


def at_draw(draws, k):
    return {name: value[k] for name, value in draws.items()}


@pytest.fixture(scope="module")
def user_file(tmp_path_factory):
    """Two parameters, luminosities that differ by factors."""
    wave = np.geomspace(1e4, 1e7, 300)
    peak = np.array([3e5, 6e5, 2e6])[:, None, None]
    height = np.array([1.0, 7.0])[:, None]
    content = TemplateFile(
        wave=wave,
        spectra=height * np.exp(-2.0 * np.log(wave / peak) ** 2),
        axes=(
            TemplateAxis("alpha", np.array([0.0, 1.0, 3.0])),
            TemplateAxis("f_pah", np.array([0.0, 1.0])),
        ),
        kind="dust_emission",
        normalisation="relative",
    )
    return str(save_templates(tmp_path_factory.mktemp("dust") / "user.h5", content))


@pytest.fixture(params=["draine_li2007", "template"])
def gridded(request, user_file):
    options = {"path": user_file} if request.param == "template" else {}
    return make_component(DustEmission, request.param, **options)


def test_all_models_are_registered():
    names = {
        "none",
        "draine_li2007",
        "modified_blackbody",
        "casey2012",
        "two_temperature",
        "template",
    }
    assert set(component_names("dust_emission")) == names
    assert make_component(DustEmission, "casey2012", cmb=True) == Casey2012(cmb=True)


@pytest.mark.parametrize("component", ANALYTIC, ids=repr)
def test_smooth_models_radiate_what_the_dust_absorbs(component, x64):
    """Over all wavelengths, by the trapezoidal rule in ln(wavelength)."""
    wave = np.geomspace(component.coverage[0], 1e11, 20_001)
    draws = prior_draws(component, 6) | {"dust_eta": jnp.full(6, 0.7)}
    spectra = jax.jit(jax.vmap(lambda p: component.smooth(wave, p, galaxy())))(draws)
    total = np.trapezoid(np.asarray(spectra) * C / wave, np.log(wave), axis=-1)
    np.testing.assert_allclose(total, 0.7 * 3e10, rtol=1e-7)
    assert np.all(np.asarray(spectra) >= 0.0)


@pytest.mark.parametrize("component", ANALYTIC, ids=repr)
def test_rest_grid_and_coverage_hold_the_light(component, x64):
    """On its own grid, and within 1 micron to 1 cm, the energy is there to 1e-4."""
    wave = component.rest_grid
    assert (wave[0], wave[-1]) == pytest.approx(component.coverage)
    draws = prior_draws(component, 4)
    spectra = jax.jit(jax.vmap(lambda p: component.smooth(wave, p, galaxy())))(draws)
    np.testing.assert_allclose(integrate_spectra(wave, spectra), 3e10, rtol=1e-4)


def test_gridded_models_radiate_what_the_dust_absorbs(gridded, x64):
    templates = gridded.load()
    for k in range(5):
        params = at_draw(prior_draws(gridded, 5), k) | {"dust_eta": 0.7}
        light = gridded.weights(params, galaxy(), templates) @ jnp.asarray(templates.spectra)
        assert integrate_spectra(templates.wave, light) == pytest.approx(0.7 * 3e10, rel=1e-12)


def test_energy_balance_holds_in_single_precision(gridded):
    templates = gridded.load()
    params = {n: jnp.float32(v[3]) for n, v in prior_draws(gridded, 5).items()}
    weights = gridded.weights(params, galaxy(), templates)
    assert weights.dtype == jnp.float32
    assert float(weights.sum()) == pytest.approx(3e10, rel=1e-6)


def test_modified_black_body_is_the_grey_body(x64):
    wave = np.geomspace(30.0, 1000.0, 20) * MICRON
    params = {"dust_temperature": 35.0, "dust_beta_ir": 1.8, "dust_eta": 1.0}
    expected = 3e10 * grey_body(wave, 35.0, 1.8)
    np.testing.assert_allclose(ModifiedBlackbody().smooth(wave, params, galaxy()), expected)
    heated = cmb_heated(35.0, 1.8, 2.0)
    expected = 3e10 * grey_body(wave, heated.kelvin, 1.8, heated.excess)
    net = ModifiedBlackbody(cmb=True).smooth(wave, params, galaxy())
    np.testing.assert_allclose(net, expected)


def test_two_temperatures_add_up_in_shares_of_the_luminosity(x64):
    wave = np.geomspace(30.0, 1000.0, 20) * MICRON
    values = {"t_warm": 45.0, "t_cold": 20.0, "f_cold": 0.3, "beta_warm": 1.5, "beta_cold": 2.0}
    params = {f"dust_{k}": v for k, v in values.items()} | {"dust_eta": 1.0}
    light = TwoTemperature().smooth(wave, params, galaxy())
    expected = 0.7 * grey_body(wave, 45.0, 1.5) + 0.3 * grey_body(wave, 20.0, 2.0)
    np.testing.assert_allclose(light, 3e10 * expected, rtol=1e-12)


def casey_by_hand(micron, temperature, beta, alpha):
    """Casey (2012), eq. 3 and Table 1, lambda_0 = 200 micron; not normalised."""

    def body(micron):
        depth = (200.0 / micron) ** beta
        return -np.expm1(-depth) / micron**3 / np.expm1(14387.76877 / (micron * temperature))

    turn = 1.0 / ((26.68 + 6.246 * alpha) ** -2 + (1.905e-4 + 7.243e-5 * alpha) * temperature)
    turn *= 0.75
    power = body(turn) / turn**alpha * micron**alpha * np.exp(-((micron / turn) ** 2))
    return body(micron) + power


@pytest.mark.parametrize(("temperature", "beta", "alpha"), [(35.0, 1.6, 2.0), (60.0, 2.2, 1.3)])
def test_casey_has_the_shape_of_the_paper(temperature, beta, alpha, x64):
    micron = np.geomspace(1.01, 5000.0, 60)
    ours = casey2012(micron * MICRON, temperature, beta, alpha)
    expected = casey_by_hand(micron, temperature, beta, alpha)
    np.testing.assert_allclose(ours / ours[30], expected / expected[30], rtol=1e-8)  # of hc/k


def test_casey_follows_its_power_law_in_the_mid_infrared(x64):
    """Slope alpha of L_nu well below the turnover at 61 micron, and none below 1 micron."""
    wave = np.array([4.0, 4.04]) * MICRON
    slope = np.diff(np.log(casey2012(wave, 35.0, 1.6, 2.0)))[0] / np.log(1.01)
    assert slope == pytest.approx(2.0 - 2.0 * (4.02 / 60.5) ** 2, abs=1e-3)
    assert float(casey2012(0.99 * MICRON, 35.0, 1.6, 2.0)) < 1e-100


def draine_li(**changes):
    """Spectrum of the shipped templates for one Lsun."""
    params = {"dust_qpah": 2.5, "dust_umin": 1.0, "dust_gamma": 0.0, "dust_eta": 1.0} | changes
    component = DraineLi2007()
    templates = component.load()
    light = component.weights(params, galaxy(1.0), templates) @ jnp.asarray(templates.spectra)
    return np.asarray(templates.wave), np.asarray(light)


def test_draine_li_has_its_axes():
    component = DraineLi2007()
    names = ["dust_qpah", "dust_umin", "dust_gamma", "dust_eta"]
    assert [p.name for p in component.parameters] == names
    qpah, umin, gamma = component.load().axes
    assert (qpah[0], qpah[-1], gamma.tolist()) == (0.1, 4.58, [0.0, 1.0])
    assert umin.tolist()[-6:] == [7.0, 8.0, 12.0, 15.0, 20.0, 25.0]
    assert umin.size == 22


def test_draine_li_columns_are_those_of_their_radiation_fields():
    """Dust absorbs in proportion to U: so must it emit, which fixes the axis of U (no U = 10).

    In a distribution dM ~ U^-2 dU from Umin to Umax the mean of U is Umin ln(Umax/Umin) / (1 -
    Umin/Umax). The light below 1 micron is left out of the templates.
    """
    templates = DraineLi2007().load()
    luminosity = np.asarray(templates.luminosity).reshape(11, 22, 2)
    umin = templates.axes[1]
    mean = umin * np.log(1e6 / umin) / (1.0 - umin / 1e6)
    single, distributed = luminosity[..., 0] / umin, luminosity[..., 1] / mean
    np.testing.assert_allclose(single / single[:, :1], 1.0, rtol=3e-3)
    np.testing.assert_allclose(distributed / single, 1.0, rtol=0.01)


def test_draine_li_has_the_published_brightness_at_1_cm(x64):
    """nu P_nu and the power per H nucleus in the file U1.00_1.00_MW3.1_60.txt of the authors."""
    _, light = draine_li(dust_qpah=4.58)
    templates = DraineLi2007().load()
    for micron, expected in ((1.0e4, 5.303e-31), (9.908e3, 5.497e-31), (9.290e3, 7.063e-31)):
        k = np.abs(templates.wave - micron * MICRON).argmin()
        brightness = C / templates.wave[k] * light[k]
        assert brightness == pytest.approx(expected / 4.558e-24, rel=5e-4)  # their four digits


def test_draine_li_can_do_with_the_dust_of_the_milky_way(x64):
    """PAH light is in proportion to q_PAH there; the other models are not in line with it."""
    component = DraineLi2007(grains="milky_way")
    assert component.parameters[0].default == (0.47, 4.58)
    templates = component.load()
    qpah = templates.axes[0]
    spectra = np.asarray(templates.spectra).reshape(7, 22, 2, -1)[:, 8, 0]
    pahs = spectra[:, np.searchsorted(templates.wave, 7.7 * MICRON)]
    np.testing.assert_allclose(pahs / qpah, (pahs / qpah).mean(), rtol=0.04)
    with pytest.raises(ParameterError, match="grains='mw'"):
        DraineLi2007(grains="mw")


def test_draine_li_mixes_by_mass_before_it_is_normalised(x64):
    """The distribution has the share gamma <U> / [(1 - gamma) Umin + gamma <U>] of the luminosity,
    far above gamma."""
    _, mixed = draine_li(dust_gamma=0.1)
    _, single = draine_li(dust_gamma=0.0)
    _, distributed = draine_li(dust_gamma=1.0)
    mean = np.log(1e6)
    share = 0.1 * mean / (0.9 + 0.1 * mean)
    expected = share * distributed + (1.0 - share) * single
    np.testing.assert_allclose(mixed, expected, rtol=0.02, atol=1e-4 * mixed.max())
    assert share == pytest.approx(0.606, abs=1e-3)


def test_draine_li_parameters_do_what_they_say(x64):
    wave, light = draine_li()
    _, pahs = draine_li(dust_qpah=4.58)
    _, hot = draine_li(dust_umin=20.0)
    at_8 = np.searchsorted(wave, 7.9 * MICRON)
    assert pahs[at_8] / light[at_8] == pytest.approx(4.58 / 2.5, rel=0.1)  # PAHs make the 7.7 um
    # 18 K at U = 1, and T ~ U^(1/6)
    ratio = wave[light.argmax()] / wave[hot.argmax()]
    assert ratio == pytest.approx(20.0 ** (1.0 / 6.0), rel=0.05)


def test_parameters_beyond_the_grid_are_held_at_its_edge():
    _, edge = draine_li(dust_umin=25.0)
    _, beyond = draine_li(dust_umin=100.0)
    np.testing.assert_array_equal(edge, beyond)


def test_user_templates_bring_their_parameters_and_wavelengths(user_file):
    component = TemplateDustEmission(path=user_file)
    assert [p.name for p in component.parameters] == ["dust_alpha", "dust_f_pah", "dust_eta"]
    assert [p.default for p in component.shape_parameters] == [(0.0, 3.0), (0.0, 1.0)]
    assert component.coverage == pytest.approx((1e4, 1e7))
    assert hash(component) == hash(TemplateDustEmission(path=user_file))
    # height 1 and 7 in equal parts of mass
    params = {"dust_alpha": 1.0, "dust_f_pah": 0.5, "dust_eta": 1.0}
    weights = np.asarray(component.weights(params, galaxy(1.0), component.load()))
    np.testing.assert_allclose(weights, [0.0, 0.0, 1 / 8, 7 / 8, 0.0, 0.0], rtol=1e-6)


def test_a_file_for_something_else_is_refused(tmp_path):
    with pytest.raises(ParameterError, match="needs a file"):
        TemplateDustEmission()
    wave = np.array([1e4, 1e5])
    torus = TemplateFile(wave=wave, spectra=np.ones(2), kind="agn_torus")
    path = str(save_templates(tmp_path / "torus.h5", torus))
    with pytest.raises(DataError, match="of kind 'agn_torus'"):
        TemplateDustEmission(path=path).load()


def test_no_dust_emission_is_dark():
    light = NoDustEmission().smooth(np.array([1e5, 1e6]), {}, galaxy())
    np.testing.assert_array_equal(light, 0.0)
    assert NoDustEmission().load() is None
    assert NoDustEmission().parameters == ()
    assert make_component(DustEmission, NoDustEmission()) == NoDustEmission()


def light_of(component, templates=None):
    """What a model computes, as a function of (params, absorbed, redshift)."""
    wave = np.geomspace(0.3, 1e11, 40)

    def light(params, absorbed, redshift):
        where = galaxy(absorbed, redshift)
        if templates is None:
            return component.smooth(jnp.asarray(wave), params, where)
        return component.weights(params, where, templates)

    return light


def check_gradients(component, templates=None):
    """Finite on the prior in 32 bit; equal to central differences in 64 bit; both modes agree."""
    light = light_of(component, templates)
    draws = {n: v.astype(jnp.float32) for n, v in prior_draws(component, 50).items()}
    jacobian = jax.jit(jax.vmap(jax.jacfwd(light, argnums=(0, 1, 2)), (0, None, None)))
    for redshift in (0.0, 10.0):
        arguments = (draws, jnp.float32(3e10), jnp.float32(redshift))
        for leaf in jax.tree.leaves(jacobian(*arguments)):
            assert np.isfinite(leaf).all()
    with jax.enable_x64(True):
        params = at_draw(prior_draws(component, 3), 2)
        names = list(params)
        x = jnp.array([*params.values(), 3.0, 2.0])

        def total(x):
            values = light(dict(zip(names, x, strict=False)), x[-2], x[-1])
            return jnp.sum(values * jnp.linspace(1.0, 2.0, values.size))

        step = jnp.diag(1e-5 * x)
        values = jax.jit(jax.vmap(total))(jnp.concatenate([x + step, x - step]))
        central = (values[: x.size] - values[x.size :]) / (2.0 * jnp.diag(step))
        gradient, forward = jax.jit(lambda x: (jax.grad(total)(x), jax.jacfwd(total)(x)))(x)
        scale = float(values.max())
        np.testing.assert_allclose(gradient, central, rtol=1e-5, atol=1e-8 * scale)
        np.testing.assert_allclose(forward, gradient, rtol=1e-9, atol=1e-14 * scale)


@pytest.mark.parametrize("component", ANALYTIC, ids=repr)
def test_gradients_of_smooth_models(component):
    check_gradients(component)


def test_gradients_of_gridded_models(gridded):
    check_gradients(gridded, gridded.load())
