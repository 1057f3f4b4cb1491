"""The command line from outside, as a user runs it."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.optimised

EASY = """
[galaxy]
name = "easy"
redshift = 0.1
bands = ["sdss_u", "sdss_g", "sdss_r", "sdss_i", "sdss_z"]
fluxes = [7.5, 22.0, 38.0, 52.0, 64.0]
flux_unit = "microjansky"
errors = [0.4, 1.0, 2.0, 2.5, 3.0]

[model]
sfh = "constant"
dust = "single"
dust_law = "calzetti"

[priors]
sfh_constant_log_mass = { dist = "Uniform", low = 7.0, high = 12.0 }
sfh_constant_age_max_gyr = 5.0
met_logzsol = 0.0
dust_tau_diff = { dist = "Uniform", low = 0.0, high = 3.0 }
"""


@pytest.fixture
def run(tmp_path):
    def run(*arguments, text=EASY):
        (tmp_path / "galaxy.toml").write_text(text)
        command = [sys.executable, "-m", "tengri_ppl.cli", *arguments]
        return subprocess.run(
            command,
            cwd=tmp_path,
            env={**os.environ, "TENGRI_PPL_JAX_CACHE_DIR": str(tmp_path / "cache")},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )

    return run


def test_a_fit_writes_the_posterior_and_its_plots_and_exits_with_0(run, tmp_path):
    done = run("fit", "galaxy.toml", "--output", "out", "--seed", "1", "--no-progress")
    assert done.returncode == 0, done.stderr
    for word in ("easy", "r_hat", "ess_bulk", "log_stellar_mass", "converged"):
        assert word in done.stdout
    for name in ("posterior.nc", "corner.png", "sed.png", "sfh.png", "trace.png"):
        assert (tmp_path / "out" / name).stat().st_size > 1000
    assert not list((tmp_path / "out").glob(".*"))
    assert "Warning" not in done.stderr


def test_a_fit_that_has_not_converged_is_written_and_exits_with_1(run, tmp_path):
    text = EASY + "\n[sampler]\nn_samples = 150\nnum_chains = 2\n"
    done = run("fit", "galaxy.toml", "-o", "out", "--method", "mcmc_nuts", text=text)
    assert done.returncode == 1, done.stderr
    assert "not converged" in done.stderr and "n_samples" in done.stderr
    assert (tmp_path / "out" / "posterior.nc").exists()


@pytest.mark.parametrize(
    ("arguments", "text", "message"),
    [
        (["galaxy.toml", "-o", "out", "--method", "nutz"], EASY, "did you mean 'nuts'"),
        (["none.toml", "-o", "out"], EASY, "none.toml: can't be read"),
        (["galaxy.toml", "-o", "out"], EASY.replace("sdss_u", "sdss_q"), "'sdss_q' is unknown"),
    ],
)
def test_bad_input_is_one_line_and_exits_with_2(run, arguments, text, message):
    done = run("fit", *arguments, "--no-progress", text=text)
    assert done.returncode == 2
    assert message in done.stderr and "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_plan_says_what_memory_is_needed_and_a_budget_is_refused_if_too_small(run):
    done = run("plan", "galaxy.toml", "--max-memory-gb", "8")
    assert done.returncode == 0, done.stderr
    assert "limit 8.0000 GB, in which it fits whole" in done.stdout
    assert "gradients" in done.stdout and "chunk_size" in done.stdout
    text = EASY + "\n[sampler]\nmax_memory_gb = 0.1\n"
    refused = run("fit", "galaxy.toml", "-o", "out", "--no-progress", text=text)
    assert refused.returncode == 2
    assert "GB even with one point at a time" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1


def test_help_teaches(run):
    done = run("fit", "--help")
    assert done.returncode == 0
    for word in ("--output", "--seed", "--no-progress", "exit code", "posterior.nc"):
        assert word in done.stdout
    assert "mcmc_nuts" in run("methods").stdout
    one = run("methods", "smc").stdout
    assert one.startswith("smc:") and "mcmc_nuts:" not in one
    unknown = run("methods", "smcc")
    assert unknown.returncode == 2 and "did you mean 'smc'" in unknown.stderr
    assert "spitzer_irac_ch1" in run("filters", "irac").stdout
