"""LSST magnitudes of two FSPS populations at 25 redshifts (``physics_tables/fsps_ssp_samples``).

FSPS's spectra go in, one at a time as a grid of a single population; redshifting, distance and
integration through the bands are what is compared. The cosmology is that of the tables, flat with
Om = 0.27 and h = 0.72; no dust, no IGM.
"""

import numpy as np
import pytest

import tengri_ppl as tg
from tengri_ppl.physics.constants import LSUN_FSPS_ERG_S
from tengri_ppl.physics.ssp import SSPData

pytestmark = pytest.mark.crosscheck

BANDS = "ugrizy"


@pytest.fixture(scope="module")
def folder(validation_data):
    path = validation_data / "physics_tables" / "fsps_ssp_samples"
    if not path.is_dir():
        pytest.skip(f"no {path}")
    return path


@pytest.fixture(scope="module")
def lsst(folder):
    curves = {band: np.load(folder / f"lsst_{band}_transmission.npy") for band in BANDS}
    return tg.Observation(
        tg.Photometry((f"lsst_{b}", c["wave"], c["transmission"]) for b, c in curves.items())
    )


def single_population(table):
    """A grid in which every age and metallicity has the same spectrum."""
    flux = table["flux"].astype(float)
    return SSPData(
        ssp_flux=np.broadcast_to(flux, (2, 2, flux.size)),
        ssp_lg_age_gyr=np.array([-2.0, 1.0]),
        ssp_lgmet=np.array([-3.0, -1.0]),
        ssp_wave=table["wave"].astype(float),
        ssp_mass_remaining=None,
        name="FSPS",
        imf="unknown",
        lsun_erg_s=LSUN_FSPS_ERG_S,
        zsun=0.0142,
        has_nebular=False,
        sha256="",
    )


@pytest.mark.parametrize("sample", ["imet_2_iage_90", "imet_20_iage_5"])
def test_magnitudes_agree(folder, lsst, sample, x64, measured):
    """Required is 0.01 mag; the median is 0.0006, the largest 0.0066.

    Bands more than 15 mag fainter than the brightest are left out: the young population's u band
    at z > 3.6, where all of it is blueward of the Lyman limit, and 16 to 30 mag fainter.
    """
    redshift = np.load(folder / "fsps_lsst_mags_zobs.npy")
    table = np.load(folder / f"fsps_lsst_mags_zobs_{sample}.npy")
    theirs = np.stack([table[band] for band in BANDS], axis=1).astype(float)
    spec = tg.Parameters(
        sfh="constant",
        sfh_constant_log_mass=0.0,
        sfh_constant_age_max_gyr=0.1,
        met_logzsol=0.0,
        dust="none",
        igm="none",
        redshift=tg.Uniform(0.2, 4.1),
    )
    ssp = single_population(np.load(folder / f"fsps_ssp_{sample}.npy"))
    model = tg.SEDModel(spec, ssp, lsst, n_nodes=2, h0=72.0, om0=0.27)
    flux = model.predict_photometry({"redshift": redshift}, mode="exact")
    difference = np.asarray(tg.ab_magnitude(flux)) - theirs
    counts = theirs < theirs.min(axis=1, keepdims=True) + 15.0
    measured("LSST magnitudes of FSPS populations, difference [mag]", difference[counts])
    assert counts.sum() >= 147
    assert np.median(np.abs(difference[counts])) < 1e-3
    assert np.abs(difference[counts]).max() < 0.01
