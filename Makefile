# `make demo` and `make test` each prepare .venv when needed and then do their job.
PYTHON ?= python3
VENV := .venv
CYCLES := .venv-cycles
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help setup demo test test-long test-soak lint lock clean cycles chaos fuzz
help: ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 11

setup: $(READY) ## create .venv with everything pinned in constraints.txt

# pip only fetches uv, which installs the rest in seconds. Where the system's Python lacks
# ensurepip, its own pip fills the empty environment. Libraries are compiled once here: with
# PYTHONDONTWRITEBYTECODE, every worker that starts would compile torch and Ray again.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) >/dev/null 2>&1 || $(PYTHON) -m venv --clear --without-pip $(VENV)
	@$(BIN)/python -m pip --version >/dev/null 2>&1 \
		&& $(BIN)/python -m pip install --quiet --disable-pip-version-check uv \
		|| $(PYTHON) -m pip --python $(BIN)/python install --quiet --disable-pip-version-check uv \
		|| { echo "$(PYTHON) has neither ensurepip nor pip: name another one with PYTHON=..."; exit 2; }
	$(BIN)/python -m uv pip install --quiet --compile-bytecode --python $(BIN)/python \
		--constraint constraints.txt --editable '.[dev,aws,video]'
	@touch $@

demo: setup ## the whole chain on generated data, at a size for two cores
	$(BIN)/python pipelines/demo.py

# Two processes: what needs Ray is all in one of them, whose cluster has two cores of its own.
test: setup ## the test suite
	$(BIN)/python -m pytest --numprocesses 2 --dist loadgroup

test-long: setup ## what takes minutes: kills, several nodes, load, a browser, the demo, the notebook
	$(BIN)/python -m pytest -m long

test-soak: setup ## what takes many: hosts and nodes that die under whole chains, all commands on an object store
	$(BIN)/python -m pytest -m soak

chaos: setup ## kill nodes, drivers and workers of all stages at random points; no result may change (long)
	$(BIN)/python -m tests.chaos

fuzz: setup ## damage every kind of artefact in every kind of way; nothing may crash or hang (long)
	$(BIN)/python -m tests.fuzz

# Blender runs on Python 3.11 alone and pins an old NumPy, so it gets an environment of its own.
cycles: setup ## Blender, which the cycles renderer needs, in .venv-cycles
	test -x $(CYCLES)/bin/python || $(BIN)/python -m uv venv --quiet --python 3.11 $(CYCLES)
	$(BIN)/python -m uv pip install --quiet --python $(CYCLES)/bin/python 'bpy==4.5.*'
	@$(CYCLES)/bin/python -c 'import bpy; print("Blender", bpy.app.version_string)'

lint: setup ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

lock: setup ## pin the newest versions that fit together
	$(BIN)/python -m uv pip compile --quiet --universal --python-version 3.11 --upgrade --extra dev --extra aws --extra video \
		--no-header --no-annotate --output-file constraints.txt pyproject.toml

clean: ## remove what the commands made (not the environment)
	rm -rf data runs indexes reports studies demo
