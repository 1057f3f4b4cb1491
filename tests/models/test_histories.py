"""Every registered history: finite gradients over its default prior, right derivatives, use."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro import handlers

import tengri_ppl as tg
from tengri_ppl.physics.component import component_names
from tengri_ppl.physics.composite import age_intervals, count_fine, form_mass
from tengri_ppl.physics.sfh import BURST_SHAPES, ContinuitySFH

LOWER, UPPER = age_intervals(-2.95 + np.arange(-1, 124) / 30.0, "linear")
TABLE = {
    "sfh_tabulated_time_gyr": tg.Fixed(np.linspace(0.1, 13.0, 20)),
    "sfh_tabulated_sfr": dist.LogNormal(0.0, 1.0).expand([20]),
}
CASES = (
    [{"sfh": name} | (TABLE if name == "tabulated" else {}) for name in component_names("sfh")]
    + [{"sfh": "dpl", "sfh_field": name} for name in component_names("sfh_field")]
    + [{"sfh": "continuity", "sfh_burst": shape} for shape in BURST_SHAPES]
    + [{"sfh": "delayed", "sfh_field": "matern", "sfh_burst": "exponential"}]
)
WITH_BURSTS = [case for case in CASES if "sfh_burst" in case]


def _name(case):
    return " ".join(v for v in case.values() if isinstance(v, str))


every_history = pytest.mark.parametrize("case", CASES, ids=_name)


def prior_draws(case, n, key):
    """Histories from the default prior at ages of the universe between 0.3 and 13.5 Gyr."""
    spec = tg.Parameters(redshift=1.0, dust="none", **case)
    sfh = spec.structure.sfh
    draws = spec.sample_batch(key, n)
    fixed = {
        k: jnp.broadcast_to(jnp.asarray(v, float), (n, *v.shape)) for k, v in spec.fixed.items()
    }
    params = {p.name: {**fixed, **draws}[p.name] for p in sfh.parameters}
    params[sfh.amplitude_name] = jnp.zeros(n)
    return sfh, params, jnp.geomspace(0.3, 13.5, n)


@partial(jax.jit, static_argnums=0)
def summaries(sfh, params, cosmic_age, lower, upper):
    """Mean age [Gyr] and total mass, with the gradient of the former, of a batch."""

    def mean_age(p, age):
        formed = form_mass(sfh, p, age, lower, upper, count_fine(LOWER))
        return formed.mean_age(), formed

    return jax.vmap(jax.value_and_grad(mean_age, argnums=(0, 1), has_aux=True))(params, cosmic_age)


@every_history
def test_gradients_are_finite_over_the_prior_in_single_precision(case):
    sfh, params, cosmic_age = prior_draws(case, 500, jax.random.key(0))
    intervals = np.float32(LOWER), np.float32(UPPER)
    (mean_age, formed), gradient = summaries(sfh, params, cosmic_age, *intervals)
    assert mean_age.dtype == jnp.float32
    for name, value in (*gradient[0].items(), ("cosmic_age", gradient[1])):
        assert bool(jnp.all(jnp.isfinite(value))), name
    assert bool(jnp.all((mean_age > 0) & (mean_age < cosmic_age * 1.0001)))
    if sfh.amplitude == "log_mass":
        np.testing.assert_allclose(formed.mass.sum(axis=1), 1.0, rtol=2e-5)
    assert bool(jnp.all(formed.mass >= 0.0))
    rounding = 1e-5 * formed.mass + 1e-12
    assert bool(jnp.all((formed.moment >= -rounding) & (formed.moment <= formed.mass + rounding)))


@pytest.mark.slow
@pytest.mark.parametrize("case", WITH_BURSTS, ids=_name)
def test_derivatives_are_central_differences_in_double_precision(case):
    """Along a random direction; all but a few draws have no kink within the step of 1e-6.

    test_every_component.py differentiates histories without bursts.
    """
    with jax.enable_x64(True):
        sfh, params, cosmic_age = prior_draws(case, 100, jax.random.key(1))
        keys = iter(jax.random.split(jax.random.key(2), len(params)))
        way = {
            k: jax.random.normal(next(keys), v.shape) * (0.1 + abs(v)) for k, v in params.items()
        }
        way[sfh.amplitude_name] *= 0.0
        (_, _), (gradient, _) = summaries(sfh, params, cosmic_age, LOWER, UPPER)
        up = {k: v + 1e-6 * way[k] for k, v in params.items()}
        down = {k: v - 1e-6 * way[k] for k, v in params.items()}
        ages = [np.asarray(summaries(sfh, p, cosmic_age, LOWER, UPPER)[0][0]) for p in (up, down)]
        axes = {k: tuple(range(1, v.ndim)) for k, v in params.items()}
        slope = sum((gradient[k] * way[k]).sum(axis=axes[k]) for k in params)
    assert all(bool(jnp.all(jnp.isfinite(g))) for g in gradient.values())
    numeric = (ages[0] - ages[1]) / 2e-6
    close = np.isclose(slope, numeric, rtol=1e-4, atol=1e-5)
    assert close.mean() > 0.9, np.flatnonzero(~close)


# -- in a model ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sed(ssp, sdss):
    spec = tg.Parameters(sfh="continuity", dust="none", redshift=0.5)
    return tg.SEDModel(spec, ssp, observation=sdss)


RATIOS = "sfh_continuity_logsfr_ratios"


def test_predictions_broadcast_over_the_leading_axes_of_vectors(sed, key):
    batch = sed.spec.sample_batch(key, 6)
    assert batch[RATIOS].shape == (6, 6)
    flux = sed.predict_photometry(batch)
    first = {name: value[0] for name, value in batch.items()}
    one = sed.predict_photometry(first)
    assert flux.shape == (6, 5) and one.shape == (5,)
    np.testing.assert_allclose(flux[0], one, rtol=2e-5)  # rounding
    grid = {name: value.reshape(2, 3, *value.shape[1:]) for name, value in batch.items()}
    np.testing.assert_allclose(sed.predict_photometry(grid).reshape(6, 5), flux, rtol=2e-5)
    shared = {**batch, RATIOS: first[RATIOS]}
    np.testing.assert_allclose(sed.predict_photometry(shared)[0], one, rtol=2e-5)
    assert sed.predict_sfh(batch, np.linspace(0.0, 9.0, 4)).shape == (6, 4)
    assert sed.derived(batch)["mass_formed"].shape == (6,)


def test_a_vector_of_another_length_is_refused(sed, key):
    params = sed.spec.sample(key)
    params[RATIOS] = params[RATIOS][:4]
    with pytest.raises(tg.ParameterError, match=r"has shape \(4,\): expected \(6,\)"):
        sed.predict_photometry(params)


def test_sites_are_vectors_also_in_a_plate(sed):
    def model():
        with numpyro.plate("galaxy", 4):
            params = sed.sample()
            numpyro.deterministic("flux", sed.predict_photometry(params))

    trace = handlers.trace(handlers.seed(model, 0)).get_trace()
    assert trace[RATIOS]["value"].shape == (4, 6)
    assert trace[RATIOS]["fn"].log_prob(trace[RATIOS]["value"]).shape == (4,)
    assert trace["flux"]["value"].shape == (4, 5)


def test_model_function_and_its_decentred_form_have_vector_sites(sed, key):
    flux = sed.predict_photometry(sed.spec.sample(key))
    sites = handlers.trace(handlers.seed(tg.galaxy_model, 1)).get_trace(
        sed, 0.05 * flux, flux, decentre=True
    )
    assert sites[RATIOS]["value"].shape == (6,)


def test_a_table_with_its_metallicities_predicts_and_is_differentiable(ssp, sdss):
    """Constant rate and metallicity: the same as the family with these."""
    time = np.linspace(0.0, 13.4, 30)
    table = tg.Parameters(
        sfh="tabulated",
        metallicity="tabulated",
        dust="none",
        redshift=0.5,
        sfh_tabulated_time_gyr=time,
        sfh_tabulated_sfr=dist.HalfNormal(5.0),
        met_tabulated_time_gyr=tg.Fixed(time[[0, 29]]),
        met_tabulated_logzsol=tg.Fixed([-0.3, -0.3]),
    )
    assert list(table.priors) == ["sfh_tabulated_sfr"]
    model = tg.SEDModel(table, ssp, observation=sdss, n_nodes=2)
    rates = {"sfh_tabulated_sfr": jnp.full(30, 2.0)}
    plain = tg.SEDModel(
        tg.Parameters(
            sfh="constant",
            dust="none",
            redshift=0.5,
            met_logzsol=-0.3,
            sfh_constant_age_max_gyr=13.4,
            sfh_constant_log_peak_sfr=np.log10(2.0),
        ),
        ssp,
        observation=sdss,
        n_nodes=2,
    )
    expected = plain.predict_photometry({})
    np.testing.assert_allclose(model.predict_photometry(rates), expected, rtol=1e-4)

    def total(rates):
        return model.predict_photometry(rates).sum() * 1e29

    gradient = jax.grad(total)(rates)["sfh_tabulated_sfr"]
    # light is linear in the rates; rows after the epoch of observation have no effect
    assert float(gradient @ rates["sfh_tabulated_sfr"]) == pytest.approx(
        float(total(rates)), rel=1e-4
    )
    assert bool(jnp.all(gradient[time > 8.9] == 0.0))


@pytest.mark.parametrize("metallicity", component_names("metallicity"))
def test_every_metallicity_predicts_with_finite_gradients(metallicity, ssp, sdss):
    values = {}
    if metallicity == "tabulated":
        values["met_tabulated_time_gyr"] = np.linspace(0.5, 13.0, 5)
        values["met_tabulated_logzsol"] = dist.Uniform(-2.0, 0.4)
    spec = tg.Parameters(metallicity=metallicity, dust="none", redshift=0.5, **values)
    model = tg.SEDModel(spec, ssp, observation=sdss, n_nodes=2)

    def log_flux(params):
        return jnp.log(model.predict_photometry(params) * 1e29).sum()

    batch = spec.sample_batch(jax.random.key(3), 200)
    gradient = jax.jit(jax.vmap(jax.grad(log_flux)))(batch)
    for name, value in gradient.items():
        assert bool(jnp.all(jnp.isfinite(value))), name


def test_more_bins_than_by_default_change_the_vectors():
    spec = tg.Parameters(sfh=ContinuitySFH(n_bins=10), redshift=0.5)
    assert spec.sample(jax.random.key(0))[RATIOS].shape == (9,)
