# Two commands do all set-up: `make run` and `make test`.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: install run test check demo bench soak clean

$(STAMP): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Limen needs Python 3.11 or newer")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[default]' --group dev
	touch $@

install: $(STAMP)                 ## a virtual environment with Limen and its development tools

run: $(STAMP)                     ## start the service
	$(BIN)/limen models build
	$(BIN)/limen run

test: check                       ## everything: quick checks, then the whole suite; ends with the skips
	$(BIN)/limen models build
	$(BIN)/python -m pytest $(PYTEST_ARGS)

check: $(STAMP)                   ## quick checks (< 60 s): format, lint, types, layers, the house
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/house

demo: $(STAMP)
	@echo "not yet: the demo needs the HTTP front door" >&2; exit 1

bench: $(STAMP)                   ## ms and images/s per stage, beside dlib in the same run
	$(BIN)/limen models build
	$(BIN)/limen bench pipeline

soak: $(STAMP)
	@echo "not yet: soak needs the service" >&2; exit 1

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
