# make up     sets everything up, starts the stack, verifies it and prints its exports (ARGS="--model ..." is passed on)
# make test   sets everything up and passes every test;  make check: lint, types and unit tests only
# make faults    breaks real stacks in a hundred ways, and holds `stackctl doctor` to what it must say of each
# make drills / make reliability / make bench / make clients-doc / make lock / make clean
# make troubleshooting-doc   writes docs/TROUBLESHOOTING.md anew, after a change of stackctl/catalog
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.stamp
MARKS ?= not slow
## A test that hangs shows its stacks after ten minutes, and the others go on; the slowest of each lane are named.
LANE := $(BIN)/pytest -q --timeout=600 --durations=15 --durations-min=5

.DELETE_ON_ERROR:
.PHONY: up test test-drills test-chain check lint types unit drills reliability faults bench examples clients-doc lock clean
.DEFAULT_GOAL := help

help:
	@sed -n 's/^# //p' Makefile

$(STAMP): requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "stackctl needs Python >= 3.11; name one with: make PYTHON=python3.12" >&2; exit 2; }
	@$(PYTHON) -m venv $(VENV) || { echo "python3 -m venv failed; on Debian or Ubuntu: apt install python3-venv" >&2; exit 3; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	$(BIN)/python -m compileall -q $(VENV)/lib stackctl
	@touch $@

up: $(STAMP)
	@$(BIN)/stackctl up --yes $(ARGS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(STAMP)
	$(BIN)/mypy

unit: $(STAMP)
	$(BIN)/pytest -q -m "not drill" -n 4 tests/unit

check: $(STAMP)
	@$(MAKE) --no-print-directory --jobs=3 --output-sync lint types unit

## The drills wait more than they work, and so does the real chain: side by side they take half the time. The faults come
## after the drills, which are the shorter lane; by then the chain has installed the environments that both share.
test: check
	@$(MAKE) --no-print-directory --jobs=2 --output-sync test-drills test-chain

test-drills: $(STAMP)
	$(LANE) -m "drill and $(MARKS)" tests/unit
	$(LANE) -m "$(MARKS)" tests/drills
	$(LANE) -m "$(MARKS)" tests/faults

test-chain: $(STAMP)
	$(BIN)/coverage run -m $(notdir $(LANE)) -m "$(MARKS)" tests/e2e
	$(BIN)/coverage combine --quiet && $(BIN)/coverage report --skip-covered | tail -n 3

drills: $(STAMP)
	$(BIN)/python -m tests.drills $(ARGS)

faults: $(STAMP)
	$(BIN)/python -m tests.faults --resume --write $(ARGS)

reliability: $(STAMP)
	$(BIN)/python -m tests.bench.reliability

bench: $(STAMP)
	$(BIN)/python tests/bench/env_start.py
	$(BIN)/python tests/bench/host.py
	$(BIN)/python tests/bench/doctor.py
	$(BIN)/python tests/bench/ready.py

examples: $(STAMP)
	STACKCTL_HOME=$(CURDIR)/build/none $(BIN)/python -m tests.examples

.PHONY: troubleshooting-doc
troubleshooting-doc: $(STAMP)
	$(BIN)/python -m tests.troubleshooting

clients-doc: $(STAMP)
	STACKCTL_WRITE_CLIENTS_DOC=1 $(BIN)/pytest -q tests/e2e/test_clients_launch.py

lock: $(STAMP)
	$(BIN)/uv pip compile pyproject.toml requirements/dev.in --generate-hashes --no-emit-index-url --no-header --universal --python-version 3.11 --upgrade --quiet -o requirements/dev.txt
	$(BIN)/python requirements/lock.py

clean:
	rm -rf $(VENV) build dist .coverage* .mypy_cache .pytest_cache .ruff_cache
