"""Nebular emission as a component of a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from tengri_ppl.errors import ParameterError
from tengri_ppl.physics.component import Component, Parameter, register
from tengri_ppl.physics.interpolation import linear_weights
from tengri_ppl.physics.nebular.coupling import NORMALISATIONS, NebularCoupling, couple_nebular
from tengri_ppl.physics.nebular.grid import NebularData, load_nebular
from tengri_ppl.physics.ssp import SSPData

__all__ = ["CloudyNebular", "Nebular", "NoNebular"]

#: Starlight of young stars below this wavelength ionises the gas [Angstrom].
_STARLIGHT_EDGE = 912.0


@dataclass(frozen=True)
class Nebular(Component):
    """Light of gas that young stars ionise; the base class is the absence of it."""

    kind = "nebular"

    #: Age up to which stars light gas [Gyr], where the dust has no birth clouds that say it.
    age_max_gyr: ClassVar[float] = 0.0

    def load(self) -> NebularData | None:
        """Return the grid as arrays, which the caller passes back to the other methods."""
        return None

    def couple(self, ssp: SSPData, data: Any, age_scheme: str) -> NebularCoupling | None:
        """Return the constant maps from the SSP grid to the nebular grid, as NumPy arrays."""
        return None

    def weights(
        self, young: ArrayLike, params: Mapping[str, Any], data: Any, coupling: Any
    ) -> Array:
        """Return the weights of the models of the grid.

        Parameters
        ----------
        young : array_like, shape (n_met_ssp, n_age_ssp)
            Mass formed per SSP by stars that ionise gas [Msun].
        params : mapping
            The model's parameters.
        data : NebularData
            From :meth:`load`.
        coupling : NebularCoupling
            From :meth:`couple`.

        Returns
        -------
        Array, shape (n_logu * n_met * n_age,)
            The first axes of ``data.continuum`` and ``data.lines``, in C order [Msun].
        """
        return jnp.zeros(0)

    def starlight(self, wave: ArrayLike, params: Mapping[str, Any]) -> Array:
        """Share of the young starlight that the gas lets out, shape of ``wave`` [Angstrom]."""
        return jnp.ones_like(jnp.asarray(wave, dtype=float))

    def dust_share(self, params: Mapping[str, Any]) -> ArrayLike:
        """Share of the ionising light of young stars that dust among the gas absorbs."""
        return 0.0


@register("nebular", "none")
@dataclass(frozen=True)
class NoNebular(Nebular):
    """No nebular emission; stars keep their Lyman continuum."""

    citations = ()


@register("nebular", "cloudy")
@dataclass(frozen=True)
class CloudyNebular(Nebular):
    r"""HII regions interpolated in a grid of Cloudy models.

    A share :math:`f_{esc}` of the ionising photons of young stars leaves the galaxy, a share
    :math:`f_{dust}` of the others is absorbed by dust inside HII regions, and the rest makes
    nebular light, which therefore scales with :math:`(1 - f_{esc})(1 - f_{dust})`. Luminosities
    are linear in log U between grid points, and constant outside (log U from -4 to 0).

    Attributes
    ----------
    gas : {"stars", "free"}
        Whether the gas has the metallicity of the stars that light it, or ``neb_logzsol``.
    normalisation : {"photons", "mass"}
        What passes from stars to gas, see :mod:`tengri_ppl.physics.nebular.coupling`.
    space : {"log", "linear"}
        Whether interpolation in metallicity is linear in log Z or in Z.
    path : str, optional
        A grid for :func:`load_nebular`.
    age_max_gyr : float
        Age up to which stars light gas [Gyr], where the dust has no birth clouds that say it.
    """

    gas: str = "stars"
    normalisation: str = "photons"
    space: str = "log"
    path: str | None = None
    age_max_gyr: float = 0.01  # type: ignore[misc]  # a field where the base has a constant

    def __post_init__(self) -> None:
        """Check the choices."""
        for name, known in (
            ("gas", ("stars", "free")),
            ("normalisation", NORMALISATIONS),
            ("space", ("log", "linear")),
        ):
            if getattr(self, name) not in known:
                raise ParameterError(f"{name}={getattr(self, name)!r}: expected one of {known}")

    @property
    def citations(self) -> tuple[str, ...]:
        """See :attr:`~tengri_ppl.physics.component.Component.citations`."""
        return ("Byler2017", *load_nebular(self.path).citations)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """neb_logu, neb_logzsol for free gas, neb_fesc, neb_fdust, neb_line_width_kms."""
        logu = Parameter("neb_logu", "1", "log10 of the ionisation parameter", (-4.0, -1.0))
        logzsol = Parameter(
            "neb_logzsol", "dex", "log10 of the gas metallicity over solar", (-2.0, 0.4)
        )
        return (
            logu,
            *((logzsol,) if self.gas == "free" else ()),
            Parameter("neb_fesc", "1", "share of ionising photons that leave the galaxy", 0.0),
            Parameter(
                "neb_fdust", "1", "share of the others that dust in HII regions absorbs", 0.0
            ),
            Parameter("neb_line_width_kms", "km/s", "standard deviation of lines in spectra", 0.0),
        )

    def load(self) -> NebularData:
        """See :meth:`Nebular.load`."""
        return load_nebular(self.path)

    def couple(self, ssp: SSPData, data: NebularData, age_scheme: str) -> NebularCoupling:
        """See :meth:`Nebular.couple` and :func:`couple_nebular`."""
        return couple_nebular(
            ssp, data, age_scheme=age_scheme, normalisation=self.normalisation, space=self.space
        )

    def weights(
        self,
        young: ArrayLike,
        params: Mapping[str, Any],
        data: NebularData,
        coupling: NebularCoupling,
    ) -> Array:
        """See :meth:`Nebular.weights`."""
        light = (jnp.asarray(young) * coupling.output) @ jnp.asarray(coupling.ages)
        if self.gas == "free":
            lit = self._gas_shares(params, data, coupling)[:, None] * light.sum(axis=0)
        else:
            lit = jnp.asarray(coupling.mets).T @ light
        kept = (1.0 - params["neb_fesc"]) * (1.0 - params["neb_fdust"])
        logu = linear_weights(params["neb_logu"], jnp.asarray(data.logu))
        return (logu[:, None, None] * (kept * lit * coupling.response)).reshape(-1)

    def _gas_shares(
        self, params: Mapping[str, Any], data: NebularData, coupling: NebularCoupling
    ) -> Array:
        """Share of each metallicity of the grid in the gas, (n_met,)."""
        lgmet = jnp.asarray(data.lgmet)
        lgz = jnp.asarray(params["neb_logzsol"]) + jnp.log10(coupling.zsun)
        if self.space == "log":
            return linear_weights(lgz, lgmet)
        return linear_weights(10.0**lgz, 10.0**lgmet)

    def starlight(self, wave: ArrayLike, params: Mapping[str, Any]) -> Array:
        """See :meth:`Nebular.starlight`; ``neb_fesc`` below 912 Angstrom, else 1."""
        return jnp.where(jnp.asarray(wave) < _STARLIGHT_EDGE, params["neb_fesc"], 1.0)

    def dust_share(self, params: Mapping[str, Any]) -> ArrayLike:
        """See :meth:`Nebular.dust_share`."""
        return (1.0 - params["neb_fesc"]) * params["neb_fdust"]
