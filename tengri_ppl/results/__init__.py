"""Results of a fit: one ArviZ InferenceData with the model that made it, tables, figures, files."""

from tengri_ppl.results.derived import DERIVED, SFR_FLOOR
from tengri_ppl.results.diagnostics import Convergence, convergence
from tengri_ppl.results.inference_data import build_inference_data
from tengri_ppl.results.posterior import Posterior

__all__ = [
    "DERIVED",
    "SFR_FLOOR",
    "Convergence",
    "Posterior",
    "build_inference_data",
    "convergence",
]
