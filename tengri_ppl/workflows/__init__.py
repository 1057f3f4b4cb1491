"""The few lines that join model, inference and results."""

from tengri_ppl.workflows.fitter import Fitter

__all__ = ["Fitter"]
