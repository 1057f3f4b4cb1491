"""What tests of emission components share: galaxies, and values for their parameters."""

import jax.numpy as jnp
import numpy as np

from tengri_ppl.physics.component import NormalPrior
from tengri_ppl.physics.emission import Galaxy

LSUN_ERG_S = 3.828e33
C_ANGSTROM_PER_S = 2.99792458e18


def galaxy(redshift=0.5, absorbed=1e11, sfr=10.0, stellar_mass=1e10):
    return Galaxy(*(jnp.asarray(x, float) for x in (redshift, absorbed, sfr, stellar_mass)))


def midpoint(*components):
    """Fixed defaults, and the middle of the priors of free parameters."""
    values = {}
    for parameter in (p for c in components for p in c.parameters):
        default = parameter.default
        if isinstance(default, NormalPrior):
            default = default.loc
        values[parameter.name] = float(np.mean(default))
    return values


def draws(n, *components, seed=0):
    """``n`` values of each parameter from its prior, its ends included; fixed ones vary by 20 %."""
    rng = np.random.default_rng(seed)
    values = {}
    for parameter in (p for c in components for p in c.parameters):
        default = parameter.default
        if isinstance(default, NormalPrior):
            sample = rng.normal(default.loc, default.scale, n)
        elif isinstance(default, tuple):
            sample = rng.uniform(*default, n)
            sample[:2] = default
        else:
            sample = default * rng.uniform(0.8, 1.2, n)
        values[parameter.name] = sample
    return values


def integral(l_nu, wave):
    """Integral of L_nu over frequency by the trapezoidal rule in ln(wavelength)."""
    return np.trapezoid(np.asarray(l_nu) * C_ANGSTROM_PER_S / wave, np.log(wave))
