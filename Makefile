# The commands of the project. Everything sets itself up; nothing but caches stays behind.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest
# Two cores carry this many workers, for most of them wait, three of them for the others; see tests/plugins/lanes.py.
WORKERS ?= 8
FAST := tests/unit tests/contract tests/hostile tests/variety

# Each worker of pytest would compile all tests again.
export PYTHONDONTWRITEBYTECODE =

.DEFAULT_GOAL := help
.PHONY: help packages check fast lint test proof soak demo generate sbom clean

help: ## Show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

$(VENV)/.ready: requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed"; exit 1; }
	@echo "Setting up $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@$(BIN)/python tests/link_source.py
	@touch $@

lint: $(VENV)/.ready
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy operator/resilience tests benchmarks monitoring examples/shop/shop
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/python -m tests.words
	@$(BIN)/python -m resilience.api.crd --check
	@$(BIN)/python -m tests.support.reference --check
	@$(BIN)/python -m monitoring --check

# A test that lacks a program of the host is left out, so the programs come first.
packages: $(VENV)/.ready
	@$(BIN)/python -m tests.cluster packages

# Lanes are for the cluster's sake; without it each worker takes what is left.
fast: packages
	@$(PYTEST) -q -n 4 --dist worksteal $(FAST)

check: $(VENV)/.ready ## The fast part: style, types, architecture, and the tests that need no cluster
	@$(MAKE) --no-print-directory -j 2 lint fast

test: lint packages ## All tests, on a real cluster, at small counts
	@rm -f build/figures.jsonl
	@$(PYTEST) -n $(WORKERS) tests

proof: lint packages ## The same tests at full counts; figures go to docs/proof.md (takes hours)
	@rm -f build/figures.jsonl
	@PROOF=1 $(PYTEST) tests
	@$(BIN)/python -m tests.support.proof build/figures.jsonl docs/proof.md

soak: packages ## Repeat a test and keep what it saw: N=20 TEST=tests/e2e/test_x.py BUSY=1
	@$(BIN)/python -m tests.soak --busy $(or $(BUSY),0) $(or $(N),20) -- $(TEST)

demo: $(VENV)/.ready ## See it work: a cluster, the operator, a shop under load, a restart
	@$(BIN)/python -m tests.demo

generate: $(VENV)/.ready ## Write generated files again: CRDs, reference pages, rules
	@$(BIN)/python -m resilience.api.crd
	@$(BIN)/python -m tests.support.reference
	@$(BIN)/python -m monitoring

sbom: $(VENV)/.ready ## Write what the image contains of Python packages to build/sbom.json (CycloneDX)
	@$(BIN)/python -m tests.support.sbom requirements.lock build/sbom.json

clean: ## Remove the cluster, the environment and build output; caches in ~/.cache stay
	@[ ! -x $(BIN)/python ] || $(BIN)/python -m tests.cluster down
	@rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
