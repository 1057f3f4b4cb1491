"""Fit one galaxy: join model, engine and results."""

from __future__ import annotations

import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from tengri_ppl.errors import ParameterError
from tengri_ppl.inference.registry import get_method
from tengri_ppl.inference.run import run_method
from tengri_ppl.inference.target import Target
from tengri_ppl.models.galaxy import galaxy_model, sampling_model
from tengri_ppl.models.sed import SEDModel
from tengri_ppl.observation.noise import GaussianNoise, clean_photometry
from tengri_ppl.results.inference_data import build_inference_data
from tengri_ppl.results.posterior import Posterior
from tengri_ppl.results.progress import progress_bar
from tengri_ppl.runtime.memory import peak_rss_bytes, release_memory

__all__ = ["Fitter"]


class Fitter:
    """Fit the photometry of one galaxy.

    Programs are compiled once per structure of the model, number of bands and options: another
    galaxy with the same bands, also at another redshift, reuses them.

    Parameters
    ----------
    model : SEDModel
        The forward model with its priors.
    data : array_like, shape (n_band,)
        Observed fluxes [erg/s/cm^2/Hz]; NaN is allowed in masked bands.
    noise : array_like, shape (n_band,), or GaussianNoise
        1-sigma errors [erg/s/cm^2/Hz], or a noise model, for example with a systematic floor.
    data_mask : array_like of bool, shape (n_band,), optional
        True for the bands to use.

    Raises
    ------
    DataError
        If shapes don't fit, or an unmasked flux or error is not usable; it names the band.
    """

    def __init__(
        self,
        model: SEDModel,
        data: ArrayLike,
        noise: ArrayLike | GaussianNoise,
        data_mask: ArrayLike | None = None,
    ) -> None:
        if not isinstance(noise, GaussianNoise):
            noise = GaussianNoise(sigma=noise)
        if data_mask is None:
            data_mask = noise.mask
        elif noise.mask is not None:
            raise ParameterError("give the mask as data_mask or in the noise model, not as both")
        clean, noise = clean_photometry(
            data, noise.sigma, model.bands, mask=data_mask, floor=noise.floor
        )
        self.model = model
        self.data = jnp.asarray(clean, dtype=float)
        self.noise = GaussianNoise(
            sigma=jnp.asarray(noise.sigma, dtype=float),
            floor=jnp.asarray(noise.floor, dtype=float),
            mask=jnp.asarray(noise.mask, dtype=bool),
        )

    def __repr__(self) -> str:
        """Return the model and the signal-to-noise ratio of the data."""
        return f"Fitter({self.model!r}, median S/N {self._median_signal_to_noise():.1f})"

    def summary(self) -> str:
        """Return a description of the data and the model."""
        n_used = int(np.sum(np.asarray(self.noise.mask)))
        return "\n".join(
            [
                f"{n_used} of {self.model.n_band} bands, median S/N "
                f"{self._median_signal_to_noise():.1f} (systematic floor included)",
                self.model.summary(),
            ]
        )

    def _median_signal_to_noise(self) -> float:
        mask = np.asarray(self.noise.mask)
        ratio = np.abs(np.asarray(self.data)) / np.asarray(self.noise.scale(self.data))
        return float(np.median(ratio[mask]))

    def run(
        self,
        method: str = "mcmc_nuts",
        key: Array | None = None,
        *,
        init_from: Posterior | None = None,
        progress: bool = False,
        verbose: bool = False,
        **options: Any,
    ) -> Posterior:
        """Sample the posterior.

        Parameters
        ----------
        method : str
            Name of an engine; see :func:`tengri_ppl.list_methods`.
        key : Array, optional
            Random key; ``jax.random.key(42)`` by default.
        init_from : Posterior, optional
            An earlier result for the same model and data, from which the engine starts.
        progress : bool
            Show a progress bar on standard error.
        verbose : bool
            Print the verdict on convergence.
        **options
            Options of the engine, for ``mcmc_nuts`` those of
            :class:`tengri_ppl.inference.NUTSOptions`.

        Raises
        ------
        ParameterError
            If the method or an option is unknown, or the density is nowhere finite.
        """
        start = time.perf_counter()
        key = jax.random.key(42) if key is None else key
        key_run, key_predict = jax.random.split(key)
        engine = get_method(method)
        model = sampling_model if engine.coordinates == "sampling" else galaxy_model
        target = Target(model, (self.model, self.noise, self.data))
        init = None if init_from is None else init_from.start_values
        with progress_bar(engine.name, enabled=progress) as report:
            result = run_method(
                target, method, key_run, init=init, progress=report, options=options
            )
        attrs = {
            **self.model.provenance,
            "seed": jax.random.key_data(key).tolist(),
            "peak_rss_bytes": peak_rss_bytes(),
        }
        idata = build_inference_data(
            result, self.model, self.noise, self.data, key=key_predict, attrs=attrs
        )
        release_memory()
        idata.attrs["wall_time_s"] = time.perf_counter() - start
        posterior = Posterior(idata, model=self.model, rerun=self.run)
        if verbose:
            print(posterior.convergence().message)
        return posterior
