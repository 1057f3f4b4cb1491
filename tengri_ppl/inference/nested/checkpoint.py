"""A run of nested sampling on disk: written now and then, and taken up again."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import blackjax
import h5py
import jax
import jax.numpy as jnp
import numpy as np
from blackjax.ns.adaptive import AdaptiveNSState
from blackjax.ns.base import StateWithLogLikelihood
from jax import Array

from tengri_ppl.errors import DataError
from tengri_ppl.inference.flat import FlatTarget, flat_potential
from tengri_ppl.inference.nested.record import Record
from tengri_ppl.runtime.files import check_directory, replacing

__all__ = ["Checkpoint", "identity"]

_COUNTS = ("n_steps", "n_evaluations", "n_stuck")
#: Options that may change from one part of a run to the next.
_FREE = ("checkpoint", "every", "chunk_size", "max_evaluations", "max_seconds", "n_samples")


def identity(flat: FlatTarget, key: Array, options: Any) -> dict[str, str]:
    """Say what a checkpoint belongs to, part by part.

    Returns
    -------
    dict of str to str
        ``model`` with its name and a digest of its operations, ``data``, ``random key``,
        ``options``, ``precision``, and ``version`` of this package, blackjax and JAX.
    """
    model = flat.target.model
    x = jax.ShapeDtypeStruct((flat.dimension,), float)
    operations = jax.make_jaxpr(
        lambda x, args, kwargs: flat_potential(model, flat.layout, x, args, kwargs)
    )(x, *flat.arguments)
    name = f"{getattr(model, '__module__', '')}.{getattr(model, '__qualname__', repr(model))}"
    fixed = {n: v for n, v in asdict(options).items() if n not in _FREE}
    return {
        "model": f"{name} {_digest(str(operations).encode())}",
        "data": _digest(*(np.asarray(x).tobytes() for x in jax.tree.leaves(flat.arguments))),
        "random key": np.asarray(jax.random.key_data(key)).tobytes().hex(),
        "options": json.dumps(fixed, sort_keys=True),
        "precision": str(jnp.zeros(0).dtype),
        "version": f"tengri_ppl {version('tengri-ppl')}, blackjax {blackjax.__version__}, "
        f"jax {jax.__version__}",
    }


def _digest(*parts: bytes) -> str:
    return hashlib.sha256(b"".join(parts)).hexdigest()[:16]


class Checkpoint:
    """A file that a run is saved to.

    Parameters
    ----------
    path : str or Path
        The file; it is HDF5.
    every : float
        Seconds between two savings.
    belongs_to : mapping of str to str
        From :func:`identity`.

    Raises
    ------
    DataError
        If the file's directory does not exist.
    """

    def __init__(self, path: str | Path, every: float, belongs_to: Mapping[str, str]) -> None:
        self._path = Path(path).expanduser()
        check_directory(self._path)
        self._every = every
        self._identity = dict(belongs_to)
        self._saved = time.monotonic()

    def save_if_due(self, state: AdaptiveNSState, record: Record) -> None:
        """Save if it is time to."""
        if time.monotonic() - self._saved >= self._every:
            self.save(state, record)

    def save(self, state: AdaptiveNSState, record: Record) -> None:
        """Write all that the run needs to go on; what was there stays if this is cut off."""
        with replacing(self._path) as temporary, h5py.File(temporary, "w") as file:
            file.attrs.update(self._identity)
            file.attrs.update({name: getattr(record, name) for name in _COUNTS})
            for i, leaf in enumerate(jax.tree.leaves(state)):
                file[f"state/{i}"] = np.asarray(leaf)
            file["insertion"] = record.ranks()
            for name, parts in zip(
                StateWithLogLikelihood._fields, zip(*record.dead, strict=True), strict=False
            ):
                file[f"dead/{name}"] = np.concatenate(parts)
        self._saved = time.monotonic()

    def resume(self, state: AdaptiveNSState) -> tuple[AdaptiveNSState, Record] | None:
        """Read state and record; None if there is no file.

        Parameters
        ----------
        state : AdaptiveNSState
            A state of the same structure.

        Raises
        ------
        DataError
            If the file belongs to another run, or can't be read.
        """
        if not self._path.exists():
            return None
        try:
            with h5py.File(self._path) as file:
                self._check(file.attrs)
                leaves, structure = jax.tree.flatten(state)
                read = [jnp.asarray(file[f"state/{i}"][()]) for i in range(len(leaves))]
                n_steps, n_evaluations, n_stuck = (int(file.attrs[name]) for name in _COUNTS)
                record = Record([], [], n_steps, n_evaluations, n_stuck)
                if "dead" in file:
                    dead = [file[f"dead/{name}"][()] for name in StateWithLogLikelihood._fields]
                    record.dead.append(StateWithLogLikelihood(*dead))
                    record.insertion.append(file["insertion"][()])
        except (OSError, KeyError) as error:
            raise DataError(
                f"{self._path} is not a checkpoint of nested sampling, or is damaged ({error}); "
                "name another file, or delete this one to start again"
            ) from error
        return jax.tree.unflatten(structure, read), record

    def _check(self, attrs: Mapping[str, Any]) -> None:
        for name, ours in self._identity.items():
            if name not in attrs:
                raise KeyError(name)
            if attrs[name] != ours:
                raise DataError(
                    f"{self._path} is the checkpoint of another {name}: {attrs[name]}, not {ours}; "
                    "name another file, or delete this one to start again"
                )
