"""Photometry and line fluxes of whole galaxies against BAGPIPES 1.3.6 (Carnall et al. 2018).

All 43 cases of ``bagpipes_reference``: stars, gas, attenuation, dust emission and the IGM, as set
up in :mod:`bagpipes_cases`. Fluxes below 1e-6 of the brightest of a galaxy do not count. The two
``umin_quirk`` cases are compared at the radiation field that BAGPIPES returned for them.
"""

import numpy as np
import pytest
from bagpipes_cases import (
    exact_photometry,
    interpreted,
    line_fluxes,
    make_model,
    parameters,
    read_cases,
)

pytestmark = [pytest.mark.crosscheck, pytest.mark.slow]

#: BAGPIPES samples star formation in steps of 0.6 % in age. Histories that rise or end within a
#: few steps come out with other masses: B06 rises as T^74, over 5 Myr, and is off by 2 %.
COARSELY_SAMPLED = ("A07", "B03", "B06", "C04", "D03", "D07", "E03", "E18", "E19")
#: Fluxes that differ by more than 0.2 % for the same masses, and why.
EXPLAINED = {
    # populations of one age in the ultraviolet, 1e-3 to 1e-6 of the brightest band: the shipped
    # grid has 125 ages, BAGPIPES averages over 221 (data/README.md)
    ("E19", "sdss_i0"): 5e-3,
    ("E19", "sdss_z0"): 7e-3,
    ("E19", "jwst_f090w"): 7e-3,
    # bands of the Lyman continuum, 1e-4 or less of the brightest: the shipped grid has steps of
    # 6 Angstrom there; B06 shines in 5 Angstrom redward of the limit, on the edge of the band
    ("B06", "sdss_g0"): 2.5e-2,
    ("C03", "galex_FUV"): 6e-3,
    ("E15", "sdss_u0"): 6e-3,
    ("F06", "galex_NUV"): 6e-3,
    # lines on the edge of a band, without dust that shines: BAGPIPES moves them to its pixels
    ("B00", "herschel_spire_250"): 4e-3,
    ("F00", "wise_w4"): 4e-3,
}


@pytest.fixture(scope="module")
def from_masses(bagpipes, bagpipes_ssp, bagpipes_nebular):
    """Exact photometry and line fluxes from BAGPIPES' own masses in its age bins."""
    names = [str(name) for name in bagpipes["filter_names"]]
    out = {}
    with interpreted():
        for case in read_cases(bagpipes):
            if case.name in COARSELY_SAMPLED:
                spec = parameters(case, bagpipes_nebular, history=False)
                model = make_model(spec, bagpipes_ssp, names, n_nodes=2)
                out[case.name] = exact_photometry(model), line_fluxes(model)
    return out


def errors(bagpipes, fluxes):
    """|relative difference| from BAGPIPES, nan where a flux does not count; (n_case, n_band)."""
    theirs = bagpipes["phot_hires_mujy"]
    counts = theirs > 1e-6 * theirs.max(axis=1, keepdims=True)
    return np.where(counts, np.abs(np.stack(fluxes) / theirs - 1.0), np.nan)


def test_all_cases_are_compared(bagpipes):
    groups, count = np.unique(bagpipes["group"], return_counts=True)
    expected = {"A": 6, "B": 6, "C": 6, "D": 6, "E": 14, "F": 5}
    assert dict(zip(groups.tolist(), count.tolist(), strict=True)) == expected
    assert bagpipes["id"][bagpipes["umin_quirk"]].tolist() == ["F03", "F04"]


def test_exact_photometry_agrees(bagpipes, predicted, measured):
    """Required: median 0.2 %, 95 % below 1.5 %. Reached: 0.010 % and 0.22 %, at most 2.2 %."""
    error = errors(bagpipes, [predicted[name].exact for name in bagpipes["id"]])
    measured("BAGPIPES photometry, exact, all 43 cases", error)
    stars = np.isin(bagpipes["group"], ["A", "C"])
    measured("BAGPIPES photometry, exact, groups A and C", error[stars])
    assert np.isfinite(error).sum() > 1200
    assert np.nanmedian(error) < 2e-4
    assert np.nanpercentile(error, 95) < 3e-3
    assert np.nanmax(error) < 2.5e-2


def test_what_remains_is_bagpipes_sampling_of_histories(bagpipes, predicted, from_masses):
    """With BAGPIPES' masses in its bins: 0.006 % in the median, 0.05 % for 95 % of the fluxes.

    Nine histories are replaced by their masses; every deviation above 0.2 % is explained.
    """
    fluxes = [
        from_masses[name][0] if name in from_masses else predicted[name].exact
        for name in bagpipes["id"]
    ]
    error = errors(bagpipes, fluxes)
    assert np.nanmedian(error) < 1e-4
    assert np.nanpercentile(error, 95) < 1e-3
    for i, case in enumerate(bagpipes["id"]):
        for j, band in enumerate(bagpipes["filter_names"]):
            allowed = EXPLAINED.get((str(case), str(band)), 2e-3)
            assert not error[i, j] > allowed, (case, band, error[i, j])


def test_fast_photometry_agrees(bagpipes, predicted, measured):
    """Reached: 0.011 % and 0.22 %, at most 2.2 %, as the exact mode."""
    error = errors(bagpipes, [predicted[name].fast for name in bagpipes["id"]])
    measured("BAGPIPES photometry, fast, all 43 cases", error)
    assert np.nanmedian(error) < 2e-4
    assert np.nanpercentile(error, 95) < 3e-3
    assert np.nanmax(error) < 2.5e-2


def test_fast_photometry_agrees_with_the_exact_mode(bagpipes, predicted):
    """95 % within half the tolerance of 0.1 %; reached: 0.005 %.

    At most 0.7 %, in GALEX NUV across a strong bump at 2175 Angstrom (E03, E01), where the galaxy
    has 1e-5 of its brightest flux; 0.3 % elsewhere.
    """
    exact = np.stack([predicted[name].exact for name in bagpipes["id"]])
    fast = np.stack([predicted[name].fast for name in bagpipes["id"]])
    error = np.where(np.isfinite(errors(bagpipes, exact)), np.abs(fast / exact - 1.0), np.nan)
    assert np.nanpercentile(error, 95) < 5e-4
    assert np.nanmax(error) < 1e-2


def line_errors(bagpipes, lines):
    """|relative difference| of line fluxes above 1e-3 of a galaxy's brightest, per case."""
    out = {}
    for name, theirs in zip(bagpipes["id"], bagpipes["line_flux"], strict=True):
        if name in lines and np.nanmax(theirs, initial=0.0) > 0.0:
            bright = theirs > 1e-3 * theirs.max()
            out[str(name)] = np.abs(lines[name][bright] / theirs[bright] - 1.0)
    return out


def test_line_fluxes_agree(bagpipes, predicted, measured):
    """Required: median 0.5 %. Reached: 0.013 %; 2 % where histories are coarsely sampled."""
    lines = {name: p.lines for name, p in predicted.items() if p.lines is not None}
    assert lines.keys() == set(bagpipes["id"][bagpipes["nebular"]])
    assert not lines["E04"].any()  # no stars younger than 3 Gyr
    found = line_errors(bagpipes, lines)
    every = np.concatenate(list(found.values()))
    measured("BAGPIPES lines above 1e-3 of the brightest", every)
    assert every.size > 1700
    assert np.median(every) < 3e-4
    assert every.max() < 2.5e-2
    for name, error in found.items():
        assert name in COARSELY_SAMPLED or error.max() < 2.5e-3, name


def test_line_fluxes_agree_exactly_for_the_same_masses(bagpipes, from_masses):
    """To the single precision of the grid."""
    lines = {name: lines for name, (_, lines) in from_masses.items() if lines is not None}
    found = line_errors(bagpipes, lines)
    assert sorted(found) == ["B03", "B06", "E03", "E18", "E19"]
    assert np.concatenate(list(found.values())).max() < 1e-7
