"""Programs that are compiled before they are needed."""

import threading

import jax
import numpy as np
import pytest

import tengri_ppl as tg
from tengri_ppl.errors import ParameterError
from tengri_ppl.runtime.compilation import count_compilations


@pytest.fixture(scope="module")
def problem(ssp):
    bands = ["sdss_u", "sdss_g", "sdss_r", "sdss_i", "sdss_z"]
    fixed = {"sfh_delayed_tau_gyr": 2.0, "met_logzsol": 0.0}
    spec = tg.Parameters(sfh="delayed", dust="none", redshift=0.1, **fixed)
    sed = tg.SEDModel(spec, ssp, tg.Observation(tg.Photometry.from_names(bands)))
    flux = np.asarray(sed.predict_photometry(spec.sample(jax.random.key(3))))
    return sed, flux, 0.05 * flux


def compiled_by(fitter, *methods):
    with count_compilations() as count:
        for i, method in enumerate(methods):
            fitter.run(method, key=jax.random.key(i))
    return count.programs


def test_compiled_engines_compile_nothing_more(problem):
    tg.gc()
    fitter = tg.Fitter(*problem)
    fitter.compile(("laplace", "map"))
    assert compiled_by(fitter, "laplace", "map", "laplace") == 0
    assert compiled_by(fitter, "pathfinder") > 0
    assert compiled_by(fitter, "laplace") > 0


def test_what_few_draws_have_compiled_serves_for_chains_that_converge(problem):
    tg.gc()
    fitter = tg.Fitter(*problem)
    fitter.compile("mcmc_nuts")
    with count_compilations() as count:
        posterior = fitter.run("mcmc_nuts", key=jax.random.key(0))
    assert count.programs == 0
    assert posterior.inference_data.posterior.sizes["draw"] >= 500


def test_the_background_compiles_and_run_waits_for_it(problem):
    tg.gc()
    fitter = tg.Fitter(*problem, compile_modes="laplace")
    fitter._background._thread.join()
    assert compiled_by(fitter, "laplace") == 0


def test_nothing_is_compiled_in_the_background_by_default_or_where_it_is_switched_off(
    problem, monkeypatch
):
    n = threading.active_count()
    tg.Fitter(*problem)
    monkeypatch.setenv("TENGRI_NO_BACKGROUND_COMPILE", "1")
    tg.Fitter(*problem, compile_modes=("laplace",))
    assert threading.active_count() == n


def test_an_unknown_mode_is_refused_at_once(problem):
    with pytest.raises(ParameterError, match="did you mean 'mcmc_nuts'"):
        tg.Fitter(*problem, compile_modes=("mcmc_nutz",))
