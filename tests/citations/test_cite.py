"""What a model cites."""

import re

import h5py
import numpy as np
import pytest
from strict_bibtex import parse

import tengri_ppl as tg
from tengri_ppl.citations import cite_parts
from tengri_ppl.physics.agn import AGN, PowerLawDisc, Temple2021Disc
from tengri_ppl.physics.dust_emission import ModifiedBlackbody, TemplateDustEmission
from tengri_ppl.physics.igm import IGMWithDLA, Madau1995IGM
from tengri_ppl.physics.templates import TemplateAxis, TemplateFile, save_templates

SSP = {"ssp_name": "mine", "ssp_citations": ""}


def keys(method=None, provenance=SSP, **choices):
    spec = tg.Parameters(redshift=0.1, **choices)
    return [key for _, key, _ in parse(cite_parts(spec.structure, provenance, method))]


def test_a_built_model_cites_its_grid_its_components_and_packages_once(ssp, sdss):
    spec = tg.Parameters(redshift=0.1, nebular="cloudy", dust_law="calzetti")
    text = tg.cite(tg.SEDModel(spec, ssp, sdss, n_nodes=1), method="nuts")
    entries = parse(text)
    found = [key for _, key, _ in entries]
    assert len(set(found)) == len(found)
    grid = {"BruzualCharlot2003", "SanchezBlazquez2006", "FalconBarroso2011", "Carnall2018"}
    gas = {"Byler2017", "Gunasekera2025"}
    others = {"CharlotFall2000", "Calzetti2000", "Inoue2014", "HoffmanGelman2014"}
    software = {"tengri_ppl", "jax2018github", "Phan2019", "Kumar2019", "Johnson2021"}
    assert grid | gas | others | software <= set(found)
    assert not {"DraineLi2007", "Just2007", "Madau1995"} & set(found)
    assert "% SSP grid 'BC03-MILES'; sfh 'dpl'; nebular 'cloudy'\n@article{Carnall2018," in text
    jax = next(fields for _, key, fields in entries if key == "jax2018github")
    assert re.fullmatch(r"\d+\.\d+.*", jax["version"]) and "package" not in jax


def test_parts_of_components_are_cited():
    agn = AGN(disc=Temple2021Disc(), lines=AGN().lines)
    igm = IGMWithDLA(base=Madau1995IGM())
    found = keys(agn=agn, igm=igm, sfh="delayed", sfh_field="matern", sfh_burst="constant")
    expected = {"Yang2020", "Temple2021", "Grandi1982", "VandenBerk2001", "HernanCaballero2016"}
    expected |= {"Lee2013", "Madau1995", "Gavazzi2002", "RasmussenWilliams2006", "Malek2018"}
    assert expected <= set(found)
    assert not {"Schartmann2005", "Inoue2014", "CaplarTacchella2019", "Carnall2018"} & set(found)


def test_only_the_options_that_are_used_are_cited():
    assert "daCunha2013" not in keys(dust_emission="modified_blackbody")
    assert "daCunha2013" in keys(dust_emission=ModifiedBlackbody(cmb=True))
    assert "Stalevski2016" in keys(agn=AGN(disc=PowerLawDisc(form="stalevski2016")))
    assert "Just2007" not in keys(xray="lehmer2016")
    assert "Just2007" in keys(xray="lehmer2016", agn="nucleus")
    assert "HoffmanGelman2014" not in keys()


@pytest.fixture
def template(tmp_path):
    def write(reference):
        wave = np.array([1e5, 1e6, 1e7])
        axis = TemplateAxis("alpha", np.array([1.0, 2.0]))
        content = TemplateFile(
            wave, np.ones((2, 3)), (axis,), kind="dust_emission", reference=reference
        )
        return TemplateDustEmission(path=str(save_templates(tmp_path / "t.h5", content)))

    return write


def test_template_files_cite_the_paper_that_they_name(template):
    assert "Dale2014" in keys(dust_emission=template("Dale et al. 2014, ApJ 784, 83"))


def test_papers_that_are_not_known_are_named_in_a_comment(template):
    spec = tg.Parameters(redshift=0.1, dust_emission=template("Me@home 2026; Casey2012"))
    text = cite_parts(spec.structure, SSP)
    assert "% dust_emission 'template'\n% not in the bibliography: Me at home 2026\n" in text
    assert "% SSP grid 'mine'\n% not in the bibliography: its file names no paper" in text
    assert "Casey2012" in [key for _, key, _ in parse(text)]


def test_ssp_files_say_their_papers(tmp_path, ssp):
    path = tmp_path / "mine.h5"
    with h5py.File(path, "w") as file:
        file["ssp_lgmet"], file["ssp_lg_age_gyr"] = np.array([-2.0, -1.7]), np.array([-2.0, 0.0])
        file["ssp_wave"] = np.geomspace(100.0, 1e6, 30)
        file["ssp_flux"] = np.full((2, 2, 30), 1e-16)
        file.attrs["citations"] = "Bruzual & Charlot 2003, MNRAS 344, 1000; Hearin2023"
    provenance = tg.load_ssp_data(path).provenance
    assert {"BruzualCharlot2003", "Hearin2023"} <= set(keys(provenance=provenance))
