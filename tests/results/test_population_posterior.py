"""Results of populations: what is recorded of them, their classes and their figures."""

import arviz
import numpy as np
import numpyro.distributions as dist
import pytest

import tengri_ppl as tg
from tengri_ppl.results.population import with_population
from tengri_ppl.results.posterior import Posterior

MASS, MET, DUST = "sfh_delayed_log_mass", "met_logzsol", "dust_tau_diff"
N_GALAXY, SHAPE = 5, (2, 40)
REDSHIFT = np.linspace(0.05, 0.25, N_GALAXY)


@pytest.fixture(scope="module")
def population():
    return tg.Population(
        tg.NormalPopulation(MASS, loc=dist.Normal(10.0, 1.0)),
        tg.ScalingRelation(MET, on=(MASS, "redshift"), pivot=(10.0, 0.1)),
        tg.MixturePopulation((DUST,), ("clear", "dusty")),
    )


@pytest.fixture(scope="module")
def posterior(delayed_spec, population):
    rng = np.random.default_rng(0)
    fields = {
        **{name: SHAPE for name in (f"{MASS}_loc", f"{MASS}_scale", f"{MET}_intercept")},
        **{f"{MET}_slope_{x}": SHAPE for x in (MASS, "redshift")},
        f"{MET}_scatter": SHAPE,
        **{name: (*SHAPE, 2) for name in ("class_share", "class_fraction")},
        **{f"{DUST}_{what}": (*SHAPE, 2) for what in ("loc", "scale")},
        **{name: (*SHAPE, N_GALAXY) for name in delayed_spec.priors if name != "redshift"},
    }
    draws = {name: rng.normal(size=shape) for name, shape in fields.items()}
    draws["galaxy_class"] = np.broadcast_to(np.array([0, 1, 1, 0, 1]), (*SHAPE, N_GALAXY)).copy()
    draws["galaxy_class"][:, :10, 0] = 1
    dims = {name: ["galaxy"] for name, shape in fields.items() if shape[-1] == N_GALAXY}
    dims |= {name: ["class"] for name, shape in fields.items() if shape[-1] == 2}
    dims["galaxy_class"] = ["galaxy"]
    coords = {"galaxy": [f"G{i}" for i in range(N_GALAXY)], "class": ["clear", "dusty"]}
    found = arviz.from_dict(draws, dims=dims, coords=coords)
    columns = {"redshift": REDSHIFT}
    return tg.PopulationPosterior(with_population(found, delayed_spec, population, columns))


def test_parameters_classes_columns_and_coordinates_are_told_apart(posterior):
    data = posterior.inference_data
    assert list(data.unconstrained_posterior) == ["class_share"]
    assert "galaxy_class" in data.posterior
    assert "galaxy_class" not in posterior.individual_samples
    assert set(posterior.individual_samples) == {MASS, MET, DUST, "sfh_delayed_tau_gyr"}
    np.testing.assert_array_equal(data.constant_data["redshift"], REDSHIFT)


def test_probabilities_of_classes_are_shares_of_draws(posterior, delayed_spec):
    found = posterior.class_probabilities
    assert found.dims == ("galaxy", "class")
    assert found.sel({"class": "dusty"}).values == pytest.approx([0.25, 1.0, 1.0, 0.0, 1.0])
    draws = arviz.from_dict({MASS: np.zeros((*SHAPE, 1))}, dims={MASS: ["galaxy"]})
    with pytest.raises(tg.ParameterError, match="the population has no classes"):
        _ = tg.PopulationPosterior(draws).class_probabilities


@pytest.mark.parametrize(("on", "label"), [(None, "log"), (MASS, "log"), ("redshift", "z")])
def test_relations_are_drawn_with_their_members(posterior, on, label):
    (ax,) = posterior.plot_relation(MET, on).axes
    assert label in ax.get_xlabel()
    points = ax.containers[0].lines[0]
    assert len(points.get_xdata()) == N_GALAXY
    shared = posterior.shared_samples
    middle = ax.get_lines()[1]
    pivot = 0.1 if on == "redshift" else 10.0
    slope = shared[f"{MET}_slope_{on or MASS}"][:, None]
    lines = shared[f"{MET}_intercept"][:, None] + slope * (middle.get_xdata() - pivot)
    np.testing.assert_allclose(middle.get_ydata(), np.median(lines, axis=0))


def test_relations_that_are_not_there_are_refused(posterior):
    with pytest.raises(tg.ParameterError, match=f"'{MASS}' has no scaling relation; {MET} has"):
        posterior.plot_relation(MASS)
    with pytest.raises(tg.ParameterError, match=f"{MET} depends on {MASS}, redshift, not on 'x'"):
        posterior.plot_relation(MET, "x")


def test_galaxies_alone_and_together_are_compared(posterior):
    rng = np.random.default_rng(1)
    alone = [Posterior(arviz.from_dict({MASS: rng.normal(i, 1.0, SHAPE)})) for i in range(N_GALAXY)]
    (ax,) = posterior.plot_shrinkage(alone, [MASS]).axes
    points = ax.containers[0].lines[0]
    medians = [np.median(p.samples[MASS]) for p in alone]
    np.testing.assert_allclose(points.get_xdata(), medians)
    together = np.median(posterior.individual_samples[MASS], axis=0)
    np.testing.assert_allclose(points.get_ydata(), together)
    with pytest.raises(tg.ParameterError, match="4 posteriors for 5 galaxies"):
        posterior.plot_shrinkage(alone[1:])
    with pytest.raises(tg.ParameterError, match="'mass' is no scalar parameter"):
        posterior.plot_shrinkage(alone, ["mass"])
