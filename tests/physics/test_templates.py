"""The layout of template files: what comes back, what is refused, and interpolation."""

import dataclasses
from itertools import pairwise

import h5py
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.interpolate import RegularGridInterpolator

from tengri_ppl.errors import DataError
from tengri_ppl.physics.templates import (
    TemplateAxis,
    TemplateFile,
    grid_weights,
    integrate_spectra,
    load_templates,
    save_templates,
)

C = 2.99792458e18  # Angstrom/s
AXES = (np.array([0.5, 1.0, 4.0]), np.array([-1.0, 1.0]))


def example(**changes):
    """Templates of a grid of 3 x 2; their values tell them apart."""
    wave = np.geomspace(1e4, 1e6, 9)
    heights = 1.0 + np.arange(6.0).reshape(3, 2, 1)
    content = TemplateFile(
        wave=wave,
        spectra=heights * np.exp(-0.5 * np.log(wave / 1e5) ** 2),
        axes=(
            TemplateAxis("slope", AXES[0], "1", "a slope", 1.0),
            TemplateAxis("heat", AXES[1], "K", "a heat", (-0.5, 0.5)),
        ),
        kind="dust_emission",
        normalisation="relative",
        name="example",
        reference="nobody",
        licence="none",
        description="made up",
    )
    return dataclasses.replace(content, **changes)


def test_what_was_saved_comes_back(tmp_path):
    content = example()
    path = save_templates(tmp_path / "t.h5", content)
    back = load_templates(path)
    for field in dataclasses.fields(TemplateFile):
        if field.name != "axes":
            np.testing.assert_array_equal(getattr(back, field.name), getattr(content, field.name))
    for ours, theirs in zip(back.axes, content.axes, strict=True):
        np.testing.assert_array_equal(ours.values, theirs.values)
        assert (ours.name, ours.unit, ours.description) == (
            theirs.name,
            theirs.unit,
            theirs.description,
        )
    assert [axis.default for axis in back.axes] == [1.0, (-0.5, 0.5)]
    assert [p.name for p in back.parameters("dust_")] == ["dust_slope", "dust_heat"]
    assert [p.default for p in back.parameters("dust_")] == [1.0, (-0.5, 0.5)]


def test_a_single_spectrum_needs_no_axes(tmp_path):
    single = example(spectra=np.ones(9), axes=(), normalisation="absolute")
    grid = load_templates(save_templates(tmp_path / "t.h5", single)).grid()
    np.testing.assert_array_equal(grid.spectra, np.ones((1, 9)))
    np.testing.assert_array_equal(grid_weights((), grid.axes), [1.0])


def test_an_axis_without_default_offers_all_of_its_range():
    assert TemplateAxis("slope", AXES[0]).parameter("x_").default == (0.5, 4.0)


def test_the_same_file_is_read_once_and_again_when_it_changes(tmp_path):
    path = save_templates(tmp_path / "t.h5", example())
    first = load_templates(path)
    assert load_templates(str(path)) is first
    save_templates(path, example(name="other"))
    assert load_templates(path).name == "other"


def test_a_failure_leaves_the_old_file_and_no_rest(tmp_path):
    path = save_templates(tmp_path / "t.h5", example())
    old = path.read_bytes()
    with pytest.raises(DataError, match="'spectra'"):
        save_templates(path, example(spectra=np.ones((3, 2, 8))))
    with pytest.raises(TypeError):
        save_templates(path, example(), dtype="no such type")
    assert path.read_bytes() == old
    assert [p.name for p in tmp_path.iterdir()] == ["t.h5"]
    with pytest.raises(DataError, match="does not exist; create it"):
        save_templates(tmp_path / "no" / "t.h5", example())


def replaced(name, values, **attributes):
    """Edit a dataset of a file; None deletes it."""

    def edit(file):
        kept = dict(file[name].attrs)
        del file[name]
        if values is not None:
            file[name] = values
            file[name].attrs.update(kept | attributes)

    return edit


def attribute(name, value):
    return lambda file: file.attrs.__setitem__(name, value)


SPECTRA = example().spectra


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (attribute("format", "other"), "no template file"),
        (attribute("version", 2), "no template file"),
        (attribute("normalisation", "none"), "'normalisation'.*'none'.*'unit'"),
        (attribute("kind", ""), "lacks the attribute 'kind'"),
        (replaced("wave", None), "lacks the dataset 'wave'"),
        (replaced("spectra", None), "lacks the dataset 'spectra'"),
        (replaced("axes/heat", None), "lacks the dataset 'axes/heat'"),
        (replaced("wave", np.geomspace(1.0, 100.0, 9), unit="micron"), "unit 'micron'"),
        (replaced("wave", np.geomspace(1e6, 1e4, 9)), "'wave'.*increase"),
        (replaced("wave", np.linspace(0.0, 1e4, 9)), "'wave'.*begins at 0"),
        (replaced("wave", ["a"] * 9), "'/wave'.*not of numbers"),
        (replaced("axes/heat", [1.0, 1.0]), "'axes/heat'.*index 0"),
        (replaced("axes/heat", [1.0, np.nan]), "'axes/heat'.*finite"),
        (replaced("axes/heat", [1.0]), "'axes/heat'.*two or more"),
        (replaced("axes/heat", [1.0, 2.0, 3.0]), r"'spectra'.*\(3, 2, 9\).*\(slope, heat, wave\)"),
        (replaced("spectra", np.where(SPECTRA > 5.9, np.nan, SPECTRA)), "'spectra'.*not finite"),
        (replaced("spectra", SPECTRA - 1.0), "'spectra'.*negative"),
        (replaced("spectra", SPECTRA * (np.arange(6).reshape(3, 2, 1) != 3)), r"zero.*\(1, 1\)"),
    ],
)
def test_errors_name_the_dataset(tmp_path, edit, message):
    path = save_templates(tmp_path / "t.h5", example())
    with h5py.File(path, "a") as file:
        edit(file)
    with pytest.raises(DataError, match=message):
        load_templates(path)


def test_files_that_are_missing_or_not_hdf5_are_named(tmp_path):
    with pytest.raises(DataError, match=r"none\.h5 does not exist"):
        load_templates(tmp_path / "none.h5")
    (tmp_path / "text.h5").write_text("text")
    with pytest.raises(DataError, match="can't be read as HDF5"):
        load_templates(tmp_path / "text.h5")


@pytest.mark.parametrize("ratio", [3.0, 1.01, 1.0 + 1e-5])
def test_integral_is_exact_for_spectra_linear_in_wavelength(ratio):
    """Against adaptive quadrature of the interpolated spectrum, whatever the steps."""
    wave = 2e4 * ratio ** np.arange(5.0)
    spectrum = np.array([1.0, 3.0, 0.5, 0.0, 2.0])
    expected = sum(
        quad(lambda w: np.interp(w, wave, spectrum) * C / w**2, *ends, epsabs=0.0, epsrel=1e-12)[0]
        for ends in pairwise(wave)
    )
    assert integrate_spectra(wave, spectrum) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("normalisation", ["unit", "relative", "absolute"])
def test_normalisation_says_what_the_height_of_a_template_means(normalisation):
    content = example(normalisation=normalisation)
    grid = content.grid()
    total = integrate_spectra(grid.wave, grid.spectra)
    heights = 1.0 + np.arange(6.0)
    if normalisation == "absolute":
        np.testing.assert_array_equal(grid.spectra, content.spectra.reshape(6, 9))
    else:
        np.testing.assert_allclose(total, 1.0, rtol=1e-12)
    relative = heights / heights.mean() if normalisation == "relative" else 1.0
    np.testing.assert_allclose(grid.luminosity, relative, rtol=1e-12)


def test_a_grid_is_a_pytree_of_arrays():
    leaves = jax.tree.leaves(example().grid())
    assert [np.shape(leaf) for leaf in leaves] == [(9,), (6, 9), (3,), (2,), (6,)]


@settings(max_examples=30, deadline=None)
@given(x=st.floats(-1.0, 6.0), y=st.floats(-2.0, 2.0))
def test_weights_are_those_of_multilinear_interpolation_held_at_the_edges(x, y):
    """Against scipy, at the nearest point of the grid."""
    table = np.random.default_rng(1).normal(size=(3, 2))
    inside = np.clip(x, 0.5, 4.0), np.clip(y, -1.0, 1.0)
    with jax.enable_x64(True):
        weights = np.asarray(grid_weights((x, y), AXES))
    assert weights.sum() == pytest.approx(1.0, abs=1e-14)
    assert weights @ table.ravel() == pytest.approx(
        RegularGridInterpolator(AXES, table)(inside).item(), abs=1e-12
    )


def test_gradients_of_weights_are_finite_on_nodes_and_outside():
    points = jnp.array([0.0, 0.5, 1.0, 2.0, 4.0, 9.0])
    jacobian = jax.vmap(jax.jacrev(lambda x: grid_weights((x, x), AXES)))(points)
    assert np.isfinite(jacobian).all()
    np.testing.assert_array_equal(jacobian[0] @ np.ones(6), 0.0)
