# Everything a newcomer or a contributor types. `make help` lists it.

PYTHON ?= python3
UV := $(shell command -v uv 2>/dev/null || echo .uv/bin/uv)
BIN := .venv/bin
GATES := .gates/bin
SOURCES := src tests benchmarks training demos documentation scripts
# What the processes of one run leave behind for coverage to combine.
export COVERAGE_FILE ?= $(CURDIR)/.coverage

.DEFAULT_GOAL := help
.PHONY: help hello test test-fast check format lint types scan docs reference gates secrets licences sbom audit wheel-check clients bench demo-dual demo-tasks conformance man lock clean debian-packages

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

hello: $(BIN)/.installed ## set everything up, start tale and say hello to it
	@scripts/hello $(BIN)/tale

test: $(BIN)/.dev debian-packages ## run the whole suite, with real processes and real models
	@rm -f .coverage .coverage.*
	$(BIN)/coverage run -m pytest -n auto -m "not integration"
	$(BIN)/coverage run -m pytest -n 2 --dist worksteal -m integration
	@$(BIN)/coverage combine --quiet && $(BIN)/coverage report --fail-under=90

test-fast: $(BIN)/.dev ## run what needs no real model: four minutes
	$(BIN)/pytest -n auto -m "not integration"

check: lint types scan docs gates test ## all that CI runs

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

docs: $(BIN)/.dev ## build the site of docs/ into site/; a warning is an error
	$(BIN)/zensical build --strict --clean
	@$(BIN)/python -m documentation.built site

reference: $(BIN)/.dev ## write the pages of docs/reference/ that are made from the code
	$(BIN)/python -m documentation

gates: secrets licences-check audit wheel-check ## look for secrets, licences, known faults; try the wheel

secrets: $(GATES)/.installed ## look for secrets in what is tracked
	@git ls-files -z | xargs -0 $(GATES)/detect-secrets-hook --baseline .secrets.baseline
	@$(GATES)/hadolint Dockerfile

licences: $(BIN)/.dev ## write anew under which licences the dependencies are
	$(BIN)/python scripts/licences.py

licences-check: $(BIN)/.dev
	@$(BIN)/python scripts/licences.py --check

audit: $(GATES)/.installed ## look for known faults of the dependencies; needs the network
	@$(GATES)/python scripts/audit.py requirements.lock

sbom: $(GATES)/.installed ## write what tale is made of, as CycloneDX, to dist/
	@mkdir -p dist
	$(GATES)/cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible \
	  --output-format JSON --output-file dist/tale.cdx.json requirements.lock

wheel-check: $(GATES)/.installed ## build the wheel, and try it in clean environments
	@UV=$(UV) TWINE=$(GATES)/twine scripts/wheel-check

clients: $(BIN)/.dev ## try llm and aider on the real models: some minutes
	$(BIN)/python -m tests.clients

bench: $(BIN)/.dev ## measure the figures, each against its baseline
	$(BIN)/python -m benchmarks

demo-dual: $(BIN)/.dev ## show two models at once, for real, and write docs/demos/dual.md
	$(BIN)/python -m demos dual

demo-tasks: $(BIN)/.dev debian-packages ## show a large request with a power cut, and write docs/demos/tasks.md
	$(BIN)/python -m demos tasks

conformance: $(BIN)/.dev ## run the official MCP conformance suite and the Inspector against tale
	$(BIN)/python -m tests.conformance

man: $(BIN)/.dev ## write the manual page anew from the commands
	$(BIN)/python -m documentation.man > man/tale.1

lock: ## write the lock files anew from pyproject.toml
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
	  --custom-compile-command "make lock" pyproject.toml -o requirements.lock
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
	  --custom-compile-command "make lock" pyproject.toml --group dev -c requirements.lock \
	  -o requirements-dev.lock
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
	  --custom-compile-command "make lock" --group gates -o requirements-gates.lock

clean: ## remove what was built, not what was downloaded
	rm -rf .venv .uv .node .gates .clients dist site .cache .coverage .coverage.* .pytest_cache .ruff_cache .hypothesis

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

$(GATES)/.installed: requirements-gates.lock | $(UV)
	$(UV) venv --quiet --allow-existing --python $(PYTHON) .gates
	$(UV) pip install --quiet --python .gates/bin/python --require-hashes -r requirements-gates.lock
	@touch $@

.uv/bin/uv:
	$(PYTHON) -m venv .uv
	.uv/bin/pip install --quiet uv
