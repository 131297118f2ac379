# Two commands do all the set-up: `make demo` and `make test`.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test lint up bench install clean

demo: $(READY) ## create the environment, run the main job on the sample systems, show the result
	$(BIN)/profile-pipelines demo

test: $(READY) ## run the tests
	$(BIN)/python -m pytest -n 2 --dist loadgroup

lint: $(READY) ## ruff and pyright
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

up: $(READY) ## Dagster (webserver and daemon) on the demo's catalogue and systems
	$(BIN)/profile-pipelines demo up

bench: $(READY) ## 1 million customers × 5 systems in a real PostgreSQL, beside peers
	$(BIN)/python benchmarks/run.py

install: $(READY) ## create the environment

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]' --constraint constraints.txt
	touch $(READY)

clean: ## remove the environment and the demo's files
	rm -rf $(VENV) .demo benchmarks/.bench
