"""Which values of a parameter the gallery shows, and at which the others stay."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from tengri_ppl.models.entries import default_entry, make_entry
from tengri_ppl.physics.component import LogUniformPrior, NormalPrior, Parameter, StudentTPrior

__all__ = ["example_values", "reference_value", "shown_values", "value_label"]

N_SHOWN = 5
_KEY = 11
_FACTORS = np.array([0.5, 0.75, 1.0, 1.5, 2.0])
#: Values that show more than those that follow from the default would.
_SHOWN: dict[str, tuple[float, ...]] = {
    "redshift": (0.1, 0.5, 1.0, 3.0, 6.0),
    "absorbed": (1e8, 1e9, 1e10, 1e11, 1e12),
    "sfr": (0.01, 0.1, 1.0, 10.0, 100.0),
    "stellar_mass": (1e8, 1e9, 1e10, 1e11, 1e12),
    "sfh_dpl_alpha": (0.5, 1.0, 2.0, 5.0, 10.0),
    "sfh_dpl_beta": (0.5, 1.0, 2.0, 5.0, 10.0),
    "sfh_constant_age_min_gyr": (0.0, 0.1, 0.5, 1.0, 2.0),
    "sfh_lognormal_fwhm_gyr": (0.5, 2.0, 5.0, 10.0, 20.0),
    "sfh_skewnormal_peak_gyr": (-2.0, 1.0, 4.0, 7.0, 10.0),
    "sfh_delayed_quench_change_gyr": (0.02, 0.05, 0.1, 0.3, 1.0),
    "sfh_delayed_quench_log_r_sfr": (-3.0, -2.0, -1.0, 0.5, 1.0),
    "sfh_psb_age_gyr": (4.0, 6.0, 8.0, 10.0, 12.0),
    "sfh_psb_burst_age_gyr": (0.05, 0.2, 0.5, 1.0, 2.0),
    "sfh_psb_burst_fraction": (0.02, 0.05, 0.1, 0.3, 0.9),
    "sfh_psb_alpha": (0.5, 2.0, 10.0, 50.0, 250.0),
    "sfh_psb_beta": (5.0, 20.0, 50.0, 250.0, 1000.0),
    "sfh_continuity_psb_tlast_gyr": (0.02, 0.05, 0.15, 0.5, 1.5),
    "sfh_tabulated_log_scale": (-1.0, -0.5, 0.0, 0.5, 1.0),
    "sfh_field_psd_sigma": (0.05, 0.1, 0.3, 0.6, 1.0),
    "sfh_burst_fraction": (0.01, 0.03, 0.1, 0.3, 0.5),
    "sfh_burst_age_gyr": (0.01, 0.03, 0.1, 0.3, 0.5),
    "sfh_burst_tau_gyr": (0.01, 0.03, 0.1, 0.3, 0.5),
    "sfh_prospector_beta_expected_at_log_mass": (8.0, 9.0, 10.0, 11.0, 12.0),
    "met_logzsol": (-1.5, -1.0, -0.5, 0.0, 0.4),
    "met_logzsol_old": (-2.0, -1.5, -1.0, -0.5, 0.0),
    "met_logzsol_start": (-2.0, -1.5, -1.0, -0.5, -0.2),
    "met_step_gyr": (0.1, 0.3, 0.5, 1.0, 2.0),
    "met_scatter": (0.05, 0.1, 0.2, 0.4, 0.8),
    "met_yield": (0.005, 0.01, 0.02, 0.03, 0.06),
    "dust_r_v": (2.1, 2.6, 3.1, 4.0, 5.5),
    "dust_mu": (0.0, 0.3, 0.5, 0.8, 1.0),
    "dust_n_clumps": (1.0, 2.0, 5.0, 10.0, 30.0),
    "dust_tau_diff": (0.2, 0.5, 1.0, 2.0, 4.0),
    "dust_tau_bc": (0.0, 0.5, 1.0, 2.0, 4.0),
    "dust_frac_unobscured": (0.0, 0.1, 0.3, 0.6, 0.9),
    "dust_qpah": (0.47, 1.12, 1.77, 3.19, 4.58),
    "dust_umin": (0.1, 0.5, 2.0, 8.0, 25.0),
    "dust_gamma": (0.0, 0.01, 0.03, 0.1, 0.2),
    "dust_eta": (0.5, 0.75, 1.0, 1.5, 2.0),
    "dust_beta_warm": (1.0, 1.25, 1.5, 1.75, 2.0),
    "dust_lambda_0_um": (50.0, 100.0, 200.0, 400.0, 800.0),
    "neb_logu": (-4.0, -3.25, -2.5, -1.75, -1.0),
    "neb_logzsol": (-1.5, -1.0, -0.5, 0.0, 0.3),
    "neb_fesc": (0.0, 0.25, 0.5, 0.75, 0.95),
    "neb_fdust": (0.0, 0.25, 0.5, 0.75, 0.95),
    "neb_line_width_kms": (50.0, 100.0, 200.0, 300.0, 500.0),
    "agn_log_lbol": (10.0, 10.5, 11.0, 11.5, 12.0),
    "agn_torus_covering": (0.1, 0.3, 0.5, 0.7, 0.9),
    "agn_torus_ebv": (0.0, 0.1, 0.3, 1.0, 3.0),
    "agn_polar_ebv": (0.0, 0.03, 0.1, 0.3, 1.0),
    "agn_polar_temperature": (50.0, 100.0, 150.0, 200.0, 300.0),
    "agn_polar_beta": (1.0, 1.3, 1.6, 2.0, 2.5),
    "agn_disc_slope": (-0.6, -0.36, 0.0, 0.3, 0.6),
    "agn_disc_slope_uv": (-0.9, -0.6, -0.349, -0.1, 0.2),
    "agn_disc_slope_optical": (0.2, 0.4, 0.593, 0.8, 1.0),
    "agn_disc_balmer": (0.0, 0.05, 0.1, 0.2, 0.4),
    "agn_torus_t_hot": (800.0, 1000.0, 1200.0, 1500.0, 1800.0),
    "agn_torus_t_warm": (150.0, 225.0, 300.0, 400.0, 600.0),
    "agn_line_broad": (0.0, 0.5, 1.0, 1.5, 2.0),
    "agn_line_iron": (0.0, 0.5, 1.0, 2.0, 4.0),
    "agn_line_narrow": (-1.0, -0.5, 0.0, 0.5, 1.0),
    "agn_line_broad_fwhm_kms": (1500.0, 3000.0, 5000.0, 8000.0, 12000.0),
    "agn_line_narrow_fwhm_kms": (150.0, 300.0, 500.0, 800.0, 1500.0),
    "radio_q_ir": (2.4, 2.6, 2.88, 3.0, 3.2),
    "radio_q_evolution": (-0.3, -0.25, -0.19, -0.1, 0.0),
    "radio_slope": (0.5, 0.65, 0.8, 1.0, 1.2),
    "radio_agn_loudness": (-1.0, 0.0, 1.0, 2.0, 3.0),
    "radio_agn_slope": (0.0, 0.3, 0.7, 1.0, 1.3),
    "xray_lmxb_index": (1.2, 1.4, 1.56, 1.8, 2.0),
    "xray_hmxb_index": (1.6, 1.8, 2.0, 2.2, 2.4),
    "xray_log_nh": (20.0, 21.0, 22.0, 23.0, 24.0),
    "xray_agn_delta_alpha_ox": (-0.3, -0.15, 0.0, 0.15, 0.3),
    "xray_agn_index": (1.4, 1.6, 1.8, 2.0, 2.2),
    "xray_agn_cutoff": (30.0, 60.0, 100.0, 300.0, 1000.0),
    "xray_agn_log_nh": (20.0, 21.0, 22.0, 23.0, 24.0),
}
#: Where a parameter stays while another one varies, if not at the middle one of its values.
_REFERENCE = {
    "redshift": 0.1,
    "sfh_constant_age_min_gyr": 0.0,
    "sfh_psb_beta": 250.0,
    "sfh_psb_alpha": 50.0,
    "sfh_field_psd_sigma_dyn": 0.1,
    "met_logzsol": 0.0,
    "met_logzsol_start": -2.0,
    "met_yield": 0.03,
    "met_step_gyr": 2.0,
    "dust_gamma": 0.01,
    "dust_qpah": 2.5,
    "dust_umin": 1.0,
    "dust_alpha_mir": 2.0,
    "neb_logzsol": -0.5,
    "neb_fesc": 0.0,
    "neb_fdust": 0.0,
    "agn_torus_ebv": 0.0,
    "agn_polar_ebv": 0.03,
    "agn_disc_balmer": 0.0,
    "xray_log_nh": 20.0,
    "xray_agn_log_nh": 20.0,
    "xray_agn_cutoff": 300.0,
}
#: Tables and vectors that have no value of their own to stay at.
_EXAMPLES: dict[str, Any] = {
    "sfh_tabulated_time_gyr": np.linspace(0.5, 12.5, 13),
    "sfh_tabulated_sfr": np.array(
        [0.1, 1.0, 3.0, 5.0, 4.0, 6.0, 3.0, 2.0, 2.5, 1.0, 0.8, 1.2, 0.5]
    ),
    "met_tabulated_time_gyr": np.array([0.5, 2.0, 5.0, 8.0, 12.0]),
    "met_tabulated_logzsol": np.array([-2.0, -0.8, -0.4, -0.1, 0.1]),
}


def shown_values(parameter: Parameter) -> np.ndarray | None:
    """Return the values to show, (5, ...): draws from the prior for vectors; None for tables."""
    default = parameter.default
    if parameter.shape:
        if parameter.name in _EXAMPLES:
            return None
        prior = make_entry(parameter, default_entry(parameter))
        return np.asarray(prior.sample(jax.random.key(_KEY), (N_SHOWN,)))
    if parameter.name in _SHOWN:
        return np.array(_SHOWN[parameter.name])
    match default:
        case (low, high):
            margin = 0.08 * (high - low)
            return np.linspace(low + margin, high - margin, N_SHOWN)
        case LogUniformPrior(low, high):
            return np.geomspace(low, high, N_SHOWN)
        case NormalPrior(loc, scale) | StudentTPrior(_, loc, scale):
            return loc + scale * np.linspace(-2.0, 2.0, N_SHOWN)
        case value:
            return value * np.array([0.5, 0.75, 1.0, 1.5, 2.0]) + (value == 0) * np.linspace(
                0, 1, 5
            )


def reference_value(parameter: Parameter) -> np.ndarray:
    """Return the value at which a parameter stays while another one varies."""
    name = parameter.name
    if name in _EXAMPLES:
        return _EXAMPLES[name]
    if name in _REFERENCE:
        return np.asarray(_REFERENCE[name])
    values = shown_values(parameter)
    if not parameter.shape:
        return values[N_SHOWN // 2]
    if isinstance(parameter.default, StudentTPrior):
        return np.full(parameter.shape, parameter.default.loc)
    return values[0]


def example_values(name: str) -> np.ndarray | None:
    """Return the example for a table's column, None for other parameters."""
    return _EXAMPLES.get(name)


def value_label(value: np.ndarray) -> str:
    """Write a value in a few characters."""
    if 1e-3 <= abs(float(value)) < 1e5 or value == 0:
        return f"{float(value):.3g}" if abs(float(value)) < 1e3 else f"{float(value):g}"
    return rf"$10^{{{np.log10(float(value)):.2g}}}$"
