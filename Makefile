# Every target sets up what it needs: a virtual environment in .venv.
PYTHON ?= python3.11
VENV ?= .venv
# Tests next to each other stay in one process, which sets up what they share once. The
# slowest are named, as all of them together have to end within 45 minutes.
PYTEST_ARGS ?= -q -n 2 --dist worksteal --durations=15
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Tests of what works where TFRS cannot be imported. `hashing` and `mach` are the same
# there, since the import lint keeps Keras out of them.
WITHOUT_TFRS := tests/analysis tests/layers \
	tests/models/test_distillation.py tests/models/test_magnitude_pruning.py \
	tests/models/test_mach_ensemble.py tests/models/test_train_repetitions.py \
	tests/models/test_training_run.py \
	tests/serving/test_export.py tests/serving/test_export_errors.py \
	tests/serving/test_native.py tests/serving/test_updates.py \
	tests/serving/test_verification.py tests/serving/test_version_directory.py

# The package is loud enough; TensorFlow's notes on its build are not needed.
export TF_CPP_MIN_LOG_LEVEL ?= 3

.PHONY: help setup demo test test-tensorflow test-tpu lint wheel bench bench-scale bench-serving clean

help:
	@echo "make demo   train, evaluate, export and serve on built-in data"
	@echo "make test   linters, type checks and all tests, under both Kerases"
	@echo "make test-tensorflow  all tests on an older TensorFlow: TF=2.16, or any supported"
	@echo "make test-tpu  compile whole training steps for a TPU, with its compiler"
	@echo "make lint   linters and type checks alone"
	@echo "make wheel  build a wheel and try it in an empty environment"
	@echo "make bench  measure the speed of hashing, encoding, training and decoding (16 GB)"
	@echo "make bench-scale  measure compiled and mixed precision training, report on TPU"
	@echo "make bench-serving  measure the latency of exports, without Python"

$(READY): setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable ".[datasets,dev]"
	touch $(READY)

setup: $(READY)

# Arguments of the demo: make demo ARGS="--data-dir ml-1m --epochs 5"
demo: $(READY)
	$(BIN)/python examples/demo.py $(ARGS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

# Everything with TFRS, which is on legacy Keras; then what works without it.
define test_both_kerases
	TF_USE_LEGACY_KERAS=1 $(1)/bin/python -m pytest $(PYTEST_ARGS)
	TF_USE_LEGACY_KERAS=0 $(1)/bin/python -m pytest $(PYTEST_ARGS) $(WITHOUT_TFRS)
endef

test: lint
	$(call test_both_kerases,$(VENV))

# The oldest that is supported, in an environment of its own. Newer tensorflow-metadata
# wants protobuf 5 without saying so, which TensorFlow has from 2.18 on.
TF ?= 2.16
TF_PACKAGES = "tensorflow==$(TF).*" $(if $(filter 2.16 2.17,$(TF)),"tensorflow-metadata<1.17")
$(VENV)-tf$(TF)/.ready: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)-tf$(TF)
	$(VENV)-tf$(TF)/bin/python -m pip install --quiet --upgrade pip
	$(VENV)-tf$(TF)/bin/python -m pip install --quiet --editable ".[datasets,dev]" $(TF_PACKAGES)
	touch $@

test-tensorflow: $(VENV)-tf$(TF)/.ready
	$(call test_both_kerases,$(VENV)-tf$(TF))

# In an environment of its own: half a gigabyte that nothing else needs.
$(VENV)-tpu/.ready: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)-tpu
	$(VENV)-tpu/bin/python -m pip install --quiet --editable ".[tpu-compile]" pytest
	touch $@

test-tpu: $(VENV)-tpu/.ready
	TF_USE_LEGACY_KERAS=1 $(VENV)-tpu/bin/python -m pytest -q tests/benchmarks/test_training_programs.py

wheel: $(READY)
	rm -rf build dist
	$(BIN)/python -m build --wheel --outdir dist .
	$(PYTHON) -m venv build/empty
	build/empty/bin/python -m pip install --quiet dist/*.whl
	cd build && TF_USE_LEGACY_KERAS=1 empty/bin/python ../tests/try_installed.py
	cd build && TF_USE_LEGACY_KERAS=0 empty/bin/python ../tests/try_installed.py

bench: $(READY)
	$(BIN)/python benchmarks/speed/cityhash.py --output benchmarks/speed/results/cityhash.json
	$(BIN)/python benchmarks/speed/encoding.py --output benchmarks/speed/results/encoding.json
	$(BIN)/python benchmarks/speed/input_pipeline.py --output benchmarks/speed/results/input_pipeline.json
	$(BIN)/python benchmarks/speed/mach_decoding.py --output benchmarks/speed/results/mach_decoding.json
	$(BIN)/python benchmarks/speed/inference.py --output benchmarks/speed/results/inference.json
	$(BIN)/python benchmarks/speed/materialized.py --output benchmarks/speed/results/materialized.json
	$(BIN)/python benchmarks/speed/decoder.py --output benchmarks/speed/results/decoder.json
	$(BIN)/python benchmarks/speed/mach_head.py --output benchmarks/speed/results/mach_head.json
	$(BIN)/python benchmarks/speed/two_towers.py --output benchmarks/speed/results/two_towers.json
	$(BIN)/python benchmarks/speed/mach_scale.py --output benchmarks/speed/results/mach_scale.json
	$(BIN)/python benchmarks/speed/plot.py

# At the figures of the README of benchmarks/speed; the compiler for a TPU takes minutes.
bench-scale: $(READY) $(VENV)-tpu/.ready
	$(BIN)/python benchmarks/speed/compiled_step.py --output benchmarks/speed/results/compiled_step.json
	$(BIN)/python benchmarks/speed/mixed_precision.py --epochs 3
	$(BIN)/python benchmarks/speed/stablehlo.py --directory build/programs --batch-size 1024 --mach-buckets 2000
	$(VENV)-tpu/bin/python benchmarks/speed/tpu_compile.py build/programs/*.mlir --output benchmarks/speed/results/tpu_compile.json

bench-serving: $(READY)
	$(BIN)/python benchmarks/serving/latency.py --output benchmarks/serving/results/latency.json
	$(BIN)/python benchmarks/serving/plot.py

clean:
	rm -rf $(VENV) $(VENV)-tpu $(VENV)-tf* build dist *.egg-info
