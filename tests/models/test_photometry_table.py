"""Fast photometry: the basis, its error against the exact mode, coverage."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import tengri_ppl as tg
from tengri_ppl.errors import DataError, ParameterError
from tengri_ppl.models.light_table import contract
from tengri_ppl.models.nodes import redshift_nodes
from tengri_ppl.models.photometry_table import PhotometryTable, band_basis, lagrange_basis

BANDS = [
    *("galex_FUV", "galex_NUV", "sdss_u0", "sdss_g0", "sdss_r0", "sdss_i0", "sdss_z0"),
    *("twomass_J", "twomass_H", "twomass_Ks", "jwst_f115w", "jwst_f150w", "jwst_f200w"),
    *("jwst_f277w", "jwst_f356w", "jwst_f444w", "spitzer_irac_ch1", "spitzer_irac_ch2"),
    *("wise_w3", "wise_w4"),
]


@pytest.fixture(scope="module")
def observation():
    return tg.Observation(tg.Photometry.from_names(BANDS))


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


def test_interpolation_in_redshift_is_exact_for_cubics():
    """In ln(1 + z), between all nodes and up to the ends of the table."""
    log1pz = np.linspace(0.1, 0.9, 9)
    values = np.stack([1.0 - x + 2.0 * x**2 - 3.0 * x**3 for x in log1pz])[:, None, None, None]
    with jax.enable_x64(True):
        table = PhotometryTable(jnp.asarray(values), jnp.ones(1), jnp.ones(1), jnp.asarray(log1pz))
        for x in (0.1, 0.13, 0.47, 0.5, 0.88, 0.9):
            got = table.at(jnp.expm1(x))
            assert float(got[0, 0, 0]) == pytest.approx(1 - x + 2 * x**2 - 3 * x**3, rel=1e-12)


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


def percentile_of_error(spec, ssp, observation):
    """95th percentile over 500 prior draws and all bands that are not dark."""
    model = tg.SEDModel(spec, ssp, observation)
    return model.photometry_error(jax.random.key(1))["p95"]


@pytest.mark.slow
@pytest.mark.parametrize("law", ["calzetti", "power_law", "salim"])
@pytest.mark.parametrize("redshift", [0.1, 1.0, 3.0])
def test_fast_photometry_is_good_to_a_part_in_a_thousand(law, redshift, ssp, observation):
    """What ``tolerance`` promises by default."""
    spec = tg.Parameters(sfh="dpl", dust_law=law, redshift=redshift)
    assert percentile_of_error(spec, ssp, observation) < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("law", ["calzetti", "power_law", "salim"])
def test_fast_photometry_with_free_redshift_is_good_to_a_part_in_a_thousand(law, ssp, observation):
    spec = tg.Parameters(sfh="dpl", dust_law=law, redshift=tg.Uniform(0.01, 4.0))
    assert percentile_of_error(spec, ssp, observation) < 1e-3


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
