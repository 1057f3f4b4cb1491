"""SEDModel: parameters, SSP grid and observation joined into one forward model."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from copy import copy
from dataclasses import replace
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from jax import Array
from jax.typing import ArrayLike

from tengri_ppl.errors import ParameterError, suggest
from tengri_ppl.models.build import at_redshifts, build_forward
from tengri_ppl.models.evaluate import evaluate
from tengri_ppl.models.fast import Host
from tengri_ppl.models.forward import ForwardModel
from tengri_ppl.models.parameters import Parameters
from tengri_ppl.observation.observation import Observation
from tengri_ppl.physics.emission import Galaxy
from tengri_ppl.physics.ssp import SSPData
from tengri_ppl.runtime.memory import release_memory

__all__ = ["LineFluxes", "SEDModel"]

_MODES = {"auto": "fast", "fast": "fast", "exact": "exact", "compositional": "exact"}


class LineFluxes(NamedTuple):
    """Nebular emission lines.

    Attributes
    ----------
    names : tuple of str
        Cloudy's labels, for example ``"H  1  6562.80A"`` for H alpha.
    wave_vacuum, wave_air : Array, shape (n_line,)
        Rest-frame wavelengths [Angstrom]; those "in air" are so above 2000 Angstrom.
    luminosity : Array, shape (..., n_line)
        Luminosity without dust [Lsun of the SSP grid: 3.826e33 erg/s for the one that ships]; in
        erg/s it would overflow 32 bits.
    flux : Array, shape (..., n_line)
        Observed flux behind the dust, without IGM absorption [erg/s/cm^2].
    """

    names: tuple[str, ...]
    wave_vacuum: ArrayLike
    wave_air: ArrayLike
    luminosity: Array
    flux: Array


@jax.tree_util.register_pytree_node_class
class SEDModel:
    """The forward model of a galaxy's SED, from parameters to photometry.

    A pytree: grids and tables, fixed values and the numbers in the priors are its leaves. Pass it
    as an argument to what you compile; another model with the same structure and the same number
    of bands then reuses the program.

    Parameters
    ----------
    spec : Parameters
        Structural choices and priors.
    ssp : SSPData
        Grid of simple stellar populations.
    observation : Observation
        The bands.
    tolerance : float
        Relative error of the fast photometry to aim at; sets the number of attenuation nodes per
        band. :meth:`photometry_error` measures what was reached.
    n_nodes : int, optional
        Attenuation nodes per band, instead of choosing them by ``tolerance``.
    age_scheme : {"linear", "bins"}
        How the ages of the grid are read; see :mod:`tengri_ppl.physics.composite`.
    h0, om0 : float
        Hubble constant [km/s/Mpc] and matter density of the flat LambdaCDM cosmology.

    Raises
    ------
    ParameterError, DataError
        If the redshift has no usable range or a band lies outside the grid.

    Attributes
    ----------
    provenance : dict
        Name, IMF, checksum and papers of the SSP grid.
    """

    spec: Parameters
    forward: ForwardModel
    observation: Observation | None
    provenance: dict[str, str]

    def __init__(
        self,
        spec: Parameters,
        ssp: SSPData,
        observation: Observation,
        *,
        tolerance: float = 1e-3,
        n_nodes: int | None = None,
        age_scheme: str = "linear",
        h0: float = 70.0,
        om0: float = 0.3,
    ) -> None:
        self.spec = spec
        self.observation = observation
        self.forward = build_forward(
            spec,
            ssp,
            observation.bands,
            tolerance=tolerance,
            n_nodes=n_nodes,
            age_scheme=age_scheme,
            h0=h0,
            om0=om0,
        )
        release_memory()
        self.provenance = ssp.provenance
        self._ssp: SSPData | None = ssp
        self._error: dict[str, float] | None = None

    def tree_flatten(self) -> tuple[tuple[Any, ...], Any]:
        """Split into the specification and the forward model; nothing else is needed to run."""
        return (self.spec, self.forward), None

    @classmethod
    def tree_unflatten(cls, aux: Any, children: tuple[Any, ...]) -> SEDModel:
        """Rebuild from :meth:`tree_flatten`, without ``observation`` and ``provenance``."""
        new = object.__new__(cls)
        new.spec, new.forward = children
        new.observation, new.provenance, new._ssp, new._error = None, {}, None, None
        return new

    def __repr__(self) -> str:
        """Return components and bands."""
        choices = ", ".join(f"{c.kind}={c.name!r}" for c in self.spec.structure.components)
        return (
            f"SEDModel({choices}, {self.n_band} bands, "
            f"{len(self.spec.free_params)} free parameters)"
        )

    @property
    def bands(self) -> tuple[str, ...]:
        """Names of the bands."""
        return self.forward.bands

    @property
    def n_band(self) -> int:
        """Number of bands."""
        return len(self.forward.bands)

    @property
    def wave(self) -> Array:
        """Rest-frame wavelengths of :meth:`predict_sed` [Angstrom], shape (n_wave,)."""
        return self.forward.wave

    def summary(self) -> str:
        """Return the components, the parameters and, once measured, the error of the fast mode."""
        lines = [repr(self), "", self.spec.summary()]
        if self._error is not None:
            lines += ["", f"fast photometry, |error|: {_format_error(self._error)}"]
        return "\n".join(lines)

    def at_redshifts(self, redshifts: ArrayLike) -> SEDModel:
        """Return the same model for galaxies of known redshifts, each with a table of its own.

        Predictions of many galaxies are several times faster so than with a grid of redshifts,
        which has to be interpolated for each, and free of the error of that.

        Parameters
        ----------
        redshifts : array_like, shape (n_galaxy,)
            Redshifts. The ``redshift`` that predictions get has to be the same.

        Returns
        -------
        SEDModel
            For parameters whose last axis is that of the galaxies.

        Raises
        ------
        ParameterError
            If a redshift is outside of the support of its prior, or inside of a compiled function,
            which has no SSP grid to integrate.
        """
        if self._ssp is None or self.observation is None:
            raise ParameterError("at_redshifts integrates the SSP grid: call it outside of jit")
        redshifts = np.atleast_1d(np.asarray(redshifts, dtype=float))
        prior = self.spec.priors.get("redshift")
        if prior is None:
            raise ParameterError(
                "redshift is fixed in the model; give it a prior whose support holds all redshifts"
            )
        allowed = np.asarray(prior.support(redshifts))
        if not np.all(allowed):
            raise ParameterError(
                f"redshift {redshifts[np.argmin(allowed)]:g} is outside of the support of {prior}"
            )
        new = copy(self)
        new.__dict__.pop("_flat", None)
        bands = self.observation.bands
        new.forward = at_redshifts(self.forward, self.spec, self._ssp, bands, redshifts)
        return new

    def of_galaxy(self, index: int, **known: float) -> SEDModel:
        """Return the model of one of several galaxies.

        All of them have the same structure, so that they share compiled programs.

        Parameters
        ----------
        index : int
            Of the galaxy, after :meth:`at_redshifts`; ignored otherwise.
        **known : float
            Parameters that are known: they are fixed.
        """
        new = self.with_parameters(**known)
        new.forward = replace(self.forward, table=self.forward.table.of_galaxy(index))
        return new

    def with_parameters(self, **values: Any) -> SEDModel:
        """Return the model with other priors or values of parameters, and the same tables.

        Parameters
        ----------
        **values
            As for :meth:`Parameters.replace <tengri_ppl.Parameters.replace>`. Tables cover what the
            redshift was when the model was built.
        """
        new = copy(self)
        new.__dict__.pop("_flat", None)
        new.spec = self.spec.replace(**values)
        return new

    def of_galaxies(self, index: ArrayLike) -> SEDModel:
        """Return the model of some of several galaxies, by their numbers (n,).

        After :meth:`at_redshifts`; a model that is the same for all galaxies stays what it is.
        """
        new = copy(self)
        new.__dict__.pop("_flat", None)
        new.forward = replace(self.forward, table=self.forward.table.of_galaxies(index))
        return new

    # -- NumPyro ---------------------------------------------------------------------------------

    def sample(self, skip: Collection[str] = ()) -> dict[str, Array]:
        """Create a NumPyro sample site for each free parameter, named like it.

        To be called inside a model function; inside a ``numpyro.plate`` the sites have its shape.

        Parameters
        ----------
        skip : collection of str
            Parameters that the model samples itself.

        Returns
        -------
        dict
            Parameter name -> value, for ``predict_*``.
        """
        priors = self.spec.priors
        return {name: numpyro.sample(name, priors[name]) for name in priors if name not in skip}

    # -- predictions -----------------------------------------------------------------------------

    def predict_photometry(self, params: Mapping[str, ArrayLike], mode: str = "auto") -> Array:
        """Predict the fluxes in the model's bands.

        Parameters
        ----------
        params : mapping
            The free parameters; arrays of any shape that broadcast against each other.
        mode : {"auto", "fast", "exact", "compositional"}
            ``"fast"`` uses the tabulated integrals, ``"exact"`` (= ``"compositional"``) computes
            the whole spectrum and integrates it through the filters. ``"auto"`` is ``"fast"``.

        Returns
        -------
        Array, shape (..., n_band)
            f_nu [erg/s/cm^2/Hz].
        """
        if mode not in _MODES:
            raise ParameterError(
                f"mode {mode!r} is unknown{suggest(mode, _MODES)} choose one of {sorted(_MODES)}"
            )
        return self._run(f"photometry_{_MODES[mode]}", params)

    def predict_sed(self, params: Mapping[str, ArrayLike]) -> Array:
        """Predict the rest-frame spectrum of everything, without IGM absorption.

        Returns
        -------
        Array, shape (..., n_wave)
            L_nu [erg/s/Hz] on :attr:`wave`.
        """
        return self._run("spectrum", params)

    def sed_decomposition(self, params: Mapping[str, ArrayLike]) -> dict[str, Array]:
        """Predict the rest-frame spectra of the components, without IGM absorption.

        Returns
        -------
        dict
            L_nu [erg/s/Hz] on :attr:`wave`, shape (..., n_wave): ``intrinsic`` (stars and gas
            without dust), ``attenuated`` (the same behind it), ``nebular`` (the part of the gas
            in ``attenuated``), ``dust_ir``, ``agn``, ``shock``, ``radio``, ``xray``, and
            ``total`` = ``attenuated`` + ``dust_ir`` + ``agn`` + ``shock`` + ``radio`` +
            ``xray``. Components that the model lacks are zero.
        """
        return self._run("decomposition", params)

    def predict_lines(self, params: Mapping[str, ArrayLike]) -> LineFluxes:
        """Predict the nebular emission lines.

        Returns
        -------
        LineFluxes
            Names, wavelengths in vacuum and in air, luminosities without dust and observed
            fluxes behind it.

        Raises
        ------
        ParameterError
            If the model has no nebular emission.
        """
        if self.forward.nebula is None:
            raise ParameterError("the model has no lines; choose nebular='cloudy'")
        data = self.forward.nebula.data
        return LineFluxes(
            names=data.line_names,
            wave_vacuum=data.line_wave_vacuum,
            wave_air=data.line_wave,
            **self._run("lines", params),
        )

    def predict_sfh(self, params: Mapping[str, ArrayLike], lookback: ArrayLike) -> Array:
        """Star formation rate [Msun/yr] at lookback times [Gyr]; shape (..., n_time)."""
        return self._run("star_formation_rate", params, jnp.asarray(lookback))

    def derived(self, params: Mapping[str, ArrayLike]) -> dict[str, Array]:
        """Quantities that follow from the parameters.

        Returns
        -------
        dict
            ``mass_formed`` and ``stellar_mass`` (surviving) [Msun], ``sfr_10myr`` and
            ``sfr_100myr``, means over that time [Msun/yr], ``ssfr_100myr``, per surviving mass
            [1/yr], ``age_mass_weighted_gyr``, by mass formed [Gyr], ``a_v``, the attenuation of
            the total starlight at 5500 Angstrom, and ``a_v_diffuse``, that of the diffuse dust
            alone [mag]; shape (...). ``stellar_mass`` and ``ssfr_100myr`` are left out where the
            grid has no surviving masses.
        """
        return self._run("derived", params)

    def unit_host(self, params: Mapping[str, ArrayLike]) -> Host:
        """Predict the host of a unit amplitude, 1 Msun or 1 Msun/yr, in the fast mode.

        The host is what scales with the amplitude: stars, gas and the dust that they heat.
        ``params`` need not hold the amplitude. Multiplied by the amplitude (:meth:`Host.scaled`)
        and added to :meth:`added_flux`, the flux is that of :meth:`predict_photometry`.

        Returns
        -------
        Host
            ``flux``, shape (..., n_band) [microjansky], and the properties of the galaxy, (...).
        """
        return self._run("unit_host", self._filled(params))

    def added_flux(self, params: Mapping[str, ArrayLike], galaxy: Galaxy) -> Array:
        """Predict the photometry of what is not in proportion to the host, in the fast mode.

        Parameters
        ----------
        params : mapping
            The free parameters; the amplitude may be left out.
        galaxy : Galaxy
            Properties of the host, of the shape (...) of the parameters.

        Returns
        -------
        Array, shape (..., n_band)
            Fluxes [microjansky]; zero without AGN, shock, radio and X-rays.
        """
        if not self.spec.structure.additions:
            return jnp.zeros(self.n_band)
        return self._run("added_flux", self._filled(params), mapped=galaxy)

    def _filled(self, params: Mapping[str, ArrayLike]) -> Mapping[str, ArrayLike]:
        """Add an amplitude, which is not going to matter, where there is none."""
        name = self.spec.amplitude
        return params if name in self.spec.fixed else {name: 0.0, **params}

    def _run(
        self, method: str, params: Mapping[str, ArrayLike], *args: Array, mapped: Any = None
    ) -> Any:
        """Evaluate a method of the forward model, over all leading axes of the parameters."""
        free = self.spec.free_values(params)
        leaves, structure = self._flat
        return evaluate(method, structure, leaves, free, mapped, *args)

    @cached_property
    def _flat(self) -> tuple[list[Any], Any]:
        """The forward model and the fixed values, flattened and on the device once for all."""
        leaves, structure = jax.tree.flatten((self.forward, self.spec.fixed))
        with jax.ensure_compile_time_eval():  # the first call may be inside of a trace
            return [jnp.asarray(leaf) for leaf in leaves], structure

    def photometry_error(self, key: Array, n_draws: int = 500) -> dict[str, float]:
        """Measure the error of the fast mode against the exact mode over prior draws.

        Returns
        -------
        dict
            ``p50``, ``p95`` and ``max`` of the relative difference over draws and bands; fluxes
            below 1e-6 of a galaxy's brightest band are left out.
        """
        params = self.spec.sample_batch(key, n_draws)
        fast = np.asarray(self.predict_photometry(params, mode="fast"), dtype=float)
        exact = np.asarray(self.predict_photometry(params, mode="exact"), dtype=float)
        bright = exact > 1e-6 * exact.max(axis=-1, keepdims=True)
        error = np.abs(fast[bright] / exact[bright] - 1.0)
        p50, p95 = np.percentile(error, [50, 95])
        self._error = {"p50": float(p50), "p95": float(p95), "max": float(error.max())}
        return self._error


def _format_error(error: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.2g}" for name, value in error.items())
