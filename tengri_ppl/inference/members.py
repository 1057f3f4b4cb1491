"""Geometric variational inference of models with a plate around their data, member by member."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from tengri_ppl.distributions.layout import length
from tengri_ppl.inference.approximation import Approximation
from tengri_ppl.inference.arrow import Frame, Mean, frame_at
from tengri_ppl.inference.arrow_draws import Normals, PlatedDraws, draw_evaluations, draw_plated
from tengri_ppl.inference.arrow_mean import IMPROVE_EVALUATIONS, first_members, improve
from tengri_ppl.inference.expansions import pairs
from tengri_ppl.inference.plated import Structure
from tengri_ppl.runtime.compiled import Compiled, compiling
from tengri_ppl.runtime.threads import map_in_threads

__all__ = ["draw_by_member", "move_mean"]

_N_PAIRS, _N_MODES = 4, 2
#: Searches start at the best of so many points.
_SEARCH_STEPS, _N_FIRST = 15, 64
#: Steps of the members' modes where what is shared has moved; how far it does [widths of the
#: prior], and how many places are tried.
_FOLLOW_STEPS = 3
_FIRST_STEP, _LAST_STEP, _MOST_TRIED = 0.8, 0.15, 30
_LESS, _MORE = 0.2, 5.0
#: Data see a direction if they narrow it by this share of the prior's width or so.
_SEES = 1e-2


class _Programs:
    """The compiled steps for a model and its data."""

    def __init__(self, run: Approximation, structure: Structure) -> None:
        self.run, self.structure = run, structure
        self.static = run.flat.target.model, structure
        self.arguments = run.flat.arguments
        self.compiled = False

    def frame(self, mean: Mean) -> Frame:
        """Linearise at a mean."""
        frame = frame_at(*self.static, mean, *self.arguments)
        self.run.count(1 + frame.there.prediction.shape[1] + mean.shared.size)
        return frame

    def draw(self, frame: Frame, mean: Mean, y: Normals) -> PlatedDraws:
        """Draw around a mean."""
        curved, y = jnp.asarray(self.run.method == "geovi"), _turned(frame, y)
        self.run.count(len(y.data) * draw_evaluations(frame, self.run.method == "geovi"))

        def draws(y: Normals) -> PlatedDraws:
            return draw_plated(*self.static, frame, mean, y, curved, *self.arguments)

        # the first call compiles, if that has not been done
        parts = (map_in_threads if self.compiled else map)(draws, _halves(y))
        self.compiled = True
        return _whole(parts)

    def improve(self, frame: Frame, mean: Mean, draws: PlatedDraws) -> tuple[Mean, Array, Array]:
        """Move a mean."""
        return improve(*self.static, frame, mean, draws, *self.arguments)

    def lowered(self, n_pairs: int) -> tuple[jax.stages.Lowered, ...]:
        """Lower what draws and what moves the mean, the largest of the programs."""
        curved = jnp.asarray(self.run.method == "geovi")

        def called_with() -> tuple[Frame, Mean, Normals, PlatedDraws]:
            mean = Mean(*self.structure.cut(jnp.zeros(self.run.flat.dimension)))
            frame = frame_at(*self.static, mean, *self.arguments)
            y = _normals(jax.random.key(0), n_pairs, mean, frame.there.prediction.shape)
            parts = _halves(_turned(frame, y))
            draw = partial(draw_plated, *self.static, frame, mean)
            return frame, mean, parts[0], _whole(draw(y, curved, *self.arguments) for y in parts)

        frame, mean, y, draws = jax.eval_shape(called_with)
        return (
            draw_plated.lower(*self.static, frame, mean, y, curved, *self.arguments),
            improve.lower(*self.static, frame, mean, draws, *self.arguments),
        )


def draw_by_member(
    run: Approximation,
    structure: Structure,
    keys: Sequence[Array],
    xi: Array | None,
    progress: Any,
) -> tuple[Array, Array, np.ndarray]:
    """Run MGVI or geoVI; draw around the mean.

    Parameters
    ----------
    run : Approximation
        What is run, with :class:`~.geometric.GeometricOptions`.
    structure : Structure
        The plate.
    keys : sequence of Array
        Three random keys: for the search of the modes, for the mean, and for the draws.
    xi : Array, shape (D,), optional
        Where the mean starts; else at modes of the members.
    progress : callable, optional
        Called after every iteration.

    Returns
    -------
    xi : Array, shape (n, D)
        Draws in standard coordinates.
    log_q : Array, shape (n,)
        Logarithms of their densities.
    log_p : ndarray, shape (n,)
        Log-posterior there up to the evidence; -inf where it is not finite.
    """
    programs, options = _Programs(run, structure), run.options
    n_pairs = options.n_pairs or _N_PAIRS
    if xi is None:
        with compiling(*programs.lowered(n_pairs)):
            mean = _search(programs, keys[0], options.n_modes or _N_MODES)
    else:
        mean = Mean(*structure.cut(xi))
    frame = programs.frame(mean)
    shape = frame.there.prediction.shape
    y = _normals(keys[1], n_pairs, mean, shape)

    def move(mean: Mean) -> tuple[Mean, Array, Array, int]:
        frame = programs.frame(mean)
        draws = programs.draw(frame, mean, y)
        return *programs.improve(frame, mean, draws), 2 * n_pairs * IMPROVE_EVALUATIONS

    mean = move_mean(run, move, mean, progress)
    frame = programs.frame(mean)
    points, log_q, log_p, solved = [], [], [], []
    for key in jax.random.split(keys[2], -(-options.n_samples // (2 * n_pairs))):
        # as many at a time as before, so that nothing is compiled anew
        draws = programs.draw(frame, mean, _normals(key, n_pairs, mean, shape))
        points.append(_joined(structure, mean, draws.offset))
        log_q.append(np.asarray(draws.log_q))
        log_p.append(_log_posterior(points[-1], draws))
        solved.append(np.asarray(draws.solved))
    if run.method == "geovi":
        run.diagnostics["unsolved_share"] = float(1.0 - np.mean(solved))
    n = options.n_samples
    drawn, *densities = (np.concatenate(parts)[:n] for parts in (points, log_q, log_p))
    return jnp.asarray(drawn), jnp.asarray(densities[0]), densities[1]


def move_mean(
    run: Approximation,
    move: Callable[[Any], tuple[Any, Array, Array, Any]],
    mean: Any,
    progress: Any,
) -> Any:
    """Move a mean until it stays where it is.

    Parameters
    ----------
    run : Approximation
        What is run, with :class:`~.geometric.GeometricOptions`; takes the traces.
    move : callable
        mean -> (mean, shift [widths], mean energy, evaluations).
    mean : pytree
        Where to begin.
    progress : callable, optional
        Called after every iteration.
    """
    options, shifts, energies = run.options, [], []
    for i in range(options.max_iterations):
        mean, shift, energy, n = move(mean)
        shifts.append(float(shift))
        energies.append(float(energy))
        run.count(n)
        if progress is not None:
            progress("iterations", i + 1, options.max_iterations, 0)
        if shifts[-1] < options.tolerance:
            break
    else:
        run.notes.append(
            f"the mean still moves by {shifts[-1]:.2g} widths after {options.max_iterations} "
            "iterations; raise max_iterations or n_pairs"
        )
    run.traces |= {"energy": np.array(energies), "shift": np.array(shifts)}
    run.diagnostics |= {"n_iterations": float(len(shifts)), "last_shift": shifts[-1]}
    return mean


def _search(programs: _Programs, key: Array, n: int) -> Mean:
    """Search for what is shared, by Laplace's approximation of its marginal posterior.

    A mode of all coordinates together would be no start: amplitudes of what the members have of
    their own are far too large there. From the middle of the prior on, every shared coordinate
    is moved up and down, and the members' modes follow.
    """
    shared = jnp.zeros(length(programs.structure.shared))
    x, one = _modes(programs, key, n, shared), jnp.eye(shared.size)
    ways = jnp.concatenate([jnp.zeros((1, shared.size)), one, -one])
    step, n_tried = _FIRST_STEP, 0
    while shared.size and step > _LAST_STEP and n_tried < _MOST_TRIED:
        places = [shared + step * way for way in ways]
        tried = [(place, *_followed(programs, x, place)) for place in places]
        heights = jnp.stack([_log_marginal(s, at, where) for s, at, where in tried])
        best = int(jnp.argmax(heights))
        # where nothing is better, the members' modes are at least closer
        shared, x, _ = tried[best]
        step, n_tried = step if best else 0.5 * step, n_tried + len(tried)
    return Mean(shared, x)


@Compiled
def _log_marginal(shared: Array, x: Array, frame: Frame) -> Array:
    """Laplace's approximation at the members' modes x, up to a constant."""
    log_volume = -0.5 * jnp.sum(jnp.log1p(frame.singular**2))
    height = log_volume - jnp.sum(_energy(frame, x)) - 0.5 * jnp.sum(shared**2)
    return jnp.nan_to_num(height, nan=-jnp.inf)


def _modes(programs: _Programs, key: Array, n: int, shared: Array) -> Array:
    """Search for the modes of all members at the same time, from n points each."""
    found: list[tuple[Array, Array]] = []
    for start in jax.random.split(key, n):
        x = first_members(*programs.static, start, _N_FIRST, shared, *programs.arguments)
        frame = programs.frame(Mean(shared, x))
        x, frame = _descended(programs, shared, x, frame, _SEARCH_STEPS)
        found.append((x, _energy(frame, x)))
    best = jnp.argmin(jnp.stack([energy for _, energy in found]), axis=0)
    return jnp.stack([x for x, _ in found])[best, jnp.arange(programs.structure.size)]


def _followed(programs: _Programs, x: Array, shared: Array) -> tuple[Array, Frame]:
    """Let the members' modes follow what is shared."""
    return _descended(programs, shared, x, programs.frame(Mean(shared, x)), _FOLLOW_STEPS)


def _descended(
    programs: _Programs, shared: Array, x: Array, frame: Frame, n_steps: int
) -> tuple[Array, Frame]:
    """Take Levenberg-Marquardt steps of all members."""
    damping = jnp.ones(programs.structure.size)
    for _ in range(n_steps):
        tried = _search_step(frame, x, damping)
        after = programs.frame(Mean(shared, tried))
        x, frame, damping = _better(x, frame, tried, after, damping)
    return x, frame


@Compiled
def _search_step(frame: Frame, x: Array, damping: Array) -> Array:
    force, ridge = x - frame.there.slope, (1.0 + damping)[:, None]
    seen = frame.seen(force)
    step = frame.unseen(seen / (ridge + frame.singular**2) - seen / ridge) + force / ridge
    return x - jnp.nan_to_num(step)


@Compiled
def _better(
    x: Array, frame: Frame, tried: Array, after: Frame, damping: Array
) -> tuple[Array, Frame, Array]:
    """Take the steps of those members whose energy they lower."""
    better = _energy(after, tried) < _energy(frame, x)

    def chosen(new: Array, old: Array) -> Array:
        return jnp.where(better.reshape(-1, *(1 for _ in new.shape[1:])), new, old)

    damping = jnp.clip(damping * jnp.where(better, _LESS, _MORE), 1e-4, 1e6)
    names = [name for name in Frame._fields if name != "root"]
    kept = {n: jax.tree.map(chosen, getattr(after, n), getattr(frame, n)) for n in names}
    return chosen(tried, x), after._replace(**kept), damping


@Compiled
def _energy(frame: Frame, x: Array) -> Array:
    energy = 0.5 * jnp.sum(x**2, axis=1) - frame.there.log_likelihood
    return jnp.where(jnp.isfinite(energy), energy, jnp.inf)


@partial(Compiled, static_argnums=(1, 3))
def _normals(key: Array, n: int, mean: Mean, shape: tuple[int, int]) -> Normals:
    """``n`` pairs of standard normals, for data of this shape (G, B), and their mirror images.

    Those of the data have directions at right angles, so that few have nearly the covariance of
    many: by chance alone they would move the means of the members.
    """
    key_shared, key_local, *keys = jax.random.split(key, 4)
    n_member, n_data = shape
    shapes = -(-n // max(1, n_data)), n_member, n_data, n_data
    directions = jnp.linalg.qr(jax.random.normal(keys[0], shapes))[0]
    directions = jnp.moveaxis(directions, 3, 1).reshape(-1, n_member, n_data)[:n]
    lengths = jnp.linalg.norm(jax.random.normal(keys[1], (n, n_member, n_data)), axis=2)
    each = (
        jax.random.normal(key_shared, (n, *mean.shared.shape)),
        jax.random.normal(key_local, (n, *mean.local.shape)),
        directions * lengths[..., None],
    )
    return Normals(*(pairs(y) for y in each))


@Compiled
def _turned(frame: Frame, y: Normals) -> Normals:
    """Turn normals so that those of the data say where draws are, in the directions data see.

    There draws of a linear model are at H^-1 (gain n + H^-1 p) with the normals n of the data and p
    of the prior.
    """
    scale = jnp.hypot(1.0, frame.singular)
    sees = frame.singular > _SEES

    def one(local: Array, data: Array) -> tuple[Array, Array]:
        seen = frame.seen(local)
        prior = jnp.where(sees, data / scale - frame.gain * seen, seen)
        noise = jnp.where(sees, frame.gain * data + seen / scale, data)
        turned = local + frame.unseen(prior - seen)
        return turned, jnp.einsum("gba,gb->ga", frame.whiten, scale * noise)

    return Normals(y.shared, *jax.vmap(one)(y.local, y.data))


def _halves(y: Normals) -> list[Normals]:
    """Cut draws into two halves of whole pairs; one that can't be cut stays as it is."""
    n = len(y.data)
    if n % 4:
        return [y]
    return [jax.tree.map(lambda x, i=i: x[i : i + n // 2], y) for i in (0, n // 2)]


def _whole(parts: Iterable[PlatedDraws]) -> PlatedDraws:
    """Put together what has been cut."""
    return jax.tree.map(lambda *x: jnp.concatenate(x), *parts)


def _log_posterior(xi: np.ndarray, draws: PlatedDraws) -> np.ndarray:
    """Add the members' log-likelihoods to the prior's density at draws xi (n, D)."""
    prior = -0.5 * np.sum(xi.astype(float) ** 2, axis=1) - 0.5 * xi.shape[1] * np.log(2.0 * np.pi)
    log_p = prior + np.sum(np.asarray(draws.there.log_likelihood, dtype=float), axis=1)
    return np.where(np.isfinite(log_p), log_p, -np.inf)


def _joined(structure: Structure, mean: Mean, offset: Mean) -> np.ndarray:
    """Vectors (n, D) of draws."""
    shared, local = mean.shared + offset.shared, mean.local + offset.local
    return np.asarray(jax.vmap(structure.join)(shared, local))
