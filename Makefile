# Every verb a person types. `make` alone prints help. Each recipe is one line: scripts/<verb>.py does the work.
# `make itest SUITE=api` is exactly `ITEST_SUITE=api make itest`; only variables given on the command line count.

SETTINGS := SUITE TAGS JOBS KEEP PROFILE ARGS SERVICE TEST_TIMEOUT STAGE_TIMEOUT SUITE_TIMEOUT RUN_TIMEOUT TIMEOUT_FACTOR BAKE ALL SEED PEERS ENGINE IMAGES DEBIAN_MIRROR CA_BUNDLE PIP_ENV
GIVEN := $(foreach name,$(SETTINGS),$(if $(filter command,$(firstword $(origin $(name)))),$(name)))
$(foreach name,$(GIVEN),$(eval export ITEST_$(name) := $$(value $(name))))
# Under its short name make would pass it on too, and first expand what looks like a variable in it.
$(if $(GIVEN),$(eval unexport $(GIVEN)))

# A mistyped setting would silently run something else. What a layer reads (POSTGRES_IMAGE=…) may be given too.
OTHERS := $(filter-out $(SETTINGS) PYTHON,$(foreach name,$(.VARIABLES),$(if $(filter command,$(firstword $(origin $(name)))),$(name))))
$(foreach name,$(OTHERS),$(if $(shell grep -rls '{$(name)[:}?+-]' compose),,$(error no setting is called $(name); there are $(SETTINGS), and the variables that compose/ reads)))

MAKEFLAGS += --no-print-directory
PYTHON ?= $(shell test -x .venv/bin/python && echo .venv/bin/python || echo python3)
# Makes .venv where it is missing or older than its lock, then becomes what follows.
VENV := $(PYTHON) scripts/itest/machine/venv.py
VERB := $(VENV) scripts

.DEFAULT_GOAL := help
.PHONY: help itest chaos test soak lint bench up down ps logs env shell wait migrate seed fault record engine images doctor clean share

##@ Run
itest: ## run the suites: SUITE=a,b TAGS=x JOBS=n KEEP=1 PROFILE=ci ARGS='-k name'
	@$(VERB)/run.py

chaos: ## run suites while faults come and go, healed each before the next: SUITE=a,b SEED=n ARGS='-k name'
	@$(VERB)/chaos.py

record: ## stubs from the real services that a suite's tests call, secrets masked: SUITE=name ARGS=--check
	@$(VERB)/record.py

share: ## why the latest run is red, as one small file and a text for an issue: ARGS=run
	@$(VERB)/share.py

##@ By hand, with SUITE=name
up: ## start, migrate and seed a stack that stays: PROFILE=dev for fixed ports
	@$(VERB)/up.py
down: ## remove it; ALL=1 removes every stack of this checkout
	@$(VERB)/down.py
ps: ## its services, their state and where they answer
	@$(VERB)/ps.py
logs: ## its logs: SERVICE=name ARGS='--follow'
	@$(VERB)/logs.py
shell: ## a shell in a service: SERVICE=name ARGS='command'
	@$(VERB)/shell.py
env: ## its addresses: eval "$$(make -s env SUITE=api)"
	@$(VERB)/env.py
wait: ## wait until every service is ready
	@$(VERB)/wait.py
migrate: ## apply pending migrations and print all of them
	@$(VERB)/migrate.py
seed: ## back to the seeded state
	@$(VERB)/seed.py
fault: ## what is broken on purpose, and what can be: ARGS='latency shop postgres ms=200', 'pause redis', 'heal'
	@$(VERB)/fault.py

##@ The machine
engine: ## a Docker engine that answers, installed and started where that is possible
	@$(PYTHON) scripts/engine.py
images: ## every image that the suites need: pulled, or built where no registry answers
	@$(VERB)/images.py
doctor: ## what keeps suites from running here, or makes them slow or unsafe: SUITE=a,b PROFILE=sealed ARGS=--json
	@$(VERB)/doctor.py
clean: ## remove this checkout's kept stacks, bakes, results and caches
	@$(VERB)/clean.py

##@ This repository
test: ## the toolkit's own tests, unit and live
	@$(if $(wildcard tests/toolkit),,$(error make test: tests/toolkit, the toolkit's own tests, is not in this repository; `make itest` runs its suites))$(VENV) -m pytest -n 3 tests/toolkit $(value ITEST_ARGS)
soak: ## the tests that take long, whole: 10,000 that try to leak, 100 kills, 20 stacks at once
	@ITEST_SLOW=1 $(VENV) -m pytest -m soak tests/toolkit/live $(value ITEST_ARGS)
lint: ## ruff and mypy
	@$(VERB)/lint.py
bench: ## what it costs against what you would do otherwise: PEERS=1
	@$(VERB)/bench.py

help: ## this list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z]+:.*## / {gsub(/\$$\$$/, "$$"); printf "  make %-8s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))
