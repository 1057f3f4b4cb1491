"""The nucleus as a whole: where the energy goes, what is seen, and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from emission_cases import draws, galaxy, integral, midpoint

from tengri_ppl.errors import ParameterError
from tengri_ppl.physics.agn import (
    AGN,
    DISC_RANGE,
    NoLines,
    NoTorus,
    PowerLawDisc,
    TemplateTorus,
    Temple2021Disc,
    TwoBlackbodyTorus,
    smc_extinction,
    stack_templates,
)
from tengri_ppl.physics.templates import (
    TemplateAxis,
    TemplateFile,
    TemplateGrid,
    integrate_spectra,
    save_templates,
)

#: To 10 cm, beyond which a nucleus has less than 1e-7 of its energy.
WAVE = np.geomspace(DISC_RANGE[0] * (1 + 1e-12), 1e9, 100_001)


@pytest.fixture(autouse=True)
def _double_precision():
    with jax.enable_x64(True):
        yield


def visible(agn, params, wave=WAVE):
    """What is seen of smooth light and of lines [Lsun]."""
    smooth = integral(agn.smooth(wave, params, galaxy()), wave)
    grid = agn.load()
    if grid is None:
        return smooth
    return smooth + float(
        agn.weights(params, galaxy(), grid) @ integrate_spectra(grid.wave, grid.spectra)
    )


def test_luminosity_is_that_asked_for():
    agn = AGN(torus=NoTorus(), lines=NoLines())
    params = midpoint(agn) | {"agn_log_lbol": 11.5, "agn_polar_ebv": 0.0}
    assert agn.load() is None
    assert visible(agn, params) == pytest.approx(10**11.5, rel=1e-6)


@pytest.mark.parametrize("disc", [PowerLawDisc(), Temple2021Disc()], ids=lambda d: d.name)
@pytest.mark.parametrize("reddening", [1e-4, 0.03, 0.5, 5.0])
def test_polar_dust_emits_what_it_absorbs(disc, reddening):
    """Without torus and lines all light is seen behind polar dust, so none may be missing."""
    agn = AGN(disc=disc, torus=NoTorus(), lines=NoLines())
    params = midpoint(agn) | {"agn_log_lbol": 11.0, "agn_polar_ebv": reddening}
    assert visible(agn, params) == pytest.approx(1e11, rel=1e-6)
    assert float(agn.energy(params, galaxy()).polar) > 0.0


def test_polar_dust_absorbs_broad_lines_too():
    """What is missing in the disc and in the weights of broad lines is in the polar dust."""
    agn = AGN(torus=NoTorus())
    clear = midpoint(agn) | {"agn_polar_ebv": 0.0}
    dusty = clear | {"agn_polar_ebv": 0.4}
    assert visible(agn, dusty) == pytest.approx(visible(agn, clear), rel=1e-6)


def test_torus_takes_its_share_of_the_sky():
    """L_torus = covering factor times L; polar dust gets the rest of the sky."""
    agn = AGN()
    params = midpoint(agn) | {"agn_log_lbol": 11.0, "agn_polar_ebv": 0.2}
    covered = agn.energy(params | {"agn_torus_covering": 0.4}, galaxy())
    open_sky = agn.energy(params | {"agn_torus_covering": 0.0}, galaxy())
    assert float(covered.torus) == pytest.approx(4e10, rel=1e-12)
    assert float(covered.polar / open_sky.polar) == pytest.approx(0.6, rel=1e-12)
    wave = np.geomspace(1e5, 1e9, 20_001)  # redward of 10 micron there is nearly no disc
    light = integral(agn.smooth(wave, params | {"agn_torus_warm_fraction": 1.0}, galaxy()), wave)
    assert light > 0.5 * float(agn.energy(params, galaxy()).torus)


def test_fraction_is_that_of_the_infrared_luminosity():
    agn = AGN(amplitude="frac")
    params = midpoint(agn) | {"agn_frac": 0.3, "agn_polar_ebv": 0.1}
    energy = agn.energy(params, galaxy(absorbed=2e10))
    dust = float(energy.torus + energy.polar)
    assert dust / (dust + 2e10) == pytest.approx(0.3, rel=1e-12)
    twice = agn.smooth(WAVE[::500], params, galaxy(absorbed=4e10))
    np.testing.assert_allclose(
        twice, 2.0 * agn.smooth(WAVE[::500], params, galaxy(absorbed=2e10)), rtol=1e-12
    )


def test_torus_on_the_sight_line_hides_disc_and_broad_lines_only():
    agn = AGN()
    seen = midpoint(agn)
    hidden = seen | {"agn_torus_ebv": 3.0}
    assert agn.energy(seen, galaxy()) == agn.energy(hidden, galaxy())
    optical, infrared = np.array([1500.0, 5500.0]), np.array([1e5, 1e6])
    # E(B-V) of 3 mag: k(5500 A) = 2.85, 8.5 mag
    ratio = agn.smooth(optical, hidden, galaxy()) / agn.smooth(optical, seen, galaxy())
    assert np.all(np.asarray(ratio) < 10 ** (-0.4 * 8.4))
    ratio = agn.smooth(infrared, hidden, galaxy()) / agn.smooth(infrared, seen, galaxy())
    assert np.all(np.asarray(ratio) > 0.9)
    grid = agn.load()
    weights = [np.asarray(agn.weights(p, galaxy(), grid) @ grid.spectra) for p in (seen, hidden)]
    for line, remains in ((1549.06, False), (4862.68, False), (5008.24, True)):
        index = np.argmin(np.abs(grid.wave - line))
        assert (weights[1][index] > 0.3 * weights[0][index]) == remains


def test_smc_extinction_has_the_colour_excess_it_is_per():
    """k(B) - k(V) = 1 within the accuracy of a power law (Prevot et al. 1984: R_V = 2.72)."""
    assert float(smc_extinction(1e4)) == pytest.approx(1.39, rel=1e-12)
    excess = float(smc_extinction(4400.0) - smc_extinction(5500.0))
    assert excess == pytest.approx(1.0, abs=0.15)
    assert float(smc_extinction(5500.0)) == pytest.approx(2.72, abs=0.15)


def test_light_at_2500_angstrom_is_before_any_dust():
    agn = AGN(lines=NoLines(), torus=NoTorus())
    clear = midpoint(agn) | {"agn_polar_ebv": 0.0}
    expected = float(agn.smooth(2500.0, clear, galaxy()))
    dusty = clear | {"agn_polar_ebv": 1.0, "agn_torus_ebv": 2.0}
    assert float(agn.l_nu_2500(dusty, galaxy())) == pytest.approx(expected, rel=1e-12)


def test_stacked_templates_keep_their_light_and_are_zero_outside_their_range():
    first = TemplateGrid(np.array([10.0, 20.0, 40.0]), np.array([[1.0, 3.0, 2.0]]))
    second = TemplateGrid(
        np.array([1.0, 15.0, 100.0]),
        np.array([[0.0, 1.0, 0.0], [2.0, 2.0, 2.0]]),
        luminosity=(1, 1),
    )
    both = stack_templates([first, second])
    assert both.spectra.shape[0] == 3
    assert both.luminosity == (1, 1)
    at = np.array([5.0, 12.0, 30.0, 50.0])
    np.testing.assert_allclose(np.interp(at, both.wave, both.spectra[0]), [0, 1.4, 2.5, 0])
    np.testing.assert_allclose(
        integrate_spectra(both.wave, both.spectra),
        [
            integrate_spectra(first.wave, first.spectra)[0],
            *integrate_spectra(second.wave, second.spectra),
        ],
        rtol=1e-5,  # the steps at the ends are 2e-6 wide
    )


def test_template_torus_and_lines_share_one_axis(tmp_path):
    wave = np.geomspace(1e3, 1e6, 60)
    file = TemplateFile(
        wave=wave,
        spectra=np.stack([wave / 1e4, np.sqrt(wave)]),
        axes=(TemplateAxis("tau", np.array([5.0, 10.0])),),
        kind="agn_torus",
    )
    path = save_templates(tmp_path / "torus.h5", file)
    agn = AGN(torus=TemplateTorus(path=str(path)))
    params = midpoint(agn) | {"agn_log_lbol": 11.0, "agn_torus_covering": 0.5}
    grid = agn.load()
    weights = np.asarray(agn.weights(params, galaxy(), grid))
    assert weights[-2:].sum() == pytest.approx(5e10, rel=1e-12)
    torus = integrate_spectra(grid.wave, weights[-2:] @ grid.spectra[-2:])
    assert torus == pytest.approx(5e10, rel=1e-5)
    lines = AGN(torus=TwoBlackbodyTorus())
    params |= midpoint(lines.torus)
    np.testing.assert_allclose(weights[:-2], lines.weights(params, galaxy(), lines.load()))


def test_bad_choices_are_refused():
    with pytest.raises(ParameterError, match="log_lbol"):
        AGN(amplitude="lbol")
    with pytest.raises(ParameterError, match="choose a torus"):
        AGN(amplitude="frac", torus=NoTorus())


@pytest.mark.parametrize(
    "agn", [AGN(), AGN(disc=Temple2021Disc(), amplitude="frac")], ids=["lbol", "frac"]
)
@pytest.mark.parametrize("precise", [False, True], ids=["32", "64"])
def test_light_and_gradients_are_finite_over_the_prior(agn, precise):
    wave = np.array([0.1, 41.4, 912.0, 1200.0, 5500.0, 2e4, 1e5, 1e6, 9.9e6, 2e7, 1e10])
    with jax.enable_x64(precise):
        kind = jnp.float64 if precise else jnp.float32
        grid = agn.load()
        wave = jnp.asarray(wave, kind)
        params = {k: jnp.asarray(v, kind) for k, v in draws(200, agn).items()}

        def light(p):
            home = galaxy()
            return jnp.sum(agn.smooth(wave, p, home)) + jnp.sum(agn.weights(p, home, grid))

        value, gradient = jax.jit(jax.vmap(jax.value_and_grad(light)))(params)
        assert value.dtype == kind
        assert np.all(np.isfinite(value))
        assert np.all(np.asarray(value) >= 0.0)
        for name, g in gradient.items():
            assert np.all(np.isfinite(g)), name


def test_gradients_agree_with_differences():
    """Central differences in 64 bit, steps of 1e-5."""
    agn = AGN(disc=Temple2021Disc())
    wave = jnp.array([1500.0, 5500.0, 3e4, 2e5])
    params = midpoint(agn) | {"agn_polar_ebv": 0.2, "agn_disc_balmer": 0.2}

    @jax.jit
    def light(p):
        return jnp.log(agn.smooth(wave, p, galaxy())).sum()

    gradient = jax.jit(jax.grad(light))(params)
    for name, value in params.items():
        step = 1e-5 * max(abs(value), 1.0)
        up, down = (light(params | {name: value + s}) for s in (step, -step))
        assert float(gradient[name]) == pytest.approx(
            float(up - down) / (2 * step), rel=1e-5, abs=1e-8
        )
