# Every target sets up what it needs: a virtual environment in .venv.
PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help setup demo test lint wheel clean

help:
	@echo "make demo   train, evaluate, export and serve on built-in data"
	@echo "make test   linters, type checks and all tests, under both Kerases"
	@echo "make lint   linters and type checks alone"
	@echo "make wheel  build a wheel and try it in an empty environment"

$(READY): setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable ".[datasets,dev]"
	touch $(READY)

setup: $(READY)

demo: $(READY)
	TF_USE_LEGACY_KERAS=1 $(BIN)/python examples/demo.py $(ARGS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

test: lint
	TF_USE_LEGACY_KERAS=1 $(BIN)/python -m pytest
	TF_USE_LEGACY_KERAS=0 $(BIN)/python -m pytest tests/layers

clean:
	rm -rf $(VENV) build dist *.egg-info
