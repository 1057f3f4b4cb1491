"""Populations in two steps: what all galaxies say together, from fits of each."""

import dataclasses

import jax
import numpy as np
import numpyro.distributions as dist
import pytest

import tengri_ppl as tg
from tengri_ppl.workflows import narrowing

MASS, DUST = "sfh_delayed_log_mass", "dust_tau_diff"
N = 6
N_DRAWS = 500
#: Two parameters need little.
FEW = {"n_walkers": 32, "n_components": 3}
SHORT = {"n_warmup": 50, "n_samples": 50, "num_chains": 1}


@pytest.fixture(scope="module")
def population():
    return tg.Population(
        tg.NormalPopulation(MASS, loc=dist.Normal(10.0, 1.0), scale=dist.HalfNormal(0.5)),
        tg.NormalPopulation(DUST, loc=dist.Uniform(0.0, 2.0), scale=dist.HalfNormal(0.5)),
    )


@pytest.fixture(scope="module")
def fitter(ssp, sdss, delayed_spec, population):
    spec = delayed_spec.replace(sfh_delayed_tau_gyr=2.0, met_logzsol=-0.2)
    sed = tg.SEDModel(spec, ssp, sdss)
    u = np.random.default_rng(3).normal(size=(2, N))
    truth = {
        "redshift": np.linspace(0.05, 0.2, N),
        MASS: 10.0 + 0.4 * u[0],
        DUST: 1.0 + 0.3 * u[1],
    }
    flux = np.asarray(sed.predict_photometry(truth), float)
    noisy = flux * (1.0 + 0.05 * np.asarray(jax.random.normal(jax.random.key(0), flux.shape)))
    galaxies = [
        {"id": f"G{i}", "flux_obs": noisy[i], "noise": 0.05 * flux[i], "redshift": z}
        for i, z in enumerate(truth["redshift"])
    ]
    return tg.PopulationFitter(sed, galaxies, population=population)


@pytest.fixture(scope="module")
def posteriors(fitter):
    return fitter.fit_galaxies("auto", jax.random.key(1))


@pytest.fixture(scope="module")
def two_step(fitter, posteriors):
    return fitter.run_two_step(jax.random.key(2), posteriors=posteriors, n_draws=N_DRAWS)


def test_galaxies_are_fitted_one_by_one(posteriors, fitter):
    assert len(posteriors) == N
    assert all(p.convergence().converged for p in posteriors)
    assert all(set(p.samples) == {MASS, DUST} for p in posteriors)


@pytest.fixture(scope="module")
def sample(fitter):
    """All galaxies, in two chunks of which the second is filled up."""
    return fitter.sample_galaxies(jax.random.key(5), N_DRAWS, chunk_size=N - 2, **FEW)


def test_galaxies_are_sampled_at_the_same_time(sample, posteriors):
    assert len(sample) == N and sample.n_draws == N_DRAWS
    assert np.all(sample.pareto_k < 0.7) and np.all(sample.effective > 200)
    for i, posterior in enumerate(posteriors):
        ess = min(posterior.convergence().min_ess_bulk, sample.effective[i], N_DRAWS)
        for name, x in posterior.samples.items():
            found = sample.values[name][i]
            assert abs(found.mean() - x.mean()) < 5.0 * x.std() / np.sqrt(ess), (i, name)
            assert abs(found.std() / x.std() - 1.0) < 5.0 / np.sqrt(2.0 * ess), (i, name)


def test_halves_of_the_draws_are_alike(sample):
    for x in sample.values.values():
        one, other = np.split(np.asarray(x, float), 2, axis=1)
        error = x.std(axis=1) * np.sqrt(8.0 / np.minimum(sample.effective, N_DRAWS))
        assert np.all(np.abs(one.mean(axis=1) - other.mean(axis=1)) < 4.0 * error)


def test_it_is_the_same_from_draws_at_the_same_time(sample, two_step, fitter):
    found = fitter.run_two_step(jax.random.key(2), posteriors=sample, n_draws=N_DRAWS)
    ess = (found.effective_sample_size(), two_step.effective_sample_size())
    for name, x in two_step.shared_samples.items():
        y = found.shared_samples[name]
        error = np.sqrt(sum(1.0 / e[name] for e in ess))
        assert abs(x.mean() - y.mean()) < (0.2 + 4.0 * error) * x.std(), name
        assert y.std() == pytest.approx(x.std(), rel=0.2 + 4.0 * error / np.sqrt(2.0)), name


def test_draws_may_be_in_a_file(sample, fitter, tmp_path):
    path = tmp_path / "draws.h5"
    found = fitter.sample_galaxies(jax.random.key(5), N_DRAWS, path, chunk_size=N - 2, **FEW)
    assert found.ids == fitter.ids and list(tmp_path.iterdir()) == [path]
    for name, x in sample.values.items():
        np.testing.assert_array_equal(found.values[name], x)
    few = found.first(10, [MASS])[MASS]
    assert few.shape == (10, N)
    np.testing.assert_array_equal(few.T[:, 5:], sample.values[MASS][:, N_DRAWS // 2 :][:, :5])
    np.testing.assert_array_equal(found.effective, sample.effective)


def test_an_interrupted_file_is_gone_on_with(fitter, tmp_path):
    """After the first chunk; what is in the file then is not sampled anew."""
    path = tmp_path / "draws.h5"

    def interrupt(*_):
        raise KeyboardInterrupt

    options = {"chunk_size": N - 2, **FEW}
    with pytest.raises(KeyboardInterrupt):
        fitter.sample_galaxies(jax.random.key(5), N_DRAWS, path, progress=interrupt, **options)
    (partial,) = tmp_path.iterdir()
    assert partial.name == "draws.h5.partial"
    with pytest.raises(tg.DataError, match=r"numbers of draws: .*draws\.h5\.partial .*delete it"):
        fitter.sample_galaxies(jax.random.key(5), N_DRAWS + 2, path, **options)
    begun = tg.InterimSample.open(partial)
    done = np.setdiff1d(np.arange(N), begun.pending)
    before = {name: x[done] for name, x in begun.values.items()}
    begun.close()
    assert 0 < len(done) < N
    found = fitter.sample_galaxies(jax.random.key(5), N_DRAWS, path, **options)
    assert list(tmp_path.iterdir()) == [path] and not len(found.pending)
    for name, x in before.items():
        np.testing.assert_array_equal(found.values[name][done], x)
    assert np.all(found.effective > 200)


def test_galaxies_that_need_it_get_an_engine_of_their_own(sample, fitter):
    found = fitter.sample_galaxies(jax.random.key(6), 100, max_passes=0, fallback="laplace")
    assert np.all(np.isnan(found.pareto_k))
    assert np.all(np.abs(found.values[MASS].mean(1) - sample.values[MASS].mean(1)) < 0.05)


def test_draws_of_the_priors_may_be_enough(fitter, posteriors):
    """Dust is known to a tenth of its prior, and the mass is drawn for each galaxy."""
    found = fitter.sample_galaxies(jax.random.key(7), N_DRAWS, n_prior=20_000, max_passes=0)
    assert np.all(found.pareto_k < 0.7) and np.all(found.effective > 200)
    for i, posterior in enumerate(posteriors):
        ess = min(posterior.convergence().min_ess_bulk, found.effective[i], N_DRAWS)
        for name, x in posterior.samples.items():
            y = found.values[name][i]
            assert abs(y.mean() - x.mean()) < 5.0 * x.std() / np.sqrt(ess), (i, name)
            assert abs(y.std() / x.std() - 1.0) < 5.0 / np.sqrt(2.0 * ess), (i, name)


def test_draws_in_common_count_less(fitter):
    """Equal galaxies make equal errors, which don't average out."""
    twins = [{**bare(fitter)[0], "id": i, "redshift": 0.1} for i in range(4)]
    sizes = {"n_prior": 20_000, "max_passes": 0, "min_ess": 1.0}
    several, one = (
        tg.PopulationFitter(fitter.model, group, population=fitter.population).sample_galaxies(
            jax.random.key(7), 10, **sizes
        )
        for group in (twins, twins[:1])
    )
    np.testing.assert_allclose(several.effective, one.effective[0] / len(twins), rtol=0.01)


def test_wrong_wishes_for_draws_are_refused(fitter, sample, tmp_path):
    with pytest.raises(tg.ParameterError, match=r"n_draws=5: expected an even number"):
        fitter.sample_galaxies(n_draws=5)
    with pytest.raises(tg.ParameterError, match=r"no option 'n_walker'.*n_walkers"):
        fitter.sample_galaxies(n_walker=5)
    with pytest.raises(tg.DataError, match=f"{N_DRAWS} draws of each galaxy; expected at least"):
        fitter.run_two_step(posteriors=sample, n_draws=N_DRAWS + 2)
    with pytest.raises(tg.ParameterError, match="batch_size needs method='vi'"):
        fitter.run_two_step(posteriors=sample, batch_size=2)
    others = dataclasses.replace(sample, ids=sample.ids[::-1])
    with pytest.raises(tg.DataError, match="in another order"):
        fitter.run_two_step(posteriors=others)
    with pytest.raises(tg.DataError, match=r"missing\.h5.*sample_galaxies"):
        tg.InterimSample.open(tmp_path / "missing.h5")


def test_the_result_is_that_of_a_population(two_step, fitter):
    assert list(two_step.galaxies) == fitter.ids
    assert {f"{MASS}_loc", f"{DUST}_scale"} < set(two_step.shared_samples)
    assert two_step.inference_data.posterior[MASS].dims == ("chain", "draw", "galaxy")
    effective = two_step.inference_data.constant_data["effective_draws"]
    assert effective.dims == ("galaxy",)
    assert np.all((effective > 10) & (effective <= N_DRAWS))


@pytest.mark.slow
def test_it_agrees_with_a_fit_of_all_galaxies_together(two_step, fitter, measured):
    """Hyper-parameters and galaxies, to 0.2 widths beside the error of the chains.

    These data know the galaxies so well that the model's own, centred coordinates are the best.
    """
    joint = tg.infer(
        tg.population_model,
        (fitter.model.at_redshifts(fitter.columns["redshift"]), fitter.noise, fitter.data),
        {"population": fitter.population, "columns": fitter.columns},
        "mcmc_nuts",
        jax.random.key(3),
        **{"n_warmup": 300, "n_samples": 400, "num_chains": 2},
    )
    ess = (joint.effective_sample_size(), two_step.effective_sample_size())
    assert min(ess[0].values()) > 50
    expected, found = joint.samples, two_step.shared_samples | two_step.individual_samples
    assert set(found) == set(expected)
    for name in ess[0]:
        variable, _, index = name.partition("[")
        own = (slice(None), *([int(index[:-1])] if index else []))
        x, y = found[variable][own], expected[variable][own]
        error = np.sqrt(sum(1.0 / e[name] for e in ess))
        kind = "galaxies" if index else "hyper-parameters"
        shift, width = (x.mean() - y.mean()) / y.std(), x.std() / y.std() - 1.0
        measured(f"two steps against NUTS, {kind}: means [widths]", shift)
        measured(f"two steps against NUTS, {kind}: widths [relative]", width)
        measured(f"two steps against NUTS, {kind}: standard errors [widths]", error)
        assert abs(shift) < 0.2 + 4.0 * error, name
        assert abs(width) < 0.2 + 4.0 * error / np.sqrt(2.0), name


def bare(fitter):
    """The galaxies without redshifts."""
    rows = zip(np.asarray(fitter.data, float), np.asarray(fitter.noise.sigma, float), strict=True)
    return [{"flux_obs": flux, "noise": sigma} for flux, sigma in rows]


@pytest.fixture(scope="module")
def sharing(fitter):
    """Galaxies of other masses and at the same redshifts, with one optical depth for all."""
    redshifts = np.asarray(fitter.known["redshift"], float)
    truth = {"redshift": redshifts, MASS: np.linspace(9.5, 10.5, N), DUST: np.full(N, 1.0)}
    flux = np.asarray(fitter.model.predict_photometry(truth), float)
    noisy = flux * (1.0 + 0.05 * np.random.default_rng(4).normal(size=flux.shape))
    rows = zip(fitter.ids, noisy, 0.05 * flux, redshifts, strict=True)
    galaxies = [{"id": i, "flux_obs": f, "noise": e, "redshift": z} for i, f, e, z in rows]
    population = tg.Population(tg.Shared(DUST))
    return tg.PopulationFitter(fitter.model, galaxies, population=population)


@pytest.fixture(scope="module")
def depth_by_quadrature(sharing):
    """Mean and standard deviation of the common depth; photometry is linear in the own masses."""
    sed, noise, data, columns = sharing.galaxies_at(np.arange(N))
    depths, masses = np.linspace(0.005, 1.995, 200), np.linspace(8.5, 11.5, 3001)
    total = np.zeros(len(depths))
    for i, depth in enumerate(depths):
        flux = sed.predict_photometry({**columns, DUST: depth, MASS: np.full(N, 10.0)})
        scaled = 10.0 ** (masses[:, None, None] - 10.0) * np.asarray(flux, float)
        chi = (scaled - np.asarray(data, float)) / np.asarray(noise.sigma, float)
        total[i] = np.sum(np.logaddexp.reduce(-0.5 * np.sum(chi**2, axis=-1), axis=0))
    weight = np.exp(total - total.max())
    weight /= weight.sum()
    mean = np.sum(weight * depths)
    return mean, np.sqrt(np.sum(weight * (depths - mean) ** 2))


def check_depth(found, mean, sd):
    """The sums over draws have noise, too: the scatter of the log-likelihood."""
    x, ess = found.shared_samples[DUST], found.effective_sample_size()[DUST]
    noise_of_sums = np.sqrt(np.sum(1.0 / found.inference_data.constant_data.effective_draws.values))
    assert abs(x.mean() - mean) < (4.0 / np.sqrt(ess) + noise_of_sums) * sd
    assert x.std() == pytest.approx(sd, rel=4.0 / np.sqrt(2.0 * ess) + noise_of_sums)


def test_what_all_galaxies_have_in_common_is_that_by_quadrature(sharing, depth_by_quadrature):
    draws = sharing.sample_galaxies(jax.random.key(6), N_DRAWS, chunk_size=N - 2, **FEW)
    found = sharing.run_two_step(jax.random.key(4), posteriors=draws, n_draws=N_DRAWS)
    assert found.shared_samples.keys() == {DUST}
    assert found.inference_data.posterior[MASS].dims == ("chain", "draw", "galaxy")
    check_depth(found, *depth_by_quadrature)


def test_galaxies_are_sampled_again_where_that_is(sharing, depth_by_quadrature, monkeypatch):
    """In a second round more of the draws count, so that the sums have less noise."""
    sampling = {"chunk_size": N - 2, **FEW}
    monkeypatch.setattr(narrowing, "_GOOD_VARIANCE", 0.0)
    rounds = []
    for most in (1, 2):
        monkeypatch.setattr(narrowing, "_MOST_ROUNDS", most)
        found = sharing.run_two_step(jax.random.key(4), n_draws=N_DRAWS, sampling=sampling)
        assert found.inference_data.attrs["n_rounds"] == most
        check_depth(found, *depth_by_quadrature)
        rounds.append(found.inference_data.constant_data.effective_draws.values)
    assert np.sum(1.0 / rounds[1]) < 0.75 * np.sum(1.0 / rounds[0])


def test_a_posterior_at_the_end_of_a_restriction_needs_another_round(sharing):
    z = {DUST: np.random.default_rng(0).normal(0.5, 0.1, 1000)}
    assert not narrowing._at_an_end(sharing, z)
    around = narrowing._narrowed(sharing, z)
    assert not narrowing._at_an_end(around, z)
    assert narrowing._at_an_end(around, {DUST: z[DUST] + 0.25})


def test_what_fits_in_two_steps_cannot_learn_is_refused(sharing, sample):
    with pytest.raises(tg.ParameterError, match="fits in batches and of selected samples can't"):
        sharing.run_two_step(posteriors=sample, method="vi", batch_size=2)
    few = dataclasses.replace(sample, values={DUST: sample.values[DUST]})
    with pytest.raises(tg.DataError, match=f"there are no draws of '{MASS}'"):
        sharing.run_two_step(posteriors=few, n_draws=N_DRAWS)


def test_a_fit_of_all_galaxies_can_start_from_it(two_step, fitter):
    joint = fitter.run("mcmc_nuts", jax.random.key(4), init_from=two_step, **SHORT)
    assert list(joint.galaxies) == fitter.ids
    for name, draws in two_step.shared_samples.items():
        found = joint.shared_samples[name]
        assert abs(found.mean() - draws.mean()) < 3.0 * draws.std()


@pytest.mark.slow
def test_classes_and_selected_samples_are_known_to_fits_in_two_steps(two_step, fitter, posteriors):
    """A flux limit makes the galaxies of which these are a sample less massive."""
    redshifts = np.asarray(fitter.columns["redshift"], float)
    galaxies = [{**g, "redshift": z} for g, z in zip(bare(fitter), redshifts, strict=True)]
    limit = float(np.median(np.asarray(fitter.data, float)[:, 2]))
    population = tg.Population(
        tg.NormalPopulation(MASS, loc=dist.Normal(10.0, 1.0), scale=dist.HalfNormal(0.5)),
        tg.MixturePopulation((DUST,), ("clear", "dusty"), scale={DUST: dist.HalfNormal(0.5)}),
        selection=tg.FluxLimit("sdss_r", limit, 0.1 * limit),
    )
    limited = tg.PopulationFitter(fitter.model, galaxies, population=population).run_two_step(
        jax.random.key(5),
        posteriors=posteriors,
        n_draws=N_DRAWS,
        **{"n_warmup": 200, "n_samples": 200, "num_chains": 1},
    )
    probabilities = limited.class_probabilities
    assert probabilities.shape == (N, 2)
    np.testing.assert_allclose(probabilities.sum("class"), 1.0)
    dust = [p.samples[DUST].mean() for p in posteriors]
    assert np.corrcoef(dust, probabilities.sel({"class": "dusty"}))[0, 1] > 0.5
    name = f"{MASS}_loc"
    loc = [p.shared_samples[name] for p in (two_step, limited)]
    ess = [p.effective_sample_size()[name] for p in (two_step, limited)]
    error = np.sqrt(sum(np.var(x) / n for x, n in zip(loc, ess, strict=True)))
    assert loc[1].mean() < loc[0].mean() - 4 * error


def test_draws_that_do_not_do_are_refused_by_galaxy(fitter, posteriors):
    with pytest.raises(tg.DataError, match=r"galaxy G\d has .* effective draws under the popul"):
        fitter.run_two_step(jax.random.key(4), posteriors=posteriors, n_draws=10, **SHORT)
    with pytest.raises(tg.DataError, match=r"galaxy G0: 4000 draws; expected at least n_draws=1"):
        fitter.run_two_step(jax.random.key(4), posteriors=posteriors, n_draws=10_000)
    other = tg.Population(tg.NormalPopulation("redshift"))
    unknown = tg.PopulationFitter(fitter.model, bare(fitter), population=other)
    with pytest.raises(tg.DataError, match="galaxy 0: its posterior has no draws of 'redshift'"):
        unknown.run_two_step(jax.random.key(4), posteriors=posteriors)
    with pytest.raises(tg.DataError, match="2 posteriors for 6 galaxies"):
        fitter.run_two_step(jax.random.key(4), posteriors=posteriors[:2])
