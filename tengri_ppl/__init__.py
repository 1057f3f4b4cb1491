"""Galaxy SED fitting as probabilistic programs: SED models as NumPyro model functions."""

from numpyro.distributions import LogUniform, Normal, TruncatedNormal, Uniform

from tengri_ppl import inference, models, observation, physics
from tengri_ppl.citations import cite
from tengri_ppl.errors import DataError, MemoryBudgetError, ParameterError, TengriError
from tengri_ppl.inference.programs import lean, persistent
from tengri_ppl.inference.registry import list_methods
from tengri_ppl.models.galaxy import galaxy_model
from tengri_ppl.models.mixture import MixturePopulation
from tengri_ppl.models.parameters import Fixed, Parameters
from tengri_ppl.models.population import Calibration, Population, population_model
from tengri_ppl.models.relations import (
    MultivariateNormalPopulation,
    NormalPopulation,
    ScalingRelation,
    Shared,
)
from tengri_ppl.models.sed import SEDModel
from tengri_ppl.models.selection import FluxLimit
from tengri_ppl.observation.filter_library import list_filters, load_filter
from tengri_ppl.observation.filters import Filter
from tengri_ppl.observation.noise import GaussianNoise
from tengri_ppl.observation.observation import Observation
from tengri_ppl.observation.photometry import Photometry, ab_flux, ab_flux_error, ab_magnitude
from tengri_ppl.physics.ssp import SSPData, load_ssp_data
from tengri_ppl.results.comparison import compare
from tengri_ppl.results.interim import InterimSample
from tengri_ppl.results.population import PopulationPosterior
from tengri_ppl.results.posterior import Posterior
from tengri_ppl.runtime.cache import cache_stats, clear_cache, enable_persistent_cache
from tengri_ppl.runtime.compilation import drop_programs as gc
from tengri_ppl.runtime.compilation import enable_x64
from tengri_ppl.runtime.memory import MemoryMonitor
from tengri_ppl.workflows.fitter import Fitter
from tengri_ppl.workflows.infer import infer
from tengri_ppl.workflows.plan import plan
from tengri_ppl.workflows.population import PopulationFitter

__version__ = "0.1.0"

__all__ = [
    "Calibration",
    "DataError",
    "Filter",
    "Fitter",
    "Fixed",
    "FluxLimit",
    "GaussianNoise",
    "InterimSample",
    "LogUniform",
    "MemoryBudgetError",
    "MemoryMonitor",
    "MixturePopulation",
    "MultivariateNormalPopulation",
    "Normal",
    "NormalPopulation",
    "Observation",
    "ParameterError",
    "Parameters",
    "Photometry",
    "Population",
    "PopulationFitter",
    "PopulationPosterior",
    "Posterior",
    "SEDModel",
    "SSPData",
    "ScalingRelation",
    "Shared",
    "TengriError",
    "TruncatedNormal",
    "Uniform",
    "ab_flux",
    "ab_flux_error",
    "ab_magnitude",
    "cache_stats",
    "cite",
    "clear_cache",
    "compare",
    "enable_persistent_cache",
    "enable_x64",
    "galaxy_model",
    "gc",
    "infer",
    "inference",
    "lean",
    "list_filters",
    "list_methods",
    "load_filter",
    "load_ssp_data",
    "models",
    "observation",
    "persistent",
    "physics",
    "plan",
    "population_model",
]
