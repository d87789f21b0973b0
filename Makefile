# Two commands do everything on a fresh machine: `make demo` and `make test`. Each makes .venv and installs what it needs.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
OUT ?= out
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: help setup demo test test-slow fmt lint types e2e docs bench check clean
.DEFAULT_GOAL := help

help:  ## show this list
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

# torch goes first and by itself, so that no other package chooses a different build of it.
$(VENV)/.runtime: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("expected Python 3.11 or newer, got %d.%d from \
	$(PYTHON); name a newer one: make PYTHON=python3.12 $(MAKECMDGOALS)" % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)
	$(PIP) torch==2.13.0
	$(PIP) --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime
	$(PIP) --editable '.[dev]'
	@touch $@

$(VENV)/.docs: $(VENV)/.runtime
	$(PIP) --editable '.[docs]'
	@touch $@

setup: $(VENV)/.dev  ## make .venv with everything the checks need

demo: $(VENV)/.runtime  ## install, then find the hands in the bundled picture: overlay and JSON in out/
	$(BIN)/unclasp predict examples/two_hands.jpg --out $(OUT)
	@echo "Look at $(OUT)/two_hands.png; the numbers are in $(OUT)/two_hands.json"

test: $(VENV)/.dev  ## install, then the tests
	$(BIN)/pytest --numprocesses auto --maxprocesses 4

test-slow: $(VENV)/.dev  ## the tests that take minutes
	$(BIN)/pytest -m slow -o faulthandler_timeout=3600

fmt: $(VENV)/.dev  ## put the code in order
	$(BIN)/ruff check --fix-only --quiet src tests
	$(BIN)/ruff format src tests

lint: $(VENV)/.dev  ## ruff, import layers, spelling
	$(BIN)/ruff check src tests
	$(BIN)/ruff format --check src tests
	$(BIN)/lint-imports
	$(BIN)/codespell src tests docs README.md CHANGELOG.md

types: $(VENV)/.dev  ## mypy
	$(BIN)/mypy

e2e: $(VENV)/.dev  ## the whole chain on a tiny model: render, train, resume, evaluate, predict
	bash tests/e2e.sh $(BIN)

docs: $(VENV)/.docs  ## install, then the documentation as a site that needs no server: site/index.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "Open site/index.html; its search needs a server: python -m http.server -d site"

bench: $(VENV)/.dev  ## how fast the engine renders
	$(BIN)/unclasp bench synth

check: lint types test  ## all checks but the end-to-end run

clean:  ## remove what the other targets made
	rm -rf $(VENV) $(OUT) build site .pytest_cache .mypy_cache .ruff_cache
