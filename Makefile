# `make reproduce` and `make test` do the set-up they need; both work on a fresh clone.
PYTHON ?= python3
KILLS ?= 50
FUZZ ?= 10000
SEED ?= 0
BIN := .venv/bin
TORCH := $(shell grep '^torch==' constraints.txt)
OUT := results/marion2024-quick
NATIVE := $(wildcard native/*.* native/tests/*)
SANITIZE ?= address,undefined
comma := ,
CHECKED := build/native-$(or $(subst $(comma),-,$(SANITIZE)),plain)

# A thread pool per worker costs more than it gains on matrices of this size.
export OMP_NUM_THREADS ?= 1
export MPLBACKEND ?= Agg

# $(call stage,name,command): runs the command and says how many seconds it took.
define stage
	@echo "== $(1)"; start=$$(date +%s); $(2) || exit $$?; echo "-- $(1): $$(( $$(date +%s) - start )) s"
endef

# $(call install,name,what): cmake is found on PATH. Where no extension comes out, pip hides why; the build is thrown away,
# as CMake would remember a compiler that was missing.
define install
	$(call stage,$(1),PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/pip install --quiet -c constraints.txt --no-build-isolation -e '$(2)')
	@ls src/deeplimit/engines/_native.*.so > /dev/null 2>&1 || { rm -rf build/editable; \
	  echo "-- no native engine; why: DEEPLIMIT_REQUIRE_NATIVE=1 $(BIN)/pip install --no-build-isolation --no-deps -e ."; }
endef

# Said last, as nothing else says where the command is.
define where
	@echo "-- the command is $(BIN)/deeplimit; to call it deeplimit: source $(BIN)/activate"
endef

.PHONY: help cpu install reproduce test format kills fuzz sanitize clean
.DELETE_ON_ERROR:

help:  ## say what each target does
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

# Without its requirements: those come pinned, from the usual index, with the package.
cpu: .venv/python  ## on plain Linux, first of all: PyTorch without gigabytes of CUDA
	$(call stage,torch,$(BIN)/pip install --quiet --no-deps $(TORCH) --index-url https://download.pytorch.org/whl/cpu)

install: .venv/installed  ## install the package into .venv and say how to call it
	$(where)

reproduce: .venv/installed  ## reproduce Marion et al. 2024 at tier quick; prints where the report lies
	$(call stage,reproduce,$(BIN)/deeplimit reproduce marion2024 --tier quick --out $(OUT))
	$(where)

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

fuzz: .venv/installed-dev  ## try FUZZ command lines (10000), a fifth as many damaged folders, three tenths as many hostile files, from SEED (0) on
	$(call stage,fuzz,$(BIN)/pytest tests/fuzz -n 2 --fuzz $(FUZZ) --fuzz-seed $(SEED))

# Needs a C++ compiler, and neither PyTorch nor the package. An instruction set that the machine lacks counts as skipped.
sanitize: .venv/build  ## run the C++ tests per instruction set under SANITIZE (address,undefined; thread; empty: none)
	$(call stage,configure,$(BIN)/cmake -G Ninja -DCMAKE_MAKE_PROGRAM="$(CURDIR)/$(BIN)/ninja" -S native -B $(CHECKED) -DDEEPLIMIT_TESTS=ON -DDEEPLIMIT_SANITIZE=$(SANITIZE))
	$(call stage,build,$(BIN)/cmake --build $(CHECKED))
	$(call stage,tests,$(BIN)/ctest --test-dir $(CHECKED) --output-on-failure --no-tests=error)

clean:  ## remove .venv, caches and builds; results stay
	rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis src/deeplimit/engines/_native.*.so
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/python:
	@$(PYTHON) -c 'import sys; sys.exit("deeplimit needs Python 3.11 or later; name one: make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	$(call stage,venv,$(PYTHON) -m venv .venv)
	@touch $@

# Build requirements first, from the same constraints, so that the package is built with nothing but pinned versions.
.venv/build: .venv/python constraints.txt
	$(call stage,build requirements,$(BIN)/pip install --quiet -c constraints.txt scikit-build-core nanobind cmake ninja)
	@touch $@

.venv/installed: .venv/build pyproject.toml $(NATIVE)
	$(call install,install,.)
	@touch $@

.venv/installed-dev: .venv/build pyproject.toml $(NATIVE)
	$(call install,install with dev,.[dev])
	@touch .venv/installed $@
