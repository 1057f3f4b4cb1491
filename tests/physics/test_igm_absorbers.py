"""Damped absorbers and the neutral IGM against atomic physics, integrals and published widths."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import constants, integrate, special

from tengri_ppl.physics.igm import (
    DampedAbsorber,
    IGMWithDampingWing,
    IGMWithDLA,
    Inoue2014IGM,
    Madau1995IGM,
    NeutralMedium,
    NoIGM,
    damping_wing_transmission,
    dla_transmission,
)

dla = jax.jit(dla_transmission)
wing = jax.jit(damping_wing_transmission)
ALPHA = 1215.67
C_CM = constants.c * 100.0


def absorber(log_nhi, b=30.0, velocity=0.0):
    return DampedAbsorber(log_nhi, b, velocity)


def medium(neutral_fraction=1.0, z_end=6.0, bubble_mpc=0.0):
    return NeutralMedium(neutral_fraction, z_end, bubble_mpc, 0.02237, 0.143, 0.2454)


# -- damped absorbers ----------------------------------------------------------------------------


@pytest.mark.parametrize("log_nhi", [20.0, 20.6, 21.3])
def test_equivalent_width_of_lyman_alpha_is_that_of_the_damped_regime(log_nhi):
    """W = 7.3 Angstrom sqrt(N / 1e20), the square-root part of the curve of growth."""
    with jax.enable_x64(True):
        wave = np.linspace(1060.0, 2500.0, 40_001)
        lost = 1.0 - np.asarray(dla(wave, 0.0, absorber(log_nhi)))
    expected = 7.3 * 10.0 ** (0.5 * (log_nhi - 20.0))
    # Lyman-beta and the asymmetry add 1 %
    assert integrate.trapezoid(lost, wave) == pytest.approx(expected, rel=0.015)


@pytest.mark.parametrize(
    ("line", "strength", "decay"),  # Morton (2003): wavelength, f, Gamma
    [(1025.7223, 0.07912, 1.897e8), (972.5368, 0.02900, 8.127e7), (949.7431, 0.01394, 4.204e7)],
)
def test_lines_are_voigt_profiles_with_tabulated_atomic_data(line, strength, decay):
    b = 30e5
    velocity = np.array([-60.0, -45.0, -20.0, 0.0, 25.0, 50.0]) * 1e5
    wave = line * (1.0 + velocity / C_CM)
    u = (line / wave - 1.0) * C_CM / b
    voigt = special.wofz(u + 1j * decay * line * 1e-8 / (4 * np.pi * b)).real
    # sqrt(pi) e^2 / (m_e c) = 0.014974 cm^2/s
    depth = 10**15.5 * 0.014973613 * strength * line * 1e-8 / b * voigt
    with jax.enable_x64(True):
        value = dla(wave, 0.0, absorber(15.5))
    # wavelengths of a point nucleus are 0.1 km/s off
    np.testing.assert_allclose(-np.log(value), depth, rtol=0.015)


def test_wings_of_lyman_alpha_are_asymmetric():
    """Lee (2013): cross section times 1 - 1.792 (nu - nu_alpha) / nu_alpha."""
    with jax.enable_x64(True):
        shift = 0.03  # in frequency
        wave = ALPHA / (1.0 + shift * np.array([1.0, -1.0]))
        blue, red = -np.log(np.asarray(dla(wave, 0.0, absorber(20.5))))
    # the wings themselves are symmetric in frequency, to the 0.4 % that Lyman-beta adds
    assert red / blue == pytest.approx((1 + 1.792 * shift) / (1 - 1.792 * shift), rel=1e-2)


def test_lyman_continuum_has_the_cross_section_of_hydrogen():
    with jax.enable_x64(True):
        value = dla(np.array([911.0, 600.0]), 0.0, absorber(17.2))
    expected = 10**17.2 * 6.30e-18 * np.array([911.0, 600.0]) ** 3 / 911.7534**3
    # Lyman-alpha's far wing adds less than 1e-4
    np.testing.assert_allclose(-np.log(value), expected, rtol=1e-3)


def test_absorber_moves_with_its_velocity_and_redshift():
    wave = np.linspace(1100.0, 1400.0, 300)
    with jax.enable_x64(True):
        still = dla(wave, 0.0, absorber(21.0))
        np.testing.assert_allclose(dla(wave * 4.0, 3.0, absorber(21.0)), still, rtol=1e-9)
        # an absorber at z = 2.9 in front of a source at z = 3
        velocity = constants.c / 1e3 * (1.0 - 3.9 / 4.0)
        moved = dla(wave * 3.9, 3.0, absorber(21.0, velocity=velocity))
        np.testing.assert_allclose(moved, still, rtol=1e-9)


# -- neutral medium ------------------------------------------------------------------------------


def lorentzian_depth(wave_obs, z_low, z_high):
    """Integrate n_HI sigma along the line of sight, with sigma of Peebles (1993) in the wing."""
    length, decay = ALPHA * 1e-8, 6.265e8
    hydrogen = 0.02237 * 1.87834e-29 * (1 - 0.2454) / 1.6735e-24  # rho_crit/h^2, m_H [cgs]

    def integrand(z):
        x = ALPHA * (1 + z) / wave_obs  # frequency over that of the line
        offset = 2 * np.pi * C_CM / length * (x - 1.0)
        sigma = 3 * length**2 * decay**2 / (8 * np.pi) * x**4 / offset**2
        hubble = 100e5 / 3.0856776e24 * np.sqrt(0.143 * (1 + z) ** 3)
        return sigma * hydrogen * (1 + z) ** 3 * C_CM / ((1 + z) * hubble)

    near = [z_high - 1e-3, z_high - 1e-2]
    return integrate.quad(integrand, z_low, z_high, points=near, limit=500, epsabs=0)[0]


@pytest.mark.parametrize("z", [6.5, 7.0, 9.0])
def test_damping_wing_is_the_integral_along_the_line_of_sight(z):
    wave = ALPHA * (1 + z) * np.array([1.0005, 1.002, 1.01, 1.03, 1.1])
    with jax.enable_x64(True):
        value = wing(wave, z, medium())
    expected = [lorentzian_depth(w, 6.0, z) for w in wave]
    np.testing.assert_allclose(-np.log(value), expected, rtol=5e-4)  # digits of the constants


def test_bubble_moves_the_medium_away():
    """1 proper Mpc at z = 7 is H(z) / c (1 + z) = 0.0228 in redshift for matter alone."""
    wave = ALPHA * 8.0 * np.array([0.999, 1.0005, 1.01, 1.05])
    behind = 7.0 - 100.0 * np.sqrt(0.143) * 8.0**2.5 / (constants.c / 1e3)
    assert 7.0 - behind == pytest.approx(0.0228, abs=1e-4)
    with jax.enable_x64(True):
        value = wing(wave, 7.0, medium(bubble_mpc=1.0))
    expected = [lorentzian_depth(w, 6.0, behind) for w in wave]
    np.testing.assert_allclose(-np.log(value), expected, rtol=5e-4)


def test_optical_depth_is_proportional_to_the_neutral_fraction():
    wave = ALPHA * 8.0 * np.array([1.002, 1.01, 1.05])
    with jax.enable_x64(True):
        full, part = (-np.log(np.asarray(wing(wave, 7.0, medium(x)))) for x in (1.0, 0.3))
    np.testing.assert_allclose(part, 0.3 * full, rtol=1e-10)


def test_light_that_meets_the_line_in_neutral_gas_is_lost():
    z = 7.5
    inside = ALPHA * np.array([7.01, 7.5, 8.4])
    assert not np.any(wing(inside, z, medium()))
    assert np.all(np.asarray(wing(inside, z, medium(neutral_fraction=0.0))) == 1.0)
    assert np.all(np.asarray(wing(inside, 5.9, medium())) == 1.0)  # the medium ended before
    far_blue = np.array([ALPHA * 7.0 / 2.5])
    assert np.asarray(wing(far_blue, z, medium()))[0] == 1.0


# -- components ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "igm",
    [IGMWithDLA(log_nhi=20.3), IGMWithDampingWing(base=Madau1995IGM(), bubble_mpc=0.5)],
    ids=["dla", "wing"],
)
def test_component_is_the_base_times_the_absorber(igm):
    z = 7.0
    wave = np.geomspace(800.0, 2000.0, 200) * (1 + z)
    value = igm.transmission(wave, z, igm.load())
    base = igm.base.transmission(wave, z, igm.base.load())
    alone = type(igm)(base=NoIGM(), **{k: v for k, v in vars(igm).items() if k != "base"})
    np.testing.assert_allclose(value, base * alone.transmission(wave, z, alone.load()), rtol=1e-6)


def test_absorbers_stack():
    both = IGMWithDampingWing(base=IGMWithDLA(log_nhi=21.5))
    z, wave = 7.0, np.geomspace(1000.0, 2000.0, 100) * 8.0
    value = both.transmission(wave, z, both.load())
    parts = [Inoue2014IGM(), IGMWithDLA(NoIGM(), 21.5), IGMWithDampingWing(NoIGM())]
    expected = np.prod([p.transmission(wave, z, p.load()) for p in parts], axis=0)
    np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-12)
    assert set(both.base.rest_grid) < set(both.rest_grid)
    assert set(Inoue2014IGM().rest_grid) < set(both.base.rest_grid)


@pytest.mark.parametrize(
    ("igm", "z"),
    [
        (IGMWithDLA(log_nhi=18.0), 2.0),
        (IGMWithDLA(base=NoIGM(), log_nhi=20.3, velocity=1000.0), 1.0),
        (IGMWithDLA(log_nhi=22.0), 3.0),
        (IGMWithDampingWing(), 7.5),
    ],
    ids=["sub-dla", "moving", "strong", "wing"],
)
def test_grid_resolves_the_absorption_in_broad_bands(igm, z):
    """Mean over 3 % in wavelength, a tenth of the width of a broad filter."""
    fine = np.geomspace(300.0, 6000.0, 120_001)
    transmission = jax.jit(igm.transmission)
    with jax.enable_x64(True):
        rest, data = igm.rest_grid, igm.load()
        grid = transmission(rest * (1 + z), z, data)
        direct = np.concatenate(
            [transmission(w * (1 + z), z, data) for w in np.split(fine[:-1], 10)]
        )
    assert np.all(np.diff(rest) > 0)
    error = np.interp(fine[:-1], rest, grid, right=1.0) - direct
    smooth = np.convolve(error, np.full(1200, 1 / 1200), "same")
    assert np.abs(smooth).max() < 2e-3


def test_gradients_are_finite_everywhere_in_single_precision():
    wave = jnp.concatenate(
        [
            jnp.geomspace(1.0, 1e8, 200),
            jnp.array([911.7534, 1025.7223, ALPHA]),
            ALPHA * jnp.array([7.0, 8.0, 9.0]),
        ]
    ).astype(jnp.float32)

    def as_arrays(x):
        return jax.tree.map(jnp.float32, x)

    cases = [(dla_transmission, absorber(n)) for n in (12.0, 23.0)]
    cases += [(damping_wing_transmission, medium(bubble_mpc=r)) for r in (0.0, 3.0)]
    for function, data in cases:
        gradient = jax.jit(jax.grad(lambda z, d, f=function: f(wave, z, d).sum(), argnums=(0, 1)))
        for z in (0.0, 6.0, 8.0):
            assert all(np.isfinite(g) for g in jax.tree.leaves(gradient(*as_arrays((z, data)))))


def test_gradient_in_column_density_agrees_with_central_differences():
    with jax.enable_x64(True):
        wave = np.array([905.0, 1180.0, 1240.0])

        def total(n):
            return dla(wave, 0.0, DampedAbsorber(n, 30.0, 0.0)).sum()

        numeric = (total(17.5 + 1e-5) - total(17.5 - 1e-5)) / 2e-5
        np.testing.assert_allclose(jax.grad(total)(17.5), numeric, rtol=1e-6)
