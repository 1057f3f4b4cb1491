"""A NumPyro model of one's own: photometry with Student-t errors, so that a bad band does little.

The model function is ordinary NumPyro; ``sed.sample()`` puts the priors in and
``sed.predict_photometry()`` is the forward model. NumPyro's own sampler runs it.
"""

import jax
import numpyro
import numpyro.distributions as dist
from numpyro.infer import MCMC, NUTS

import tengri_ppl as tg

BANDS = ["galex_NUV", "sdss_u", "sdss_g", "sdss_r", "sdss_i", "sdss_z"]
BANDS += ["twomass_J", "twomass_H", "twomass_Ks", "wise_w1"]
MICROJANSKY = 1e-29  # erg/s/cm^2/Hz; fluxes of order one suit 32-bit arithmetic


def model(sed, error, flux=None):
    """Photometry [microjansky] of one galaxy, with errors from a Student-t distribution."""
    params = sed.sample()
    expected = sed.predict_photometry(params) / MICROJANSKY
    nu = numpyro.sample("nu", dist.Gamma(2.0, 0.1))
    with numpyro.plate("band", sed.n_band):
        numpyro.sample("flux", dist.StudentT(nu, expected, error), obs=flux)


def main():
    """Make a galaxy with one bad band, fit it and print NumPyro's summary."""
    spec = tg.Parameters(
        sfh="delayed",
        dust="single",
        dust_law="calzetti",
        sfh_delayed_log_mass=dist.Uniform(8, 12),
        sfh_delayed_tau_gyr=dist.Uniform(0.3, 5),
        sfh_delayed_age_gyr=8.0,
        met_logzsol=-0.2,
        dust_tau_diff=dist.Uniform(0, 2),
        redshift=0.1,
    )
    observation = tg.Observation(photometry=tg.Photometry.from_names(BANDS))
    sed = tg.SEDModel(spec, tg.load_ssp_data(), observation=observation)
    truth = {"sfh_delayed_log_mass": 10.5, "sfh_delayed_tau_gyr": 2.0, "dust_tau_diff": 0.5}
    flux = sed.predict_photometry(truth) / MICROJANSKY
    error = 0.05 * flux
    flux = flux + error * jax.random.normal(jax.random.key(1), flux.shape)
    flux = flux.at[BANDS.index("twomass_J")].multiply(1.6)

    mcmc = MCMC(NUTS(model, dense_mass=True), num_warmup=500, num_samples=1000, progress_bar=False)
    mcmc.run(jax.random.key(0), sed, error, flux)
    mcmc.print_summary()
    print("truth:", truth)


if __name__ == "__main__":
    main()
