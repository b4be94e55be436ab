# Two commands do all set-up: `make run` and `make test`.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
STAGE  := .ci/stage
LOCK   := .ci/constraints.txt

.DEFAULT_GOAL := help
.PHONY: help install run models test check lint audit house demo bench soak hammer lock clean
MAKEFLAGS += --no-print-directory

help:                             ## this list
	@sed -nE 's/^([a-z]+):[^#=]*## (.*)/make \1\t\2/p' Makefile | expand -t 16

$(STAMP): pyproject.toml $(LOCK)
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Limen needs Python 3.11 or newer")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint $(LOCK) --editable '.[default]' --group dev
	touch $@

install: $(STAMP)                 ## a virtual environment with Limen and its development tools

run: models                       ## start the service on http://127.0.0.1:8080, with a demo tenant
	$(BIN)/limen run --demo

models: $(STAMP)                  ## the default model pack, built once into the cache
	$(BIN)/limen models build

test:                             ## everything: quick checks, models, the whole suite; ends with the skips
	@$(STAGE) install 180 $(MAKE) install
	@$(STAGE) lint 40 $(MAKE) lint
	@$(STAGE) audit 60 $(MAKE) audit
	@$(STAGE) models 120 $(MAKE) models
	@$(STAGE) tests 2400 $(BIN)/python -m pytest $(PYTEST_ARGS)

check: lint house                 ## quick checks (< 60 s, no models): lint and the house rules

lint: $(STAMP)                    ## format, lint, types and layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

audit: $(STAMP)                   ## known vulnerabilities of the pinned versions, where a service can be asked
	@PATH="$(CURDIR)/$(BIN):$$PATH" .ci/audit

house: $(STAMP)                   ## the architecture, as tests
	$(BIN)/python -m pytest -q tests/house

bench: models                     ## ms and images/s per stage, beside dlib in the same run
	$(BIN)/limen bench pipeline

demo: models                      ## beside `make run`: play a session with real faces, check every step
	$(BIN)/limen demo

soak: models                      ## the long fault run, SOAK_MINUTES=30: killed, frozen, cut off; ends with a table
	$(BIN)/python -m tests.faults.soak $(SOAK_ARGS)
	TEST_IDLE_STREAMS=10000 $(BIN)/python -m pytest -s tests/abuse/test_stream_crowd.py

hammer: models                ## the index hammered for 10 min, killed 30 times, and 1,000 tenants in it
	TEST_HAMMER_SECONDS=600 TEST_INDEX_KILL_ROUNDS=30 TEST_SEARCH_TENANTS=1000 $(BIN)/python -m pytest -s \
		tests/index/test_hammer.py tests/faults/test_index_kill_rounds.py tests/isolation/test_search_worlds.py

lock:                             ## newest versions that pyproject.toml admits, written to .ci/constraints.txt
	rm -rf $(VENV) && $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[default]' --group dev
	sed -i '/==/d' $(LOCK)
	$(BIN)/python -m pip freeze --exclude-editable --exclude pip --exclude setuptools | sed 's/+cpu$$//' >> $(LOCK)

clean:                            ## remove the virtual environment and the tools' caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
