"""SEDModel: shapes, broadcasting, modes, derived quantities."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tengri_ppl as tg


@pytest.fixture(scope="module")
def sed(ssp, sdss):
    return tg.SEDModel(tg.Parameters(dust_law="calzetti", redshift=0.5), ssp, observation=sdss)


def test_predictions_broadcast_over_leading_axes(sed, key):
    batch = sed.spec.sample_batch(key, 6)
    flux = sed.predict_photometry(batch)
    assert flux.shape == (6, 5)
    first = {name: value[0] for name, value in batch.items()}
    one = sed.predict_photometry(first)
    assert one.shape == (5,)
    # the same arithmetic in another order: a few units of the last place
    np.testing.assert_allclose(flux[0], one, rtol=2e-5)
    grid = {name: value.reshape(2, 3) for name, value in batch.items()}
    np.testing.assert_allclose(sed.predict_photometry(grid).reshape(6, 5), flux, rtol=2e-5)
    mixed = {**first, "met_logzsol": batch["met_logzsol"]}
    assert sed.predict_photometry(mixed).shape == (6, 5)
    mapped = jax.vmap(sed.predict_photometry)(batch)
    np.testing.assert_allclose(mapped, flux, rtol=2e-5)


def test_fast_and_exact_photometry_agree_to_the_tolerance(sed):
    error = sed.photometry_error(jax.random.key(1), 100)
    assert error["p95"] < 1e-3  # the tolerance that the model was built with
    assert "fast photometry" in sed.summary()


def test_amplitude_scales_the_flux(sed, key):
    params = sed.spec.sample(key)
    brighter = {**params, "sfh_dpl_log_mass": params["sfh_dpl_log_mass"] + 1.0}
    for mode in ("fast", "exact"):
        ratio = sed.predict_photometry(brighter, mode) / sed.predict_photometry(params, mode)
        np.testing.assert_allclose(ratio, 10.0, rtol=1e-4)


def test_modes_have_aliases_and_unknown_ones_are_refused(sed, key):
    params = sed.spec.sample(key)
    exact = sed.predict_photometry(params, mode="exact")
    np.testing.assert_array_equal(sed.predict_photometry(params, mode="compositional"), exact)
    np.testing.assert_array_equal(
        sed.predict_photometry(params, mode="auto"), sed.predict_photometry(params, mode="fast")
    )
    with pytest.raises(tg.ParameterError, match="did you mean 'exact'"):
        sed.predict_photometry(params, mode="exakt")


def test_spectrum_integrates_to_the_photometry(sed, key):
    """Observed flux from L_nu by hand: f_nu = (1 + z) L_nu / (4 pi D_L^2), D_L from astropy."""
    from astropy.cosmology import FlatLambdaCDM

    params = sed.spec.sample(key)
    spectrum = np.asarray(sed.predict_sed(params), dtype=float)
    assert spectrum.shape == sed.wave.shape
    distance = FlatLambdaCDM(H0=70, Om0=0.3, Tcmb0=0).luminosity_distance(0.5).to("cm").value
    observed = np.asarray(sed.wave, dtype=float) * 1.5
    flux = 1.5 * spectrum / (4 * np.pi * distance**2)
    band = tg.load_filter("sdss_r")
    fine = np.linspace(band.wave.min(), band.wave.max(), 40001)
    weight = np.interp(fine, band.wave, band.transmission) / fine
    expected = np.trapezoid(np.interp(fine, observed, flux) * weight, fine)
    expected /= np.trapezoid(weight, fine)
    # 1e-4: the quadrature of 1/3000 in ln(lambda) over the lines of the spectrum
    assert float(sed.predict_photometry(params, mode="exact")[2]) == pytest.approx(
        expected, rel=3e-4
    )


def test_derived_quantities_of_constant_star_formation(ssp, sdss):
    """1e10 Msun at a constant rate over 2 Gyr: 5 Msun/yr, mean age 1 Gyr."""
    spec = tg.Parameters(
        sfh="constant",
        dust="single",
        dust_law="calzetti",
        sfh_constant_log_mass=10.0,
        sfh_constant_age_max_gyr=2.0,
        met_logzsol=0.0,
        dust_tau_diff=1.0,
        redshift=0.1,
    )
    derived = tg.SEDModel(spec, ssp, observation=sdss).derived({})
    assert float(derived["mass_formed"]) == pytest.approx(1e10, rel=1e-4)
    assert float(derived["sfr_10myr"]) == pytest.approx(5.0, rel=1e-4)
    assert float(derived["sfr_100myr"]) == pytest.approx(5.0, rel=1e-4)
    assert float(derived["age_mass_weighted_gyr"]) == pytest.approx(1.0, rel=1e-4)
    # BC03 returns between 20 % and 55 % of the mass of populations up to 2 Gyr old
    assert 0.45e10 < float(derived["stellar_mass"]) < 0.85e10
    assert float(derived["ssfr_100myr"]) == pytest.approx(
        5.0 / float(derived["stellar_mass"]), rel=1e-4
    )
    # k(5500 A) of Calzetti is 0.9995
    assert float(derived["a_v"]) == pytest.approx(1.0857 * 0.9995, rel=1e-3)
    assert float(derived["a_v_diffuse"]) == pytest.approx(float(derived["a_v"]), rel=1e-3)


def test_star_formation_history_integrates_to_the_mass(sed, key):
    params = sed.spec.sample(key)
    lookback = jnp.linspace(0.0, 9.0, 20001)
    rate = np.asarray(sed.predict_sfh(params, lookback), dtype=float)
    mass = np.trapezoid(rate, np.asarray(lookback, dtype=float)) * 1e9
    assert mass == pytest.approx(float(sed.derived(params)["mass_formed"]), rel=2e-3)


def test_gradients_of_the_flux_match_central_differences(x64, ssp, sdss):
    spec = tg.Parameters(dust_law="salim", dust_t_bc_gyr=tg.Uniform(0.005, 0.05), redshift=0.5)
    model = tg.SEDModel(spec, ssp, observation=sdss)

    def log_flux(params):
        return jnp.sum(jnp.log(model.predict_photometry(params)))

    params = spec.sample(jax.random.key(3))
    gradient = jax.grad(log_flux)(params)
    for name, value in params.items():
        h = 1e-6 * max(abs(float(value)), 1e-3)
        up, down = ({**params, name: value + sign * h} for sign in (1, -1))
        numeric = (log_flux(up) - log_flux(down)) / (2 * h)
        # truncation and rounding of the difference are below 1e-5 of the largest gradient
        assert float(gradient[name]) == pytest.approx(float(numeric), rel=1e-4, abs=1e-5), name


def test_gradients_are_finite_over_the_prior_in_32_bit(sed):
    batch = sed.spec.sample_batch(jax.random.key(5), 500)

    def log_flux(params):
        return jnp.sum(jnp.log(sed.predict_photometry(params) * 1e29))

    gradients = jax.jit(jax.vmap(jax.grad(log_flux)))(batch)
    for name, value in gradients.items():
        assert bool(jnp.all(jnp.isfinite(value))), name


def test_free_redshift_agrees_with_fixed_redshift(ssp, sdss, key):
    free = tg.SEDModel(
        tg.Parameters(dust_law="calzetti", redshift=tg.Uniform(0.2, 1.0)), ssp, observation=sdss
    )
    fixed = tg.SEDModel(tg.Parameters(dust_law="calzetti", redshift=0.537), ssp, observation=sdss)
    params = fixed.spec.sample(key)
    expected = fixed.predict_photometry(params, mode="exact")
    for mode in ("fast", "exact"):
        flux = free.predict_photometry({**params, "redshift": 0.537}, mode=mode)
        np.testing.assert_allclose(flux, expected, rtol=2e-3, err_msg=mode)


@pytest.mark.parametrize(
    ("redshift", "message"),
    [(tg.Fixed(0.0), "positive redshift"), (tg.Normal(1.0, 0.1), "a bounded one")],
)
def test_unusable_redshifts_are_refused(ssp, sdss, redshift, message):
    with pytest.raises(tg.ParameterError, match=message):
        tg.SEDModel(tg.Parameters(redshift=redshift), ssp, observation=sdss)


def test_a_tolerance_out_of_reach_names_the_band_that_errs_most(ssp, sdss):
    """Noise far from its passband makes a filter hard to tabulate."""
    wave = np.linspace(1500.0, 30000.0, 400)
    response = np.exp(-0.5 * ((wave - 5500.0) / 300.0) ** 2)
    leaky = response + 0.05 * np.random.default_rng(0).uniform(size=wave.size)
    leaky[[0, -1]] = 0.0
    bands = [tg.Filter.from_arrays("leaky", wave, leaky), *sdss.photometry.filters]
    spec = tg.Parameters(sfh="delayed", dust_law="calzetti", redshift=0.1)
    with pytest.raises(tg.ParameterError, match=r"not reached .* the dust errs by .* in leaky"):
        tg.SEDModel(spec, ssp, tg.Observation(tg.Photometry(bands)), tolerance=1e-5)
