"""Reading a galaxy's TOML file."""

from pathlib import Path

import numpy as np
import numpyro.distributions as dist
import pytest

from tengri_ppl.cli.config import read_galaxy
from tengri_ppl.errors import DataError, ParameterError
from tengri_ppl.physics.templates import TemplateAxis, TemplateFile, save_templates

GOOD = """
[galaxy]
name = "test"
redshift = 0.1
bands = ["sdss_u", "sdss_g", "spitzer_irac_ch1"]
magnitudes = [20.0, 19.0, 18.0]
errors = [0.1, 0.05, 0.02]

[noise]
floor = { default = 0.05, irac = 0.10 }

[model]
sfh = "delayed"
dust_law = "calzetti"

[priors]
sfh_delayed_tau_gyr = { dist = "LogUniform", low = 0.1, high = 10.0 }
met_logzsol = 0.0

[sampler]
n_warmup = 100
"""


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "galaxy.toml"
        path.write_text(text)
        return path

    return write


def test_magnitudes_floors_priors_and_choices_are_read(write):
    config = read_galaxy(write(GOOD))
    # AB: 10**(-0.4 (m + 48.6)); first-order error f ln(10)/2.5 dm
    np.testing.assert_allclose(config.flux, 10 ** (-0.4 * (np.array([20, 19, 18]) + 48.6)), 1e-5)
    np.testing.assert_allclose(
        config.noise.sigma, config.flux * np.array([0.1, 0.05, 0.02]) * np.log(10) / 2.5, 1e-5
    )
    np.testing.assert_allclose(config.noise.floor, [0.05, 0.05, 0.10])
    sed = config.build()
    assert sed.spec.structure.sfh.name == "delayed"
    assert isinstance(sed.spec["sfh_delayed_tau_gyr"], dist.LogUniform)
    assert float(sed.spec.fixed["met_logzsol"]) == 0.0
    assert float(sed.spec.fixed["redshift"]) == pytest.approx(0.1)
    assert config.sampler == {"n_warmup": 100}


def test_fluxes_come_with_a_unit_and_nan_is_masked(write):
    text = GOOD.replace(
        "magnitudes = [20.0, 19.0, 18.0]", 'fluxes = [1.0, nan, 3.0]\nflux_unit = "microjansky"'
    )
    config = read_galaxy(write(text))
    np.testing.assert_allclose(config.flux[[0, 2]], [1e-29, 3e-29])
    np.testing.assert_array_equal(config.mask, [True, False, True])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[noise]", "[nois]", r"\[nois\] is unknown; did you mean 'noise'"),
        ("redshift = 0.1\n", "", "lacks 'redshift'"),
        ("errors = [0.1, 0.05, 0.02]", "errors = [0.1, 0.05]", "3 bands, but 2 errors"),
        ("errors = [0.1, 0.05, 0.02]", 'errors = "small"', "list of numbers"),
        ("magnitudes", "magnitude", "did you mean 'magnitudes'"),
        ("magnitudes", "fluxes", "flux_unit is None"),
        ("irac = 0.10", "mips = 0.10", "no band's name contains 'mips'"),
        ('dist = "LogUniform"', 'dist = "LogUnifrom"', "did you mean 'LogUniform'"),
        ("low = 0.1, ", "", "sfh_delayed_tau_gyr: LogUniform"),
        ("low = 0.1, high = 10.0", "low = 10.0, high = 0.1", "has no support between"),
        ("[galaxy]", "[galaxy", "not valid TOML"),
        ("met_logzsol = 0.0", "redshift = 0.2", r"redshift in \[galaxy\]"),
        *(
            ('sfh = "delayed"', f'sfh = "delayed"\n{line}', message)
            for line, message in (
                ('dust_emision = "none"', r"no key 'dust_emision'; did you mean 'dust_emission'"),
                ('dust_emission = "draine"', "dust_emission='draine' is unknown"),
                ('dust_emission = "template"', r"needs a file: .*\{ name = 'template', path = "),
                ('dust_emission = {name = "draine"}', r"\[model\] dust_emission: .*'draine'"),
                (
                    'dust_emission = {name = "draine_li2007", grain = "all"}',
                    r"\[model\] dust_emission: .* no option 'grain'; did you mean 'grains'",
                ),
                (
                    'dust_emission = {name = "modified_blackbody", cmb = "yes"}',
                    r"\[model\] dust_emission: cmb = 'yes': expected a bool",
                ),
                ("nebular = 3", r"\[model\] nebular: expected a name or a table"),
                ('nebular = {gas = "free"}', r"\[model\] nebular: expected a name or a table"),
                ('dust = {name = "single"}', r"\[model\] dust: expected a name .*dust_law"),
                ("sfh_burst = true", r"\[model\] sfh_burst: expected a name"),
                ('agn = {name = "nucleus", disc = "temple"}', r"\[model\] agn: agn_disc='temple'"),
                ('xray = {name = "lehmer2016", agn = "nucleus"}', "the nucleus is that of agn"),
            )
        ),
        ("met_logzsol = 0.0", 'met_logzsol = [0.0, "a"]', "prior of met_logzsol: expected numbers"),
        ("met_logzsol = 0.0", "met_logzsol = [0.0, 0.1]", r"met_logzsol has shape \(2,\)"),
    ],
)
def test_mistakes_are_named(write, old, new, message):
    assert old in GOOD
    with pytest.raises((DataError, ParameterError), match=message):
        read_galaxy(write(GOOD.replace(old, new))).build()


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"nothing\.toml: can't be read"):
        read_galaxy(tmp_path / "nothing.toml")


def choose(write, lines, **priors):
    """Components and priors of a file with other choices."""
    text = GOOD.replace('sfh = "delayed"\ndust_law = "calzetti"', lines)
    old = text[text.index("[priors]") : text.index("[sampler]")]
    new = "".join(f"{name} = {value}\n" for name, value in priors.items())
    return read_galaxy(write(text.replace(old, f"[priors]\n{new}\n"))).parameters()


def test_every_kind_of_component_can_be_chosen(write):
    spec = choose(
        write,
        """
sfh = "delayed"
sfh_field = "drw"
sfh_burst = "exponential"
metallicity = {name = "interp", space = "linear"}
dust_law = {name = "li2008", preset = "smc"}
dust_law_bc = {name = "li2008", preset = "mw"}
nebular = {name = "cloudy", gas = "free", age_max_gyr = 1}
dust_emission = {name = "modified_blackbody", cmb = true}
agn = {name = "nucleus", disc = {name = "power_law", form = "stalevski2016"}, lines = "none"}
radio = "fir_correlation"
xray = "lehmer2016"
igm = {name = "dla", base = "madau1995", log_nhi = 20}
""",
    )
    structure = spec.structure
    assert [c.name for c in structure.components] == [
        *("burst", "interp", "two_component", "cloudy"),
        *("modified_blackbody", "nucleus", "fir_correlation", "lehmer2016", "dla"),
    ]
    assert structure.metallicity.space == "linear"
    assert (structure.dust.law.preset, structure.dust.law_bc.preset) == ("smc", "mw")
    assert {"dust_c1", "dust_c1_bc", "neb_logzsol", "psd_xi"} <= set(spec)
    assert isinstance(structure.nebular.age_max_gyr, float)
    nucleus = structure.emissions[1]
    assert (nucleus.disc.form, nucleus.lines.exists) == ("stalevski2016", False)
    assert structure.emissions[2].agn == nucleus
    assert (structure.igm.base.name, structure.igm.log_nhi) == ("madau1995", 20.0)


def test_paths_are_relative_to_the_file(write, tmp_path):
    wave = np.array([1e5, 1e6, 1e7])
    axis = TemplateAxis("alpha", np.array([1.0, 2.0]))
    content = TemplateFile(wave, np.ones((2, 3)), (axis,), kind="dust_emission")
    save_templates(tmp_path / "mine.h5", content)
    spec = choose(write, 'dust_emission = {name = "template", path = "mine.h5"}')
    assert spec.structure.emissions[0].path == str(tmp_path / "mine.h5")
    assert "dust_alpha" in spec.free_params


def test_vectors_take_lists_and_priors_of_scalars(write):
    bins = 'sfh = {name = "continuity", n_bins = 4}'
    name = "sfh_continuity_logsfr_ratios"
    fixed = choose(write, bins, **{name: [0.1, 0.2, 0.3]})
    np.testing.assert_allclose(fixed.fixed[name], [0.1, 0.2, 0.3])
    each = choose(write, bins, **{name: '{dist = "Normal", loc = [0, 1, 2], scale = 0.5}'})
    np.testing.assert_allclose(each[name].mean, [0.0, 1.0, 2.0])
    same = choose(write, bins, **{name: '{dist = "StudentT", df = 2, loc = 0, scale = 0.3}'})
    assert same[name].event_shape == (3,)
    edges = 'sfh = {name = "dirichlet", edges_gyr = [0, 0.1, 1.0]}'
    prior = choose(
        write, edges, sfh_dirichlet_sfr_fraction='{dist = "Dirichlet", concentration = [2, 1]}'
    )
    np.testing.assert_allclose(prior["sfh_dirichlet_sfr_fraction"].concentration, [2.0, 1.0])


def test_the_example_with_gas_and_dust_is_read():
    examples = Path(__file__).resolve().parents[2] / "examples"
    spec = read_galaxy(examples / "nebular_dust.toml").parameters()
    assert spec["sfh_continuity_logsfr_ratios"].event_shape == (5,)
    assert spec.structure.emissions[0].grains == "milky_way"
    assert float(spec.fixed["dust_gamma"]) == pytest.approx(0.02)
