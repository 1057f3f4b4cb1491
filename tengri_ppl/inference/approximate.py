"""Entries of the registry for engines that approximate."""

from __future__ import annotations

from tengri_ppl.inference.method import Method

__all__ = ["APPROXIMATE"]

APPROXIMATE = (
    Method(
        name="map",
        summary="the point of the largest posterior density, by L-BFGS from several starts",
        module="modes",
        function="run_map",
        options_class="MAPOptions",
        exact=False,
        marginal=False,
    ),
    Method(
        name="laplace",
        summary="a Gaussian at the mode with the exact Hessian: for posteriors that are nearly one",
        module="modes",
        function="run_laplace",
        options_class="LaplaceOptions",
        exact=False,
    ),
    Method(
        name="pathfinder",
        summary="the best Gaussian along a quasi-Newton path: a quick look, or a start for chains",
        module="pathfinder",
        function="run_pathfinder",
        options_class="PathfinderOptions",
        citations=("Zhang2022",),
        exact=False,
    ),
    Method(
        name="multipathfinder",
        summary=(
            "Gaussians of many paths, resampled by importance weights: exact where its k-hat is "
            "below 0.7"
        ),
        module="pathfinder",
        function="run_multipathfinder",
        options_class="MultipathfinderOptions",
        citations=("Zhang2022", "Vehtari2024"),
        exact=False,
    ),
    Method(
        name="vi",
        summary=(
            "stochastic variational inference with any of NumPyro's guides (guide='multivariate', "
            "'low_rank', 'iaf', ...) and any optimiser of optax"
        ),
        module="variational",
        function="run_vi",
        options_class="VIOptions",
        aliases=("svi",),
        citations=("Kucukelbir2017",),
        exact=False,
    ),
    Method(
        name="neutra",
        summary="NUTS in the coordinates of a trained flow: exact, for curved posteriors",
        module="neutra",
        function="run_neutra",
        options_class="NeuTraOptions",
        citations=("Hoffman2019", "HoffmanGelman2014"),
    ),
    Method(
        name="mgvi",
        summary=(
            "metric Gaussian variational inference, in standard coordinates: for nearly Gaussian "
            "posteriors of many parameters"
        ),
        module="geometric",
        function="run_mgvi",
        options_class="GeometricOptions",
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
        module="geometric",
        function="run_geovi",
        options_class="GeometricOptions",
        citations=("Frank2021", "KnollmuellerEnsslin2019"),
        exact=False,
        coordinates="standard",
    ),
)
