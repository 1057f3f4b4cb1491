"""Entries of the registry for engines that approximate."""

from __future__ import annotations

from tengri_ppl.inference.geometric import GeometricOptions, run_geovi, run_mgvi
from tengri_ppl.inference.method import Method
from tengri_ppl.inference.modes import LaplaceOptions, MAPOptions, run_laplace, run_map
from tengri_ppl.inference.neutra import NeuTraOptions, run_neutra
from tengri_ppl.inference.pathfinder import (
    MultipathfinderOptions,
    PathfinderOptions,
    run_multipathfinder,
    run_pathfinder,
)
from tengri_ppl.inference.variational import VIOptions, run_vi

__all__ = ["APPROXIMATE"]

APPROXIMATE = (
    Method(
        name="map",
        summary="the point of the largest posterior density, by L-BFGS from several starts",
        options=MAPOptions,
        run=run_map,
        exact=False,
    ),
    Method(
        name="laplace",
        summary="a Gaussian at the mode with the exact Hessian: for posteriors that are nearly one",
        options=LaplaceOptions,
        run=run_laplace,
        exact=False,
    ),
    Method(
        name="pathfinder",
        summary="the best Gaussian along a quasi-Newton path: a quick look, or a start for chains",
        options=PathfinderOptions,
        run=run_pathfinder,
        citations=("Zhang2022",),
        exact=False,
    ),
    Method(
        name="multipathfinder",
        summary=(
            "Gaussians of many paths, resampled by importance weights: exact where its k-hat is "
            "below 0.7"
        ),
        options=MultipathfinderOptions,
        run=run_multipathfinder,
        citations=("Zhang2022", "Vehtari2024"),
        exact=False,
    ),
    Method(
        name="vi",
        summary=(
            "stochastic variational inference with any of NumPyro's guides (guide='multivariate', "
            "'low_rank', 'iaf', ...) and any optimiser of optax"
        ),
        options=VIOptions,
        run=run_vi,
        aliases=("svi",),
        citations=("Kucukelbir2017",),
        exact=False,
    ),
    Method(
        name="neutra",
        summary="NUTS in the coordinates of a trained flow: exact, for curved posteriors",
        options=NeuTraOptions,
        run=run_neutra,
        citations=("Hoffman2019", "HoffmanGelman2014"),
    ),
    Method(
        name="mgvi",
        summary=(
            "metric Gaussian variational inference, in standard coordinates: for nearly Gaussian "
            "posteriors of many parameters"
        ),
        options=GeometricOptions,
        run=run_mgvi,
        citations=("KnollmuellerEnsslin2019",),
        exact=False,
        coordinates="standard",
    ),
    Method(
        name="geovi",
        summary=(
            "geometric variational inference, in standard coordinates: as mgvi, and follows curved "
            "posteriors"
        ),
        options=GeometricOptions,
        run=run_geovi,
        citations=("Frank2021", "KnollmuellerEnsslin2019"),
        exact=False,
        coordinates="standard",
    ),
)
