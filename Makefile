# `make help` lists the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo test unit lint bench chaos chaos-alerts fault-matrix screenshots signoz-apply lock clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes
ARGS ?=
N ?= 1000
SEED ?=
# tests run in as many processes as there are processors, each with its own Redis and PostgreSQL;
# in one, where they shall use yours
JOBS ?= $(if $(TEST_REDIS_URL)$(TEST_DATABASE_URL),0,logical)
PYTEST := $(BIN)/python -m pytest -n $(JOBS) --maxprocesses 4 --dist loadfile --no-loadscope-reorder

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1|\2/' | column -t -s'|'

demo: $(VENV)/.local ## start everything here and watch it; ARGS="--once --json" for one sweep as JSON
	@$(BIN)/autotrader demo $(ARGS)

test: $(VENV)/.dev ## unit, integration and acceptance tests on real Redis, PostgreSQL and workers; ARGS="-k word", JOBS=0 for one process
	@$(PYTEST) $(ARGS)

unit: $(VENV)/.dev ## the fast tests only
	@$(BIN)/python -m pytest tests/unit $(ARGS)

lint: $(VENV)/.dev ## ruff, formatting and mypy --strict
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

bench: $(VENV)/.local ## print the ratios that the design promises; ARGS="--symbols 200 --processes 2"
	@$(BIN)/python -m benchmarks.limits $(ARGS)
	@$(BIN)/python -m benchmarks.sweep
	@$(BIN)/python -m benchmarks.telemetry_overhead
	@$(BIN)/python -m benchmarks.telemetry_parts
	@$(BIN)/python -m benchmarks.collector_away
	@$(BIN)/python -m benchmarks.alerts
	@$(BIN)/python -m benchmarks.memory
	@$(BIN)/python -m benchmarks.replay --days 4

chaos: $(VENV)/.local ## inject N faults into live trading at the sandbox venues: no order doubled, none lost; SEED=… repeats
	@$(BIN)/python -m sandbox.chaos --runs $(N) $(if $(SEED),--seed $(SEED))

fault-matrix: $(VENV)/.dev ## inject every fault into the running system and see who tells of it; ARGS="--list", "--only NAME"
	@$(BIN)/python -m sandbox.faultmatrix $(ARGS)

screenshots: $(VENV)/.local ## take the pictures of docs/images anew, of the running demo (needs Chromium)
	@$(BIN)/python -m sandbox.screenshots

signoz-apply: $(VENV)/.local ## bring deploy/signoz's dashboards, alert rules and channel into SIGNOZ_URL; ARGS="--dry-run"
	@$(BIN)/python deploy/signoz/apply.py $(ARGS)

chaos-alerts: $(VENV)/.local ## kill who records and who sends N alerts, and Redis, while Telegram fails: none lost, exact counts
	@$(BIN)/python -m sandbox.chaos_alerts --alerts $(N) $(if $(SEED),--seed $(SEED))

lock: ## write the lock files anew from pyproject.toml (needs uv)
	@for part in "" local dev; do \
	  extras=""; out=requirements.lock; constraint=""; \
	  if [ -n "$$part" ]; then out=requirements-$$part.lock; extras="--extra local"; constraint="-c requirements.lock"; fi; \
	  if [ "$$part" = dev ]; then extras="$$extras --extra dev"; fi; \
	  uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	    --no-annotate $$extras $$constraint pyproject.toml -o $$out || exit 1; \
	done

clean: ## remove what the other targets made
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info

# the lock holds the whole closure, so pip need not resolve anything: --no-deps
$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; say which with: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) 2>/dev/null || \
	  { echo "$(PYTHON) has no venv module; on Debian: apt-get install python3-venv" >&2; exit 1; }
	@touch $@

$(VENV)/.local: requirements-local.lock $(VENV)/.python
	@echo "installing the locked packages into $(VENV) (about a minute, once)" >&2
	@$(PIP) --no-compile -r requirements-local.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.local
	@$(PIP) --no-compile -r requirements-dev.lock
	@touch $@
