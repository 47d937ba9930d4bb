"""Encodings that compile themselves: where they do, and that no bit changes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.layers.programs import saved_xla_functions, xla_functions
from tfrs_dhe._keras import is_legacy, keras
from tfrs_dhe.layers import (
    DeepHashEmbedding,
    DenseHashEncoding,
    _compilation,
    _compiled_encoding,
)

WIDTH = 512
#: The smallest number of ids that is compiled.
LARGE = _compiled_encoding.MIN_SIZE // WIDTH


def ids_of(*shape: int) -> tf.Tensor:
    generator = np.random.default_rng(0)
    return tf.constant(generator.integers(-(2**63), 2**63 - 1, shape))


def op_by_op(layer: DenseHashEncoding, ids: tf.Tensor) -> np.ndarray:
    plain = DenseHashEncoding.from_config(layer.get_config())
    plain.jit_compile = False
    return np.asarray(plain(ids)).view(np.int32)


def bits(values: Any) -> np.ndarray:
    return np.asarray(values).view(np.int32)


def traced(layer: Any, training: bool | None, size: int | None = None) -> Any:
    function = tf.function(lambda ids: layer(ids, training=training))
    return function.get_concrete_function(tf.TensorSpec([size], tf.int64))


@pytest.mark.parametrize("hash_family", ["multiply_shift", "carter_wegman"])
@pytest.mark.parametrize("shape", [(LARGE - 1,), (LARGE,), (LARGE + 1,), (3, LARGE)])
def test_eager_bits(hash_family: str, shape: tuple[int, ...]) -> None:
    layer = DenseHashEncoding(WIDTH, hash_family=hash_family, seed=3)
    ids = ids_of(*shape)
    encoding = layer(ids)
    assert encoding.shape == (*shape, WIDTH)
    np.testing.assert_array_equal(bits(encoding), op_by_op(layer, ids))


@pytest.mark.parametrize("training", [True, False, None])
@pytest.mark.parametrize("static", [True, False])
@pytest.mark.parametrize("size", [0, 1, LARGE - 1, LARGE, 5 * LARGE // 3])
def test_bits_in_a_graph(training: bool | None, static: bool, size: int) -> None:
    layer = DenseHashEncoding(WIDTH)
    ids = ids_of(size)
    encoding = traced(layer, training, size if static else None)(ids)
    np.testing.assert_array_equal(bits(encoding), op_by_op(layer, ids))


def test_inside_of_a_compiled_step() -> None:
    layer = DenseHashEncoding(WIDTH)
    ids = ids_of(LARGE + 1)
    for size in (None, LARGE + 1):
        step = tf.function(
            lambda ids: layer(ids, training=True),
            input_signature=[tf.TensorSpec([size], tf.int64)],
            jit_compile=True,
        )
        np.testing.assert_array_equal(bits(step(ids)), op_by_op(layer, ids))


def test_integers_of_other_types_and_ragged_ids() -> None:
    layer = DenseHashEncoding(WIDTH)
    narrow = tf.range(LARGE, dtype=tf.int32)
    expected = op_by_op(layer, narrow)
    for ids in (narrow, tf.cast(narrow, tf.uint64), tf.cast(narrow, tf.int64)):
        np.testing.assert_array_equal(bits(layer(ids)), expected)
    ragged = tf.RaggedTensor.from_row_lengths(narrow, [LARGE - 5, 0, 5])
    np.testing.assert_array_equal(bits(layer(ragged).flat_values), expected)


def test_only_graphs_that_train_are_compiled() -> None:
    layer = DenseHashEncoding(WIDTH)
    found = {
        training: xla_functions(traced(layer, training).graph.as_graph_def())
        for training in (True, False, None)
    }
    assert found[True] > 0
    assert found[False] == found[None] == 0


def test_a_switch_and_distributions_with_other_bits() -> None:
    layer = DenseHashEncoding(WIDTH)
    layer.jit_compile = False
    gaussian = DenseHashEncoding(WIDTH, distribution="gaussian")
    for never in (layer, gaussian):
        assert xla_functions(traced(never, True).graph.as_graph_def()) == 0


def test_accelerators_are_left_to_the_whole_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_compilation, "_has_accelerator", lambda: True)
    graph = traced(DenseHashEncoding(WIDTH), True).graph
    assert xla_functions(graph.as_graph_def()) == 0


def test_a_saved_model_holds_no_program(tmp_path: Path) -> None:
    """Neither one that was trained before, nor the training functions Keras saves."""
    model = keras.Sequential(
        [
            keras.Input((), dtype="int64"),
            DeepHashEmbedding(4, 8, num_hidden_layers=1, num_hashes=WIDTH),
        ]
    )
    model.compile("sgd", "mse")
    ids = ids_of(LARGE)
    model.fit(ids, tf.zeros([LARGE, 4]), batch_size=LARGE, verbose=0)
    assert xla_functions(traced(model, True).graph.as_graph_def()) > 0
    if is_legacy:
        model.save(tmp_path / "keras", save_format="tf")
    else:
        model.export(tmp_path / "keras", verbose=False)
    module = tf.Module()
    module.model = model
    module.train = tf.function(
        lambda ids: model(ids, training=True),
        input_signature=[tf.TensorSpec([None], tf.int64)],
    )
    tf.saved_model.save(module, str(tmp_path / "module"))
    for name in ("keras", "module"):
        assert saved_xla_functions(tmp_path / name) == 0
