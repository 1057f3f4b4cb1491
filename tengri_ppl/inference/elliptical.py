"""Generalised elliptical slice sampling, with the kernel of blackjax: no gradients, no tuning.

Elliptical slice sampling (Murray, Adams & MacKay 2010) moves on ellipses through draws of a
Gaussian; what the posterior has beyond the Gaussian is the likelihood of a slice. Posteriors with
heavier tails would trap it there. So the Gaussian's scale is drawn anew for each move, such that a
multivariate t distribution takes its place (Nishihara, Murray & Adams 2014, JMLR 15, 2087).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from blackjax.mcmc import elliptical_slice
from jax import Array

from tengri_ppl.inference.chains import Progress
from tengri_ppl.inference.kernel import Kernel, LogDensity, Transition, WhitenedOptions
from tengri_ppl.inference.result import InferenceResult
from tengri_ppl.inference.start import Start
from tengri_ppl.inference.target import Target
from tengri_ppl.inference.whitened import run_whitened

__all__ = ["EllipticalOptions", "run_elliptical"]

#: In units of the rounding error of the log-density, how much a slice is lowered: without it a
#: slice may lie above its own point by rounding, and shrink for ever.
_ROUNDING = 8.0


@dataclass(frozen=True)
class EllipticalOptions(WhitenedOptions):
    """Options of :func:`run_elliptical`, beside those of :class:`WhitenedOptions`.

    Attributes
    ----------
    degrees_of_freedom : float
        Of the t distribution: the fewer, the heavier the posterior's tails may be.
    """

    thinning: int = 4
    degrees_of_freedom: float = 10.0

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        self._expect_positive("degrees_of_freedom")


@dataclass(frozen=True)
class _Elliptical(Kernel):
    """Slices of posterior over t distribution, on ellipses of a Gaussian of random scale."""

    degrees_of_freedom: float
    name: ClassVar[str] = "ess"
    target_acceptance = None

    def init(self, u: Array, key: Array, log_density: LogDensity) -> Any:
        return elliptical_slice.init(u, self._excess(log_density))

    def log_density(self, state: Any, log_density: LogDensity) -> Array:
        return state.logdensity + self._log_t(state.position)

    def step(
        self, key: Array, state: Any, log_density: LogDensity, step_size: Array, adapt: Array
    ) -> tuple[Any, Transition]:
        key_scale, key_move = jax.random.split(key)
        half = 0.5 * (self.degrees_of_freedom + state.position.size)
        rate = 0.5 * (self.degrees_of_freedom + jnp.sum(state.position**2))
        variance = rate / jax.random.gamma(key_scale, half)
        kernel = elliptical_slice.build_kernel(
            variance * jnp.ones_like(state.position), jnp.zeros_like(state.position)
        )
        height = state.logdensity
        slack = _ROUNDING * jnp.finfo(height.dtype).eps * (1.0 + jnp.abs(height))
        lowered = state._replace(logdensity=height - slack)
        new, info = kernel(key_move, lowered, self._excess(log_density))
        never = jnp.zeros((), bool)
        return new, Transition(1.0 / info.subiter, never, jnp.asarray(info.subiter, int))

    def _log_t(self, u: Array) -> Array:
        """Log-density of the t distribution, up to a constant."""
        nu = self.degrees_of_freedom
        return -0.5 * (nu + u.size) * jnp.log1p(jnp.sum(u**2) / nu)

    def _excess(self, log_density: LogDensity) -> LogDensity:
        return lambda u: log_density(u) - self._log_t(u)


def run_elliptical(
    target: Target,
    key: Array,
    options: EllipticalOptions | None = None,
    *,
    start: Start | None = None,
    progress: Progress | None = None,
) -> InferenceResult:
    """Sample with generalised elliptical slice sampling; see the module.

    ``acceptance_rate`` is the share of the points tried that lay on the slice.

    Parameters
    ----------
    target : Target
        Posterior to sample.
    key : Array
        Random key.
    options : EllipticalOptions, optional
        Defaults are documented there.
    start : Start, optional
        Approximation of the posterior; by default from its modes.
    progress : callable, optional
        Called after every block of iterations.
    """
    options = options or EllipticalOptions()
    kernel = _Elliptical(options.degrees_of_freedom)
    return run_whitened(kernel, target, key, options, start=start, progress=progress)
