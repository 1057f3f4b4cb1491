"""``tengri-ppl data``."""

import pytest
from typer.testing import CliRunner

from tengri_ppl.cli.main import app
from tengri_ppl.errors import ParameterError
from tengri_ppl.physics.templates import load_templates


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.txt").write_text("1 2 3\n2 4 5\n4 1 1\n")
    return lambda *arguments: CliRunner().invoke(app, ["data", *arguments])


def test_import_writes_the_file_and_says_what_it_holds(run):
    options = ["--wave-unit", "micron", "--axis", "age", "--values", "1,3", "--unit", "Myr"]
    done = run("import", "ascii", "mine.txt", "out.h5", *options, "--reference", "A paper 2020")
    assert done.exit_code == 0, done.output
    assert load_templates("out.h5").axes[0].values.tolist() == [1.0, 3.0]
    for part in ("3 wavelengths, 1 to 4 micron", "age: 2 values, 1 to 3 Myr", "A paper 2020"):
        assert part in done.output
    assert run("show", "out.h5").output == done.output


def test_bad_input_is_an_error_of_ours(run):
    done = run("import", "ascii", "mine.txt", "out.h5", "--values", "1,b")
    assert isinstance(done.exception, ParameterError)
    done = run("import", "temple2021", "mine.txt", "out.h5", "--kind", "agn")
    assert "no option 'kind'" in str(done.exception)
