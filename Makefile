# `make` explains itself. Everything lives in .venv and .tools of this folder; nothing is installed elsewhere.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.ONESHELL:
.SHELLFLAGS := -euo pipefail -c

PYTHON ?= python3
UV := $(shell command -v uv 2>/dev/null || echo .tools/uv/bin/uv)
RUN := .venv/bin/
export UV_PYTHON_DOWNLOADS := never
# Else every process that a test starts, and every worker, compiles the platform and the tests anew.
unexport PYTHONDONTWRITEBYTECODE
WORKERS ?= 2
TESTS ?= not slow

.PHONY: help demo test test-all lint type bench bench-canary bench-serve bench-ledger bench-verify bench-data lock docs format clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: .venv/ready ## Set up, then take real flights from raw data to a promoted model and a drift report
	@$(RUN)towpath demo

test: .venv/ready-dev ## Set up, then run the fast tests (about 10 minutes on 2 cores)
	$(RUN)pytest -n $(WORKERS) -m "$(TESTS)"

test-all: .venv/ready-dev ## The tests and the slow ones
	$(RUN)pytest -n $(WORKERS)

lint: .venv/ready-dev ## Style, and the layers of the house
	$(RUN)ruff check .
	$(RUN)ruff format --check .
	$(RUN)lint-imports

type: .venv/ready-dev ## Strict types
	$(RUN)mypy

bench: .venv/ready-dev ## The path's wall time beside a plain script that makes the same library calls
	$(RUN)python tests/bench/path_overhead.py

bench-canary: .venv/ready-dev ## The rollout's judge against its bars, beside the judges of others
	$(RUN)python tests/bench/canary.py

bench-serve: .venv/ready-dev ## The gateway beside `mlflow models serve` of the same model
	$(RUN)python tests/bench/serve.py

bench-ledger: .venv/ready-dev ## How many entries a second the ledger verifies
	$(RUN)python tests/bench/ledger.py

bench-verify: .venv/ready-dev ## What proving an attestation adds to loading a model
	$(RUN)python tests/bench/verify.py

bench-data: .venv/ready-dev ## Data checks and training sets on up to 34 million rows, beside plain DuckDB and others
	$(RUN)python tests/bench/data.py

docs: .venv/ready-dev ## Write docs/reference anew from the code and the matrix of contract changes
	$(RUN)python -m towpath.cli.reference docs/reference
	PYTHONPATH=tests $(RUN)python -m contract.matrix

format: .venv/ready-dev ## Put the code into its form
	$(RUN)ruff check --fix-only .
	$(RUN)ruff format .

lock: .tools/uv-ready ## Resolve the dependencies of pyproject.toml anew
	$(UV) pip compile --universal --generate-hashes --no-annotate --no-header --python-version 3.11 --quiet \
	  --extra example pyproject.toml -o requirements.lock $(LOCK)
	$(UV) pip compile --universal --generate-hashes --no-annotate --no-header --python-version 3.11 --quiet \
	  --extra example --extra pkcs11 --extra spark --group dev pyproject.toml -c requirements.lock -o requirements-dev.lock $(LOCK)

clean: ## Remove the environment, the tools and all state
	rm -rf .venv .tools .towpath .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

.tools/uv-ready:
	@mkdir -p .tools
	@command -v uv >/dev/null 2>&1 || $(PYTHON) -m pip install --quiet --disable-pip-version-check --root-user-action ignore \
	  --target .tools/uv uv
	@touch $@

.venv/made: .tools/uv-ready
	@$(UV) venv --quiet --allow-existing .venv 2>/dev/null || $(UV) venv --quiet --allow-existing --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')" .venv
	@touch $@

.venv/ready: requirements.lock pyproject.toml | .venv/made
	@echo "Setting up: installing the locked packages into .venv (some minutes on the first run) …"
	@$(UV) pip install --quiet --python .venv --compile-bytecode --require-hashes -r requirements.lock
	@$(UV) pip install --quiet --python .venv --no-deps -e .
	@touch $@

.venv/ready-dev: requirements-dev.lock pyproject.toml | .venv/made
	@echo "Setting up: installing the locked packages into .venv (some minutes on the first run) …"
	@$(UV) pip install --quiet --python .venv --compile-bytecode --require-hashes -r requirements-dev.lock
	@$(UV) pip install --quiet --python .venv --no-deps -e .
	@touch .venv/ready $@
