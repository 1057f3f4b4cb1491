"""Tori: black bodies, and templates from files."""

import jax
import numpy as np
import pytest
from emission_cases import C_ANGSTROM_PER_S, integral

from tengri_ppl.errors import DataError, ParameterError
from tengri_ppl.physics.agn import NoTorus, TemplateTorus, TwoBlackbodyTorus
from tengri_ppl.physics.templates import (
    TemplateAxis,
    TemplateFile,
    integrate_spectra,
    save_templates,
)

WARM = {"agn_torus_t_hot": 1200.0, "agn_torus_t_warm": 300.0, "agn_torus_warm_fraction": 0.4}


@pytest.fixture(autouse=True)
def _double_precision():
    with jax.enable_x64(True):
        yield


@pytest.fixture
def torus_file(tmp_path):
    """Two spectra of different height along one axis."""
    wave = np.geomspace(1e3, 1e6, 60)
    spectra = np.stack([wave / 1e4, 5.0 * np.exp(-((np.log(wave / 1e5)) ** 2))])
    content = TemplateFile(
        wave=wave,
        spectra=spectra,
        axes=(TemplateAxis("tau", np.array([5.0, 10.0])),),
        kind="agn_torus",
    )
    return str(save_templates(tmp_path / "torus.h5", content))


def test_two_black_bodies_have_unit_luminosity_and_wiens_peaks():
    torus = TwoBlackbodyTorus()
    wave = np.geomspace(1e3, 1e9, 20_001)
    assert integral(torus.smooth(wave, WARM), wave) == pytest.approx(1.0, rel=1e-8)
    # nu L_nu of a black body peaks at x = h nu / k T = 3.92069
    for share, temperature in ((0.0, 1200.0), (1.0, 300.0)):
        l_nu = torus.smooth(wave, WARM | {"agn_torus_warm_fraction": share})
        peak = wave[np.argmax(np.asarray(l_nu) * C_ANGSTROM_PER_S / wave)]
        assert peak == pytest.approx(1.4387769e8 / (3.92069 * temperature), rel=1e-3)  # grid


def test_warm_fraction_is_a_share_of_the_luminosity():
    """Redward of 40 micron the hot dust has 0.2 % of its light (Planck's law)."""
    wave = np.geomspace(1e3, 1e9, 20_001)
    torus = TwoBlackbodyTorus()
    hot = torus.smooth(wave, WARM | {"agn_torus_warm_fraction": 0.0})
    warm = torus.smooth(wave, WARM | {"agn_torus_warm_fraction": 1.0})
    both = torus.smooth(wave, WARM)
    np.testing.assert_allclose(both, 0.6 * hot + 0.4 * warm, rtol=1e-12)


def test_templates_are_scaled_to_unit_luminosity_and_interpolated(torus_file):
    torus = TemplateTorus(path=torus_file)
    assert [p.name for p in torus.parameters] == ["agn_torus_tau"]
    grid = torus.load()
    weights = torus.weights({"agn_torus_tau": 6.25}, grid)
    np.testing.assert_allclose(weights, [0.75, 0.25], rtol=1e-12)
    assert integrate_spectra(grid.wave, weights @ grid.spectra) == pytest.approx(1.0, rel=1e-12)
    np.testing.assert_allclose(torus.weights({"agn_torus_tau": 99.0}, grid), [0.0, 1.0])


def test_no_torus_is_dark():
    assert not NoTorus.exists
    assert not np.any(NoTorus().smooth(np.array([1e4, 1e5]), {}))


def test_files_of_other_kinds_and_missing_paths_are_refused(tmp_path):
    with pytest.raises(ParameterError, match="needs a file"):
        TemplateTorus()
    wave = np.array([1.0, 2.0])
    for kind, normalisation in (("shock", "unit"), ("agn_torus", "absolute")):
        content = TemplateFile(wave=wave, spectra=wave, kind=kind, normalisation=normalisation)
        path = save_templates(tmp_path / "other.h5", content)
        with pytest.raises(DataError, match=f"{kind}.*{normalisation}"):
            TemplateTorus(path=str(path)).load()
        path.unlink()
