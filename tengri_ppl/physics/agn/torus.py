"""Dusty tori: infrared spectra of unit luminosity, which the nucleus scales."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from tengri_ppl.physics.blackbody import blackbody
from tengri_ppl.physics.component import Component, Parameter, register
from tengri_ppl.physics.scaled_templates import check_path, load_scalable, unit_weights
from tengri_ppl.physics.templates import TemplateFile, TemplateGrid

__all__ = ["AGNTorus", "NoTorus", "TemplateTorus", "TwoBlackbodyTorus"]


@dataclass(frozen=True)
class AGNTorus(Component):
    """The spectrum of a torus. Subclasses define :meth:`smooth`, or templates and weights."""

    kind = "agn_torus"

    #: Whether there is a torus, which takes its share of the disc's light.
    exists: ClassVar[bool] = True
    #: Whether the spectrum comes from templates.
    gridded: ClassVar[bool] = False

    def load(self) -> TemplateGrid | None:
        """Return the templates as arrays."""
        return None

    def weights(self, params: Mapping[str, Any], templates: TemplateGrid) -> Array:
        """Return the weights of the templates for 1 Lsun, shape (n_template,)."""
        raise NotImplementedError

    def smooth(self, wave: ArrayLike, params: Mapping[str, Any]) -> Array:
        """Return L_nu over the luminosity [1/Hz] at rest-frame wavelengths [Angstrom]."""
        return jnp.zeros_like(jnp.asarray(wave))


@register("agn_torus", "none")
@dataclass(frozen=True)
class NoTorus(AGNTorus):
    """No torus."""

    citations = ()
    exists = False


@register("agn_torus", "two_blackbody")
@dataclass(frozen=True)
class TwoBlackbodyTorus(AGNTorus):
    r"""Hot and warm dust, one black body each.

    .. math:: L_\nu = (1 - f)\, \frac{\pi B_\nu(T_{hot})}{\sigma T_{hot}^4}
              + f\, \frac{\pi B_\nu(T_{warm})}{\sigma T_{warm}^4}

    This is the dust in the 0.1-10 micron spectra of quasars of Hernan-Caballero et al. (2016,
    MNRAS 463, 2064), whose hot dust has about 1200 K. Without warm dust (f = 0) and with 1243.6 K
    it is the hot dust of Temple, Hewett & Banerji (2021, MNRAS 508, 737). It has no silicate
    features; templates have.
    """

    citations = ("HernanCaballero2016",)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """agn_torus_t_hot, agn_torus_t_warm, agn_torus_warm_fraction."""
        return (
            Parameter("agn_torus_t_hot", "K", "temperature of the hot dust", 1200.0),
            Parameter("agn_torus_t_warm", "K", "temperature of the warm dust", 300.0),
            Parameter(
                "agn_torus_warm_fraction",
                "1",
                "share f of the torus luminosity from warm dust",
                (0.0, 1.0),
            ),
        )

    def smooth(self, wave: ArrayLike, params: Mapping[str, Any]) -> Array:
        """See :meth:`AGNTorus.smooth`."""
        warm = params["agn_torus_warm_fraction"]
        hot_light = blackbody(wave, params["agn_torus_t_hot"])
        return (1.0 - warm) * hot_light + warm * blackbody(wave, params["agn_torus_t_warm"])


@register("agn_torus", "templates")
@dataclass(frozen=True)
class TemplateTorus(AGNTorus):
    """Torus spectra from a template file, for example clumpy tori (Nenkova et al. 2008).

    The parameters are the axes of the file, after ``agn_torus_``.

    Attributes
    ----------
    path : str
        A file of the kind "agn_torus"; see :mod:`tengri_ppl.physics.templates`.
    """

    gridded = True
    path: str = ""

    def __post_init__(self) -> None:
        """Ask for the file."""
        check_path(self, self.path)

    @property
    def citations(self) -> tuple[str, ...]:
        """See :attr:`~tengri_ppl.physics.component.Component.citations`."""
        return self.file().citations

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """One per axis of the file."""
        return self.file().parameters("agn_torus_")

    def file(self) -> TemplateFile:
        """Return the content of the user's file."""
        return load_scalable(self.path, self.kind)

    def load(self) -> TemplateGrid:
        """See :meth:`AGNTorus.load`."""
        return self.file().grid()

    def weights(self, params: Mapping[str, Any], templates: TemplateGrid) -> Array:
        """See :meth:`AGNTorus.weights`."""
        return unit_weights([params[p.name] for p in self.parameters], templates)
