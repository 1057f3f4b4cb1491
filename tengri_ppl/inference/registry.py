"""The engines by name: what they are for, their options and how to run them."""

from __future__ import annotations

import dataclasses
from typing import Any

from tengri_ppl.errors import ParameterError, suggest
from tengri_ppl.inference.approximate import APPROXIMATE
from tengri_ppl.inference.markov import MARKOV_CHAINS
from tengri_ppl.inference.method import Method

__all__ = [
    "DEFAULT_METHOD",
    "Method",
    "from_keywords",
    "get_method",
    "list_methods",
    "make_options",
]

#: Of :func:`tengri_ppl.infer`, ``Fitter.run`` and the command line.
DEFAULT_METHOD = "auto"

_METHODS = (
    Method(
        name="auto",
        summary=(
            "importance sampling if its diagnostics are good, else NUTS from what it has learnt"
        ),
        needs="gradients",
        returns="draws; evidence if NUTS was not needed",
        use="always first",
        module="auto",
        function="run_auto",
        options_class="AutoOptions",
        citations=("TerBraak2006", "Vehtari2024", "HoffmanGelman2014"),
    ),
    Method(
        name="mcmc_nuts",
        summary="No-U-Turn sampler (NumPyro)",
        needs="gradients",
        returns="chains",
        use=(
            "the safe choice up to some 100 parameters; with n_leaps=32 faster, and for "
            "several modes"
        ),
        module="nuts",
        function="run_nuts",
        options_class="NUTSOptions",
        aliases=("nuts",),
        citations=("HoffmanGelman2014",),
    ),
    Method(
        name="importance",
        summary="adaptive importance sampling",
        needs="gradients, for its first proposal",
        returns="draws, evidence",
        use="up to some 12 parameters: the fastest",
        condition="k-hat < 0.7",
        module="importance",
        function="run_importance",
        options_class="ImportanceOptions",
        citations=("TerBraak2006", "Vehtari2024"),
    ),
    Method(
        name="smc",
        summary="tempered sequential Monte Carlo",
        needs="gradients, proper priors",
        returns="draws, evidence",
        use="several modes; where importance sampling gives up; fewer than 50 parameters",
        module="smc",
        function="run_smc",
        options_class="SMCOptions",
        citations=("DelMoral2006", "Cabezas2024"),
        coordinates="standard",
    ),
    Method(
        name="nss",
        summary="nested slice sampling (blackjax)",
        needs="densities alone, proper priors",
        returns="draws, evidence, dead points",
        use=(
            "comparing models; several modes; likelihoods that need much memory; fewer than 50 "
            "parameters"
        ),
        module="nested",
        function="run_nss",
        options_class="NSSOptions",
        aliases=("evidence",),
        citations=("Skilling2006", "Yallup2026", "Cabezas2024"),
        coordinates="standard",
        points_option="num_delete",
    ),
    *MARKOV_CHAINS,
    *APPROXIMATE,
)


def list_methods() -> tuple[Method, ...]:
    """Return all engines."""
    return _METHODS


def get_method(name: str) -> Method:
    """Return an engine by name or alias.

    Raises
    ------
    ParameterError
        If there is none; the message lists those that there are.
    """
    by_name = {n: method for method in _METHODS for n in (method.name, *method.aliases)}
    if name not in by_name:
        raise ParameterError(
            f"method {name!r} is unknown{suggest(name, by_name)} "
            f"(available: {', '.join(method.name for method in _METHODS)})"
        )
    return by_name[name]


def make_options(method: Method, given: dict[str, Any]) -> Any:
    """Make an engine's options from keyword arguments.

    Raises
    ------
    ParameterError
        If an option is unknown or its value is refused.
    """
    return from_keywords(method.options, method.name, given)


def from_keywords(options: type, owner: str, given: dict[str, Any]) -> Any:
    """Make options of any kind from keyword arguments; see :func:`make_options`."""
    known = [f.name for f in dataclasses.fields(options)]
    for name in given:
        if name not in known:
            raise ParameterError(
                f"{owner} has no option {name!r}{suggest(name, known)} "
                f"(its options: {', '.join(known)})"
            )
    return options(**given)
