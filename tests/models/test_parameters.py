"""Parameters: choices, priors, fixed values, and the errors for wrong ones."""

import jax
import numpy as np
import numpyro.distributions as dist
import pytest

import tengri_ppl as tg


def _spec(**values):
    return tg.Parameters(**{"redshift": 0.5, **values})


def test_given_priors_values_and_defaults_are_told_apart():
    spec = _spec(sfh_dpl_alpha=tg.Uniform(1, 2), sfh_dpl_beta=3.0, dust_slope=tg.Fixed(-1.0))
    assert isinstance(spec["sfh_dpl_alpha"], dist.Uniform)
    assert float(spec.fixed["sfh_dpl_beta"]) == 3.0
    assert float(spec.fixed["dust_slope"]) == -1.0
    assert float(spec.fixed["dust_t_bc_gyr"]) == 0.01  # documented default
    assert "sfh_dpl_log_mass" in spec.free_params  # default prior
    assert list(spec) == [*dict.fromkeys(spec)]


def test_sample_draws_the_free_parameters_from_their_priors(key):
    spec = _spec(sfh_dpl_alpha=tg.Uniform(1, 2))
    batch = spec.sample_batch(key, 1000)
    assert list(batch) == spec.free_params
    assert all(value.shape == (1000,) for value in batch.values())
    alpha = np.asarray(batch["sfh_dpl_alpha"])
    assert alpha.min() >= 1 and alpha.max() <= 2
    # standard error of the mean of U(1, 2) for 1000 draws is 0.009
    assert abs(alpha.mean() - 1.5) < 5 * 0.009
    assert all(value.shape == () for value in spec.sample(key).values())


def test_amplitude_is_chosen_by_the_parameter_that_is_named():
    assert _spec().amplitude == "sfh_dpl_log_mass"
    by_rate = _spec(sfh_dpl_log_peak_sfr=tg.Uniform(-1, 2))
    assert by_rate.amplitude == "sfh_dpl_log_peak_sfr"
    assert "sfh_dpl_log_mass" not in by_rate


def test_mean_sfh_type_means_sfh():
    assert _spec(mean_sfh_type="delayed").structure == _spec(sfh="delayed").structure


def test_birth_cloud_law_has_parameters_of_its_own_only_if_it_is_given():
    assert "dust_slope_bc" not in _spec(dust_law="power_law")
    spec = _spec(dust_law="calzetti", dust_law_bc="power_law")
    assert "dust_slope_bc" in spec and "dust_slope" not in spec


def test_summary_lists_every_parameter_with_unit():
    summary = _spec().summary()
    for name in _spec():
        assert name in summary
    assert "Gyr" in summary and "Uniform(" in summary and "fixed 0.5" in summary


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sfh": "dlp"}, "did you mean 'dpl'"),
        ({"sfh_dpl_alpa": 1.0}, "did you mean 'sfh_dpl_alpha'"),
        ({"dust_law": "calzetti", "dust_slope": -0.7}, "belongs to dust_law='power_law'"),
        ({"sfh_dpl_log_mass": 10.0, "sfh_dpl_log_peak_sfr": 1.0}, "exactly one of"),
        ({"sfh": "dpl", "mean_sfh_type": "dpl"}, "not both"),
        ({"sfh_dpl_alpha": "large"}, "expected a NumPyro distribution"),
        ({"sfh_dpl_alpha": float("nan")}, "finite"),
        ({"sfh_dpl_alpha": dist.Uniform(np.zeros(3), 1.0)}, "batch shape (3,)"),
        ({"sfh_dpl_alpha": dist.Poisson(3.0)}, "discrete"),
        ({"sfh_dpl_alpha": dist.Uniform(3.0, 1.0)}, "no support between 3 and 1"),
        ({"dust": "none", "dust_law_bc": "calzetti"}, "needs dust='two_component'"),
    ],
)
def test_wrong_input_is_refused_with_the_way_out(values, message):
    with pytest.raises(tg.ParameterError) as error:
        _spec(**values)
    assert message in str(error.value)


def test_redshift_has_no_default():
    with pytest.raises(tg.ParameterError, match="redshift has no default"):
        tg.Parameters()


def test_values_for_a_prediction_are_checked():
    spec = _spec(sfh_dpl_alpha=1.0)
    draw = spec.sample(jax.random.key(0))
    assert list(spec.free_values({**draw, "another_site": 1.0})) == spec.free_params
    with pytest.raises(tg.ParameterError, match="fixed in this model"):
        spec.free_values({**draw, "sfh_dpl_alpha": 2.0})
    draw["met_logzso"] = draw.pop("met_logzsol")
    with pytest.raises(tg.ParameterError, match=r"missing value for met_logzsol.*'met_logzso'"):
        spec.free_values(draw)


def test_pytree_round_trip_and_equal_structure_for_other_values():
    one, two = _spec(), _spec(redshift=0.7, sfh_dpl_alpha=tg.Uniform(2, 3))
    leaves, structure = jax.tree.flatten(one)
    again = jax.tree.unflatten(structure, leaves)
    assert list(again) == list(one) and again.free_params == one.free_params
    assert jax.tree.structure(two) == structure


def test_replace_keeps_the_structure_and_refuses_unknown_names():
    spec = _spec().replace(met_logzsol=0.0)
    assert "met_logzsol" in spec.fixed
    with pytest.raises(tg.ParameterError, match="not a parameter of this model"):
        spec.replace(metallicity=0.0)


# -- vectors ---------------------------------------------------------------------------------------

RATIOS = "sfh_continuity_logsfr_ratios"


def test_default_priors_of_vectors_have_their_shape(key):
    spec = _spec(sfh="continuity")
    assert spec[RATIOS].event_shape == (6,) and spec[RATIOS].batch_shape == ()
    assert spec.sample(key)[RATIOS].shape == (6,)
    assert spec.sample_batch(key, 50)[RATIOS].shape == (50, 6)
    fractions = _spec(sfh="dirichlet").sample_batch(key, 20)["sfh_dirichlet_sfr_fraction"]
    np.testing.assert_allclose(fractions.sum(axis=1), 1.0, rtol=1e-5)
    summary = spec.summary()
    assert "StudentT(2, 0, 0.3) x 6" in summary
    assert "Dirichlet() x 7" in _spec(sfh="dirichlet").summary()


@pytest.mark.parametrize(
    "prior",
    [
        dist.Normal(0.0, 0.5),
        dist.Normal(np.zeros(6), 0.5),
        dist.Normal(0.0, 0.5).expand([6]).to_event(1),
        dist.MultivariateNormal(np.zeros(6), 0.25 * np.eye(6)),
    ],
)
def test_priors_of_vectors_may_be_given_in_several_forms(prior, key):
    """All of them mean six independent normals of width 0.5."""
    spec = _spec(sfh="continuity", **{RATIOS: prior})
    assert spec[RATIOS].event_shape == (6,)
    value = 0.1 * np.arange(6.0)
    expected = dist.Normal(0.0, 0.5).log_prob(value).sum()
    np.testing.assert_allclose(spec[RATIOS].log_prob(value), expected, rtol=1e-5)
    leaves, structure = jax.tree.flatten(spec)
    again = jax.tree.unflatten(structure, leaves)
    np.testing.assert_allclose(again[RATIOS].log_prob(value), expected, rtol=1e-5)


def test_fixed_vectors_are_arrays_or_one_number_for_all():
    given = np.linspace(-1.0, 1.0, 6)
    np.testing.assert_array_equal(_spec(sfh="continuity", **{RATIOS: given}).fixed[RATIOS], given)
    spec = _spec(sfh="continuity", **{RATIOS: tg.Fixed(0.2)})
    np.testing.assert_array_equal(spec.fixed[RATIOS], np.full(6, 0.2))
    assert "fixed, 6 values" in spec.summary()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.zeros(5), "shape (5,): expected a NumPyro distribution, or Fixed(array) or an array"),
        (np.array([0, 0, np.nan, 0, 0, 0]), "finite"),
        (dist.Normal(np.zeros(5), 1.0), "distribution of shape (6,) is expected"),
        (dist.Dirichlet(np.ones(4)), "event shape (4,)"),
        (dist.Uniform(np.zeros(6), np.array([1.0, 1.0, 0.0, 1.0, 1.0, 1.0])), "no support"),
        ("flat", "expected a NumPyro distribution, or Fixed(array)"),
    ],
)
def test_wrong_vectors_are_refused_with_the_way_out(value, message):
    with pytest.raises(tg.ParameterError) as error:
        _spec(sfh="continuity", **{RATIOS: value})
    assert message in str(error.value)


def test_fields_and_bursts_add_their_parameters():
    spec = _spec(sfh="delayed", sfh_field="drw", sfh_burst="exponential")
    assert spec.amplitude == "sfh_delayed_log_mass"
    added = {"sfh_field_psd_sigma", "sfh_field_psd_tau_myr", "psd_xi", "sfh_burst_tau_gyr"}
    assert added <= set(spec.free_params)
    sizes = [np.size(v) for v in _spec(sfh_field="drw").sample(jax.random.key(0)).values()]
    assert sum(sizes) == 137  # 7 of the smooth model, 2 of the field and 128 of its cells


def test_a_table_takes_its_length_from_the_values():
    time, rate = np.linspace(0.5, 8.0, 12), np.ones(12)
    spec = _spec(sfh="tabulated", sfh_tabulated_time_gyr=time, sfh_tabulated_sfr=rate)
    assert spec.structure.sfh.n_time == 12
    assert float(spec.fixed["sfh_tabulated_log_scale"]) == 0.0
    by_mass = _spec(
        sfh="tabulated",
        sfh_tabulated_time_gyr=time,
        sfh_tabulated_sfr=rate,
        sfh_tabulated_log_mass=10.0,
    )
    assert by_mass.amplitude == "sfh_tabulated_log_mass"
    with pytest.raises(tg.ParameterError, match="sfh_tabulated_time_gyr has no default"):
        _spec(sfh="tabulated", sfh_tabulated_sfr=rate)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sfh_field": "dwr"}, "sfh_field='dwr' is unknown; did you mean 'drw'"),
        ({"sfh_burst": "konstant"}, "did you mean 'constant'"),
        ({"sfh": "psb", "sfh_psb_log_peak_sfr": 1.0}, "not a parameter of this model"),
    ],
)
def test_unknown_fields_bursts_and_amplitudes_are_refused(values, message):
    with pytest.raises(tg.ParameterError) as error:
        _spec(**values)
    assert message in str(error.value)
