"""Every registered engine on every problem: a new engine is tested by being registered.

Exact engines must give the known moments; approximate ones must be near them or say that they are
off. With two distant modes, chains that stay in one of them must be seen not to agree.
"""

from functools import cache
from itertools import chain

import jax
import pytest
from checks import (
    MAX_SHIFT,
    MAX_WIDTH_ERROR,
    check_evidence,
    check_exact,
    says_that_it_is_off,
    worst,
)
from problems import (
    gaussian_problem,
    regression_and_hierarchy_problem,
    shapes_problem,
    two_modes_problem,
)

from tengri_ppl.inference.chains import ChainOptions
from tengri_ppl.inference.ensemble import EnsembleOptions
from tengri_ppl.inference.method import Method
from tengri_ppl.inference.registry import get_method, list_methods, make_options

PROBLEMS = {
    "gaussian 1": lambda: gaussian_problem(1, 1.0),
    "gaussian 5": lambda: gaussian_problem(5, 1e4),
    "gaussian 50": lambda: gaussian_problem(50, 10.0),
    "shapes": shapes_problem,
    "regression and hierarchy": regression_and_hierarchy_problem,
    "two modes": two_modes_problem,
}

#: Engines that can't do a problem; docs/methods.md tells users.
LIMITS = {
    ("ensemble_aies", "gaussian 50"): "ensembles need too many walkers and steps for 50 parameters",
    ("ensemble_slice", "gaussian 50"): "as the other ensemble",
    ("importance", "gaussian 50"): "importance sampling is for some 12 parameters",
    ("pathfinder", "two modes"): "the weights of draws of one mode know nothing of the other",
    ("vi", "two modes"): "as pathfinder",
    ("smc", "gaussian 50"): "too few moves per stage: a mean radius that is 0.3 widths too large",
    ("nss", "gaussian 50"): "time grows with the cube of the number of parameters",
    ("mgvi", "shapes"): "no factors",
    ("geovi", "shapes"): "no factors",
    ("geovi", "two modes"): "no mixtures",
}

#: Programs take long to compile. Engines that share all but their transition with another one (on
#: the right) only run the problems that tell transitions apart.
SHARED = {
    "neutra": "mcmc_nuts",
    "mcmc_hmc": "mcmc_dynamic_hmc",
    "mcmc_ghmc": "mcmc_dynamic_hmc",
    "mcmc_barker": "mcmc_dynamic_hmc",
    "mcmc_chees": "mcmc_dynamic_hmc",
    "ensemble_slice": "ensemble_aies",
    "pathfinder": "multipathfinder",
    "mgvi": "geovi",
}
TELLING = ("gaussian 5", "shapes")

#: The same for single problems: engines that meet nothing new there.
COVERED = {
    "gaussian 1": ("mcmc_nuts", "smc", "geovi"),
    "gaussian 5": ("neutra",),
    "gaussian 50": ("auto",),
    "regression and hierarchy": (
        *("smc", "mcmc_mclmc", "mcmc_raytrace", "ess", "ensemble_aies"),
        "geovi",  # test_geometric.py has such problems
    ),
    "two modes": ("mcmc_mclmc", "mcmc_raytrace", "ess"),
}

#: A single point has no moments.
WITHOUT_MOMENTS = ("map",)

#: Where approximations are exact, and must not say that they are off; but for engines whose
#: curvature is that of a quasi-Newton search.
NORMAL = ("gaussian 1", "gaussian 5", "gaussian 50")
BY_SEARCH = ("pathfinder", "multipathfinder")

#: Engines that find the right share of two distant modes.
ACROSS_MODES = ("auto", "importance", "smc", "nss", "ensemble_aies")


def is_run(method, name):
    """Whether an engine is run on a problem."""
    pair = (method.name, name)
    if pair in LIMITS or method.name in (*WITHOUT_MOMENTS, *COVERED.get(name, ())):
        return False
    return method.name not in SHARED or name in TELLING


@cache
def problem(name):
    """Build a problem once."""
    return PROBLEMS[name]()


def options(method: Method):
    """Lengths at which Monte-Carlo errors are small enough to tell 5 %, for a few seconds each."""
    if issubclass(method.options, EnsembleOptions):
        return make_options(method, {"n_samples": 400})
    if issubclass(method.options, ChainOptions):
        return make_options(method, {"n_samples": 1200})
    return make_options(method, {})


PAIRS = [
    pytest.param(method, name, id=f"{method.name}-{name}")
    for name in PROBLEMS
    for method in list_methods()
    if is_run(method, name)
]


@pytest.mark.parametrize(("method", "name"), PAIRS)
def test_known_moments(method, name, measured):
    known = problem(name)
    result = method.run(known.target, jax.random.key(7), options(method))
    if method.exact and (name != "two modes" or method.name in ACROSS_MODES):
        check_exact(result, known, measured, f"exact methods, {name}")
        check_evidence(result, known)
        return
    off = says_that_it_is_off(result, method.exact)
    assert not (off and name in NORMAL and method.name not in BY_SEARCH), result.notes
    if not off:
        shift, width_error = worst(result, known)
        assert shift < MAX_SHIFT and width_error < MAX_WIDTH_ERROR
        check_evidence(result, known)


@pytest.mark.parametrize("name", ["gaussian 5", "shapes", "two modes"])
def test_known_moments_of_chains_that_leap(name, measured):
    """Between two modes, too."""
    known = problem(name)
    nuts = get_method("mcmc_nuts")
    settings = make_options(nuts, {"n_samples": 1200, "n_leaps": 32})
    result = nuts.run(known.target, jax.random.key(7), settings)
    check_exact(result, known, measured, f"mcmc_nuts with leaps, {name}")


def test_every_exception_is_an_engine():
    names = {method.name for method in list_methods()}
    exceptions = {*SHARED, *SHARED.values(), *WITHOUT_MOMENTS, *ACROSS_MODES, *BY_SEARCH}
    assert exceptions | {name for name, _ in LIMITS} | {*chain(*COVERED.values())} <= names
