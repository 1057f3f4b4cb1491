# Everything runs in .venv, which the targets make when they need it. `make help` lists them.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# XLA's CPU thread pool can deadlock with fewer than 4 threads (docs/sampling.md).
export NPROC ?= 4

.DEFAULT_GOAL := help
.PHONY: help venv dev demo test lint types imports docs examples comparison clean

help: ## List the targets
	@sed -nE 's/^([a-z]+):.*## (.*)$$/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|' 2>/dev/null \
	  || sed -nE 's/^([a-z]+):.*## (.*)$$/  make \1  \2/p' $(MAKEFILE_LIST)

venv: $(VENV)/.installed ## Make .venv with the package and what its tests need

dev: $(VENV)/.installed-dev ## Add the tools for linting, type checking and documentation to .venv

demo: venv ## Fit GOODS-S 7886; posterior, figures and a summary go to demo/
	$(BIN)/tengri-ppl fit examples/goodss_7886.toml --method mcmc_nuts --output demo --seed 0

# Most of a test's time is spent in one thread, tracing and compiling; files stay together because
# they share fixtures, the longest first (tests/conftest.py). A worker needs up to 5 GB.
TEST_WORKERS ?= 2

PYTEST = $(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder

test: venv ## Run the tests: most with programs that are compiled fast, some with fast programs
	@status=0; set -x; \
	$(PYTEST) -m "not optimised" || status=1; \
	$(PYTEST) -m optimised --optimise || status=1; \
	exit $$status

lint: dev ## Check style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: dev ## Check types
	$(BIN)/mypy

imports: dev ## Check that imports run only downwards through the rooms
	$(BIN)/lint-imports

docs: dev ## Build the documentation into docs/_build/html
	$(BIN)/sphinx-build -W --keep-going -b html docs docs/_build/html

examples: venv ## Run the example scripts; figures go to build/examples/
	@set -e; for script in examples/*.py; do \
	  echo "== $$script"; MPLBACKEND=Agg $(BIN)/python $$script; done

comparison: venv ## Fit the 204 galaxies of the catalogue in DATA; table and figure go to build/goodss/
	@test -d "$(DATA)" || { echo "no folder '$(DATA)'; name it: make comparison DATA=FOLDER" >&2; exit 1; }
	$(BIN)/python benchmarks/goodss.py "$(DATA)"

clean: ## Remove .venv and everything that was built
	rm -rf $(VENV) build dist demo docs/_build docs/_generated
	rm -rf .pytest_cache .ruff_cache .mypy_cache .hypothesis .import_linter_cache

$(VENV)/.created:
	@command -v $(PYTHON) >/dev/null || { \
	  echo "'$(PYTHON)' was not found. Install Python 3.11 or later, or name one: make PYTHON=/path/to/python3 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "tengri_ppl needs Python 3.11 or later, but '$(PYTHON)' is $$($(PYTHON) --version 2>&1)." >&2; \
	  echo "Name another interpreter: make PYTHON=python3.12 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV) || { \
	  echo "Python's venv module does not work here; on Debian and Ubuntu: apt install python3-venv" >&2; \
	  rm -rf $(VENV); exit 1; }
	touch $@

$(VENV)/.installed: $(VENV)/.created pyproject.toml
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -e ".[test]"
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -e ".[test,lint,docs]"
	touch $@
