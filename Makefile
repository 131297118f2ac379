# Two commands do all the set-up: `make demo` and `make test`.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
TOOLS := $(VENV)/.tools
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
FAULT_TESTS := faults test_kill.py test_pair.py test_runs_at_once.py channels/test_killed_sending.py backup/test_kill.py
unexport PYTHONDONTWRITEBYTECODE
.DEFAULT_GOAL := demo

.PHONY: help demo drill test test-faults test-services test-live lint up bench install clean

help: ## tell what there is to make
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 22

demo: $(READY) ## create the environment, run the main job on the sample systems, show the result
	$(BIN)/profile-pipelines demo
	$(BIN)/profile-pipelines demo follow

test: $(TOOLS) ## run the tests; AREA=journeys runs one folder or file of them
	$(BIN)/python -m pytest -n 4 --dist loadgroup $(AREA:%=profile_pipelines_tests/%)

test-faults: $(TOOLS) ## kill runs and fail their writes, at places that FAULTS_SEED chooses; FAULTS=long, FAULTS_MINUTES=25
	$(BIN)/python -m pytest -n 2 $(addprefix profile_pipelines_tests/,$(FAULT_TESTS))
ifeq ($(FAULTS),long)
	$(BIN)/python -m profile_pipelines_tests.faults.long
endif

test-services: $(TOOLS) ## run the tests that need a MariaDB, which Debian's packages bring
	@export PATH="$$PATH:/usr/sbin"; \
	if ! command -v mariadbd > /dev/null; then \
	  as_root=$$([ "$$(id -u)" = 0 ] || echo sudo); \
	  { timeout 120 $$as_root apt-get update -qq && \
	    DEBIAN_FRONTEND=noninteractive timeout 180 $$as_root apt-get install -y -qq \
	    --no-install-recommends mariadb-server-core mariadb-client-core > /dev/null; } || \
	  { echo "make test-services: left out, because apt-get can't install MariaDB here"; exit 0; }; \
	fi; \
	$(BIN)/python -m pytest -m services

test-live: $(TOOLS) ## run the tests that read real business systems, installed from PyPI and npm into .live
	$(INSTALL) --editable '.[azure]'
	$(BIN)/python -m pytest -m live -v --timeout 1800

lint: $(TOOLS) ## ruff and pyright
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

up: $(READY) ## Dagster (webserver and daemon) on the demo's catalogue and systems
	$(BIN)/profile-pipelines demo up

drill: $(READY) ## backup, loss, proof, restore, run and settlement, on the demo in a temporary folder
	$(BIN)/python -m profile_pipelines.cli.drill

bench: $(TOOLS) ## 1 million customers × 5 systems in a real PostgreSQL, beside peers
	$(BIN)/python benchmarks/run.py

install: $(TOOLS) ## create the environment

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --editable .
	touch $@

$(TOOLS): $(READY)
	$(INSTALL) --editable '.[dev]'
	touch $@

clean: ## remove the environment and the demo's files
	rm -rf $(VENV) .demo .live benchmarks/.bench
