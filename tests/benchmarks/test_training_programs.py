"""Whole training steps as programs for a TPU, and as they run outside of TensorFlow."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.processes import ROOT

SPEED = ROOT / "benchmarks" / "speed"
SIZES = {
    "batch_size": 256,
    "embedding_dim": 8,
    "hidden_dim": 32,
    "num_hidden_layers": 2,
    "num_hashes": 64,
    "mach_buckets": 50,
    "mach_repetitions": 3,
}
#: Products of matrices in a step, rows by columns of the weights they are with.
TOWER = 64 * 32 + 32 * 32 + 32 * 8
WEIGHTS = {
    "dhe_retrieval": 2 * TOWER + 8 * 256,
    "dhe_ranking": 2 * TOWER + 16 * 64 + 64,
    "mach": TOWER + 8 * 50 * 3,
}


@pytest.fixture(autouse=True)
def path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SPEED))


@pytest.mark.parametrize("hash_family", ["multiply_shift", "carter_wegman"])
@pytest.mark.parametrize("name", sorted(WEIGHTS))
def test_no_program_divides_64_bit_numbers(name: str, hash_family: str) -> None:
    import stablehlo
    import stablehlo_text

    sizes = stablehlo.Sizes(**SIZES, hash_family=hash_family)
    text, arguments = stablehlo.program(name, sizes)
    assert stablehlo_text.wide_divisions(text) == []
    assert "ui64" in text  # The hashes are in it,
    assert "stablehlo.dot" in text  # and the network.
    # After the three of the batch come variables, all of which change but the rate.
    changed = set(stablehlo_text.updates(text).values())
    (rate,) = set(range(3, len(arguments))) - changed
    assert arguments[rate] == np.float32(1e-3)


@pytest.mark.parametrize("name", sorted(WEIGHTS))
def test_compiled_steps_train_as_those_op_by_op(name: str) -> None:
    """On int64 ids, from the same weights."""
    import training_steps

    sizes = training_steps.Sizes(**SIZES)
    batch = training_steps.make_batch(sizes)
    losses = []
    for compiled in (False, True):
        step = training_steps.make_step(name, sizes, compiled)
        losses.append([float(step(**batch)) for _ in range(5)])
    assert losses[0][-1] < losses[0][0]
    # float32 sums of a batch and its negatives, in another order.
    np.testing.assert_allclose(losses[1], losses[0], rtol=256 * 2.0**-24)


@pytest.mark.parametrize("dtype", [tf.int64, tf.uint64])
@pytest.mark.parametrize("operation", [tf.math.floordiv, tf.math.floormod])
def test_divisions_of_64_bit_numbers_are_found(dtype, operation) -> None:
    import stablehlo_text

    def text(of: tf.DType) -> str:
        @tf.function(jit_compile=True)
        def divide(x):
            return operation(tf.cast(x, of), tf.constant(1000, of))

        spec = tf.TensorSpec([4], tf.int64)
        return divide.experimental_get_compiler_ir(spec)(stage="stablehlo")

    assert stablehlo_text.wide_divisions(text(dtype))
    assert not stablehlo_text.wide_divisions(text(tf.uint32))
    assert not stablehlo_text.wide_divisions(text(tf.float32))


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    for package in ("jax", "libtpu"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is missing: pip install '.[tpu-compile]'")
    directory = tmp_path_factory.mktemp("programs")
    options = [f"--{name.replace('_', '-')}={value}" for name, value in SIZES.items()]
    script("stablehlo", f"--directory={directory}", *options)
    return sorted(str(path) for path in directory.glob("*.mlir"))


def script(name: str, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, SPEED / f"{name}.py", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_steps_compile_for_a_tpu(programs: list[str], tmp_path: Path) -> None:
    output = tmp_path / "report.json"
    script("tpu_compile", *programs, f"--output={output}")
    report = json.loads(output.read_text())
    assert report["topology"] == "v5e:2x2"
    for program in programs:
        figures = report[Path(program).stem]
        assert figures["64-bit divisions"] == 0
        # One product forward and two backward, or one with encodings, which learn
        # nothing: at least two, of multiplications and additions.
        weights = WEIGHTS[Path(program).stem]
        assert figures["operations"] >= 2 * 2 * SIZES["batch_size"] * weights
        with np.load(Path(program).with_suffix(".npz")) as file:
            arguments = [file[name] for name in file.files if name != "losses"]
        size = sum(array.nbytes for array in arguments)
        batch = SIZES["batch_size"] * (8 + 8 + 4)
        # A TPU keeps arrays in tiles, which are larger.
        assert figures["bytes of arguments"] >= size
        assert figures["of them in place"] >= size - batch
        assert figures["bytes moved"] > figures["bytes of arguments"]


def test_steps_train_outside_of_tensorflow(programs: list[str], tmp_path: Path) -> None:
    """The same losses: the arguments are in order, and the variables are kept."""
    output = tmp_path / "times.json"
    script("stablehlo_time", *programs, "--repeats=20", f"--output={output}")
    times = json.loads(output.read_text())
    for program in programs:
        figures = times[Path(program).stem]
        assert figures["last loss"] < figures["first loss"]
        # float32 sums of a batch and its negatives, in another order.
        terms = SIZES["batch_size"]
        assert figures["relative error of first losses"] < terms * 2.0**-24
