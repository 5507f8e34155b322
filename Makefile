# Two commands set everything up on a bare machine (python3, venv and make; no root, no GPU, no screen):
#   make quickstart   the main job on synthetic heads, from scans to a report with pictures
#   make test         the tests
# The rest is for who works on the code. Paths are relative and quoted, so a folder with a space in its name is fine.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
INSTALL := $(PIP) install --constraint constraints.txt --editable
PACKAGE := setup.cfg constraints.txt pyproject.toml

.PHONY: help quickstart test test-slow browser-tools check lint format types imports accuracy compare bench bench-long fuzz fuzz-guided blender smoke lock docs clean
.DELETE_ON_ERROR:

help:
	@echo 'make quickstart   install into .venv, then run the main job on synthetic heads: quickstart/report.html'
	@echo 'make test         install into .venv, then run the tests (arguments: make test PYTEST="-k spirals")'
	@echo 'make test-slow    the few tests that take minutes'
	@echo 'make browser-tools  what the tests in a browser need beside Chromium: Python and npm packages'
	@echo 'make check        lint, format, types, import rules and docs, as the continuous build runs them'
	@echo 'make docs         the documentation: docs/_build/html/index.html'
	@echo 'make accuracy     the table on ICT-300: make accuracy RAW=folder-of-scans OUT=folder (minutes)'
	@echo 'make compare      all rows of the comparison, hours, goes on where it stopped: make compare RAW=... OUT=... ARGS=--list'
	@echo 'make bench        how fast each step is, against plain code, peers and the machine; ten minutes (ARGS="--ict CLONE")'
	@echo 'make smoke        build the package, install it into an empty environment, sample a model'
	@echo 'make fuzz         read twenty thousand damaged files of every kind (ARGS="--only ply --files 2000")'
	@echo 'make fuzz-guided  let atheris look for bytes that reach new lines of our readers (Linux)'
	@echo 'make blender      open a rig in Blender itself, and look whether all is there (350 MB, Python 3.11)'
	@echo 'make clean        remove what these commands made, .venv included'

quickstart: .venv/installed
	$(BIN)/meshdisent quickstart --out quickstart --overwrite

test: .venv/installed-test
	$(BIN)/python -m pytest $(PYTEST)

# Fifty trainings that are killed, and a linear model of 6,000 scans.
test-slow: .venv/installed-test
	$(BIN)/python -m pytest -m slow

# Chromium itself comes from the system (.ci/run installs it); without it these tests say what they miss and are skipped.
browser-tools: .venv/installed-browser tests/browser/node_modules/installed

check: lint format types imports docs

lint: .venv/installed-dev
	$(BIN)/python -m ruff check .

format: .venv/installed-dev
	$(BIN)/python -m ruff format --check .

types: .venv/installed-dev
	$(BIN)/python -m mypy

imports: .venv/installed-dev
	$(BIN)/lint-imports

# Takes minutes; RAW is what the generator of ICT-300 wrote, RUNS are trained folders to stand beside the linear models.
accuracy: .venv/installed
	$(BIN)/python benchmarks/ict300.py "$(RAW)" "$(or $(OUT),accuracy)" $(RUNS)

# Takes hours and goes on where it was stopped; ARGS="--only linear" makes some rows, ARGS=--list says where they stand.
compare: .venv/installed
	$(BIN)/python benchmarks/compare.py "$(RAW)" "$(or $(OUT),accuracy)" $(ARGS)

# At most ten minutes on two quiet cores; bench-long adds rows such as the plain heap on the whole face.
bench: .venv/installed
	$(BIN)/python benchmarks/bench.py $(ARGS)

bench-long: .venv/installed
	$(BIN)/python benchmarks/bench.py --long $(ARGS)

# Minutes; ARGS="--only ply --files 2000 --seed 7" reads others. Files that end otherwise than they should are kept.
fuzz: .venv/installed-test
	$(BIN)/python tests/fuzz/harness.py $(ARGS)

# Half a minute for each ending of each kind; ARGS="ply recipe --seconds 600" looks longer at two. Linux only.
fuzz-guided: .venv/made $(PACKAGE)
	$(INSTALL) --quiet '.[test,fuzz]'
	$(BIN)/python tests/fuzz/guided.py $(ARGS)

# Source archive -> wheel -> an empty environment -> two people of a model that comes along.
smoke: .venv/installed-test
	rm -rf build/smoke
	mkdir -p build/smoke
	$(BIN)/python -c 'from setuptools import build_meta; build_meta.build_sdist("build/smoke")'
	$(PIP) wheel --quiet --no-deps --wheel-dir build/smoke build/smoke/*.tar.gz
	"$(PYTHON)" -m venv build/smoke/env
	build/smoke/env/bin/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt build/smoke/*.whl
	cd build/smoke && env/bin/meshdisent sample wsdf-ict --count 2 --out faces

# Blender as a Python package, in an environment of its own: each release is for one version of Python.
blender: .venv/installed
	"$(PYTHON)" -m venv build/blender
	build/blender/bin/python -m pip --disable-pip-version-check install --quiet bpy==4.5.15
	$(BIN)/python benchmarks/rig_in_blender.py build/blender/bin/python --picture build/blender/face.png

# Needs the package index; run it when constraints.txt has changed.
lock: .venv/installed-test
	$(PIP) install --quiet uv
	PATH="$(BIN):$$PATH" $(BIN)/python tests/locked/lock.py

docs: .venv/installed-dev
	$(BIN)/python -m sphinx --fail-on-warning --keep-going -q -b html docs docs/_build/html
	@echo 'docs/_build/html/index.html is ready'

clean:
	rm -rf .venv build dist docs/_build meshdisent.egg-info quickstart tests/browser/node_modules
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find meshdisent tests docs data_prep -name __pycache__ -type d -prune -exec rm -rf {} +

# One stamp for each set of packages: what is newer than its stamp is installed again, the rest is not touched.
.venv/made:
	@"$(PYTHON)" -c 'import sys; sys.version_info >= (3, 11) or sys.exit("meshdisent needs Python 3.11 or later; this is " + sys.version.split()[0] + ". Name a newer one: make PYTHON=python3.12")'
	"$(PYTHON)" -m venv .venv
	@touch $@

.venv/installed: .venv/made $(PACKAGE)
	@echo 'Installing meshdisent and what it needs into .venv (once; a few minutes)'
	$(INSTALL) .
	@touch $@

.venv/installed-test: .venv/made $(PACKAGE)
	@echo 'Installing meshdisent, what it needs and the test tools into .venv (once; a few minutes)'
	$(INSTALL) '.[test]'
	@touch $@ .venv/installed

.venv/installed-browser: .venv/made $(PACKAGE)
	@echo 'Installing meshdisent and what its tests in a browser need into .venv (once; a few minutes)'
	$(INSTALL) '.[browser]'
	@touch $@ .venv/installed-test .venv/installed

# The lock file names no registry: npm asks the one that this machine is set up for.
tests/browser/node_modules/installed: tests/browser/package.json tests/browser/package-lock.json
	@command -v npm >/dev/null || { echo 'make browser-tools needs npm (Debian: apt-get install nodejs npm)' >&2; exit 1; }
	cd tests/browser && npm ci
	@touch $@

.venv/installed-dev: .venv/made $(PACKAGE)
	@echo 'Installing meshdisent and all tools of its developers into .venv (once; a few minutes)'
	$(INSTALL) '.[dev,docs]'
	@touch $@ .venv/installed-test .venv/installed
