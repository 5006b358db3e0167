# Two commands do everything: `make demo` and `make test`. Both set up what they need.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
STAMP := $(VENV)/.installed
PROTOS := .venv-protos

.PHONY: setup demo test lint types protos protos-check docs bench sim planted chaos clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Orbit needs Python 3.11 or newer on the PATH"; exit 1; }
	@test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --upgrade pip
	$(PIP) install --quiet --constraint constraints.txt --editable '.[cpu,ocr,demo,dev]'
	@touch $@

demo: setup
	$(BIN)/orbit demo

test: setup
	$(BIN)/python -m pytest -n 2 --dist worksteal

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/buf lint
	$(BIN)/buf breaking --against proto/image.binpb

types: setup
	$(BIN)/basedpyright

$(PROTOS)/.installed: Makefile
	@test -d $(PROTOS) || $(PYTHON) -m venv $(PROTOS)
	$(PROTOS)/bin/python -m pip --disable-pip-version-check install --quiet grpcio-tools==1.76.0 mypy-protobuf==3.7.0
	@touch $@

# The generator needs an older protobuf than the runtime's, so it lives in an environment of its own.
protos: $(PROTOS)/.installed
	PATH="$(CURDIR)/$(PROTOS)/bin:$$PATH" $(PROTOS)/bin/python tools/protos.py

protos-check: $(PROTOS)/.installed
	PATH="$(CURDIR)/$(PROTOS)/bin:$$PATH" $(PROTOS)/bin/python tools/protos.py --check

bench: setup
	$(BIN)/python -m bench.market
	$(BIN)/python -m bench.packing
	$(BIN)/python -m bench.fleet
	$(BIN)/python -m bench.planner
	$(BIN)/python -m bench.inference

# The pages that are written by what they are about; a test fails where one is not fresh.
docs: setup
	$(BIN)/python -m tools.cli_page
	$(BIN)/python -m orbit_core.spec.reference_page > docs/format/reference.md
	$(BIN)/python -m satellites.reference_page > docs/format/satellites.md

SEEDS ?= 0:2000
MINUTES ?= 3

# The laboratory (docs/reliability.md): live code on virtual time, its planted bugs, and real processes that are killed.
sim: setup
	$(BIN)/python -m tests.simulation --seeds $(SEEDS)

planted: setup
	$(BIN)/python -m tests.simulation.planted

# An etcd that keeps what it acknowledged when it is killed: Debian's, installed if this may be done here.
chaos: setup
	@command -v etcd >/dev/null || { [ "$$(id -u)" = 0 ] && apt-get install --yes --quiet etcd-server; } || \
		{ echo "install etcd-server first (apt-get install etcd-server)"; exit 1; }
	$(BIN)/python -m tests.chaos --minutes $(MINUTES)

clean:
	rm -rf $(VENV) $(PROTOS) build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
