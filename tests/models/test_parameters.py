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
