"""Inference for any NumPyro model: one target, one registry, one file per engine."""

from tengri_ppl.inference.nuts import NUTSOptions, run_nuts
from tengri_ppl.inference.registry import get_method, list_methods
from tengri_ppl.inference.result import InferenceResult
from tengri_ppl.inference.target import Target

__all__ = [
    "InferenceResult",
    "NUTSOptions",
    "Target",
    "get_method",
    "list_methods",
    "run_nuts",
]
