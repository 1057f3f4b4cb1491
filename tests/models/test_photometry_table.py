"""Fast photometry: the basis, its error against the exact mode, coverage."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import tengri_ppl as tg
from tengri_ppl.errors import DataError, ParameterError
from tengri_ppl.models.light_table import LightTable, contract
from tengri_ppl.models.nodes import redshift_nodes
from tengri_ppl.models.photometry_table import BandNodes, PhotometryTable

BANDS = [
    *("galex_FUV", "galex_NUV", "sdss_u0", "sdss_g0", "sdss_r0", "sdss_i0", "sdss_z0"),
    *("twomass_J", "twomass_H", "twomass_Ks", "jwst_f115w", "jwst_f150w", "jwst_f200w"),
    *("jwst_f277w", "jwst_f356w", "jwst_f444w", "spitzer_irac_ch1", "spitzer_irac_ch2"),
    *("wise_w3", "wise_w4"),
]


@pytest.fixture(scope="module")
def observation():
    return tg.Observation(tg.Photometry.from_names(BANDS))


def cubic(x):
    return 1.0 - x + 2.0 * x**2 - 3.0 * x**3


def make_table(wave, log1pz):
    """A table whose integrals are the sums of the nodes' wavelengths."""
    values = LightTable(stars=wave.sum(axis=2), young=None)
    return PhotometryTable(values, BandNodes(wave), jnp.asarray(log1pz))


def test_interpolation_in_redshift_is_exact_for_cubics():
    """In ln(1 + z), between all tables and up to their ends, for fluxes and for single arrays."""
    log1pz = np.linspace(0.1, 0.9, 9)
    with jax.enable_x64(True):
        wave = jnp.asarray(cubic(log1pz))[:, None, None] * jnp.ones((1, 2, 3))
        table = make_table(wave, log1pz)
        for x in (0.1, 0.13, 0.47, 0.5, 0.88, 0.9):
            near = table.near(jnp.expm1(x))
            fluxes = near.fluxes(lambda values: values.stars, lambda s, nodes: s + nodes.wave[:, 0])
            np.testing.assert_allclose(fluxes, [4.0 * cubic(x)] * 2, rtol=1e-12)
            np.testing.assert_allclose(near.blend(wave)[0, 0], cubic(x), rtol=1e-12)


def test_fluxes_are_interpolated_and_not_what_they_are_made_of():
    """1 / x of x = 1, 2, 3, 4 at the tables, half way: cubic through 1, 1/2, 1/3, 1/4."""
    wave = jnp.arange(1.0, 5.0)[:, None, None]
    near = make_table(wave, jnp.arange(4.0) / 10).near(jnp.expm1(0.15))
    flux = near.fluxes(lambda values: values.stars, lambda sums, _: 1.0 / sums)
    assert float(flux[0]) == pytest.approx((-1 + 9 / 2 + 9 / 3 - 1 / 4) / 16, rel=1e-5)


@pytest.mark.parametrize("n", [0, 3, 5])
def test_contraction_takes_shares_of_all_stars_or_of_each_age(n):
    rng = np.random.default_rng(n)
    integrals, masses, share = rng.random((5, 2, 4)), rng.random(n), rng.random((2, 5))
    by_age = contract(jnp.asarray(integrals), jnp.asarray(masses * share[:, :n]))
    expected = np.einsum("amk,a,ma->k", integrals[:n], masses, share[:, :n])
    np.testing.assert_allclose(by_age, expected, rtol=1e-5)
    common = contract(*map(jnp.asarray, (integrals, masses, share[:, 0])))
    expected = np.einsum("amk,a,m->k", integrals[:n], masses, share[:, 0])
    np.testing.assert_allclose(common, expected, rtol=1e-5)


@pytest.mark.parametrize("age_scheme", ["linear", "bins"])
@pytest.mark.parametrize("t_bc", [0.004, 0.02])
def test_only_the_ages_that_birth_clouds_can_have_are_summed_and_none_is_lost(
    age_scheme, t_bc, ssp, sdss
):
    """A prior without an upper bound makes all ages count as possibly young."""
    flux = []
    for prior, given in ((t_bc, {}), (dist.LogNormal(0.0, 1.0), {"dust_t_bc_gyr": t_bc})):
        spec = tg.Parameters(sfh="dpl", redshift=0.5, dust_t_bc_gyr=prior)
        model = tg.SEDModel(spec, ssp, sdss, age_scheme=age_scheme, n_nodes=4)
        names = [name for name in spec.free_params if name not in given]
        params = dict(zip(names, VALUES, strict=True)) | given
        flux.append(np.asarray(model.predict_photometry(params)))
    np.testing.assert_allclose(flux[0], flux[1], rtol=3e-6)


def percentile_of_error(spec, ssp, observation, measured):
    """95th percentile over 500 prior draws and all bands that are not dark."""
    model = tg.SEDModel(spec, ssp, observation)
    error = model.photometry_error(jax.random.key(1))["p95"]
    measured("fast photometry of stars against exact, 95th percentile of each model", error)
    return error


@pytest.mark.slow
@pytest.mark.parametrize("law", ["calzetti", "power_law", "salim"])
@pytest.mark.parametrize("redshift", [0.1, 1.0, 3.0])
def test_fast_photometry_is_good_to_a_part_in_a_thousand(law, redshift, ssp, observation, measured):
    """What ``tolerance`` promises by default."""
    spec = tg.Parameters(sfh="dpl", dust_law=law, redshift=redshift)
    assert percentile_of_error(spec, ssp, observation, measured) < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("law", ["calzetti", "power_law", "salim"])
def test_fast_photometry_with_free_redshift_is_good_to_a_part_in_a_thousand(
    law, ssp, observation, measured
):
    spec = tg.Parameters(sfh="dpl", dust_law=law, redshift=tg.Uniform(0.01, 3.0))
    assert percentile_of_error(spec, ssp, observation, measured) < 1e-3


def test_without_dust_the_fast_mode_is_as_good_as_single_precision(ssp, sdss):
    """Nothing is left to interpolate: rounding over 875 populations in float32."""
    model = tg.SEDModel(tg.Parameters(sfh="dpl", dust="none", redshift=0.5), ssp, sdss)
    assert model.photometry_error(jax.random.key(0), 50)["max"] < 2e-5


def test_more_nodes_make_the_fast_mode_better(ssp, sdss):
    spec = tg.Parameters(sfh="dpl", dust_law="power_law", redshift=0.5)
    errors = [
        tg.SEDModel(spec, ssp, sdss, n_nodes=n).photometry_error(jax.random.key(0), 50)["p95"]
        for n in (2, 4, 6)
    ]
    assert errors[0] > 5 * errors[1] > 25 * errors[2]


def test_fast_and_exact_modes_agree_in_both_precisions_in_one_process(ssp, sdss):
    spec = tg.Parameters(sfh="dpl", dust_law="power_law", redshift=0.5)
    flux = []
    for double in (False, True):
        with jax.enable_x64(double):
            params = {k: float(v) for k, v in zip(spec.free_params, VALUES, strict=True)}
            model = tg.SEDModel(spec, ssp, sdss)
            flux += [np.asarray(model.predict_photometry(params, m)) for m in ("fast", "exact")]
    assert flux[0].dtype == np.float32
    assert flux[2].dtype == np.float64
    for other in flux[:3]:
        np.testing.assert_allclose(other, flux[3], rtol=1e-3)


VALUES = (10.0, 4.0, 2.0, 1.0, -0.3, 0.5, 0.5)  # log_mass, tau, alpha, beta, logzsol, taus


def test_measured_error_is_kept_and_shown_in_the_summary(ssp, sdss):
    model = tg.SEDModel(tg.Parameters(sfh="constant", redshift=0.5), ssp, sdss)
    assert "fast photometry" not in model.summary()
    error = model.photometry_error(jax.random.key(0), n_draws=20)
    assert 0.0 <= error["p50"] <= error["p95"] <= error["max"] < 0.05
    assert f"p95 {error['p95']:.2g}" in model.summary()


def test_band_beyond_the_grid_is_refused_by_name(ssp):
    red = 3.0 * float(ssp.ssp_wave[-1])
    band = ("too_red", np.array([0.9, 1.0, 1.1]) * red, np.array([0.0, 1.0, 0.0]))
    observation = tg.Observation(tg.Photometry(["sdss_g", band]))
    with pytest.raises(DataError, match=r"'too_red' needs rest-frame wavelengths"):
        tg.SEDModel(tg.Parameters(sfh="dpl", redshift=0.5), ssp, observation)


def test_xrays_without_surviving_masses_are_refused_when_the_model_is_built(ssp, sdss):
    grid = dataclasses.replace(ssp, ssp_mass_remaining=None)
    tg.SEDModel(tg.Parameters(sfh="dpl", redshift=0.5), grid, sdss, n_nodes=2)
    with pytest.raises(DataError, match=r"xray='lehmer2016' follows the surviving .* xray='none'"):
        tg.SEDModel(tg.Parameters(xray="lehmer2016", redshift=0.5), grid, sdss)


def test_tolerance_beyond_reach_is_refused_with_a_way_out(ssp, observation):
    with pytest.raises(ParameterError, match=r"tolerance=1e-09 .* mode='exact'"):
        tg.SEDModel(tg.Parameters(sfh="dpl", redshift=0.5), ssp, observation, tolerance=1e-9)


def test_redshift_nodes_cover_the_prior_in_even_steps():
    nodes = np.log1p(redshift_nodes(tg.Uniform(0.01, 4.0)))
    np.testing.assert_allclose(nodes[[0, -1]], np.log1p([0.01, 4.0]), rtol=1e-6)  # float32 prior
    np.testing.assert_allclose(np.diff(nodes), np.diff(nodes)[0], rtol=1e-9)
    assert redshift_nodes(tg.Fixed(0.7)).tolist() == [0.7]


@pytest.mark.parametrize(
    ("redshift", "message"),
    [
        (tg.Fixed(0.0), "expected a positive redshift"),
        (tg.Normal(1.0, 0.1), "a bounded one at z >= 0"),
        (tg.Uniform(-0.5, 1.0), "a bounded one at z >= 0"),
    ],
)
def test_redshifts_without_a_usable_range_are_refused(redshift, message):
    with pytest.raises(ParameterError, match=message):
        redshift_nodes(redshift)
