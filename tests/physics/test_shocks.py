"""Shocks from template files."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from emission_cases import galaxy, midpoint

from tengri_ppl.errors import DataError, ParameterError
from tengri_ppl.physics.shocks import TemplateShock
from tengri_ppl.physics.templates import (
    TemplateAxis,
    TemplateFile,
    integrate_spectra,
    save_templates,
)

WAVE = np.geomspace(1e3, 1e5, 50)


def write(folder, **changes):
    """A file of two velocities; the faster shock is four times as bright."""
    spectra = np.stack([np.exp(-(((WAVE - 5e3) / 1e3) ** 2)) + 1e-3, 4.0 * np.ones_like(WAVE)])
    axes = (TemplateAxis("velocity", np.array([100.0, 300.0]), "km/s"),)
    content = {"wave": WAVE, "spectra": spectra, "axes": axes, "kind": "shock"} | changes
    return str(save_templates(folder / "shock.h5", TemplateFile(**content)))


@pytest.fixture(autouse=True)
def _double_precision():
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize("normalisation", ["unit", "relative"])
@pytest.mark.parametrize("velocity", [100.0, 180.0, 300.0])
def test_luminosity_is_that_asked_for(tmp_path, normalisation, velocity):
    shock = TemplateShock(path=write(tmp_path, normalisation=normalisation))
    assert [p.name for p in shock.parameters] == ["shock_log_luminosity", "shock_velocity"]
    grid = shock.load()
    params = {"shock_log_luminosity": 8.5, "shock_velocity": velocity}
    weights = np.asarray(shock.weights(params, galaxy(), grid))
    assert integrate_spectra(grid.wave, weights @ grid.spectra) == pytest.approx(10**8.5, rel=1e-9)


def test_relative_spectra_mix_as_they_are(tmp_path):
    """Half way between two velocities the mixture is the mean of the two spectra, rescaled."""
    path = write(tmp_path, normalisation="relative")
    shock = TemplateShock(path=path)
    grid = shock.load()
    params = {"shock_log_luminosity": 0.0, "shock_velocity": 200.0}
    mixed = np.asarray(shock.weights(params, galaxy(), grid)) @ grid.spectra
    mean = 0.5 * (np.exp(-(((WAVE - 5e3) / 1e3) ** 2)) + 1e-3 + 4.0)
    np.testing.assert_allclose(mixed / mixed[0], mean / mean[0], rtol=1e-12)


def test_coverage_is_that_of_the_file(tmp_path):
    shock = TemplateShock(path=write(tmp_path))
    assert shock.coverage == pytest.approx((1e3, 1e5))


def test_other_files_and_no_file_are_refused(tmp_path):
    with pytest.raises(ParameterError, match="shock='templates' needs a file"):
        TemplateShock()
    with pytest.raises(DataError, match="agn_torus"):
        TemplateShock(path=write(tmp_path, kind="agn_torus")).load()


def test_gradients_are_finite_in_32_bit(tmp_path):
    shock = TemplateShock(path=write(tmp_path, normalisation="relative"))
    with jax.enable_x64(False):
        grid = shock.load()
        params = {k: jnp.float32(v) for k, v in midpoint(shock).items()}
        for ends in (5.0, 12.0):
            params["shock_log_luminosity"] = jnp.float32(ends)
            gradient = jax.grad(lambda p: jnp.sum(shock.weights(p, galaxy(), grid) @ grid.spectra))(
                params
            )
            assert all(np.isfinite(g) for g in gradient.values())
