# make demo    train, validate, test and predict on scikit-learn's handwritten digits
# make test    every check: lint, types, tests on both cores, tests on other Pythons
# make docs    the guide and the reference as a site, in build/docs/
# make bench   the benchmarks, with the targets they are held against
# Each sets up what it needs in .venv/ the first time; PYTHON=... chooses the interpreter.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
BUILT := $(VENV)/.installed
SOURCES := pyproject.toml setup.py constraints.txt $(wildcard typedloops/_core/compiled/*.py[xd])

# A file of tests stays on one core: what its tests share is made once.
ON_EVERY_CORE := -n auto --dist loadfile

export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test lint types docs pytest pure pythons bench compare clean setup

setup: $(BUILT)

$(VENV)/bin/python:
	@echo "typedloops: setting up $(VENV): this takes a few minutes the first time (torch is 200 MB)."
	$(PYTHON) -m venv $(VENV)

$(BUILT): $(VENV)/bin/python $(SOURCES)
	@if [ "$$TYPEDLOOPS_NO_EXTENSIONS" != 1 ] && ! command -v "$${CC:-cc}" >/dev/null; then \
		echo "typedloops: no C compiler found: setting up with the pure-Python core (the same behaviour, more time per step)."; \
		echo "typedloops: for the compiled core install one (Debian: apt-get install gcc python3-dev) and run make clean."; fi
	$(BIN)/pip install --quiet --editable ".[dev]"
	@$(BIN)/python -c "import typedloops; print('typedloops', typedloops.__version__, 'with the', 'compiled' if typedloops.COMPILED else 'pure-Python', 'core')"
	@touch $(BUILT)

demo: $(BUILT)
	$(BIN)/python -m typedloops.demo

# What keeps one core busy goes side by side; the tests use every core.
test: $(BUILT)
	$(MAKE) --no-print-directory --jobs=2 --output-sync=target lint types docs pythons
	$(MAKE) --no-print-directory pytest
	$(MAKE) --no-print-directory pure

lint: $(BUILT)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(BUILT)
	$(BIN)/mypy
	$(BIN)/basedpyright

# From nothing, so that no warning hides in what was built before.
docs: $(BUILT)
	$(BIN)/python -m sphinx -E -W --keep-going -q docs build/docs
	@echo "typedloops: the site is build/docs/index.html"

pytest: $(BUILT)
	TYPEDLOOPS_REQUIRE_COMPILED=1 $(BIN)/python -m pytest $(ON_EVERY_CORE)

# The same behaviour on the pure-Python core; what checks types, builds wheels, runs examples and pages, or tests
# files, loaders and the site by themselves does not depend on it.
WITHOUT_THE_CORE := tests/checkpoint tests/docs tests/test_pages.py tests/verification tests/loops/run/passes tests/callbacks/test_model_checkpoint.py tests/resuming/test_processes.py
pure: $(BUILT)
	TYPEDLOOPS_PURE=1 $(BIN)/python -m pytest $(ON_EVERY_CORE) -m "not slow" $(WITHOUT_THE_CORE:%=--ignore=%)

# What needs no torch, on every other Python that is here.
pythons: $(BUILT)
	.ci/pythons 3.12 3.13

bench: $(BUILT)
	$(BIN)/pip install --quiet --editable ".[bench]"
	$(BIN)/python -m pytest benchmarks --benchmark-only
	$(BIN)/python -m benchmarks.targets
	$(BIN)/python -m benchmarks.checkpoint_io
	$(BIN)/python -m benchmarks.async_saving
	$(BIN)/python -m benchmarks.resume_time

compare: $(BUILT)
	$(BIN)/pip install --quiet --editable ".[bench]"
	$(BIN)/python -m benchmarks.compare

clean:
	rm -rf $(VENV) .venv-3.* build dist *.egg-info typedloops/_core/compiled/*.so
