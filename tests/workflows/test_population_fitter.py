"""PopulationFitter: galaxies in, shared parameters and galaxies out; bad galaxies are named."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import tengri_ppl as tg
from tengri_ppl.inference import geometric

MASS, TAU = "sfh_delayed_log_mass", "sfh_delayed_tau_gyr"
N = 4
NUTS = {"n_warmup": 150, "n_samples": 150, "num_chains": 2}


@pytest.fixture(scope="module")
def sed(ssp, sdss):
    spec = tg.Parameters(
        sfh="delayed",
        dust="single",
        dust_law="calzetti",
        redshift=tg.Uniform(0.02, 0.3),
        sfh_delayed_log_mass=tg.Uniform(7.0, 12.5),
        sfh_delayed_tau_gyr=tg.Uniform(0.3, 5.0),
        sfh_delayed_age_gyr=8.0,
        met_logzsol=-0.2,
        dust_tau_diff=tg.Uniform(0.0, 2.0),
    )
    return tg.SEDModel(spec, ssp, sdss)


@pytest.fixture(scope="module")
def population():
    masses = tg.NormalPopulation(MASS, loc=dist.Normal(10.0, 1.0), scale=dist.HalfNormal(0.5))
    return tg.Population(tg.Shared("dust_tau_diff"), masses)


@pytest.fixture(scope="module")
def galaxies(sed):
    truth = {
        "redshift": np.array([0.05, 0.1, 0.2, 0.12]),
        MASS: np.array([9.5, 10.0, 10.4, 10.9]),
        TAU: np.array([1.0, 4.0, 2.0, 0.6]),
        "dust_tau_diff": 0.4,
    }
    flux = np.asarray(sed.predict_photometry(truth), float)
    noisy = flux * (1.0 + 0.05 * np.asarray(jax.random.normal(jax.random.key(0), flux.shape)))
    return [
        {"id": f"G{i}", "flux_obs": noisy[i], "noise": 0.05 * flux[i], "redshift": z}
        for i, z in enumerate(truth["redshift"])
    ]


def spoilt(galaxies, i=1, **changes):
    return [{**g, **changes} if k == i else g for k, g in enumerate(galaxies)]


@pytest.fixture(scope="module")
def padded(sed, galaxies, population):
    """Fitted with two fillers, one galaxy without any band, and NaN in a masked band."""
    mask = np.arange(sed.n_band) != 2
    changed = spoilt(galaxies, mask=mask, flux_obs=np.where(mask, galaxies[1]["flux_obs"], np.nan))
    nothing = np.full(sed.n_band, np.nan)
    blank = {"flux_obs": nothing, "noise": nothing, "mask": np.zeros(sed.n_band, bool)}
    changed = spoilt(changed, 3, **blank)
    fitter = tg.PopulationFitter(sed, changed, population=population, n_pad=N + 2)
    return fitter.run("mcmc_nuts", jax.random.key(1), **NUTS)


def test_galaxies_and_what_they_share_come_apart(padded):
    assert list(padded.galaxies) == ["G0", "G1", "G2", "G3"]
    shared = {"dust_tau_diff", f"{MASS}_loc", f"{MASS}_scale"}
    assert set(padded.shared_samples) == set(padded.shared_params) == shared
    assert padded.shared_samples["dust_tau_diff"].shape == (300,)
    assert padded.inference_data.posterior[MASS].dims == ("chain", "draw", "galaxy")
    assert padded.inference_data.log_likelihood["flux"].dims == ("chain", "draw", "galaxy")
    galaxy = padded.individual[2]
    assert galaxy.name == "G2"
    assert galaxy.samples[TAU].shape == (300,)
    assert galaxy.params[MASS] == pytest.approx(10.4, abs=0.3)
    assert np.all(np.isfinite(padded.individual_samples[MASS]))


def test_a_galaxy_without_data_follows_the_population(padded):
    """Its mass is a draw from the Gaussian of the masses, hyper-parameters and all."""
    shared, blank = padded.shared_samples, padded.individual[3].samples
    u = (blank[MASS] - shared[f"{MASS}_loc"]) / shared[f"{MASS}_scale"]
    ess = padded.population_diagnostics()["per_galaxy"][MASS]["ess_min"]
    assert abs(u.mean()) < 4 / np.sqrt(ess)
    assert u.std() == pytest.approx(1.0, abs=4 / np.sqrt(2 * ess) + 0.1)
    assert np.all(blank[TAU] >= 0.3) and np.all(blank[TAU] <= 5.0)


def test_diagnostics_tell_shared_from_galaxies(padded):
    found = padded.population_diagnostics()
    assert set(found) == {"shared", "per_galaxy"}
    assert set(found["shared"]["dust_tau_diff"]) == {"rhat", "ess"}
    assert set(found["per_galaxy"]) == {MASS, TAU}
    entry = found["per_galaxy"][TAU]
    assert entry["n_galaxies"] == N
    assert 0.98 < entry["rhat_p50"] <= entry["rhat_p90"] <= entry["rhat_max"] < 1.2
    assert 20 < entry["ess_min"] <= entry["ess_p50"]
    assert set(padded.population_diagnostics(exclude_prefixes=("sfh",))["per_galaxy"]) == set()


def test_the_corner_is_of_what_is_shared(padded):
    figure = padded.plot_population()
    assert sum(bool(ax.get_title()) for ax in figure.axes) == 3
    assert len(padded.plot_population(params=["dust_tau_diff"]).axes) == 1
    with pytest.raises(tg.ParameterError, match=r"'dust_tau' is not shared.*dust_tau_diff"):
        padded.plot_population(params=["dust_tau"])


def test_it_starts_from_an_earlier_result(padded):
    """Fillers included: their start is not that of a galaxy, which would be the same for all."""
    again = padded.refine("mcmc_nuts", jax.random.key(3), **NUTS)
    assert list(again.galaxies) == list(padded.galaxies)
    draws = [p.shared_samples["dust_tau_diff"] for p in (again, padded)]
    ess = [p.effective_sample_size()["dust_tau_diff"] for p in (again, padded)]
    error = draws[0].std() * np.sqrt(sum(1.0 / n for n in ess))
    assert abs(draws[0].mean() - draws[1].mean()) < 4.0 * error


def test_the_field_is_what_is_shared_by_default(ssp, sdss, galaxies):
    def factory(psd_sigma, psd_tau_myr):
        spec = tg.Parameters(
            sfh="delayed",
            sfh_field="drw",
            dust="none",
            redshift=tg.Uniform(0.02, 0.3),
            sfh_field_psd_sigma=psd_sigma,
            sfh_field_psd_tau_myr=psd_tau_myr,
        )
        return tg.SEDModel(spec, ssp, sdss)

    fitter = tg.PopulationFitter(factory, galaxies, (0.1, 0.6), (20.0, 500.0))
    spec = fitter.model.spec
    assert fitter.population.shared_parameters() == (
        "sfh_field_psd_sigma",
        "sfh_field_psd_tau_myr",
    )
    assert (float(spec["sfh_field_psd_sigma"].low), float(spec["sfh_field_psd_tau_myr"].high)) == (
        0.1,
        500.0,
    )


def test_parameters_that_are_only_shared(sed, galaxies, monkeypatch):
    """No galaxy depends on hyper-parameters; by NUTS, and by geoVI galaxy by galaxy."""
    known = [{**g, TAU: tau} for g, tau in zip(galaxies, (1.0, 4.0, 2.0, 0.6), strict=True)]
    fitter = tg.PopulationFitter(sed, known, population=tg.Population(tg.Shared("dust_tau_diff")))
    exact = fitter.run("mcmc_nuts", jax.random.key(4), **NUTS)
    monkeypatch.setattr(geometric, "_MOST_DENSE", 0)
    near = fitter.run("geovi", jax.random.key(5), n_samples=400, n_pairs=16)
    assert near.inference_data.attrs["kl_divergence"] < 0.05
    for name in ("dust_tau_diff", MASS):
        a, b = (p.inference_data.posterior[name] for p in (exact, near))
        means, widths = (
            (x.mean(("chain", "draw")).values for x in (a, b)),
            a.std(("chain", "draw")),
        )
        assert np.all(np.abs(np.subtract(*means)) < 0.3 * widths.values), name
        assert np.all(np.abs(b.std(("chain", "draw")) / widths - 1.0) < 0.2), name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"flux_obs": np.full(5, np.nan)}, "galaxy G1: flux of band 'sdss_u' is nan"),
        ({"noise": np.zeros(5)}, "galaxy G1: error of band 'sdss_u' is 0"),
        ({"flux_obs": np.ones(3)}, r"galaxy G1: flux has shape \(3,\)"),
        ({"redshift": 1.0}, "galaxy G1: redshift is 1; expected a value in the support"),
        ({"redshift": None}, "galaxy G1: redshift is None; expected a number"),
        ({"spec_obs": np.ones(4)}, "galaxy G1: spec_obs is not supported"),
        ({"id": "G0"}, "several galaxies are called G0"),
    ],
)
def test_a_bad_galaxy_is_named(sed, galaxies, population, change, message):
    with pytest.raises(tg.DataError, match=message):
        tg.PopulationFitter(sed, spoilt(galaxies, **change), population=population)


def test_what_cannot_be_fitted_is_refused(sed, galaxies, population):
    with pytest.raises(tg.DataError, match="at least one"):
        tg.PopulationFitter(sed, [], population=population)
    with pytest.raises(tg.ParameterError, match="n_pad=2 is less than the 4 galaxies"):
        tg.PopulationFitter(sed, galaxies, population=population, n_pad=2)
    with pytest.raises(tg.ParameterError, match="sfh_field_psd_sigma"):
        tg.PopulationFitter(sed, galaxies)
    with pytest.raises(tg.DataError, match="galaxy 0 has no 'noise'"):
        tg.PopulationFitter(sed, [{"flux_obs": jnp.ones(5)}], population=population)
