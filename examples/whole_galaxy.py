"""A whole galaxy, from X-rays to radio: stars, gas, dust, an active nucleus, binaries, electrons.

Predicts photometry, emission lines and the decomposition of the spectrum, and the derivative of
every band in the dust's optical depth. ``--output DIR`` chooses where the figure goes.
"""

import argparse
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import tengri_ppl as tg

BANDS = ["galex_FUV", "sdss_u", "sdss_g", "sdss_r", "sdss_z", "twomass_Ks", "wise_w1", "wise_w3"]
BANDS += ["wise_w4", "herschel_pacs_100", "herschel_spire_250"]
GALAXY = {
    "sfh_delayed_log_mass": 10.6,
    "sfh_delayed_tau_gyr": 3.0,
    "met_logzsol": 0.0,
    "dust_tau_bc": 0.8,
    "dust_tau_diff": 0.5,
    "neb_logu": -2.8,
    "dust_umin": 2.0,
    "agn_log_lbol": 10.3,
}
LINES = {"[O II]": 3729.0, "H beta": 4862.7, "[O III]": 5008.2, "H alpha": 6564.6}
PARTS = {
    "intrinsic": ("stars and gas without dust", "0.6"),
    "attenuated": ("stars and gas", "#0072B2"),
    "dust_ir": ("dust", "#D55E00"),
    "agn": ("active nucleus", "#CC79A7"),
    "radio": ("radio", "#009E73"),
    "xray": ("X-rays", "#56B4E9"),
}
LSUN = 3.826e33  # erg/s, that of the SSP grid
LIGHT = 2.99792458e18  # Angstrom/s


def build_model():
    """Return a model with everything on; what is not given has its documented default."""
    spec = tg.Parameters(
        sfh="delayed",
        dust_law="calzetti",
        nebular="cloudy",
        dust_emission="draine_li2007",
        agn="nucleus",
        radio="fir_correlation",
        xray="lehmer2016",
        redshift=0.05,
        sfh_delayed_age_gyr=11.0,
        neb_line_width_kms=150.0,
        dust_qpah=2.5,
        dust_gamma=0.02,
        agn_torus_covering=0.4,
        agn_torus_warm_fraction=0.6,
        radio_agn_loudness=0.0,
        xray_agn_delta_alpha_ox=0.0,
        xray_agn_log_nh=22.0,
    )
    observation = tg.Observation(photometry=tg.Photometry.from_names(BANDS))
    return tg.SEDModel(spec, tg.load_ssp_data(), observation=observation)


def print_photometry(sed):
    """Print the magnitudes, and what more dust does to each band."""

    def magnitudes(tau):
        return tg.ab_magnitude(sed.predict_photometry({**GALAXY, "dust_tau_diff": tau}))

    tau = jnp.asarray(GALAXY["dust_tau_diff"])
    # One parameter and many bands: forward mode costs one pass.
    values, slopes = jax.jvp(magnitudes, (tau,), (jnp.ones_like(tau),))
    print(f"\n{'band':20} {'AB mag':>8} {'d mag / d tau_diff':>20}")
    for band, value, slope in zip(sed.bands, values, slopes, strict=True):
        print(f"{band:20} {value:8.3f} {slope:20.3f}")


def print_lines(sed):
    """Print the luminosities of bright lines and how much of them gets through the dust."""
    lines = sed.predict_lines(GALAXY)
    wave = np.asarray(lines.wave_vacuum)
    print(f"\n{'line':10} {'L [Lsun]':>12} {'flux [erg/s/cm2]':>18}")
    for name, vacuum in LINES.items():
        i = int(np.argmin(np.abs(wave - vacuum)))
        print(f"{name:10} {lines.luminosity[i]:12.3e} {lines.flux[i]:18.3e}")


def check_energy(sed, parts):
    """Print derived quantities, and compare what dust absorbs with what it emits."""
    derived = sed.derived(GALAXY)
    # 64 bits, for frequencies times spectra overflow 32
    wave, dust = (np.asarray(x, dtype=float) for x in (sed.wave, parts["dust_ir"]))
    emitted = -np.trapezoid(dust, LIGHT / wave) / LSUN
    print(f"\nstellar mass      {float(derived['stellar_mass']):.3e} Msun")
    print(f"star formation    {float(derived['sfr_100myr']):.3f} Msun/yr")
    print(f"absorbed by dust  {float(derived['dust_luminosity']):.4e} Lsun")
    print(f"emitted by dust   {emitted:.4e} Lsun")


def plot_decomposition(sed, parts):
    """Return a figure of nu L_nu of all components."""
    wave = np.asarray(sed.wave, dtype=float)
    frequency = LIGHT / wave
    figure, axes = plt.subplots(figsize=(9, 4.5), layout="constrained")
    axes.loglog(
        1e-4 * wave, frequency * np.asarray(parts["total"]) / LSUN, "k", lw=1, label="total"
    )
    for name, (label, colour) in PARTS.items():
        light = frequency * np.asarray(parts[name], dtype=float) / LSUN
        light[light <= 0] = np.nan
        axes.loglog(1e-4 * wave, light, color=colour, lw=1.3, label=label)
    axes.set(
        xlim=(5e-6, 1e6),
        ylim=(1e3, 3e12),
        xlabel="wavelength at rest [micron]",
        ylabel=r"$\nu L_\nu$ [Lsun]",
    )
    axes.legend(fontsize=8, ncols=2, loc="upper right")
    return figure


def main():
    """Build the model, predict everything and save the figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("build/examples"))
    folder = parser.parse_args().output
    folder.mkdir(parents=True, exist_ok=True)

    start = time.perf_counter()
    sed = build_model()
    print(f"{sed}, built in {time.perf_counter() - start:.1f} s")
    parts = sed.sed_decomposition(GALAXY)
    print_photometry(sed)
    print_lines(sed)
    check_energy(sed, parts)
    figure = plot_decomposition(sed, parts)
    figure.savefig(folder / "whole_galaxy.png", dpi=150)
    print(f"\nfigure: {folder / 'whole_galaxy.png'}")


if __name__ == "__main__":
    main()
