"""The No-U-Turn sampler of NumPyro, for all chains at once and with data as traced arguments.

NumPyro's ``MCMC`` driver closes over the data when it initialises, so a second data set is
compiled anew. Here NumPyro's NUTS kernel runs in a driver of ours: blocks of iterations in one
compiled program, whose arguments are the data and the number of iterations.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpyro.infer.hmc_util import build_adaptation_schedule

from tengri_ppl.inference.chains import (
    ChainOptions,
    Chains,
    Progress,
    draw_samples,
    number_of_groups,
)
from tengri_ppl.inference.flat import FlatTarget
from tengri_ppl.inference.importance import ImportanceOptions, adapt_from_modes
from tengri_ppl.inference.leaps import Leaps, check_leaps
from tengri_ppl.inference.mixture import StudentTMixture
from tengri_ppl.inference.nuts_programs import NUTSChain, NUTSPrograms, nuts_programs
from tengri_ppl.inference.result import InferenceResult
from tengri_ppl.inference.start import Start, dispersed_points, regularised, start_at_mode
from tengri_ppl.inference.target import Target
from tengri_ppl.inference.weighted import WeightedDraws

__all__ = ["NUTSOptions", "run_nuts"]

_TREE_DEPTH, _TREE_DEPTH_BETWEEN_LEAPS = 8, 5
#: Iterations that find a step size.
_N_TUNING = 75
#: Up to so many coordinates the draws of the warm-up know their covariance.
_MAX_LEARNT = 50


@dataclass(frozen=True)
class NUTSOptions(ChainOptions):
    """Options of :func:`run_nuts`, beside those of :class:`~.chains.ChainOptions`.

    Attributes
    ----------
    dense_mass_matrix : bool, optional
        Adapt a full covariance instead of variances. Without it: the full one up to 50
        coordinates; beyond, variances in coordinates that are whitened by the curvature at the
        mode, or by the approximation to start from.
    target_accept_rate : float
        Acceptance that the step size is adapted to.
    max_tree_depth : int, optional
        At most 2**max_tree_depth gradient evaluations per draw, and at most 64 while the mass
        matrix is being found. By default 8, and 5 if leaps are frequent
        (:attr:`Leaps.frequent <tengri_ppl.inference.leaps.Leaps.frequent>`).
    n_leaps : int
        Before each trajectory a chain may leap to one of so many draws of a mixture, which
        importance sampling fits beforehand; see :mod:`~tengri_ppl.inference.leaps`. No leaps by
        default; 32 suit a posterior that importance sampling is good for. If leaps are frequent,
        the mass matrix is known as well, and the warm-up, which adapts the step size, has 75
        iterations at most.
    """

    dense_mass_matrix: bool | None = None
    target_accept_rate: float = 0.97
    max_tree_depth: int | None = None
    n_leaps: int = 0

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        self._expect_at_least(1, "max_tree_depth")
        self._expect_at_least(0, "n_leaps")
        self._expect_fraction("target_accept_rate")


def run_nuts(
    target: Target,
    key: Array,
    options: NUTSOptions | None = None,
    *,
    start: Start | None = None,
    progress: Progress | None = None,
    learnt: WeightedDraws | None = None,
) -> InferenceResult:
    """Sample a target with NUTS (Hoffman & Gelman 2014, JMLR 15, 1593).

    The chains adapt independently, in the windows of Stan and NumPyro; before the last window,
    which adapts the step size, all of them take the mass matrix of their pooled draws.

    Parameters
    ----------
    target : Target
        Posterior to sample.
    key : Array
        Random key.
    options : NUTSOptions, optional
        Defaults are documented there.
    start : Start, optional
        Approximation around which the chains start, and from whose covariance the mass matrix
        starts. By default chains start from probable ones of many prior draws
        (:meth:`Target.initial`) and find the mass matrix themselves; of more than 50 coordinates
        the modes and their curvature make one. With leaps, importance sampling searches for modes
        around it, and chains start from what that finds.
    progress : callable, optional
        Called after every block of iterations.
    learnt : WeightedDraws, optional
        What importance sampling has found already, for leaps; else it is run first.
    """
    begin = time.perf_counter()
    options = options or NUTSOptions()
    flat = FlatTarget(target)
    key_init, key_run, key_learn = jax.random.split(key, 3)
    leaps = None
    if options.n_leaps:
        check_leaps(options.n_leaps, flat.dimension)
        leaps = Leaps(options.n_leaps, learnt or _learn(flat, key_learn, start, progress))
    plan = _plan(flat, key_init, options, start, leaps)
    options = replace(options, max_tree_depth=options.max_tree_depth or plan.max_tree_depth)
    programs = nuts_programs(
        target.model,
        flat.layout,
        options.n_warmup,
        plan.dense,
        options.target_accept_rate,
        options.max_tree_depth,
        0 if plan.leaps is None else plan.leaps.n,
    )

    def program(state: Any, n: int) -> tuple[Any, Any]:
        return programs.advance(state, n, plan.frame, plan.proposal, *flat.arguments)

    chains = Chains(_first_states(programs, flat, key_run, plan), progress)
    chains.compile(program)
    if plan.quick:
        n_warmup = _tune_step_size(chains, program, options.n_warmup)
    else:
        n_warmup = _warm_up(chains, program, options.n_warmup, plan.dense)
    draws = draw_samples(chains, program, options)
    if leaps is not None:
        chains.n_evaluations += leaps.draws.n_evaluations
        chains.notes = (leaps.note, *chains.notes)
    diagnostics = {} if plan.leaps is None else _of_leaps(plan.leaps, chains, draws, n_warmup)
    return InferenceResult(
        method="mcmc_nuts",
        samples=draws["samples"],
        sample_stats=draws["stats"],
        settings=asdict(options),
        wall_time_s=time.perf_counter() - begin,
        diagnostics={**diagnostics, "n_evaluations": float(chains.n_evaluations)},
        notes=chains.notes,
    )


def _learn(
    flat: FlatTarget, key: Array, start: Start | None, progress: Progress | None
) -> WeightedDraws:
    """Run importance sampling for a proposal."""
    key_search, key_adapt = jax.random.split(key)
    return adapt_from_modes(flat, key_search, key_adapt, ImportanceOptions(), start, progress)


def _of_leaps(leaps: Leaps, chains: Chains, draws: Any, n_warmup: int) -> dict[str, float]:
    """Count what leaps have evaluated: densities and a gradient each; say how often they led on."""
    leapt = draws["stats"]["leapt"]
    chains.n_evaluations += (leaps.n + 1) * (n_warmup * len(leapt) + leapt.size)
    return {"leap_rate": float(leapt.mean())}


class _Plan(NamedTuple):
    """How chains begin and move.

    Attributes
    ----------
    points : pytree
        Where they start, in the coordinates of the states.
    matrix : Array or None
        Covariance, or variances if not ``dense``, of a first mass matrix.
    dense : bool
        Whether it is a full one.
    frame : Start or None
        What whitens the coordinates.
    leaps : Leaps or None
        Where they leap.
    """

    points: Any
    matrix: Array | None
    dense: bool
    frame: Start | None = None
    leaps: Leaps | None = None

    @property
    def proposal(self) -> StudentTMixture | None:
        """What leaps are drawn from."""
        return None if self.leaps is None else self.leaps.draws.proposal

    @property
    def quick(self) -> bool:
        """Whether leaps are frequent."""
        return self.leaps is not None and self.leaps.frequent

    @property
    def max_tree_depth(self) -> int:
        """What suits the chains."""
        return _TREE_DEPTH_BETWEEN_LEAPS if self.quick else _TREE_DEPTH


def _plan(
    flat: FlatTarget, key: Array, options: NUTSOptions, start: Start | None, leaps: Leaps | None
) -> _Plan:
    """Begin with what importance sampling has found, with an approximation, or with the priors."""
    n, dense = options.num_chains, options.dense_mass_matrix is not False
    if leaps is not None and leaps.useful:
        points = flat.unflatten(jnp.asarray(leaps.dispersed_points(key, n)))
        matrix = _first_matrix(regularised(jnp.asarray(leaps.covariance, dtype=float)), dense)
        return _Plan(points, matrix, dense, leaps=leaps)
    start, frame = _framed(flat, key, options, start)
    dense = frame is None and dense
    if start is None:
        return _Plan(dict(flat.target.initial(key, n)), None, dense)
    x = dispersed_points(flat, start, key, n)
    if frame is not None:
        return _Plan(frame.whitened(x), None, dense, frame)
    return _Plan(flat.unflatten(x), _first_matrix(start.covariance, dense), dense)


def _first_matrix(covariance: Array, dense: bool) -> Array:
    return covariance if dense else jnp.diagonal(covariance)


def _framed(
    flat: FlatTarget, key: Array, options: NUTSOptions, start: Start | None
) -> tuple[Start | None, Start | None]:
    """Return the start, and what whitens the coordinates if there are many."""
    if options.dense_mass_matrix is not None or flat.dimension <= _MAX_LEARNT:
        return start, None
    if start is None:
        start = start_at_mode(flat, jax.random.fold_in(key, 1))
    return start, Start(start.mean, start.factor)


def _first_states(
    programs: NUTSPrograms, flat: FlatTarget, key: Array, plan: _Plan
) -> list[NUTSChain]:
    """Return the states of all groups of chains at their start points."""
    n = len(jax.tree.leaves(plan.points)[0])
    keys, n_groups = jax.random.split(key, n), number_of_groups(n)
    size = n // n_groups
    groups = [slice(g * size, (g + 1) * size) for g in range(n_groups)]
    return [
        programs.init(
            jax.tree.map(lambda x, g=g: x[g], plan.points),
            keys[g],
            plan.matrix,
            plan.frame,
            *flat.arguments,
        )
        for g in groups
    ]


def _warm_up(chains: Chains, program: Any, n: int, dense: bool) -> int:
    """Adapt in n iterations; all chains share the mass matrix of the last window that makes one."""
    *_, (start, end), _ = build_adaptation_schedule(n)
    chains.advance(program, "warmup", 0, start, n)
    window = chains.advance(program, "warmup", start, end + 1, n)
    _share_mass_matrix(chains, window["x"], dense)
    chains.advance(program, "warmup", end + 1, n, n)
    return n


def _tune_step_size(chains: Chains, program: Any, n: int) -> int:
    """Adapt the step size alone; all chains share the median of theirs.

    Of the warm-up's n iterations these are the first, before it makes a mass matrix of its own.
    """
    *_, (end, _) = build_adaptation_schedule(n)
    n_tuning = min(_N_TUNING, end - 1)
    chains.advance(program, "warmup", 0, n_tuning, n_tuning)
    sizes = [np.asarray(chain.hmc.adapt_state.ss_state[1]) for chain in chains.states]
    shared = np.exp(np.median(np.concatenate(sizes)))
    for group, chain in enumerate(chains.states):
        hmc = _adapted(chain, step_size=shared).hmc
        chains.states[group] = chain._replace(hmc=hmc._replace(i=jnp.full_like(hmc.i, n)))
    return n_tuning


def _share_mass_matrix(chains: Chains, z: Mapping[str, np.ndarray], dense: bool) -> None:
    """Give all chains the regularised covariance of their pooled draws z."""
    flat = [np.reshape(z[name], (-1, int(np.prod(z[name].shape[2:])))) for name in sorted(z)]
    inverse, root, root_inverse = _mass_matrix(np.concatenate(flat, axis=1), dense)
    for group, chain in enumerate(chains.states):
        chains.states[group] = _adapted(
            chain,
            inverse_mass_matrix=inverse,
            mass_matrix_sqrt=root,
            mass_matrix_sqrt_inv=root_inverse,
        )


def _adapted(chain: NUTSChain, **values: np.ndarray) -> NUTSChain:
    """Give a group of chains values of what is adapted, the same for all."""
    adapt = chain.hmc.adapt_state
    new = {name: _like(getattr(adapt, name), value) for name, value in values.items()}
    return chain._replace(hmc=chain.hmc._replace(adapt_state=adapt._replace(**new)))


def _like(old: Array, new: np.ndarray) -> Array:
    """Return ``new`` for every chain, with the type of ``old``."""
    return jnp.asarray(np.broadcast_to(new, old.shape), dtype=old.dtype)


def _mass_matrix(draws: np.ndarray, dense: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the covariance, shrunk as in Stan, and the root of its inverse with that's inverse.

    The root L of the mass matrix M satisfies M = L L^T, in NumPyro's orientation.
    """
    n, shrinkage = len(draws), 1e-3
    covariance = np.cov(draws, rowvar=False).reshape(draws.shape[1], draws.shape[1])
    covariance = n / (n + 5.0) * covariance + shrinkage * 5.0 / (n + 5.0) * np.eye(len(covariance))
    if not dense:
        variance = np.diag(covariance)
        return variance, 1.0 / np.sqrt(variance), np.sqrt(variance)
    inverse_root = np.linalg.cholesky(covariance[::-1, ::-1])[::-1, ::-1].T
    return covariance, np.linalg.inv(inverse_root), inverse_root
