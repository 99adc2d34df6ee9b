# `make` alone lists what there is. Needs Python 3.11 or newer and nothing else.

PYTHON ?= python3
# One more than cores: tests wait for processes of theirs a good part of the time.
PARLEY_TEST_WORKERS ?= $(shell echo $$(($$(getconf _NPROCESSORS_ONLN) + 1)))

VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check --quiet install
RUNTIME := $(VENV)/.runtime-installed
TOOLS := $(VENV)/.tools-installed
PEERS := var/bench-venv/.installed
FLOWER := var/flower-venv/.installed
PYTEST := $(PY) -m pytest --quiet --no-header -n $(PARLEY_TEST_WORKERS)
FAULTS := PARLEY_TEST_DB=postgres $(PY) -m pytest --quiet --no-header -n 0

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.SHELLFLAGS := -eu -c
.PHONY: help run demo test check lint types imports docs format cov bench faults faults-quick flower clean

help: ## this list
	@printf 'Parley: make <target>\n\n'
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

run: $(RUNTIME) ## the whole stack on this machine, ended by Ctrl-C (HOST, PORT, DATABASE_URL, REDIS_URL)
	@exec $(PY) -m dev.launcher

demo: $(RUNTIME) ## a meeting with people in it, against a running `make run`
	@exec $(PY) -m dev.demo

test: check ## everything: check, then the tests on SQLite and on PostgreSQL (PARLEY_TEST_WORKERS=4)
	@rm -f .coverage .coverage.*
	@echo '== tests on SQLite'
	@PARLEY_TEST_DB=sqlite $(PYTEST) --cov --cov-report=
	@echo '== tests on PostgreSQL'
	@PARLEY_TEST_DB=postgres $(PYTEST) -m 'not once' --ignore tests/faults --cov --cov-append --cov-report=
	@echo '== faults on PostgreSQL'
	@$(FAULTS) -m 'not once' tests/faults
	@echo '== coverage of shared/, by branches'
	@$(PY) -m coverage report --fail-under=95

check: lint types imports docs ## all that is checked without running the product

lint: $(TOOLS) ## ruff: rules and format
	@echo '== lint'
	@$(VENV)/bin/ruff check --quiet .
	@$(VENV)/bin/ruff format --check --quiet .

types: $(TOOLS) ## mypy: strict on shared/
	@echo '== types'
	@$(VENV)/bin/mypy --no-error-summary

imports: $(TOOLS) ## import-linter: who may import whom
	@echo '== imports'
	@$(VENV)/bin/lint-imports --no-logo > $(VENV)/.imports.txt || { cat $(VENV)/.imports.txt; exit 1; }

docs: $(TOOLS) ## generated reference pages match the code
	@echo '== docs'
	@$(PY) -m dev.reference --check

format: $(TOOLS) ## let ruff repair what it can
	@$(VENV)/bin/ruff check --quiet --fix . || true
	@$(VENV)/bin/ruff format --quiet .

cov: $(TOOLS) ## coverage of the last `make test`, as htmlcov/index.html
	@$(PY) -m coverage html --quiet
	@echo 'htmlcov/index.html'

bench: $(TOOLS) $(PEERS) ## all benchmarks beside other servers: half an hour (needs a C compiler)
	@exec $(PY) -m bench

bench-quick: $(TOOLS) $(PEERS) ## some of them, once: about two minutes
	@exec $(PY) -m bench --quick

faults-quick: $(TOOLS) ## processes and servers killed under load, a minute; a part of `make test`
	@$(FAULTS) -s -m 'not once' tests/faults

faults: $(TOOLS) ## the whole catalogue of faults, about two hours (PARLEY_FAULTS_SHORT=1: half an hour)
	@status=0; $(FAULTS) -s -m full tests/faults || status=$$?; $(PY) -m tests.faults.report; exit $$status

flower: $(FLOWER) ## the workers of a running `make run` in a browser, on this machine only (FLOWER_PORT)
	@exec var/flower-venv/bin/python -m dev.flower

clean: ## remove the environment, caches and all data of `make run`
	@rm -rf $(VENV) var htmlcov .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Stamps: a second run installs nothing. Byte code is left to the first import, of the tenth of the files that is used.

$(PY):
	@command -v $(PYTHON) > /dev/null || { echo 'Python is missing. Install Python 3.11 or newer.'; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Parley needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version). Try: make PYTHON=python3.12"; exit 1; }
	@echo 'Making $(VENV) ...'
	@$(PYTHON) -m venv $(VENV) || { \
		rm -rf $(VENV); echo 'The venv module is incomplete (on Debian and Ubuntu: apt install python3-venv).'; exit 1; }

$(RUNTIME): requirements.txt | $(PY)
	@echo 'Installing what Parley needs, once ...'
	@$(PIP) --no-compile -r requirements.txt
	@touch $@

$(TOOLS): tests/requirements.txt $(RUNTIME) | $(PY)
	@echo 'Installing what the tests need, once ...'
	@$(PIP) --no-compile -r tests/requirements.txt
	@touch $@

# Celery loads every plugin that is installed beside it: in the environment of `make run` all workers would load Flower.
$(FLOWER): dev/requirements.txt requirements.txt
	@echo 'Installing Flower, once ...'
	@$(PYTHON) -m venv var/flower-venv
	@var/flower-venv/bin/python -m pip --disable-pip-version-check --quiet install --no-compile \
		-r requirements.txt -r dev/requirements.txt
	@touch $@

# What the product is compared with lives in an environment of its own.
$(PEERS): bench/requirements.txt
	@command -v cc > /dev/null || command -v gcc > /dev/null || { \
		echo 'The benchmarks need a C compiler (on Debian and Ubuntu: apt install gcc libc6-dev); nothing else does.'; exit 1; }
	@echo 'Installing what the benchmarks compare with, once ...'
	@$(PYTHON) -m venv var/bench-venv
	@var/bench-venv/bin/python -m pip --disable-pip-version-check --quiet install --no-compile -r bench/requirements.txt
	@touch $@
