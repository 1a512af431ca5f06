# `make reproduce` and `make test` do the set-up they need; both work on a fresh clone.
PYTHON ?= python3
KILLS ?= 50
BIN := .venv/bin
OUT := results/marion2024-quick

# A thread pool per worker costs more than it gains on matrices of this size.
export OMP_NUM_THREADS ?= 1
export MPLBACKEND ?= Agg

# $(call stage,name,command): runs the command and says how many seconds it took.
define stage
	@echo "== $(1)"; start=$$(date +%s); $(2) || exit $$?; echo "-- $(1): $$(( $$(date +%s) - start )) s"
endef

.PHONY: help reproduce test format kills clean
.DELETE_ON_ERROR:

help:  ## say what each target does
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

reproduce: .venv/installed  ## reproduce Marion et al. 2024 at tier quick; prints where the report lies
	$(call stage,reproduce,$(BIN)/deeplimit reproduce marion2024 --tier quick --out $(OUT))

# The tests come last and say their own seconds, so that their summary is the last line.
test: .venv/installed-dev  ## run every check: format, lint, types, tests with doctests, README and examples
	$(call stage,format,$(BIN)/ruff format --check .)
	$(call stage,lint,$(BIN)/ruff check .)
	$(call stage,types,$(BIN)/mypy)
	@echo "== tests"; $(BIN)/pytest -n 2

format: .venv/installed-dev  ## format the code and mend what ruff can mend
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

kills: .venv/installed-dev  ## kill a quick run KILLS times (50) at random moments and compare its rows with an undisturbed run
	$(call stage,kills,$(BIN)/pytest tests/test_resume.py --kills $(KILLS))

clean:  ## remove .venv, caches and builds; results stay
	rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/python:
	@$(PYTHON) -c 'import sys; sys.exit("deeplimit needs Python 3.11 or later; name one: make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	$(call stage,venv,$(PYTHON) -m venv .venv)
	@touch $@

# Build requirements first, from the same constraints, so that the package is built with nothing but pinned versions.
.venv/build: .venv/python constraints.txt
	$(call stage,build requirements,$(BIN)/pip install --quiet -c constraints.txt hatchling editables)
	@touch $@

.venv/installed: .venv/build pyproject.toml
	$(call stage,install,$(BIN)/pip install --quiet -c constraints.txt --no-build-isolation -e .)
	@touch $@

.venv/installed-dev: .venv/build pyproject.toml
	$(call stage,install with dev,$(BIN)/pip install --quiet -c constraints.txt --no-build-isolation -e '.[dev]')
	@touch .venv/installed $@
