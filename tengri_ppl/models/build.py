"""Build a forward model: load what its components need, integrate the tables, move grids over."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from tengri_ppl.errors import DataError
from tengri_ppl.models.absorption import build_absorption
from tengri_ppl.models.entries import Fixed
from tengri_ppl.models.forward import ForwardModel
from tengri_ppl.models.ingredients import Nebula, flux_unit, igm_transmission
from tengri_ppl.models.nodes import choose_n_nodes, redshift_nodes, upper_bound
from tengri_ppl.models.parameters import Parameters
from tengri_ppl.models.photometry_table import PhotometryTable, build_table
from tengri_ppl.models.smooth_table import SmoothLight
from tengri_ppl.models.sources import Sources
from tengri_ppl.models.starlight import Starlight
from tengri_ppl.models.structure import Structure
from tengri_ppl.observation.photometry import BandQuadrature, Photometry, band_quadrature
from tengri_ppl.physics.composite import age_intervals, count_fine
from tengri_ppl.physics.igm import IGM
from tengri_ppl.physics.nebular import NebularData, band_curves
from tengri_ppl.physics.ssp import SSPData
from tengri_ppl.physics.templates import frequency_weights
from tengri_ppl.runtime.compiled import Compiled

__all__ = ["at_redshifts", "build_forward"]

#: Relative width of the step at the ends of a spectrum; resolved in 32 bit.
_STEP = 2e-6
_SAME = 3e-7


def build_forward(
    spec: Parameters,
    ssp: SSPData,
    photometry: Photometry,
    *,
    tolerance: float,
    n_nodes: int | None,
    age_scheme: str,
    h0: float,
    om0: float,
) -> ForwardModel:
    """Build the forward model; see :class:`tengri_ppl.SEDModel` for the arguments."""
    structure = spec.structure
    _check_masses(ssp, structure)
    coefficients = structure.igm.load()
    lower, upper = age_intervals(ssp.ssp_lg_age_gyr, age_scheme)
    nebula, sources = _sources(spec, ssp, photometry, age_scheme)
    redshifts = redshift_nodes(spec["redshift"])
    quadrature = band_quadrature(photometry.filters)
    _check_coverage(sources, structure, quadrature, photometry.names, redshifts)
    if n_nodes is None:
        n_nodes = choose_n_nodes(spec, quadrature, tolerance, photometry.names)
    lines = nebula if redshifts.size == 1 else None
    table = _tabulate(
        sources, structure, coefficients, quadrature, n_nodes, redshifts, lines, ssp.lsun_erg_s
    )
    wave = _common_wave(sources, structure)
    surviving = ssp.ssp_mass_remaining
    starlight = Starlight(
        flux=_resampled(ssp, wave),
        lgmet=_floats(ssp.ssp_lgmet),
        mass_remaining=None if surviving is None else _floats(surviving),
        age_lower=_floats(lower),
        age_upper=_floats(upper),
        h0=_floats(h0),
        om0=_floats(om0),
        structure=structure,
        age_scheme=age_scheme,
        n_fine=count_fine(lower),
        n_young=sources.n_young,
        zsun=ssp.zsun,
    )
    return ForwardModel(
        starlight=starlight,
        wave=_floats(wave),
        frequency_weight=_floats(frequency_weights(wave)),
        nebula=jax.tree.map(_floats, nebula),
        templates=jax.tree.map(_floats, sources.templates),
        table=table,
        absorption=jax.tree.map(_floats, build_absorption(sources, structure.dust.breaks))
        if structure.emissions
        else None,
        quadrature=jax.tree.map(_floats, quadrature),
        igm=jax.tree.map(_floats, coefficients),
        h0=_floats(h0),
        om0=_floats(om0),
        structure=structure,
        bands=photometry.names,
        lsun_erg_s=ssp.lsun_erg_s,
    )


def at_redshifts(
    forward: ForwardModel,
    spec: Parameters,
    ssp: SSPData,
    photometry: Photometry,
    redshifts: np.ndarray,
) -> ForwardModel:
    """Give each of several galaxies of known redshift, (n_galaxy,), a table of its own."""
    structure = spec.structure
    nebula, sources = _sources(spec, ssp, photometry, forward.starlight.age_scheme)
    quadrature = band_quadrature(photometry.filters)
    n_nodes = np.shape(forward.table.nodes.wave)[-1]
    known, index = np.unique(redshifts, return_inverse=True)
    table = _tabulate(
        sources, structure, forward.igm, quadrature, n_nodes, known, nebula, ssp.lsun_erg_s
    )
    table = jax.tree.map(lambda x: x[index], table)
    return replace(forward, table=replace(table, by_galaxy=True))


def _sources(
    spec: Parameters, ssp: SSPData, photometry: Photometry, age_scheme: str
) -> tuple[Nebula | None, Sources]:
    """Load the nebula and everything that shines."""
    structure = spec.structure
    lower, _ = age_intervals(ssp.ssp_lg_age_gyr, age_scheme)
    n_young = _count_young(spec, lower, np.size(ssp.ssp_lg_age_gyr))
    nebula = _build_nebula(structure, ssp, photometry, age_scheme, n_young)
    return nebula, Sources(
        wave=np.asarray(ssp.ssp_wave, dtype=float),
        stars=np.swapaxes(np.asarray(ssp.ssp_flux), 0, 1),
        n_young=n_young,
        nebular=None if nebula is None else nebula.data,
        templates=tuple(component.load() for component in structure.emissions),
        smooth=tuple(
            SmoothLight(e.smooth_range, e.breaks) if e.is_smooth else None
            for e in structure.emissions
        ),
    )


def _tabulate(
    sources: Sources,
    structure: Structure,
    coefficients: Any,
    quadrature: BandQuadrature,
    n_nodes: int,
    redshifts: np.ndarray,
    lines: Nebula | None,
    lsun_erg_s: float,
) -> PhotometryTable:
    """Integrate everything that shines through the bands, behind the structure's IGM."""
    transmission = partial(_transmission, structure.igm, coefficients)
    curves = None if lines is None else lines.curves
    breaks = structure.dust.breaks
    table = build_table(sources, quadrature, n_nodes, redshifts, transmission, breaks, curves)
    return jax.tree.map(_floats, _in_flux_units(table, flux_unit(lsun_erg_s)))


def _count_young(spec: Parameters, lower: np.ndarray, n_age: int) -> int:
    """Return how many of the youngest ages can have young stars."""
    bounds = {
        name: value.value if isinstance(value, Fixed) else upper_bound(value)
        for name, value in spec.items()
    }
    oldest = np.asarray(spec.structure.young_age(bounds))
    return min(int(np.sum(lower < oldest)), n_age)


def _build_nebula(
    structure: Structure, ssp: SSPData, photometry: Photometry, age_scheme: str, n_young: int
) -> Nebula | None:
    """Load the nebular models and link them to the young ages of the stars."""
    data = _below_radio(structure.nebular.load(), structure)
    coupling = structure.nebular.couple(ssp, data, age_scheme)
    if data is None or coupling is None:
        return None
    output, ages = np.asarray(coupling.output), np.asarray(coupling.ages)
    coupling = replace(coupling, output=output[:, :n_young], ages=ages[:n_young])
    curves = band_curves(
        [band.wave for band in photometry.filters],
        [band.transmission for band in photometry.filters],
    )
    return Nebula(data, coupling, curves)


def _below_radio(data: NebularData | None, structure: Structure) -> NebularData | None:
    """Leave the free-free continuum to the radio component, where the model has one."""
    start = min((e.coverage[0] for e in structure.emissions if e.kind == "radio"), default=None)
    if data is None or start is None:
        return data
    return replace(data, continuum=np.where(np.asarray(data.wave) < start, data.continuum, 0.0))


def _common_wave(sources: Sources, structure: Structure) -> np.ndarray:
    """Wavelengths that resolve everything that shines [Angstrom]."""
    if sources.nebular is None and not structure.emissions:
        return sources.wave
    others = [component.rest_grid for component in structure.emissions]
    others += [_framed(t.wave) for t in sources.templates if t is not None]
    if sources.nebular is not None:
        others.append(_framed(sources.nebular.wave))
    extra = np.unique(np.concatenate(others))
    # grids that share wavelengths share them to rounding, which 32 bits would not tell apart
    extra = extra[np.diff(extra, prepend=0.0) > _SAME * extra]
    nearest = np.clip(np.searchsorted(sources.wave, extra), 1, sources.wave.size - 1)
    gap = np.minimum(abs(sources.wave[nearest] - extra), abs(sources.wave[nearest - 1] - extra))
    return np.union1d(sources.wave, extra[gap > _SAME * extra])


def _framed(wave: ArrayLike) -> np.ndarray:
    """Add points just outside, where the light is zero, so that interpolation adds none."""
    wave = np.asarray(wave)
    return np.concatenate([wave[:1] * (1.0 - _STEP), wave, wave[-1:] * (1.0 + _STEP)])


def _resampled(ssp: SSPData, wave: np.ndarray) -> Array:
    """Return the spectra of the SSPs on other wavelengths, zero outside of their own."""
    own = np.asarray(ssp.ssp_wave)
    if wave.size == own.size:
        return jnp.asarray(ssp.ssp_flux)
    flux = np.asarray(ssp.ssp_flux)
    rows = [np.interp(wave, own, row, left=0.0, right=0.0) for row in flux.reshape(-1, own.size)]
    return jnp.asarray(np.reshape(np.asarray(rows, dtype=flux.dtype), (*flux.shape[:2], -1)))


def _in_flux_units(table: PhotometryTable, unit: float) -> PhotometryTable:
    """Multiply everything in a table that is light by the unit of flux."""
    values = jax.tree.map(lambda x: x * unit, table.values)
    values = replace(values, line_transmission=table.values.line_transmission)
    smooth = tuple(own and replace(own, weight=own.weight * unit) for own in table.nodes.smooth)
    return replace(table, values=values, nodes=table.nodes._replace(smooth=smooth))


def _check_masses(ssp: SSPData, structure: Structure) -> None:
    """Refuse components that follow a mass that the grid does not know."""
    if ssp.ssp_mass_remaining is not None:
        return
    for component in structure.emissions:
        if component.needs_surviving_mass:
            raise DataError(
                f"{component.kind}={component.name!r} follows the surviving stellar mass, but the "
                "SSP grid has no 'ssp_mass_remaining'; expected one for every metallicity and age: "
                f"use a grid that has it, such as the one that ships, or {component.kind}='none'"
            )


def _check_coverage(
    sources: Sources,
    structure: Structure,
    quadrature: BandQuadrature,
    names: tuple[str, ...],
    redshifts: np.ndarray,
) -> None:
    """Refuse bands in which no component of the model shines."""
    ranges = {"stars": (sources.wave[0], sources.wave[-1])}
    ranges |= {f"{e.kind} {e.name!r}": e.coverage for e in structure.emissions}
    points = np.asarray(quadrature.wave)
    blue = points.min(axis=1) / (1.0 + redshifts.max())
    red = points.max(axis=1) / (1.0 + redshifts.min())
    for name, low, high in zip(names, blue, red, strict=True):
        if not _covered(low, high, list(ranges.values())):
            parts = ", ".join(f"{k} {a:.6g}-{b:.6g}" for k, (a, b) in ranges.items())
            raise DataError(
                f"band {name!r} needs rest-frame wavelengths {low:.6g}-{high:.6g} Angstrom, but "
                f"the model's components cover {parts}; leave the band out, add a component that "
                "shines there (dust_emission, agn, radio, xray), or use another SSP grid"
            )


def _covered(low: float, high: float, ranges: list[tuple[float, float]]) -> bool:
    """Tell whether the union of ranges covers an interval."""
    reached = low
    for start, end in sorted(ranges):
        if start <= reached:
            reached = max(reached, end)
    return reached >= high


@partial(Compiled, static_argnums=0)
def _igm_transmission(igm: IGM, coefficients: Any, wave: Array, z: Array) -> Array:
    return igm_transmission(igm, coefficients, wave, z)


def _transmission(igm: IGM, coefficients: Any, wave: np.ndarray, redshift: float) -> np.ndarray:
    """:func:`igm_transmission` for the table's builder, compiled once for all models."""
    return np.asarray(_igm_transmission(igm, coefficients, wave, redshift), dtype=float)


def _floats(x: Any) -> Array:
    """Return an array of JAX's default floating-point type."""
    return jnp.asarray(x, dtype=float)
