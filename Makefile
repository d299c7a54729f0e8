# Everything runs in .venv, which `make install` makes and every other command makes first where it is missing.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
# As many processes as there are cores, though no more than four, each with a model stack in memory of its own. Each takes
# a whole file at a time, so that what a file's tests share is made once; tests/conftest.py puts the long ones first.
SIDE_BY_SIDE := --numprocesses logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder
CORES = $(shell cores=$$(getconf _NPROCESSORS_ONLN); echo $$((cores > 4 ? 4 : cores)))
NUMERIC_RUNS := numeric-default-1 numeric-avx2-2
NUMERIC = $(shell grep -rl --include='test_*.py' 'mark\.numeric' tests)  # so that no other file is imported

# Format and lint of JavaScript and CSS, and the test of the page by axe, need npm. Where it is missing they are left out,
# but not where CI is set.
ifneq ($(shell command -v npm 2> /dev/null)$(CI),)
BIOME := node_modules/.bin/biome
NPM_INSTALLED := node_modules/.installed
else
BIOME := @echo "JavaScript and CSS are left out: npm was not found (Debian's packages nodejs and npm)." \#
endif

# Where it is set, every process that a test starts would compile the project anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install run test test-numerics $(NUMERIC_RUNS) check format bench pictures clean

help: ## Show what there is to do
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(VENV)/.installed $(VENV)/.installed-dev ## Make .venv and install what is pinned (again where pins changed)

run: $(VENV)/.installed ## Open the page at http://127.0.0.1:7860 (ARGS="--model demo --port 7861")
	$(BIN)/python app.py $(ARGS)

test: $(VENV)/.installed-dev $(NPM_INSTALLED) ## Run every test that this computer allows (ARGS="-k model -x")
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) $(ARGS)

# Two runs side by side, each one process, which imports everything once: on the plainest kernels with one thread, on AVX2
# with two. `make test` has run them on this processor's own.
test-numerics: $(VENV)/.installed-dev ## Run the tests of numbers again on plainer kernels, with one and two threads
	@$(MAKE) --no-print-directory --keep-going --jobs $(CORES) $(NUMERIC_RUNS)

# oneDNN is held to AVX2 as well: where a processor has AMX, PyTorch would hand it what its own plainer kernels cannot pack
# ("pack_vnni2 is only supported when avx512 is supported").
$(NUMERIC_RUNS): numeric-%:
	@kernels=$(word 1,$(subst -, ,$*)) threads=$(word 2,$(subst -, ,$*)); \
	told=$$(ATEN_CPU_CAPABILITY=$$kernels ONEDNN_MAX_CPU_ISA=AVX2 TEST_THREADS=$$threads OMP_WAIT_POLICY=passive \
		$(BIN)/python -m pytest -q -m numeric $(NUMERIC) $(ARGS) 2>&1); failed=$$?; \
	echo "== kernels: $$kernels, threads: $$threads"; echo "$$told"; exit $$failed

check: $(VENV)/.installed-dev $(NPM_INSTALLED) ## Check format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIOME) check --error-on-warnings

format: $(VENV)/.installed-dev $(NPM_INSTALLED) ## Format the code, and mend what lint can mend
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .
	$(BIOME) check --write

bench: $(VENV)/.installed-dev ## Run every benchmark, one after the other
	@set -e; for file in benchmarks/[a-z]*.py; do \
		name=$$(basename $$file .py); echo "== $$name"; $(BIN)/python -m benchmarks.$$name; \
	done

pictures: $(VENV)/.installed-dev ## Make the pictures of README.md again, in docs/ (needs Chromium)
	$(BIN)/python -m scripts.screenshots

clean: ## Remove what the commands above made; cache/ and outputs/ stay
	rm -rf $(VENV) node_modules .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@command -v $(PYTHON) > /dev/null || { echo "Python 3.11 or later is needed; $(PYTHON) was not found." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Python 3.11 or later is needed; $(PYTHON) is $$($(PYTHON) -V 2>&1). Try: make install PYTHON=python3.12" >&2; \
		exit 1; }
	@$(PYTHON) -m venv $(VENV) || { \
		rm -rf $(VENV); echo "No .venv could be made; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }

# torch is installed in the same step as what depends on it, so that nothing can pull in another build.
$(VENV)/.installed: requirements.txt | $(BIN)/python
	@echo "Installing what requirements.txt pins into $(VENV): a few minutes the first time, PyTorch is large."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt $(VENV)/.installed
	@echo "Installing what requirements-dev.txt pins, for tests and checks."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

node_modules/.installed: package.json package-lock.json
	@echo "Installing what package-lock.json pins, for checks of JavaScript and CSS."
	npm ci --silent --no-audit --no-fund
	@touch $@
