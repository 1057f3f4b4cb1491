import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tengri_ppl.physics.igm import inoue2014_transmission, load_inoue2014

VALIDATION = Path(
    os.environ.get(
        "TENGRI_PPL_VALIDATION_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"
    )
)


transmission = jax.jit(inoue2014_transmission)


@pytest.fixture(scope="module")
def coefficients():
    return load_inoue2014()


def scalar_optical_depth(wave, z, table):
    """Inoue et al. (2014) for one wavelength and redshift, line by line, in plain Python."""
    depth = 0.0
    for line, laf, dla in zip(table.lambda_j, table.laf, table.dla, strict=True):
        absorber = wave / line  # 1 + redshift of the absorbing gas
        if not 1.0 < absorber < 1.0 + z:
            continue
        regime = 0 if absorber < 2.2 else 1 if absorber < 5.7 else 2
        depth += laf[regime] * absorber ** (1.2, 3.7, 5.5)[regime]
        regime = 0 if absorber < 3.0 else 1
        depth += dla[regime] * absorber ** (2.0, 3.0)[regime]
    if wave >= 911.8 * (1 + z):
        return depth
    return depth + forest_continuum(wave / 911.8, z) + damped_continuum(wave / 911.8, z)


def forest_continuum(x, z):
    if z < 1.2:
        return 0.325 * (x**1.2 - (1 + z) ** -0.9 * x**2.1)
    if z < 4.7:
        far = 2.55e-2 * (1 + z) ** 1.6 * x**2.1
        return far + (0.325 * x**1.2 - 0.25 * x**2.1 if x < 2.2 else -2.55e-2 * x**3.7)
    far = 5.22e-4 * (1 + z) ** 3.4 * x**2.1
    if x < 2.2:
        return far + 0.325 * x**1.2 - 3.14e-2 * x**2.1
    return far + (0.218 * x**2.1 - 2.55e-2 * x**3.7 if x < 5.7 else -5.22e-4 * x**5.5)


def damped_continuum(x, z):
    if z < 2.0:
        return 0.211 * (1 + z) ** 2 - 7.66e-2 * (1 + z) ** 2.3 * x**-0.3 - 0.135 * x**2
    far = 4.70e-2 * (1 + z) ** 3 - 1.78e-2 * (1 + z) ** 3.3 * x**-0.3
    return far + (0.634 - 0.135 * x**2 - 0.291 * x**-0.3 if x < 3.0 else -2.92e-2 * x**3)


@pytest.mark.parametrize("z", [0.3, 1.0, 1.5, 2.5, 3.7, 5.2, 6.5])
def test_transmission_agrees_with_a_line_by_line_sum(z, coefficients):
    wave = np.linspace(915.0, 1230.0 * (1 + z), 60)
    expected = [np.exp(-max(scalar_optical_depth(w, z, coefficients), 0.0)) for w in wave]
    with jax.enable_x64(True):
        exact = transmission(wave, z, coefficients)
    np.testing.assert_allclose(exact, expected, rtol=1e-12)
    single = transmission(jnp.asarray(wave, jnp.float32), jnp.float32(z), coefficients)
    np.testing.assert_allclose(single, expected, atol=2e-6)  # sums of order 10 in float32


@pytest.mark.parametrize("edge", [1.2, 2.0, 4.7])
def test_redshift_regimes_join_within_the_rounding_of_the_paper(edge, coefficients):
    """With three digits the depths, sums of terms up to 40, join within 0.05."""
    wave = np.linspace(920.0, 911.0 * (1 + edge), 300)
    below = transmission(wave, edge - 1e-4, coefficients)
    above = transmission(wave, edge + 1e-4, coefficients)
    np.testing.assert_allclose(below, above, atol=1e-2)


def test_transmission_is_one_redward_of_lyman_alpha(coefficients):
    for z in (0.0, 0.5, 3.0, 8.0):
        wave = np.linspace(1215.68, 30000.0, 200) * (1 + z)
        assert np.all(np.asarray(transmission(wave, z, coefficients)) == 1.0)


def test_transmission_lies_between_zero_and_one_and_falls_with_redshift(coefficients):
    rest = np.linspace(100.0, 1215.0, 400)
    last = np.ones_like(rest)
    for z in np.linspace(0.0, 9.0, 46):
        value = np.asarray(transmission(rest * (1 + z), z, coefficients))
        assert value.min() >= 0.0
        assert value.max() <= 1.0
        inside = rest * (1 + z) > 911.8
        assert np.all((value <= last + 6e-3)[inside])  # regimes join within the rounding
        last = np.where(inside, value, last)


def test_mean_forest_transmission_is_as_observed(coefficients):
    """Faucher-Giguere et al. (2008): tau_eff = 0.0018 (1 + z)^3.92 between Lyman beta and alpha."""
    for z in (2.5, 3.0, 3.5):
        wave = 1200.0 * (1 + z)
        effective = -np.log(transmission(jnp.array([wave]), z, coefficients))[0]
        assert effective == pytest.approx(0.0018 * (wave / 1215.67) ** 3.92, rel=0.2)


def test_gradient_in_redshift_agrees_with_central_differences(coefficients):
    with jax.enable_x64(True):
        for z, wave in ((0.8, 1500.0), (1.5, 1600.0), (3.0, 3300.0), (5.5, 5200.0), (3.0, 4500.0)):

            def at_wave(redshift, wave=wave):
                return transmission(np.array([wave]), redshift, coefficients)[0]

            numeric = (at_wave(z + 1e-6) - at_wave(z - 1e-6)) / 2e-6
            np.testing.assert_allclose(jax.grad(at_wave)(z), numeric, rtol=1e-6, atol=1e-9)


def test_rest_frame_gradient_sees_the_evolution_of_the_forest(coefficients):
    with jax.enable_x64(True):

        def at_rest(z):
            return transmission(np.array([1100.0]) * (1 + z), z, coefficients)[0]

        numeric = (at_rest(3.0 + 1e-6) - at_rest(3.0 - 1e-6)) / 2e-6
        gradient = float(jax.grad(at_rest)(3.0))
    assert gradient < 0.0
    assert gradient == pytest.approx(float(numeric), rel=1e-6)


def test_gradients_are_finite_everywhere_in_single_precision(coefficients):
    wave = jnp.concatenate(
        [jnp.geomspace(1.0, 1e6, 400), jnp.asarray(coefficients.lambda_j), jnp.array([911.8])]
    ).astype(jnp.float32)
    gradient = jax.jit(
        jax.vmap(
            jax.jacfwd(lambda z: transmission(wave, z, coefficients)),
        )
    )
    reverse = jax.jit(jax.vmap(jax.grad(lambda z: transmission(wave, z, coefficients).sum())))
    z = jnp.array([0.0, 1.2, 2.0, 4.7, 6.0, 10.0, 15.0], jnp.float32)
    assert np.isfinite(gradient(z)).all()
    assert np.isfinite(reverse(z)).all()


def test_coefficients_are_a_pytree_of_arrays(coefficients):
    lambda_j, laf, dla = jax.tree.leaves(coefficients)
    assert (lambda_j.shape, laf.shape, dla.shape) == ((39,), (39, 3), (39, 2))
    assert lambda_j[0] == 1215.67
    assert np.all(np.diff(lambda_j) < 0.0)


@pytest.mark.crosscheck
def test_coefficients_agree_with_other_tabulations(coefficients):
    folder = VALIDATION / "physics_tables" / "igm"
    if not folder.is_dir():
        pytest.skip(f"no validation data in {folder}")
    forest, damped = np.loadtxt(folder / "LAFcoeff.txt"), np.loadtxt(folder / "DLAcoeff.txt")
    np.testing.assert_allclose(coefficients.lambda_j, forest[:, 1], rtol=1e-6)
    # Table 2 of the paper has four digits, the other tables six.
    np.testing.assert_allclose(coefficients.laf, forest[:, 2:], rtol=1e-3)
    np.testing.assert_allclose(coefficients.dla, damped[:, 2:], rtol=1e-3)
    published = np.loadtxt(folder / "lyman_series_coefs_inoue_2014_table2.txt")
    np.testing.assert_array_equal(
        np.column_stack([coefficients.lambda_j, coefficients.laf, coefficients.dla]),
        published[:, 1:],
    )
