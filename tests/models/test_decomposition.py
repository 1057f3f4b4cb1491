"""Decomposition of the spectrum: parts add up, all of them reach the photometry, energy balance."""

import contextlib
from typing import NamedTuple

import jax
import numpy as np
import pytest

import tengri_ppl as tg
from tengri_ppl.physics.constants import MPC_CM
from tengri_ppl.physics.cosmology import luminosity_distance_mpc
from tengri_ppl.physics.templates import integrate_spectra

pytestmark = pytest.mark.slow

REDSHIFT = 0.1
BANDS = ["galex_FUV", "sdss_r", "wise_w3", "wise_w4", "herschel_spire_250"]
SHAPE = {"dust_qpah": 2.5, "dust_umin": 1.0, "dust_gamma": 0.01}
#: Young enough for all stars to be in birth clouds.
YOUNG = {"sfh": "constant", "sfh_constant_age_max_gyr": 0.008, "sfh_constant_log_mass": 9.0}
STRUCTURES = {
    "stars": {"dust": "none"},
    "gas and dust": {
        "nebular": "cloudy",
        "dust_emission": "draine_li2007",
        "neb_fesc": 0.2,
        "neb_line_width_kms": 100.0,
    },
    "patchy": {
        "dust": "fraction_obscured",
        "nebular": "cloudy",
        "dust_emission": "casey2012",
        "dust_eta": 0.7,
        "radio": "fir_correlation",
    },
    "everything": {
        "nebular": "cloudy",
        "dust_emission": "modified_blackbody",
        "agn": "nucleus",
        "radio": "fir_correlation",
        "xray": "lehmer2016",
    },
}
ADDED = ("dust_ir", "agn", "shock", "radio", "xray")
HAS = {
    "stars": (),
    "gas and dust": ("nebular", "dust_ir"),
    "patchy": ("nebular", "dust_ir", "radio"),
    "everything": ("nebular", "dust_ir", "agn", "radio", "xray"),
}


class Example(NamedTuple):
    """One galaxy: its decomposition, and its photometry in both modes."""

    structure: str
    wave: np.ndarray
    parts: dict[str, np.ndarray]
    sed: np.ndarray
    exact: np.ndarray
    fast: np.ndarray


@contextlib.contextmanager
def interpreted():
    """Double precision, and nothing compiled, which would take longer than a few predictions."""
    with jax.enable_x64(True), jax.disable_jit():
        yield


def make_model(ssp, **choices):
    spec = tg.Parameters(dust_law="calzetti", redshift=REDSHIFT, **choices)
    return tg.SEDModel(spec, ssp, tg.Observation(tg.Photometry.from_names(BANDS)), n_nodes=6)


@pytest.fixture(scope="module", params=STRUCTURES)
def galaxy(request, ssp):
    """A draw from the prior of each structure."""
    with interpreted():
        model = make_model(ssp, **STRUCTURES[request.param])
        params = model.spec.sample(jax.random.key(2))
        parts = {name: np.asarray(x) for name, x in model.sed_decomposition(params).items()}
        others = (
            model.predict_sed(params),
            model.predict_photometry(params, mode="exact"),
            model.predict_photometry(params, mode="fast"),
        )
    return Example(request.param, np.asarray(model.wave), parts, *map(np.asarray, others))


def photometry(wave, spectrum):
    """Fluxes [erg/s/cm^2/Hz] of a spectrum at rest [erg/s/Hz], integrated by hand, without IGM."""
    distance = float(luminosity_distance_mpc(REDSHIFT)) * MPC_CM
    wave, flux = wave * (1.0 + REDSHIFT), spectrum * (1.0 + REDSHIFT)
    out = []
    for name in BANDS:
        band = tg.load_filter(name)
        inside = (wave > band.wave[0]) & (wave < band.wave[-1])
        fine = np.linspace(band.wave[0], band.wave[-1], 40001)
        at = np.unique(np.concatenate([fine, wave[inside]]))
        weight = np.interp(at, band.wave, band.transmission) / at
        out.append(np.trapezoid(np.interp(at, wave, flux) * weight, at) / np.trapezoid(weight, at))
    return np.array(out) / (4.0 * np.pi * distance**2)


def test_parts_add_up(galaxy):
    parts = galaxy.parts
    total = parts["attenuated"] + sum(parts[name] for name in ADDED)
    np.testing.assert_allclose(parts["total"], total, rtol=1e-6)
    np.testing.assert_array_equal(galaxy.sed, parts["total"])
    for name in ("nebular", *ADDED):
        assert parts[name].any() == (name in HAS[galaxy.structure]), name
    assert (parts["nebular"] <= parts["attenuated"]).all()
    assert (parts["attenuated"] <= parts["intrinsic"]).all()


def test_all_parts_reach_the_photometry(galaxy):
    """The total through the filters by hand; FUV to sub-millimetre."""
    by_hand = photometry(galaxy.wave, galaxy.parts["total"])
    # lines are as wide as pixels of the spectrum there, and have no width in photometry
    np.testing.assert_allclose(galaxy.exact, by_hand, rtol=3e-3)
    # the tolerance of the tables is 1e-3 for 95 % of bands; two bands hold breaks of the law
    np.testing.assert_allclose(galaxy.fast, galaxy.exact, rtol=3e-3)


def test_dust_emits_what_it_absorbs(galaxy):
    """To 1e-6, times ``dust_eta``; nothing where there is no model of its emission."""
    parts = galaxy.parts
    absorbed = integrate_spectra(galaxy.wave, parts["intrinsic"] - parts["attenuated"])
    emitted = integrate_spectra(galaxy.wave, parts["dust_ir"])
    eta = STRUCTURES[galaxy.structure].get("dust_eta", 1.0)
    expected = eta * absorbed if "dust_ir" in HAS[galaxy.structure] else 0.0
    assert emitted == pytest.approx(expected, rel=1e-6)


def test_dust_in_gas_absorbs_ionising_light(ssp):
    """All stars are young and ionise: 30 % of the ionising light, and no other, heats the dust.

    With a screen of no depth; the light of stars without gas says how much there is.
    """
    choices = {"met_logzsol": -0.5, "dust_tau_diff": 0.0, "dust_tau_bc": 0.0, **YOUNG}
    glow = {"nebular": "cloudy", "dust_emission": "draine_li2007", **SHAPE}
    with interpreted():
        dusty = make_model(ssp, neb_fdust=0.3, neb_logu=-2.0, **glow, **choices)
        parts = {name: np.asarray(part) for name, part in dusty.sed_decomposition({}).items()}
        fast = float(dusty.derived({})["dust_luminosity"]) * dusty.forward.lsun_erg_s
        bare = make_model(ssp, dust="none", **YOUNG, met_logzsol=-0.5)
        stars = np.interp(dusty.wave, bare.wave, np.asarray(bare.predict_sed({})))
    np.testing.assert_allclose(parts["attenuated"], parts["intrinsic"], rtol=1e-12)
    ionising = integrate_spectra(dusty.wave, stars * (np.asarray(dusty.wave) < 912.0))
    assert ionising > 0.2 * integrate_spectra(dusty.wave, stars)
    emitted = integrate_spectra(dusty.wave, parts["dust_ir"])
    assert emitted == pytest.approx(0.3 * ionising, rel=1e-6)
    # the table ends at 912 Angstrom, the spectrum at the last wavelength before
    assert fast == pytest.approx(0.3 * ionising, rel=3e-3)
