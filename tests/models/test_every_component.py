"""Every registered component, under jit, vmap and in both modes of differentiation.

The tests loop over the registry: a new component is covered by registering it. Histories,
metallicities and laws of attenuation share models, each other component has its own.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from model_cases import (
    BANDS,
    CHOICES,
    STELLAR,
    TOGETHER,
    models_of_everything,
    observation,
    small_model,
    template_file,
    thin_grid,
)

import tengri_ppl as tg
from tengri_ppl.physics.shocks import TemplateShock

N_DRAWS = 1000
STEP = 1e-5
EVERYTHING = {
    "sfh": "dpl",
    "sfh_field": "drw",
    "sfh_burst": "constant",
    "metallicity": "lognormal",
    "dust": "fraction_obscured",
    "dust_law": "salim",
    "nebular": "cloudy",
    "dust_emission": "draine_li2007",
    "agn": "nucleus",
    "radio": "fir_correlation",
    "xray": "lehmer2016",
}
WIDE = (*STELLAR, "twomass_J", "wise_w1", "wise_w3", "wise_w4", "herschel_spire_250")
WIDE += ("xray_soft", "xray_hard", "radio_1.4", "radio_5")


def brightness(sed, params):
    """Weighted sum of log fluxes."""
    flux = sed.predict_photometry(params) * 1e29
    return jnp.log(flux + 1e-10) @ jnp.linspace(1.0, 2.0, sed.n_band)


@jax.jit
def gradients(sed, params):
    """Brightness and its gradient, draw by draw."""
    return jax.vmap(jax.value_and_grad(partial(brightness, sed)))(params)


@jax.jit
def slopes(sed, params, direction):
    """Brightness, and its slope by reverse and by forward mode, draw by draw."""

    def one(params, direction):
        value, gradient = jax.value_and_grad(partial(brightness, sed))(params)
        _, forward = jax.jvp(partial(brightness, sed), (params,), (direction,))
        parts = jax.tree.map(lambda g, d: jnp.sum(g * d), gradient, direction)
        return value, sum(parts.values()), forward

    return jax.vmap(one)(params, direction)


def check(make, measured):
    """Check a model that ``make`` builds, with the same prior draws in both precisions."""
    sed = make()
    params = jax.tree.map(np.asarray, sed.spec.sample_batch(jax.random.key(0), N_DRAWS))
    check_32_bits(sed, params)
    with jax.enable_x64(True):
        check_64_bits(make(), {k: v.astype(float) for k, v in params.items()}, measured)
    jax.clear_caches()


def check_32_bits(sed, params):
    for result in jax.tree.leaves(gradients(sed, params)):
        assert result.dtype == jnp.float32
        assert np.all(np.isfinite(result))


def check_64_bits(sed, params, measured):
    """Both modes agree everywhere; differences agree except next to kinks of tables and bins.

    Differences are along one direction, in each parameter a fraction of its prior's width.
    """
    rng = np.random.default_rng(1)
    direction = {k: rng.normal(size=v.shape) * v.std(axis=0) for k, v in params.items()}
    value, reverse, forward = slopes(sed, params, direction)
    assert value.dtype == jnp.float64
    assert np.all(np.isfinite(value)) and np.all(np.isfinite(reverse))
    scale = np.abs(reverse) + 1e-3 * np.median(np.abs(reverse)) + 1e-9
    between_modes = np.max(np.abs(forward - reverse) / scale)
    measured("gradients, forward against reverse mode, largest of each model", between_modes)
    assert between_modes < 1e-8
    above, below = (
        slopes(
            sed, jax.tree.map(lambda p, d, s=sign: p + s * STEP * d, params, direction), direction
        )
        for sign in (1.0, -1.0)
    )
    difference = (above[0] - below[0]) / (2.0 * STEP)
    error = np.abs(difference - reverse) / scale
    measured("gradients against differences, median of each model", np.median(error))
    assert np.median(error) < 1e-6
    assert np.mean(error < 1e-3) > 0.97


@pytest.mark.slow
@pytest.mark.parametrize("names", models_of_everything(), ids=lambda x: "-".join(x.values()))
def test_gradients_are_finite_in_32_bits_and_right_in_64(names, ssp, tmp_path, measured):
    check(partial(small_model, names, ssp, tmp_path), measured)


@pytest.fixture(scope="module")
def whole(ssp, tmp_path_factory):
    """Make a model of everything at once."""
    folder = tmp_path_factory.mktemp("shock")

    def make(grid=None):
        shock = TemplateShock(path=template_file(folder, "shock"))
        spec = tg.Parameters(**EVERYTHING, shock=shock, redshift=0.4)
        return tg.SEDModel(spec, grid or thin_grid(ssp), observation(WIDE))

    return make


@pytest.mark.slow
def test_gradients_of_everything_at_once(whole, measured):
    check(whole, measured)


@pytest.mark.slow
def test_everything_at_once_is_fast_to_a_part_in_five_hundred(whole, ssp, measured):
    error = whole(ssp).photometry_error(jax.random.key(2), 500)
    measured("fast photometry of everything against exact, 95th percentile", error["p95"])
    assert error["p95"] < 2e-3


def test_a_batch_and_single_galaxies_are_the_same(whole):
    sed = whole()
    params = sed.spec.sample_batch(jax.random.key(3), 6)
    batch = sed.predict_photometry({k: v.reshape(2, 3, *v.shape[1:]) for k, v in params.items()})
    one = sed.predict_photometry({k: v[4] for k, v in params.items()})
    assert batch.shape == (2, 3, len(WIDE))
    np.testing.assert_allclose(batch[1, 1], one, rtol=2e-4)


def test_host_and_additions_make_up_the_photometry(whole):
    sed = whole()
    params = sed.spec.sample_batch(jax.random.key(4), 5)
    amplitude = 10.0 ** params[sed.spec.amplitude]
    host = sed.unit_host(params).scaled(amplitude)
    flux = (host.flux + sed.added_flux(params, host.galaxy)) * 1e-29
    np.testing.assert_allclose(flux, sed.predict_photometry(params), rtol=1e-4)


def test_the_models_have_every_registered_component():
    assert {pair for names in models_of_everything() for pair in names.items()} == set(CHOICES)


def test_every_kind_that_adds_light_has_bands_in_which_it_matters():
    light = {"dust_emission", "agn", "agn_disc", "radio", "xray"}
    assert {kinds[0] for kinds in TOGETHER if light & set(kinds)} <= set(BANDS)
