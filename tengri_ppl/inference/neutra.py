"""NUTS on the coordinates of a trained flow (Hoffman et al. 2019, arXiv:1903.03704)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax import Array
from numpyro import handlers

from tengri_ppl.distributions.layout import Layout
from tengri_ppl.errors import ParameterError
from tengri_ppl.inference.approximation import Approximation, check_positive
from tengri_ppl.inference.flat import FlatTarget, flat_potential
from tengri_ppl.inference.guides import Guide, build, has_density, make_guide, whitened_model
from tengri_ppl.inference.leaps import check_leaps
from tengri_ppl.inference.nuts import NUTSOptions, run_nuts
from tengri_ppl.inference.result import InferenceResult
from tengri_ppl.inference.start import Start
from tengri_ppl.inference.target import Model, Target
from tengri_ppl.inference.variational import VIOptions, train_guide

__all__ = ["NeuTraOptions", "run_neutra"]

#: Options of ``vi`` that are about its own draws.
_OF_DRAWS = ("n_samples", "reweight")


@dataclass(frozen=True)
class NeuTraOptions(NUTSOptions):
    """Options of :func:`run_neutra`, beyond those of :class:`NUTSOptions`.

    Attributes
    ----------
    guide, guide_options, optimizer, learning_rate, n_particles, max_steps
        Of the flow, as in :class:`VIOptions`.
    """

    guide: str | type = "iaf"
    guide_options: Mapping[str, Any] = field(default_factory=dict)
    optimizer: Any = "adam"
    learning_rate: float = 0.02
    n_particles: int = 16
    max_steps: int = 5000

    def __post_init__(self) -> None:
        """Check ranges and names."""
        super().__post_init__()
        check_positive(self, "learning_rate", "n_particles", "max_steps")
        VIOptions(**_pick(self, VIOptions, leave=_OF_DRAWS))


def _pick(options: NeuTraOptions, kind: type, leave: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the options that another engine has too."""
    return {f.name: getattr(options, f.name) for f in fields(kind) if f.name not in leave}


def run_neutra(
    target: Target,
    key: Array,
    options: NeuTraOptions | None = None,
    *,
    start: Start | None = None,
    progress: Any = None,
) -> InferenceResult:
    """Train a flow, then run NUTS in its coordinates, in which the posterior is nearly normal.

    Exact however badly the flow is trained; a good one makes curved posteriors easy.

    Parameters
    ----------
    target : Target
        Posterior.
    key : Array
        Random key.
    options : NeuTraOptions, optional
        Defaults are documented there.
    start : Start, optional
        Approximation in whose coordinates the flow is trained.
    progress : callable, optional
        Called as by ``vi``, then as by ``mcmc_nuts``.

    Raises
    ------
    ParameterError
        If the guide is no transformation of normals, or a flow is asked for one coordinate.
    """
    options = options or NeuTraOptions()
    guide = make_guide(options.guide, options.guide_options)
    if not has_density(guide):
        raise ParameterError(
            f"neutra needs a guide that transforms normals, such as 'iaf' or 'bnaf'; "
            f"{guide[0].__name__} does not"
        )
    flat = FlatTarget(target)
    check_leaps(options.n_leaps, flat.dimension)
    run = Approximation("neutra", flat, VIOptions(**_pick(options, VIOptions, _OF_DRAWS)))
    key_train, key_run = jax.random.split(key)
    trained = train_guide(run, key_train, start, progress)
    # another start whitens the same way, without the modes that chains could start at
    frame = replace(trained.start, centres=None)
    pulled = _pulled_back(target.model, flat.layout, flat.dimension, trained.guide)
    derived = Target(pulled, (trained.params, frame, *flat.arguments))
    normal = Start(jnp.zeros(flat.dimension), jnp.eye(flat.dimension))
    chains = NUTSOptions(**_pick(options, NUTSOptions))
    result = run_nuts(derived, key_run, chains, start=normal, progress=progress)
    x = result.samples["x"]
    values = flat.values(jnp.asarray(x.reshape(-1, flat.dimension)))
    samples = {k: np.asarray(v).reshape(*x.shape[:2], *v.shape[1:]) for k, v in values.items()}
    evaluations = run.diagnostics["n_evaluations"] + result.diagnostics.get("n_evaluations", 0.0)
    return replace(
        result,
        method="neutra",
        samples=samples,
        settings=asdict(options),
        diagnostics={**result.diagnostics, **run.diagnostics, "n_evaluations": evaluations},
        notes=(*run.notes, *result.notes),
        traces=run.traces,
        wall_time_s=run.seconds,
    )


@lru_cache(maxsize=32)
def _pulled_back(model: Model, layout: Layout, dimension: int, guide: Guide) -> Model:
    """Write the posterior as a NumPyro model of the flow's base coordinates ``v``."""
    whitened = whitened_model(model, layout, dimension)

    def pulled_back(
        params: dict[str, Any], start: Start, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        with handlers.block(), handlers.seed(rng_seed=jax.random.key(0)):
            flow = build(guide, whitened, dimension)
            flow(start, args, kwargs)  # the guide learns its shapes when it first runs
            transform = flow.get_transform(params)
        base = dist.Normal(0.0, 1.0).expand([dimension]).to_event(1)
        v = numpyro.sample("v", base)
        u, steps = transform.call_with_intermediates(v)
        log_det = transform.log_abs_det_jacobian(v, u, steps)
        x = numpyro.deterministic("x", start.points(u))
        with handlers.block():
            energy = flat_potential(model, layout, x, args, kwargs)
        numpyro.factor("posterior", log_det - energy - base.log_prob(v))

    return pulled_back
