# Everything from two commands:
#   make demo   install what users need, record a real network on a real image, write pictures into out/
#   make test   install what developers need, then lint, types, import contracts and all tests
#   make test-oldest   the core tests on the oldest versions that pyproject.toml allows; QUICK=1: a few minutes' worth
# At a change, in about a minute: make quick, which is lint and the tests that are not slow.
# The documentation as a site, in out/site: make site
# What the promises rest on, in figures (half an hour, 8 GB): make reliability
#
# PYTHON chooses the interpreter for the virtual environment (3.11 or newer).

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MERMAID := tests/mermaid
OLDEST := .venv-oldest
# What records, assembles and exports, without the programs that read formats back.
QUICK_CORE := test_recorder.py assembly capture/test_backward_hooks.py graph promises/test_hostile_files.py \
  exporters/test_onnx_json.py events/test_stream.py
CORE := test_recorder.py assembly capture autograd graph events views analysis summary supported testing \
  exporters/test_dot.py exporters/test_onnx_json.py plugins/test_exporting.py promises/test_faults.py \
  promises/test_hostile_files.py
WORKERS ?= $(shell nproc 2>/dev/null || echo 2)

.PHONY: demo test quick test-oldest site reliability setup setup-dev setup-test lint types contracts unit format clean

demo: setup
	$(BIN)/python examples/tutorial.py out

test: lint types contracts unit

quick: lint
	OMP_NUM_THREADS=1 $(BIN)/pytest -n $(WORKERS) --dist worksteal -m "not slow" --hypothesis-profile=quick

test-oldest: .make/oldest
	OMP_NUM_THREADS=1 $(OLDEST)/bin/pytest -n $(WORKERS) --dist worksteal $(addprefix tests/,$(if $(QUICK),$(QUICK_CORE),$(CORE)))

site: setup-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build
	@echo "open out/site/index.html"

reliability: setup-test
	$(BIN)/python -m pip install --quiet --editable '.[dev,fuzz]'
	PYTHONPATH=tests $(BIN)/python -m support.reliability --write

setup: .make/python

setup-dev: .make/dev

setup-test: setup-dev .make/system .make/node

lint: setup-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup-dev
	$(BIN)/mypy

contracts: setup-dev
	$(BIN)/lint-imports --no-cache

unit: setup-test
	OMP_NUM_THREADS=1 $(BIN)/pytest -n $(WORKERS) --dist worksteal

format: setup-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The stamps are newer than what they were made from, so a change of the inputs sets up again.

.make/python: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[models,graphviz]'
	@mkdir -p .make && touch $@

.make/dev: .make/python
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

.make/oldest: pyproject.toml tests/support/lowest.py
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info >= (3, 14) and "torch 2.8 is for Python 3.11 to 3.13: make PYTHON=...")'
	$(PYTHON) -m venv --clear $(OLDEST)
	$(OLDEST)/bin/python -m pip install --quiet --upgrade pip
	@mkdir -p .make
	$(OLDEST)/bin/python tests/support/lowest.py >.make/lowest.txt
	$(OLDEST)/bin/python -m pip install --quiet --constraint .make/lowest.txt --editable '.[test]'
	@touch $@

# Graphviz, Chromium and LaTeX, for the tests that read our formats back with the real programs. As root on Debian they
# are installed; elsewhere the tests that need them say what is missing, and skip.
.make/system:
	@if { command -v dot && command -v chromium && command -v pdflatex && kpsewhich tikz.sty; } >/dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y graphviz chromium fonts-dejavu-core >/dev/null && \
	  DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
	    texlive-latex-base texlive-latex-recommended texlive-pictures >/dev/null; \
	else echo "for all tests, install Graphviz, Chromium and LaTeX: apt install graphviz chromium \
	  texlive-latex-recommended texlive-pictures"; fi
	@mkdir -p .make && touch $@

.make/node: $(MERMAID)/package.json $(MERMAID)/package-lock.json
	@if command -v npm >/dev/null; then \
	  cd $(MERMAID) && npm ci --ignore-scripts --silent --no-audit --no-fund; \
	else echo "for all tests, install Node.js 20 or newer"; fi
	@mkdir -p .make && touch $@

clean:
	rm -rf $(VENV) $(OLDEST) .make out $(MERMAID)/node_modules
