"""Physical constants, in the units that the package uses throughout."""

from __future__ import annotations

#: Speed of light [Angstrom/s] (exact, SI).
C_ANGSTROM_PER_S = 2.99792458e18
#: Speed of light [km/s] (exact, SI).
C_KM_PER_S = 299792.458
#: Megaparsec [cm] (IAU 2012 astronomical unit, IAU 2015 resolution B2).
MPC_CM = 3.0856775814913673e24
#: Nominal solar luminosity [erg/s] (IAU 2015 resolution B3).
LSUN_ERG_S = 3.828e33
#: Solar luminosity of FSPS and of the SSP files made with it [erg/s].
LSUN_FSPS_ERG_S = 3.839e33
#: One microjansky [erg/s/cm^2/Hz].
MICROJANSKY_CGS = 1e-29
#: Zero point of the AB system, ``m = -2.5 log10(f_nu) - 48.60`` (Oke & Gunn 1983).
AB_ZERO_POINT = 48.60
