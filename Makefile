# Every target makes what it needs, in a virtual environment inside the checkout.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
# The oldest Python there is a release for, if the machine has it.
PYTHON_OLDEST ?= $(shell for p in python3.10 python3.11 python3; do \
	$$p -c "" 2>/dev/null && echo $$p && break; done)
WORKERS ?= auto
# pytest runs a process per core: torch's own threads would only fight over the cores.
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
BIN := .venv/bin
OLDEST := .venv-oldest/bin
PYTEST := -m pytest -q -n $(WORKERS)

.PHONY: help demo test test-oldest lint format bench clean

help: ## List the targets.
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 14

demo: .venv/installed ## Search init x norm on the digits and draw the heat map.
	$(BIN)/python examples/plot_init_norm_search.py

test: .venv/installed ## Run the tests, then scikit-learn's checks with array-API input.
	$(ONE_THREAD) $(BIN)/python $(PYTEST)
	$(ONE_THREAD) SCIPY_ARRAY_API=1 $(BIN)/python $(PYTEST) tests/test_common.py

test-oldest: .venv-oldest/installed ## Run the tests on the oldest versions declared.
	$(ONE_THREAD) $(OLDEST)/python $(PYTEST)

lint: .venv/installed ## Check format, style and types.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy sknorm

format: .venv/installed ## Format the code.
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: .venv/installed ## Print the benchmarks.
	$(BIN)/python -m pip install -q -c .ci/constraints.txt --group bench
	for script in benchmarks/[a-z]*.py; do $(BIN)/python $$script || exit 1; done

clean: ## Remove environments and caches.
	rm -rf .venv .venv-oldest .pytest_cache .mypy_cache .ruff_cache .hypothesis demo

.venv/installed: pyproject.toml .ci/constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q "pip>=25.1"
	$(BIN)/python -m pip install -q -c .ci/constraints.txt -e . --group test --group lint
	@touch $@

.venv-oldest/installed: pyproject.toml .ci/oldest.txt
	$(PYTHON_OLDEST) -m venv .venv-oldest
	$(OLDEST)/python -m pip install -q "pip>=25.1"
	$(OLDEST)/python -m pip install -q -c .ci/oldest.txt -e . --group test
	@touch $@
