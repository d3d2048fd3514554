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
GPU := .venv-gpu/bin
# What pip installs for a GPU: a version with its build, or a wheel.
TORCH ?= torch
# They share its memory.
GPU_WORKERS ?= 4
PYTEST_GPU := -m pytest -q -n $(GPU_WORKERS)
HAS_GPU := "import torch; torch.cuda.is_available() or exit('torch sees no CUDA device')"
PYTEST := -m pytest -q -n $(WORKERS)

.PHONY: help demo test test-oldest test-gpu lint format guide check-report bench bench-gpu clean

help: ## List the targets.
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 14

demo: .venv/installed ## Search init x norm on the digits and draw the heat map.
	$(BIN)/python examples/plot_init_norm_search.py

test: .venv/installed ## Run the tests, then scikit-learn's checks with array-API input.
	$(ONE_THREAD) $(BIN)/python $(PYTEST)
	$(ONE_THREAD) SCIPY_ARRAY_API=1 $(BIN)/python $(PYTEST) tests/test_common.py

test-oldest: .venv-oldest/installed ## Run the tests on the oldest versions declared.
	$(ONE_THREAD) $(OLDEST)/python $(PYTEST)

test-gpu: .venv-gpu/installed ## Run what is tested by device, and the networks, on CUDA.
	@$(GPU)/python -c $(HAS_GPU)
	$(ONE_THREAD) $(GPU)/python $(PYTEST_GPU) -k cuda
	$(ONE_THREAD) $(GPU)/python $(PYTEST_GPU) tests/neural_network tests/nn

lint: .venv/installed ## Check format, style and types.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy sknorm

format: .venv/installed ## Format the code.
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

guide: .venv/installed ## Build the guide "Why N(0, 1)?" in English and in Chinese.
	$(BIN)/python -m pip install -q -c .ci/constraints.txt --group guide
	$(BIN)/python docs/build_guide.py

check-report: .venv/installed ## Show reports in headless Chromium, as phones and desktops would.
	$(ONE_THREAD) $(BIN)/python docs/check_report.py docs/_build/report

bench: .venv/installed ## Print the benchmarks.
	$(BIN)/python -m pip install -q -c .ci/constraints.txt --group bench
	for script in benchmarks/[a-z]*.py; do $(BIN)/python $$script || exit 1; done

bench-gpu: .venv-gpu/installed ## Print the benchmarks of a CUDA device.
	@$(GPU)/python -c $(HAS_GPU)
	$(GPU)/python benchmarks/training.py --device cuda
	$(GPU)/python benchmarks/array_api.py --device cuda

clean: ## Remove environments and caches.
	rm -rf .venv .venv-oldest .venv-gpu .pytest_cache .mypy_cache .ruff_cache .hypothesis demo

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

.venv-gpu/installed: pyproject.toml
	$(PYTHON) -m venv .venv-gpu
	$(GPU)/python -m pip install -q "pip>=25.1"
	$(GPU)/python -m pip install -q "$(TORCH)"
	$(GPU)/python -m pip install -q -e . --group test
	@touch $@
