# Everything a newcomer or a contributor types. `make help` lists it.

PYTHON ?= python3
UV := $(shell command -v uv 2>/dev/null || echo .uv/bin/uv)
BIN := .venv/bin
SOURCES := src tests benchmarks training demos
# What the processes of one run leave behind for coverage to combine.
export COVERAGE_FILE ?= $(CURDIR)/.coverage

.DEFAULT_GOAL := help
.PHONY: help hello test test-fast check format lint types scan bench demo-dual demo-tasks conformance lock clean debian-packages

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

hello: $(BIN)/.installed ## set everything up, start tale and say hello to it
	@scripts/hello $(BIN)/tale

test: $(BIN)/.dev debian-packages ## run the whole suite, with real processes and real models
	@rm -f .coverage .coverage.*
	$(BIN)/coverage run -m pytest -n auto -m "not integration"
	$(BIN)/coverage run -m pytest -n 2 --dist worksteal -m integration
	@$(BIN)/coverage combine --quiet && $(BIN)/coverage report --fail-under=90

test-fast: $(BIN)/.dev ## run what needs no real model: seconds
	$(BIN)/pytest -n auto -m "not integration"

check: lint types scan test ## all that CI runs

format: $(BIN)/.dev ## put the code in its form
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

lint: $(BIN)/.dev
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)

types: $(BIN)/.dev
	$(BIN)/pyright

scan: $(BIN)/.dev
	$(BIN)/bandit --quiet --recursive --severity-level medium --configfile pyproject.toml src

bench: $(BIN)/.dev ## measure the figures, each against its baseline
	$(BIN)/python -m benchmarks

demo-dual: $(BIN)/.dev ## show two models at once, for real, and write docs/demos/dual.md
	$(BIN)/python -m demos dual

demo-tasks: $(BIN)/.dev debian-packages ## show a large request with a power cut, and write docs/demos/tasks.md
	$(BIN)/python -m demos tasks

conformance: $(BIN)/.dev ## run the official MCP conformance suite and the Inspector against tale
	$(BIN)/python -m tests.conformance

lock: ## write the lock files anew from pyproject.toml
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
	  --custom-compile-command "make lock" pyproject.toml -o requirements.lock
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
	  --custom-compile-command "make lock" pyproject.toml --group dev -c requirements.lock \
	  -o requirements-dev.lock

clean: ## remove what was built, not what was downloaded
	rm -rf .venv .uv .node dist .coverage .coverage.* .pytest_cache .ruff_cache .hypothesis

debian-packages:
	@scripts/debian-packages bubblewrap chromium

# Hashes are checked; the project itself is installed without touching what is locked.
$(BIN)/.installed: requirements.lock pyproject.toml | $(UV)
	$(UV) venv --quiet --allow-existing --python $(PYTHON) .venv
	$(UV) pip install --quiet --require-hashes -r requirements.lock
	$(UV) pip install --quiet --no-deps --editable .
	@touch $@

$(BIN)/.dev: $(BIN)/.installed requirements-dev.lock
	$(UV) pip install --quiet --require-hashes -r requirements-dev.lock
	@touch $@

.uv/bin/uv:
	$(PYTHON) -m venv .uv
	.uv/bin/pip install --quiet uv
