"""The InferenceData builder, Posterior, files and figures on one small real fit."""

from __future__ import annotations

import json
from types import SimpleNamespace

import arviz as az
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tengri_ppl as tg
from tengri_ppl.inference.nuts import NUTSOptions, run_nuts
from tengri_ppl.inference.target import Target
from tengri_ppl.models.galaxy import sampling_model
from tengri_ppl.results import DERIVED, Posterior, build_inference_data
from tengri_ppl.results.plots import plot_corner
from tengri_ppl.results.plots.sed import observed_spectra
from tengri_ppl.results.storage import read_inference_data, write_inference_data

CHAINS, DRAWS, MASKED = 2, 100, 3
MICROJANSKY = 1e-29


def make_sed(ssp, observation, **values) -> tg.SEDModel:
    values = {"redshift": tg.Fixed(0.1)} | values
    return tg.SEDModel(
        tg.Parameters(sfh="delayed", dust_law="calzetti", **values), ssp, observation
    )


@pytest.fixture(scope="module")
def fit(ssp, sdss):
    """A fit of noisy mock fluxes with a floor and a masked band."""
    sed = make_sed(ssp, sdss)
    truth = sed.spec.sample(jax.random.key(1))
    flux = np.asarray(sed.predict_photometry(truth), dtype=float)
    flux *= 1.0 + 0.05 * np.random.default_rng(0).normal(size=flux.size)
    mask = np.arange(flux.size) != MASKED
    noise = tg.GaussianNoise(
        sigma=jnp.asarray(0.04 * flux), floor=jnp.asarray(0.03), mask=jnp.asarray(mask)
    )
    options = NUTSOptions(n_warmup=100, n_samples=DRAWS, num_chains=CHAINS)
    target = Target(sampling_model, (sed, noise, jnp.asarray(flux)))
    result = run_nuts(target, jax.random.key(0), options)
    idata = build_inference_data(
        result, sed, noise, flux, key=jax.random.key(2), attrs={"seed": 0, "extra": {"a": [1]}}
    )
    return SimpleNamespace(
        sed=sed, truth=truth, flux=flux, noise=noise, mask=mask, result=result, idata=idata
    )


@pytest.fixture(scope="module")
def posterior(fit):
    return Posterior(fit.idata, model=fit.sed)


# -- InferenceData ---------------------------------------------------------------------------------


def test_groups_dims_and_coordinates(fit):
    assert set(fit.idata.groups()) == {
        "posterior",
        "unconstrained_posterior",
        "sample_stats",
        "log_likelihood",
        "posterior_predictive",
        "prior",
        "prior_predictive",
        "observed_data",
        "constant_data",
    }
    assert list(fit.idata.posterior) == [*fit.sed.spec.free_params, *DERIVED]
    assert all(name.endswith(("_std", "_decentred")) for name in fit.idata.unconstrained_posterior)
    for group in ("log_likelihood", "posterior_predictive"):
        flux = fit.idata[group]["flux"]
        assert flux.dims == ("chain", "draw", "band")
        assert flux.shape == (CHAINS, DRAWS, 5)
        assert tuple(flux.coords["band"].values) == fit.sed.bands
    assert fit.idata.prior_predictive["flux"].shape == (1, 500, 5)
    assert fit.idata.sample_stats["diverging"].dtype == bool
    assert fit.idata.posterior["log_stellar_mass"].attrs["units"] == "dex(Msun)"


def test_draws_are_the_engines(fit):
    for name in fit.sed.spec.free_params:
        np.testing.assert_array_equal(fit.idata.posterior[name], fit.result.samples[name])


def test_log_likelihood_is_the_gaussian_of_each_band(fit):
    draws = {k: v.reshape(-1) for k, v in fit.sed.spec.free_values(fit.result.samples).items()}
    model = np.asarray(fit.sed.predict_photometry(draws), dtype=float)
    sigma = np.hypot(0.04 * fit.flux, 0.03 * fit.flux)
    expected = -0.5 * ((fit.flux - model) / sigma) ** 2 - np.log(sigma * np.sqrt(2 * np.pi))
    expected[:, MASKED] = 0.0
    found = fit.idata.log_likelihood["flux"].values.reshape(-1, 5)
    # 32-bit fluxes are good to 1e-6, at residuals of up to 5 sigma = 25 % of the flux.
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_posterior_predictive_scatters_by_the_error_around_the_model(fit):
    draws = {k: v.reshape(-1) for k, v in fit.sed.spec.free_values(fit.result.samples).items()}
    model = np.asarray(fit.sed.predict_photometry(draws), dtype=float)
    scatter = fit.idata.posterior_predictive["flux"].values.reshape(-1, 5) - model
    # 4 standard errors of the standard deviation and of the mean of 200 draws.
    np.testing.assert_allclose(
        scatter.std(axis=0)[fit.mask], 0.05 * fit.flux[fit.mask], rtol=4 / np.sqrt(2 * 200)
    )
    assert np.all(np.abs(scatter.mean(axis=0)) < 4 * 0.05 * fit.flux / np.sqrt(200))
    assert np.all(np.abs(scatter[:, MASKED]) < 1e-5 * model[:, MASKED])


def test_data_groups(fit, sdss):
    constant = fit.idata.constant_data
    np.testing.assert_allclose(fit.idata.observed_data["flux"], fit.flux, rtol=1e-6)
    np.testing.assert_array_equal(constant["mask"], fit.mask)
    error = np.where(fit.mask, 0.05 * fit.flux, np.nan)
    np.testing.assert_allclose(constant["flux_error"], error, rtol=1e-5)
    # The pivot comes from the nodes of the quadrature, whose rule is good to 1e-5.
    pivot = sdss.photometry.pivot_wavelengths
    np.testing.assert_allclose(constant["pivot_wavelength"], pivot, rtol=1e-4)


def test_derived_quantities_are_the_models(fit, posterior):
    values = fit.sed.derived(posterior.samples)
    for name in ("stellar_mass", "sfr_100myr", "ssfr_100myr", "a_v"):
        np.testing.assert_allclose(posterior.derived[name], values[name], rtol=1e-4)


def test_prior_draws_follow_the_prior(fit):
    prior = fit.sed.spec["met_logzsol"]
    draws = fit.idata.prior["met_logzsol"].values
    assert draws.min() >= prior.low
    assert draws.max() <= prior.high
    width = float(prior.high - prior.low)
    # 4 standard errors of the mean of 500 uniform numbers.
    assert abs(draws.mean() - (prior.low + width / 2)) < 4 * width / np.sqrt(12 * 500)


def test_attributes(fit):
    attrs = fit.idata.attrs
    assert attrs["method"] == "mcmc_nuts"
    assert attrs["seed"] == 0
    assert json.loads(attrs["extra"]) == {"a": [1]}
    assert json.loads(attrs["settings"])["num_chains"] == CHAINS
    assert attrs["jax_version"] == jax.__version__
    assert attrs["arviz_version"] == az.__version__
    assert attrs["wall_time_s"] > 0


@pytest.mark.filterwarnings("ignore:Estimated shape parameter of Pareto")  # 200 draws are few
def test_loo_sums_the_bands(fit):
    loo = az.loo(fit.idata, var_name="flux", pointwise=True)
    assert loo.loo_i.shape == (5,)
    assert loo.loo_i[MASKED].item() == pytest.approx(0.0, abs=1e-12)


def test_other_data_and_fewer_draws_compile_nothing(fit):
    compiled = []
    event = "/jax/core/compile/backend_compile_duration"

    def listen(name, duration, **_):
        if name == event:
            compiled.append(duration)

    fewer = SimpleNamespace(**vars(fit.result))
    fewer.samples = {k: v[:, :60] for k, v in fit.result.samples.items()}
    fewer.sample_stats = {k: v[:, :60] for k, v in fit.result.sample_stats.items()}
    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        idata = build_inference_data(
            fewer, fit.sed, fit.noise, 1.1 * fit.flux, key=jax.random.key(9)
        )
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert idata.posterior.sizes["draw"] == 60
    assert compiled == []


def test_draws_beyond_one_chunk_are_all_evaluated(fit):
    many = SimpleNamespace(**vars(fit.result), repeat=7)
    many.samples = {k: np.tile(v, (1, 7)) for k, v in fit.result.samples.items()}
    many.sample_stats = {}
    idata = build_inference_data(many, fit.sed, fit.noise, fit.flux, key=jax.random.key(9))
    assert "sample_stats" not in idata.groups()
    found = idata.log_likelihood["flux"].values
    once = fit.idata.log_likelihood["flux"].values
    np.testing.assert_allclose(found, np.tile(once, (1, 7, 1)), rtol=1e-5, atol=1e-5)


def test_missing_parameter_is_refused(fit):
    short = SimpleNamespace(**vars(fit.result))
    short.samples = {k: v for k, v in fit.result.samples.items() if k != "met_logzsol"}
    with pytest.raises(tg.ParameterError, match="met_logzsol"):
        build_inference_data(short, fit.sed, fit.noise, fit.flux, key=jax.random.key(9))


# -- Posterior -------------------------------------------------------------------------------------


def test_samples_means_and_medians(fit, posterior):
    assert list(posterior.samples) == fit.sed.spec.free_params
    for name, draws in posterior.samples.items():
        assert draws.shape == (CHAINS * DRAWS,)
        assert posterior.params[name] == pytest.approx(float(np.mean(draws, dtype=float)))
        assert posterior.median[name] == pytest.approx(float(np.median(draws)))
    assert posterior.method == "mcmc_nuts"
    assert posterior.to_arviz() is fit.idata
    assert posterior.wall_time_s == pytest.approx(fit.result.wall_time_s)


def test_summary_has_a_row_per_quantity(fit, posterior):
    table = posterior.summary()
    assert list(table.index) == [*fit.sed.spec.free_params, *DERIVED]
    assert {"mean", "sd", "ess_bulk", "ess_tail", "r_hat"} <= set(table.columns)
    text = posterior.summary_str()
    assert "log_stellar_mass" in text
    assert text.endswith(posterior.convergence().message)
    assert len(posterior.summary(derived=False)) == len(fit.sed.spec.free_params)


def test_repr_and_convergence(posterior):
    verdict = posterior.check_convergence(min_ess=1e6)
    assert not verdict
    assert "1e+06 needed" in verdict.message
    assert posterior.convergence(max_rhat=10.0, min_ess=1.0, max_divergences=1.0)
    assert repr(posterior).startswith(f"Posterior(mcmc_nuts: {CHAINS} chains x {DRAWS} draws")
    sizes = posterior.effective_sample_size()
    assert min(sizes.values()) == pytest.approx(verdict.min_ess_bulk)


def test_inference_data_without_posterior_is_refused(fit):
    with pytest.raises(tg.DataError, match="no group 'posterior'"):
        Posterior(az.InferenceData(prior=fit.idata.prior))


# -- files -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".h5", ".nc"])
def test_round_trip(fit, posterior, tmp_path, suffix):
    path = posterior.save(tmp_path / f"fit{suffix}")
    again = Posterior.load(path, model=fit.sed)
    assert set(again.inference_data.groups()) == set(fit.idata.groups())
    for group in fit.idata.groups():
        for name, variable in fit.idata[group].items():
            stored = again.inference_data[group][name]
            assert stored.dtype == variable.dtype
            assert stored.attrs == variable.attrs
            np.testing.assert_array_equal(stored.values, variable.values)
    assert again.inference_data.attrs == fit.idata.attrs
    assert repr(again) == repr(posterior)
    opened = az.from_netcdf(str(path), engine="h5netcdf")
    assert opened.sample_stats["diverging"].dtype == bool
    opened.close()
    assert list(tmp_path.iterdir()) == [path]


def test_a_failing_write_leaves_the_old_file(posterior, tmp_path):
    path = posterior.save(tmp_path / "fit.h5")
    before = path.read_bytes()

    class Broken:
        def to_netcdf(self, name, **_):
            with open(name, "w") as file:
                file.write("half a fi")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_inference_data(Broken(), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_overwriting_a_file_that_was_loaded(posterior, tmp_path):
    path = posterior.save(tmp_path / "fit.h5")
    loaded = Posterior.load(path)
    loaded.save(path)
    assert Posterior.load(path).params == posterior.params


def test_what_is_no_posterior_is_refused(fit, tmp_path):
    with pytest.raises(tg.DataError, match="does not exist"):
        read_inference_data(tmp_path / "none.h5")
    text = tmp_path / "text.h5"
    text.write_text("no data")
    with pytest.raises(tg.DataError, match="cannot be read"):
        read_inference_data(text)
    prior = write_inference_data(az.InferenceData(prior=fit.idata.prior), tmp_path / "prior.nc")
    with pytest.raises(tg.DataError, match="holds no posterior"):
        read_inference_data(prior)
    with pytest.raises(tg.DataError, match=r"ends in \.h5"):
        write_inference_data(fit.idata, tmp_path / "fit.txt")
    with pytest.raises(tg.DataError, match="create it first"):
        write_inference_data(fit.idata, tmp_path / "absent" / "fit.h5")


def test_other_models_are_refused(fit, posterior, ssp, sdss, tmp_path):
    path = posterior.save(tmp_path / "fit.h5")
    gri = tg.Observation(photometry=sdss.photometry.subset(["sdss_g", "sdss_r", "sdss_i"]))
    with pytest.raises(tg.DataError, match="'sdss_u' is only in the posterior"):
        Posterior.load(path, model=make_sed(ssp, gri))
    with pytest.raises(tg.ParameterError, match="'met_logzsol' is only in the posterior"):
        Posterior.load(path, model=make_sed(ssp, sdss, met_logzsol=tg.Fixed(0.0)))
    with pytest.raises(tg.ParameterError, match=r"redshift is 0\.1.* in the posterior"):
        Posterior.load(path, model=make_sed(ssp, sdss, redshift=tg.Fixed(0.2)))
    with pytest.raises(tg.ParameterError, match="dust is 'two_component"):
        Posterior.load(path, model=make_sed(ssp, sdss, dust_law_bc="power_law"))
    assert Posterior.load(path).model is None


# -- figures ---------------------------------------------------------------------------------------


def test_corner_is_a_lower_triangle(fit, posterior):
    names = ["log_stellar_mass", "a_v", "met_logzsol"]
    fig = posterior.plot_corner(names, truths=fit.truth, label="posterior")
    assert len(fig.axes) == 6
    bottom = [ax.get_xlabel() for ax in fig.axes[-3:]]
    assert bottom == [r"$\log_{10}(M_\star/M_\odot)$", "$A_V$ [mag]", r"$\log_{10}(Z/Z_\odot)$"]
    prior = {name: fit.idata.prior[name].values.ravel() for name in names}
    assert plot_corner(prior, fig=fig, label="prior") is fig
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["posterior", "prior"]
    with pytest.raises(tg.ParameterError, match="choose the same params"):
        posterior.plot_corner(["a_v", "met_logzsol"], fig=fig)
    with pytest.raises(tg.ParameterError, match="did you mean 'a_v'"):
        posterior.plot_corner(["av"])


def test_corner_survives_a_constant(posterior):
    assert plot_corner({"a": np.zeros(50), "b": np.arange(50.0)}) is not None


def test_sed_figure(fit, posterior):
    fig = posterior.plot_sed()
    main, residual = fig.axes
    assert main.get_xscale() == main.get_yscale() == "log"
    assert residual.get_xlabel() == r"observed wavelength [$\mu$m]"
    assert r"$\mu$Jy" in main.get_ylabel()
    labels = {text.get_text() for text in main.get_legend().get_texts()}
    assert {"data", "masked", "model photometry", "68 %", "95 %"} <= labels
    fig.savefig("/dev/null", format="png")


def test_observed_spectrum_agrees_with_the_photometry(fit, posterior):
    draws = {name: x[:2] for name, x in posterior.samples.items()}
    wave, spectra = observed_spectra(fit.sed, draws)
    quadrature = fit.sed.forward.quadrature
    for row, expected in zip(spectra, fit.sed.predict_photometry(draws, mode="exact"), strict=True):
        nodes = np.interp(quadrature.wave, wave, row)
        flux = np.sum(nodes * quadrature.weight, axis=1) * MICROJANSKY
        # 32-bit wavelengths of the spectrum shift its lines by up to 1e-7 of the wavelength.
        np.testing.assert_allclose(flux, expected, rtol=1e-3)


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_sfh_figure(fit, posterior, scale):
    fig = posterior.plot_sfh(scale=scale, truths=fit.truth)
    (ax,) = fig.axes
    assert ax.get_xlabel() == "lookback time [Gyr]"
    # Age of the Universe at z = 0.1 with H0 = 70, Om0 = 0.3 (astropy: 12.16 Gyr).
    assert ax.get_xlim()[1] == pytest.approx(12.16, abs=0.02)
    assert ax.get_xscale() == scale


def test_trace_figure(posterior):
    fig = posterior.plot_trace()
    assert len(fig.axes) == 2 * len(posterior.samples)
    assert fig.axes[-2].get_xlabel() == "draw"


def test_model_figures_need_a_model(fit):
    with pytest.raises(tg.ParameterError, match="model=sed"):
        Posterior(fit.idata).plot_sed()
    with pytest.raises(tg.ParameterError, match="'cubic'"):
        Posterior(fit.idata, model=fit.sed).plot_sfh(scale="cubic")
