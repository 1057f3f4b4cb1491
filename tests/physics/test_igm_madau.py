"""Madau (1995): line by line, and the continuum against the integral that it approximates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate

from tengri_ppl.physics.igm import Madau1995IGM, load_madau1995, madau1995_transmission

transmission = jax.jit(madau1995_transmission)
LIMIT = 911.75


@pytest.fixture(scope="module")
def coefficients():
    return load_madau1995()


def integrated_continuum(wave, z):
    """Eq. 16 with the paper's distribution of the column densities of absorbers."""

    def absorbers(redshift):
        cross_section = 6.3e-18 * (wave / LIMIT / (1 + redshift)) ** 3

        def mean(low, high):
            def of_log(ln_n):
                n = np.exp(ln_n)
                return n**-0.5 * -np.expm1(-n * cross_section)

            return integrate.quad(of_log, np.log(low), np.log(high))[0]

        forest = 2.4e7 * (1 + redshift) ** 2.46 * mean(2e12, 1.59e17)
        return forest + 1.9e8 * (1 + redshift) ** 0.68 * mean(1.59e17, 1e20)

    return integrate.quad(absorbers, wave / LIMIT - 1.0, z)[0]


def series(wave, z):
    """Eqs. 12, 13, 15 for one wavelength with the four published coefficients."""
    depth = 0.0
    for line, amplitude in ((1216, 0.0036), (1026, 1.7e-3), (973, 1.2e-3), (950, 9.3e-4)):
        if wave < line * (1 + z):
            depth += amplitude * (wave / line) ** 3.46
    return depth + (0.0017 * (wave / 1216) ** 1.68 if wave < 1216 * (1 + z) else 0.0)


@pytest.mark.parametrize("z", [1.5, 3.0, 4.5])
def test_series_is_that_of_the_paper_down_to_lyman_delta(z, coefficients):
    rest = np.array([940.0, 960.0, 1000.0, 1100.0, 1210.0])
    expected = [np.exp(-series(w, z)) for w in rest * (1 + z)]
    value = transmission(rest[1:] * (1 + z), z, coefficients)
    np.testing.assert_allclose(value, expected[1:], rtol=2e-2)  # two digits in the paper
    assert transmission(rest[:1] * (1 + z), z, coefficients)[0] < expected[0]  # more lines


@pytest.mark.parametrize("z", [1.5, 2.5, 3.5, 4.5])
def test_continuum_approximates_the_integral_over_absorbers(z, coefficients):
    """Footnote 3 is within 4 % of eq. 16; just below the limit all lines absorb in addition."""
    share = np.array([0.5, 0.7, 0.85, 0.95])
    wave = np.maximum(LIMIT * (1 + z) * share, LIMIT)
    every_line = 1.0 + 1e-9
    with jax.enable_x64(True):
        lines = wave[:, None] / np.asarray(coefficients.lambda_j)
        blanketing = np.where(lines > every_line, coefficients.amplitude * lines**3.46, 0.0)
        metals = np.where(lines[:, 0] > every_line, 0.0017 * lines[:, 0] ** 1.68, 0.0)
        depth = -np.log(np.asarray(transmission(wave, z, coefficients)))
    continuum = depth - blanketing.sum(axis=1) - metals
    np.testing.assert_allclose(continuum, [integrated_continuum(w, z) for w in wave], rtol=0.045)


def test_transmission_is_one_redward_of_lyman_alpha_and_never_outside_its_range(coefficients):
    for z in (0.0, 0.7, 2.0, 5.0, 9.0):
        red = np.linspace(1215.68, 3e4, 100) * (1 + z)
        assert np.all(np.asarray(transmission(red, z, coefficients)) == 1.0)
        value = np.asarray(transmission(np.geomspace(10.0, 1215.0, 400) * (1 + z), z, coefficients))
        assert value.min() >= 0.0
        assert value.max() <= 1.0


def test_gradient_in_redshift_agrees_with_central_differences(coefficients):
    with jax.enable_x64(True):
        for z, rest in ((0.8, 850.0), (3.0, 700.0), (3.0, 1100.0), (5.5, 900.0)):

            def at_rest(redshift, rest=rest):
                return transmission(np.array([rest]) * (1 + redshift), redshift, coefficients)[0]

            numeric = (at_rest(z + 1e-6) - at_rest(z - 1e-6)) / 2e-6
            np.testing.assert_allclose(jax.grad(at_rest)(z), numeric, rtol=1e-6, atol=1e-9)


def test_gradients_are_finite_everywhere_in_single_precision(coefficients):
    edges = [jnp.geomspace(1.0, 1e9, 300), jnp.asarray(coefficients.lambda_j), jnp.array([LIMIT])]
    wave = jnp.concatenate(edges).astype(jnp.float32)
    gradient = jax.jit(jax.vmap(jax.jacfwd(lambda z: transmission(wave, z, coefficients))))
    assert np.isfinite(gradient(jnp.array([0.0, 0.5, 3.0, 15.0], jnp.float32))).all()


def test_the_grid_of_the_component_resolves_the_edges():
    igm, z = Madau1995IGM(), 3.0
    with jax.enable_x64(True):
        rest = igm.rest_grid
        grid = igm.transmission(rest * (1 + z), z, igm.load())
        fine = np.linspace(850.0, 1230.0, 7001)
        edges = np.append(igm.load().lambda_j, LIMIT)
        fine = fine[np.abs(fine[:, None] / edges - 1.0).min(axis=1) > 2e-6]
        direct = np.asarray(igm.transmission(fine * (1 + z), z, igm.load()))
    interpolated = np.interp(fine, rest, grid, right=1.0)
    np.testing.assert_allclose(interpolated, direct, atol=1e-3)
