"""Draws of many galaxies that were fitted one by one, in memory or in a file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tengri_ppl.errors import DataError

__all__ = ["InterimSample"]

_VALUES, _IDS = "values", "ids"
_COLUMNS = ("effective", "pareto_k")
#: Attribute of a file: what the draws are of.
_PROBLEM = "problem"


@dataclass(frozen=True)
class InterimSample:
    """Draws of galaxies from their own posteriors, under the priors of the SED model.

    Attributes
    ----------
    ids : sequence
        Labels of the galaxies.
    values : mapping of str to array, shape (n_galaxy, n_draw, ...)
        Equally weighted draws of the parameters; arrays, or datasets of an HDF5 file. Both halves
        of them are from samples of their own.
    effective : ndarray, shape (n_galaxy,)
        Effective number of the weighted draws of which these are drawn; NaN where there are none
        yet.
    pareto_k : ndarray, shape (n_galaxy,)
        Shape of the tail of their weights, to be below 0.7; NaN where another engine was used.
    """

    ids: Sequence[Any]
    values: Mapping[str, Any]
    effective: np.ndarray
    pareto_k: np.ndarray

    @property
    def n_draws(self) -> int:
        """Draws of each galaxy."""
        return int(next(iter(self.values.values())).shape[1])

    @property
    def pending(self) -> np.ndarray:
        """Numbers of the galaxies that have no draws yet."""
        return np.flatnonzero(np.isnan(self.effective[:]))

    def __len__(self) -> int:
        """Return the number of galaxies."""
        return len(self.ids)

    def __repr__(self) -> str:
        """Return sizes and names."""
        names = ", ".join(self.values)
        return f"InterimSample({len(self)} galaxies, {self.n_draws} draws of {names})"

    @classmethod
    def create(
        cls,
        ids: Sequence[Any],
        shapes: Mapping[str, tuple[int, ...]],
        n_draws: int,
        path: str | Path | None = None,
    ) -> InterimSample:
        """Make an empty one, to be filled.

        Parameters
        ----------
        ids : sequence
            Labels of the galaxies.
        shapes : mapping of str to tuple
            Parameters, with the shape of one value.
        n_draws : int
            Draws of each galaxy.
        path : str or Path, optional
            HDF5 file in place of memory; it is overwritten.
        """
        n = len(ids)
        sizes = {name: (n, n_draws, *shape) for name, shape in shapes.items()}
        if path is None:
            values = {name: np.zeros(size, np.float32) for name, size in sizes.items()}
            return cls(ids, values, np.full(n, np.nan), np.full(n, np.nan))
        import h5py

        file = h5py.File(path, "w")
        file[_IDS] = [json.dumps(_plain(label)) for label in ids]
        for name, size in sizes.items():
            file.create_dataset(f"{_VALUES}/{name}", size, np.float32)
        for name in _COLUMNS:
            file.create_dataset(name, (n,), float, fillvalue=np.nan)
        return cls(ids, dict(file[_VALUES]), *(file[name] for name in _COLUMNS))

    @classmethod
    def begin(
        cls,
        ids: Sequence[Any],
        shapes: Mapping[str, tuple[int, ...]],
        n_draws: int,
        path: Path,
        problem: str,
    ) -> InterimSample:
        """Make an empty one in a file, or go on with a file that was begun.

        Parameters
        ----------
        ids, shapes, n_draws
            As for :meth:`create`.
        path : Path
            The file.
        problem : str
            What the draws are of: a file that was begun for something else is refused.

        Raises
        ------
        DataError
            If there is a file that this can't go on with.
        """
        import h5py

        if not path.exists():
            sample = cls.create(ids, shapes, n_draws, path)
            sample._file.attrs[_PROBLEM] = problem
            return sample
        advice = f"{path} can't be gone on with; delete it, or choose another file"
        try:
            file = h5py.File(path, "r+")
        except OSError as error:
            raise DataError(f"{error}: {advice}") from error
        if file.attrs.get(_PROBLEM) != problem:
            file.close()
            raise DataError(f"other galaxies, priors or numbers of draws: {advice}")
        return cls(ids, dict(file[_VALUES]), *(file[name] for name in _COLUMNS))

    @classmethod
    def open(cls, path: str | Path) -> InterimSample:
        """Open a file that :meth:`tengri_ppl.PopulationFitter.sample_galaxies` has written.

        Draws are read when they are needed.

        Raises
        ------
        DataError
            If it is no such file.
        """
        import h5py

        try:
            file = h5py.File(path, "r")
            labels = [json.loads(label) for label in file[_IDS].asstr()]
            columns = (file[name][:] for name in _COLUMNS)
            return cls(labels, dict(file[_VALUES]), *columns)
        except (OSError, KeyError) as error:
            raise DataError(
                f"{path}: {error}; expected a file that PopulationFitter.sample_galaxies wrote"
            ) from error

    def put(
        self,
        index: np.ndarray,
        values: Mapping[str, np.ndarray],
        effective: np.ndarray,
        pareto_k: np.ndarray,
    ) -> None:
        """Fill in galaxies.

        Parameters
        ----------
        index : ndarray of int, shape (n,)
            Which, in increasing order.
        values : mapping of str to ndarray, shape (n, n_draw, ...)
            Their draws.
        effective, pareto_k : ndarray, shape (n,)
            See the class.
        """
        if not len(index):
            return
        for name, draws in self.values.items():
            draws[index] = values[name]
        self.effective[index] = effective
        self.pareto_k[index] = pareto_k
        if self._file is not None:
            self._file.flush()

    @property
    def _file(self) -> Any:
        return getattr(next(iter(self.values.values())), "file", None)

    def close(self) -> None:
        """Close the file, if there is one."""
        if self._file is not None:
            self._file.close()

    def first(self, n: int, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Read n draws, half of them from each half: name -> (n, n_galaxy, ...).

        Raises
        ------
        DataError
            If there are fewer, or a name is unknown.
        """
        missing = [name for name in names if name not in self.values]
        if missing:
            raise DataError(f"there are no draws of {missing[0]!r}; of {', '.join(self.values)}")
        if n > self.n_draws:
            raise DataError(f"{self.n_draws} draws of each galaxy; expected at least n_draws={n}")
        half, other = n - n // 2, self.n_draws // 2
        chosen = np.r_[:half, other : other + n // 2] if n < self.n_draws else slice(None)
        return {name: np.swapaxes(self.values[name][:, chosen], 0, 1) for name in names}


def _plain(label: Any) -> Any:
    """Return a scalar of NumPy as one of Python, which a file can hold."""
    return label.item() if isinstance(label, np.generic) else label
