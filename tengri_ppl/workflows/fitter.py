"""Fit one galaxy: join model, engine and results."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from tengri_ppl.errors import ParameterError
from tengri_ppl.inference.method import Method
from tengri_ppl.inference.plan import PLANNED_SIZES, MemoryPlan, plan_memory, within_budget
from tengri_ppl.inference.registry import DEFAULT_METHOD, get_method
from tengri_ppl.inference.result import InferenceResult
from tengri_ppl.inference.run import run_method
from tengri_ppl.inference.target import Target
from tengri_ppl.models.galaxy import (
    can_marginalize,
    draw_amplitude,
    galaxy_model,
    marginal_model,
    marginal_sampling_model,
    sampling_coordinates,
    sampling_model,
)
from tengri_ppl.models.parameters import Parameters
from tengri_ppl.models.sed import SEDModel
from tengri_ppl.observation.noise import GaussianNoise, clean_photometry
from tengri_ppl.results.inference_data import build_inference_data
from tengri_ppl.results.marginals import marginal_draws
from tengri_ppl.results.posterior import Posterior
from tengri_ppl.results.progress import progress_report
from tengri_ppl.runtime.background import Background, wait_for_background
from tengri_ppl.runtime.chunks import map_draws
from tengri_ppl.runtime.memory import peak_rss_bytes, release_memory
from tengri_ppl.workflows.precompile import background_allowed, method_names, shortest_run

__all__ = ["Fitter"]

#: Model functions by the coordinates that an engine likes, and without the amplitude or with it.
_MODELS: dict[tuple[str, bool], Callable[..., Any]] = {
    ("sampling", False): sampling_model,
    ("sampling", True): marginal_sampling_model,
    ("standard", False): galaxy_model,
    ("standard", True): marginal_model,
}


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
    compile_modes : str or sequence of str, optional
        Engines to compile in a background thread, while the caller goes on; fits wait for it, and
        so should NumPyro models of one's own, as NumPyro's handlers are those of the process. None
        by default, and none if the environment variable ``TENGRI_NO_BACKGROUND_COMPILE`` is set.
    marginalize_amplitude : bool or "auto"
        Integrate the amplitude (for example ``sfh_dpl_log_mass``) out of the likelihood, which is
        exact with any prior, and draw it afterwards, given the other parameters. ``"auto"`` does
        so wherever it can and helps the engine; otherwise the amplitude is sampled.

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
        compile_modes: str | Sequence[str] | None = None,
        *,
        marginalize_amplitude: bool | Literal["auto"] = "auto",
    ) -> None:
        if marginalize_amplitude not in (True, False, "auto"):
            raise ParameterError(
                f"marginalize_amplitude={marginalize_amplitude!r}: expected True, False or 'auto'"
            )
        if marginalize_amplitude is True and not can_marginalize(model):
            raise ParameterError(
                f"{model.spec.amplitude} can't be integrated out: it has to be free, with a "
                "scalar prior that is bounded or has a quantile function, beside other free "
                "parameters, and AGN, shock, radio and X-rays must be off"
            )
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
        self.marginalize_amplitude = marginalize_amplitude
        self.data = jnp.asarray(clean, dtype=float)
        self.noise = GaussianNoise(
            sigma=jnp.asarray(noise.sigma, dtype=float),
            floor=jnp.asarray(noise.floor, dtype=float),
            mask=jnp.asarray(noise.mask, dtype=bool),
        )
        self._background: Background | None = None
        if compile_modes is not None and background_allowed():
            methods = [get_method(name).name for name in method_names(compile_modes)]
            self._background = Background(lambda: self._compile(methods))

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

    def compile(self, methods: str | Sequence[str] = "auto", **options: Any) -> None:
        """Compile engines before they are needed; fits of other galaxies use the same programs.

        Each engine makes one fit, of few draws if it makes chains, whose result is dropped. The
        programs stay in memory together until an engine that is not among them runs; see
        :meth:`run`. After :func:`tengri_ppl.enable_persistent_cache` they are on the disk as well.

        Parameters
        ----------
        methods : str or sequence of str
            Names of engines.
        **options
            Options that all of them have, as in :meth:`run`: their sizes may be part of a program.

        Raises
        ------
        ParameterError
            If a method or an option is unknown.
        """
        self._wait()
        self._compile(method_names(methods), **options)

    def _compile(self, methods: Sequence[str], **options: Any) -> None:
        for method in methods:
            settings = shortest_run(get_method(method)) | options
            self._run(method, jax.random.key(0), lean=False, **settings)

    def _wait(self) -> None:
        """Wait for programs that are being compiled, those of others as well."""
        if self._background is not None:
            background, self._background = self._background, None
            background.wait()
        wait_for_background()

    def run(
        self,
        method: str = DEFAULT_METHOD,
        key: Array | None = None,
        *,
        init_from: Posterior | Parameters | None = None,
        lean: bool | None = None,
        max_memory_gb: float | None = None,
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
        init_from : Posterior or Parameters, optional
            An earlier result for the same model and data, from which the engine starts, or what
            :meth:`Posterior.to_param_spec` makes of it.
        lean : bool, optional
            Drop the compiled programs of other engines and models first, so that memory holds
            those of one engine at a time. True by default, except inside
            :func:`tengri_ppl.persistent`.
        max_memory_gb : float, optional
            Memory that this process may use [GB]; see :func:`tengri_ppl.infer`.
        progress : bool
            Show a progress bar on standard error.
        verbose : bool
            Print the verdict on convergence.
        **options
            Options of the engine, which ``tengri-ppl methods NAME`` lists; for ``mcmc_nuts`` those
            of :class:`tengri_ppl.inference.NUTSOptions`.

        Raises
        ------
        ParameterError
            If the method or an option is unknown, or the density is nowhere finite.
        MemoryBudgetError
            If ``max_memory_gb`` is too little.
        RuntimeError
            If compilation in the background (``compile_modes``) failed.
        """
        self._wait()
        key = jax.random.key(42) if key is None else key
        posterior = self._run(method, key, init_from, lean, max_memory_gb, progress, **options)
        if verbose:
            print(posterior.convergence().message)
        return posterior

    def _run(
        self,
        method: str,
        key: Array,
        init_from: Posterior | Parameters | None = None,
        lean: bool | None = None,
        max_memory_gb: float | None = None,
        progress: bool = False,
        **options: Any,
    ) -> Posterior:
        start = time.perf_counter()
        key_run, key_amplitude, key_predict = jax.random.split(key, 3)
        engine = get_method(method)
        marginal = self._marginalizes(engine)
        target, options = within_budget(self._target(engine), method, options, max_memory_gb)
        key_start = jax.random.fold_in(key, 3)
        init = None if init_from is None else self._start_values(init_from, key_start)
        with progress_report(engine.name, progress, max_memory_gb) as report:
            result = run_method(
                target, method, key_run, init=init, progress=report, lean=lean, options=options
            )
        if marginal:
            result = self._with_amplitude(result, key_amplitude)
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
        return Posterior(idata, model=self.model, rerun=self.run)

    @property
    def _problem(self) -> tuple[SEDModel, GaussianNoise, Array]:
        """Arguments of the model functions."""
        return self.model, self.noise, self.data

    def _target(self, engine: Method) -> Target:
        """Return the posterior in the coordinates that an engine likes best."""
        return Target(_MODELS[engine.coordinates, self._marginalizes(engine)], self._problem)

    def plan(
        self,
        method: str = DEFAULT_METHOD,
        *,
        max_memory_gb: float | None = None,
        chunk_sizes: Sequence[int] = PLANNED_SIZES,
        **options: Any,
    ) -> MemoryPlan:
        """Say what memory a run would need; see :func:`tengri_ppl.plan`."""
        target = self._target(get_method(method))
        return plan_memory(
            target, method, options, max_memory_gb=max_memory_gb, chunk_sizes=chunk_sizes
        )

    def _marginalizes(self, engine: Method) -> bool:
        """Whether an engine samples without the amplitude, which is drawn afterwards."""
        if self.marginalize_amplitude == "auto":
            return engine.marginal and can_marginalize(self.model)
        if self.marginalize_amplitude and not engine.marginal:
            raise ParameterError(
                f"{engine.name} needs the amplitude as a parameter; leave marginalize_amplitude "
                "at 'auto'"
            )
        return bool(self.marginalize_amplitude)

    def _start_values(self, start: Posterior | Parameters, key: Array) -> dict[str, np.ndarray]:
        """Draws of an earlier result, in all coordinates that an engine may ask for."""
        spec = self.model.spec
        if isinstance(start, Parameters):
            params = spec.free_values(marginal_draws(start, spec.free_params, key))
        else:
            params = spec.free_values(start.start_values)
        return jax.device_get(sampling_coordinates(*self._problem, params))

    def _with_amplitude(self, result: InferenceResult, key: Array) -> InferenceResult:
        """Draw the amplitude for every draw of the other parameters."""
        name = self.model.spec.amplitude
        others = {n: result.samples[n] for n in self.model.spec.free_params if n != name}
        drawn = map_draws(partial(draw_amplitude, *self._problem), others, key)
        return replace(result, samples={**result.samples, name: drawn})
