"""Replications of populations: galaxies that the model has made pass, others are found."""

import arviz
import jax
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy.stats import kstest

import tengri_ppl as tg
from tengri_ppl.models.replication import errors_at
from tengri_ppl.results.population import with_population
from tengri_ppl.workflows.population_predictive import check_population

MASS, DUST, MET = "sfh_delayed_log_mass", "dust_tau_diff", "met_logzsol"
TAU = "sfh_delayed_tau_gyr"
N, N_DRAW = 150, 100
OUTLIER, MASKED, BLANK = 7, 11, 13
MICROJANSKY = 1e-29
SHARED = {f"{MASS}_loc": 10.0, f"{MASS}_scale": 0.5, f"{MET}_intercept": -0.5}
SHARED |= {f"{MET}_slope_{MASS}": 0.3, f"{MET}_scatter": 0.1, TAU: 2.0}
SHARED |= {"class_fraction": np.array([0.3, 0.7])}
SHARED |= {f"{DUST}_loc": np.array([0.2, 1.2]), f"{DUST}_scale": np.array([0.1, 0.3])}


@pytest.fixture(scope="module")
def population():
    return tg.Population(
        tg.Shared(TAU),
        tg.NormalPopulation(MASS),
        tg.ScalingRelation(MET, on=MASS, pivot=10.0),
        tg.MixturePopulation((DUST,), ("clear", "dusty")),
    )


@pytest.fixture(scope="module")
def truth():
    """Galaxies of the population."""
    rng = np.random.default_rng(1)
    u = rng.normal(size=(3, N))
    dusty = (rng.uniform(size=N) < SHARED["class_fraction"][1]).astype(int)
    mass = SHARED[f"{MASS}_loc"] + SHARED[f"{MASS}_scale"] * u[0]
    line = SHARED[f"{MET}_intercept"] + SHARED[f"{MET}_slope_{MASS}"] * (mass - 10.0)
    dust = SHARED[f"{DUST}_loc"][dusty] + SHARED[f"{DUST}_scale"][dusty] * u[2]
    return {
        "redshift": rng.uniform(0.05, 0.25, N),
        MASS: mass,
        MET: line + SHARED[f"{MET}_scatter"] * u[1],
        DUST: np.clip(dust, 0.01, 1.99),
    }


@pytest.fixture(scope="module")
def fitter(ssp, sdss, delayed_spec, population, truth):
    """One outlier, one galaxy with a masked band, one without any band, and two fillers."""
    sed = tg.SEDModel(delayed_spec, ssp, sdss)
    located = sed.at_redshifts(truth["redshift"])
    flux = np.asarray(located.predict_photometry({**truth, TAU: SHARED[TAU]}), float)
    error = np.hypot(0.03 * flux, 0.5 * MICROJANSKY)
    noisy = flux + error * np.random.default_rng(2).normal(size=flux.shape)
    noisy[OUTLIER, 2] += 8.0 * error[OUTLIER, 2]
    noisy[MASKED, 3] = np.nan
    mask = np.isfinite(noisy)
    mask[BLANK] = False
    rows = zip(noisy, error, mask, truth["redshift"], strict=True)
    names = ("flux_obs", "noise", "mask", "redshift")
    galaxies = [{"id": f"G{i}", **dict(zip(names, x, strict=True))} for i, x in enumerate(rows)]
    return tg.PopulationFitter(sed, galaxies, population=population, n_pad=N + 2)


def posterior_at(fitter, values):
    """A posterior that knows everything: all of its draws are the same."""
    draws = {name: np.broadcast_to(x, (2, N_DRAW, *np.shape(x))) for name, x in values.items()}
    dims = {name: ["galaxy"] for name, x in values.items() if np.shape(x) == (N,)}
    dims |= {name: ["class"] for name, x in values.items() if np.shape(x) == (2,)}
    coords = {"galaxy": fitter.ids, "class": list(fitter.population.classes)}
    found = arviz.from_dict(draws, dims=dims, coords=coords)
    return tg.PopulationPosterior(
        with_population(found, fitter.model.spec, fitter.population, fitter.known)
    )


@pytest.fixture(scope="module")
def known(fitter, truth):
    own = {name: x for name, x in truth.items() if name != "redshift"}
    return posterior_at(fitter, {**SHARED, **own})


@pytest.fixture(scope="module")
def check(fitter, known):
    return check_population(fitter, known, jax.random.key(0))


@pytest.fixture(scope="module")
def check_of_new(fitter, known):
    return check_population(fitter, known, jax.random.key(1), new_galaxies=True)


def test_p_values_of_galaxies_of_the_model_are_uniform(check):
    """At the true parameters they are so exactly; an outlier by 8 sigma is found."""
    found = check.galaxy_p_values
    assert found.dims == ("galaxy",)
    assert found.sel(galaxy=f"G{OUTLIER}") < 1e-8
    assert np.isnan(found.sel(galaxy=f"G{BLANK}"))
    others = np.delete(found.values, [OUTLIER, BLANK])
    assert kstest(others, "uniform").pvalue > 0.01


def test_replications_scatter_like_the_errors(check, fitter):
    """Their mean and standard deviation in each band, within four standard errors."""
    data = check.inference_data
    flux, error = data.posterior_predictive["flux"], data.constant_data["flux_error"]
    assert flux.dims == ("chain", "draw", "galaxy", "band")
    assert flux.shape == (2, N_DRAW, N, 5)
    assert list(flux["galaxy"].values) == fitter.ids
    u = (flux - flux.mean(("chain", "draw"))) / error
    assert float(u.std()) == pytest.approx(1.0, abs=4.0 / np.sqrt(2.0 * u.size) + 1.0 / N_DRAW)
    pulls = (data.observed_data["flux"] - flux.mean(("chain", "draw"))) / error
    pulls = pulls.drop_sel(galaxy=f"G{OUTLIER}")
    assert abs(float(pulls.mean())) < 4.0 / np.sqrt(pulls.size)


def test_masked_bands_do_not_count(check):
    data = check.inference_data
    for group in (data.posterior_predictive, data.observed_data):
        flux = group["flux"].sel(galaxy=f"G{MASKED}")
        assert np.all(np.isnan(flux.sel(band="sdss_i")))
        assert np.all(np.isfinite(flux.drop_sel(band="sdss_i")))
        assert np.all(np.isnan(group["magnitude"].sel(galaxy=f"G{BLANK}")))


def colours(data):
    magnitude = data["magnitude"]
    return magnitude.sel(band="sdss_g") - magnitude.sel(band="sdss_r")


@pytest.mark.parametrize(
    "statistic",
    [
        lambda data: data["flux"].median("galaxy"),
        lambda data: colours(data).median("galaxy"),
        lambda data: colours(data).std("galaxy"),
    ],
)
def test_new_galaxies_are_like_the_data_of_their_population(check_of_new, statistic):
    """Every p-value within 99.8 % of a uniform distribution: three numbers and five bands."""
    found = check_of_new.p_value(statistic)
    assert np.all((found > 0.001) & (found < 0.999))


def test_a_population_that_is_not_that_of_the_data_is_found(fitter, truth):
    """Bluer and fainter than the galaxies are; each galaxy by itself is not."""
    own = {name: x for name, x in truth.items() if name != "redshift"}
    wrong = SHARED | {f"{MASS}_loc": 9.7, "class_fraction": np.array([0.7, 0.3])}
    posterior = posterior_at(fitter, {**wrong, **own})
    of_new = check_population(fitter, posterior, jax.random.key(2), new_galaxies=True)
    assert of_new.p_value(lambda data: data["flux"].sel(band="sdss_z").median("galaxy")) < 0.01
    assert of_new.p_value(lambda data: colours(data).median("galaxy")) < 0.01
    same = check_population(fitter, posterior, jax.random.key(0))
    assert float(same.galaxy_p_values.median()) == pytest.approx(0.5, abs=0.15)


def test_new_galaxies_are_as_uncertain_as_data_of_their_brightness():
    """Between two galaxies of a band on a line, beyond them constant; a masked band does not count.

    Fluxes are 1, 2 and 5 microjansky, errors 0.1, 0.3 and 0.9.
    """
    data, sigma = np.array([[2.0], [1.0], [5.0]]), np.array([[0.3], [0.1], [0.9]])
    noise = tg.GaussianNoise(sigma=sigma * MICROJANSKY, mask=np.array([[True], [True], [False]]))
    flux = np.array([[0.2], [1.5], [1.9], [4.0]])
    found = errors_at(flux, noise, data * MICROJANSKY)
    np.testing.assert_allclose(found, [[0.1], [0.2], [0.28], [0.3]], rtol=1e-5)


@pytest.mark.filterwarnings("ignore::matplotlib.MatplotlibDeprecationWarning:arviz")
def test_arviz_draws_replications(check, check_of_new):
    for each in (check, check_of_new):
        (ax,) = np.ravel(
            arviz.plot_ppc(
                each.inference_data,
                var_names=["magnitude"],
                coords={"band": ["sdss_r"]},
                num_pp_samples=20,
                random_seed=0,
            )
        )
        assert len(ax.get_lines()) > 20


def test_what_has_no_answer_is_refused(check_of_new, fitter, known, population):
    assert repr(check_of_new) == f"PopulationCheck(200 replications of {N} new galaxies)"
    with pytest.raises(tg.ParameterError, match="new galaxies have no data"):
        _ = check_of_new.galaxy_p_values
    selected = tg.Population(
        tg.NormalPopulation(MASS, loc=dist.Normal(10.0, 1.0)),
        selection=tg.FluxLimit("sdss_r", MICROJANSKY, MICROJANSKY),
    )
    row = {"flux_obs": np.ones(5) * MICROJANSKY, "noise": np.ones(5) * MICROJANSKY}
    limited = tg.PopulationFitter(fitter.model, [{"id": "G0", **row}], population=selected)
    one = known.inference_data.isel(galaxy=[0])
    with pytest.raises(tg.ParameterError, match="new galaxies of a selected sample"):
        check_population(limited, tg.PopulationPosterior(one), new_galaxies=True)
    with pytest.raises(tg.ParameterError, match="other galaxies"):
        check_population(limited, known)
