# `make help` lists the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo test test-deploy unit lint bench chaos chaos-alerts fault-matrix screenshots signoz-apply lock clean env up down logs ps wheels deploy-pi rollback-pi status-pi logs-pi provision-pi backup restore

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes
ARGS ?=
# where and how deploy-pi and its like reach the machine
export PI PI_ROOT PI_PORT PI_KEY SSH_OPTIONS TO SERVICE BUILD DIRTY SEND_ENV IRREVERSIBLE
# what is added to deploy/compose.yaml; without it DEPLOY_WITH of .env says
ifdef WITH
export WITH
endif
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

# 77: this machine can run no containers; everything else that goes wrong is a failure
test-deploy: $(VENV)/.dev $(VENV)/.deploy ## the deployment in real containers: the stack, kills, backups, a Raspberry Pi; ARGS="-k word"
	@status=0; UNTAG_STAND_INS=1 $(BIN)/python -m pytest tests/deploy tests/unit/test_compose_files.py tests/unit/test_overlay_files.py --verbose --durations=25 --durations-min=5 $(ARGS) || status=$$?; \
	if [ $$status -eq 77 ]; then echo "make test-deploy: NOT TESTED, see above: nothing of deploy/ was run here" >&2; exit 0; fi; \
	exit $$status

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

env: ## write a .env with passwords of its own, for you to fill in
	@deploy/stack.sh env

up: ## build the image where it is absent and start everything in containers; WITH="together monitoring" adds overlays
	@deploy/stack.sh up

down: ## stop the containers; what they keep stays
	@deploy/stack.sh down

logs: ## follow the logs of the containers; ARGS="worker-upbit" for some
	@deploy/stack.sh logs $(ARGS)

ps: ## the containers and whether they are well
	@deploy/stack.sh ps $(ARGS)

backup: ## a verified dump of the database into backups/, and its encrypted copy off this machine; PI=user@host for the one of a Pi
	@deploy/backup/backup.sh make

restore: ## put a dump in place of the database: FILE=backups/NAME.dump, latest or restic:latest; PI=user@host for the one of a Pi
	@deploy/backup/backup.sh restore

wheels: ## every package of the lock has a wheel for a Raspberry Pi and a PC, Python 3.11 to 3.13 (seconds with uv)
	@$(PYTHON) deploy/wheels.py

chaos: $(VENV)/.local ## inject N faults into live trading at the sandbox venues: no order doubled, none lost; SEED=… repeats
	@$(BIN)/python -m sandbox.chaos --runs $(N) $(if $(SEED),--seed $(SEED))

fault-matrix: $(VENV)/.dev ## inject every fault into the running system and see who tells of it; ARGS="--list", "--only NAME"
	@$(BIN)/python -m sandbox.faultmatrix $(ARGS)

screenshots: $(VENV)/.local ## take the pictures of docs/images anew, of the running demo (needs Chromium)
	@$(BIN)/python -m sandbox.screenshots

provision-pi: $(VENV)/.deploy ## make PI=user@host ready for deployments, once (docs/provisioning.md); ARGS=--dry changes nothing
	@$(BIN)/python deploy/pi/provision.py $(ARGS)

deploy-pi: ## deploy this tree to PI=user@host, back to the release of before if anything fails (docs/deploying.md)
	@$(PYTHON) deploy/pi/deploy.py deploy $(ARGS)

rollback-pi: ## switch PI=user@host to the release before, or TO=id
	@$(PYTHON) deploy/pi/deploy.py rollback $(ARGS)

status-pi: ## what runs on PI=user@host, since when, and how the last deployment ended
	@$(PYTHON) deploy/pi/deploy.py status $(ARGS)

logs-pi: ## the logs of PI=user@host; SERVICE="worker-upbit beat", ARGS=--follow
	@$(PYTHON) deploy/pi/deploy.py logs $(ARGS)

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
# what provisions a machine, without the project: it may be installed beside it, so both agree on the versions
	@$(PYTHON) -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["deploy"], sep="\n")' | \
	  uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	    --no-annotate -c requirements-dev.lock - -o requirements-deploy.lock

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

$(VENV)/.deploy: requirements-deploy.lock $(VENV)/.python
	@echo "installing pyinfra into $(VENV)" >&2
	@$(PIP) --no-compile -r requirements-deploy.lock
	@touch $@
