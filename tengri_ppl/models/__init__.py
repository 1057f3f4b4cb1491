"""Parameters, the forward model and NumPyro model functions: where physics meets NumPyro."""

from tengri_ppl.models.galaxy import galaxy_model, sampling_model
from tengri_ppl.models.parameters import Fixed, Parameters
from tengri_ppl.models.sed import SEDModel

__all__ = ["Fixed", "Parameters", "SEDModel", "galaxy_model", "sampling_model"]
