"""Fixtures that comparisons of the whole model with BAGPIPES share: each case is computed once."""

import numpy as np
import pytest
from bagpipes_cases import (
    bin_ssp,
    interpreted,
    make_model,
    parameters,
    predict,
    read_cases,
    write_nebular,
)


@pytest.fixture(scope="session")
def bagpipes(validation_data):
    """All tables of ``bagpipes_reference``, by name."""
    path = validation_data / "bagpipes_reference" / "reference_dev.npz"
    if not path.is_file():
        pytest.skip(f"no {path}")
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


@pytest.fixture(scope="session")
def bagpipes_ssp(ssp):
    return bin_ssp(ssp)


@pytest.fixture(scope="session")
def bagpipes_nebular(tmp_path_factory):
    return write_nebular(tmp_path_factory.mktemp("nebular") / "bagpipes.h5")


@pytest.fixture(scope="session")
def predicted(bagpipes, bagpipes_ssp, bagpipes_nebular):
    """Every case by name; with seven nodes per band, the most that the tolerance asks for here."""
    names = [str(name) for name in bagpipes["filter_names"]]
    out = {}
    with interpreted():
        for case in read_cases(bagpipes):
            spec = parameters(case, bagpipes_nebular)
            out[case.name] = predict(make_model(spec, bagpipes_ssp, names, n_nodes=7))
    return out
