"""One galaxy's set of measurements."""

from __future__ import annotations

from dataclasses import dataclass

from tengri_ppl.errors import DataError
from tengri_ppl.observation.photometry import Photometry

__all__ = ["Observation"]


@dataclass(frozen=True, eq=False)
class Observation:
    """What is measured of a galaxy: for now its photometric bands.

    Parameters
    ----------
    photometry : Photometry
        The bands, in the order of the fluxes.

    Raises
    ------
    DataError
        If nothing is observed, or `photometry` is no `Photometry`.
    """

    photometry: Photometry | None = None

    def __post_init__(self) -> None:
        """Refuse an observation of nothing."""
        if self.photometry is None:
            raise DataError(
                "an observation needs data: pass photometry=Photometry([...]); "
                "spectroscopy is not supported yet"
            )
        if not isinstance(self.photometry, Photometry):
            raise DataError(
                f"photometry is a {type(self.photometry).__name__}; "
                "expected Photometry([...]) of filters or filter names"
            )

    @property
    def bands(self) -> Photometry:
        """The photometric bands (what `photometry` holds, never None)."""
        assert self.photometry is not None
        return self.photometry
