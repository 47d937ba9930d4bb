"""What cannot be served is refused before anything is written."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tfrs_dhe import layers, serving
from tfrs_dhe._keras import keras
from tfrs_dhe.layers.factorized_top_k import MACH

ROWS = np.ones([2, 3], np.float32)
KEYS = tf.lookup.KeyValueTensorInitializer(tf.range(3), tf.range(3))
TABLE = tf.lookup.StaticHashTable(KEYS, 0)
DATA = tf.data.Dataset.range(3)


def dense() -> Any:
    layer = keras.layers.Dense(2)
    layer(tf.ones([1, 3]))
    return layer


def index(**arguments: Any) -> MACH:
    return MACH(layers.MACHHead(5, 2, embedding_dim=3), **arguments)


def calling(function: Callable[[Any], Any]) -> Any:
    """Returns a layer that does what a function does."""

    class Calling(keras.layers.Layer):
        def call(self, inputs: Any) -> Any:
            return function(inputs)

        def compute_output_spec(self, inputs: Any) -> Any:
            return keras.KerasTensor(inputs.shape, inputs.dtype)

    layer = Calling()
    layer.built = True
    return layer


def refuse(match: str, tmp_path: Path, *arguments: Any, **options: Any) -> None:
    servable, sample_inputs = arguments
    base = tmp_path / "base"
    with pytest.raises(ValueError, match=match):
        serving.export(servable, base, sample_inputs, warmup=False, **options)
    assert not base.exists()


def in_python(x: Any) -> Any:
    return tf.ensure_shape(tf.py_function(lambda y: y, [x], tf.float32), [None, 3])


@tf.function(jit_compile=True)
def compiled(x: Any) -> Any:
    return x + 1


FUNCTIONS = {
    "calls a Python function": in_python,
    "jit_compile=True": compiled,
    "lookup table or data set that is no part": lambda x: (
        x + tf.cast(TABLE.lookup(tf.cast(x, tf.int32)), tf.float32)
    ),
    "no part of `servable`": lambda x: (
        x + tf.cast(DATA.reduce(np.int64(0), tf.add), tf.float32)
    ),
    "must return one row for each row": lambda x: tf.reduce_sum(x, axis=0),
    "must return a tensor or a dict": lambda x: (x, x),
    "must be dense tensors": lambda x: {"x": tf.RaggedTensor.from_tensor(x)},
    "fails on 0 rows": lambda x: (
        tf.debugging.assert_positive(tf.shape(x)[0]),
        x,
    )[1],
}


@pytest.mark.parametrize("match", FUNCTIONS)
def test_what_a_server_cannot_run(match: str, tmp_path: Path) -> None:
    refuse(match, tmp_path, calling(FUNCTIONS[match]), ROWS)


def test_what_has_no_weights_yet(tmp_path: Path) -> None:
    refuse("`servable` .* no weights yet", tmp_path, keras.layers.Dense(2), ROWS)

    class Model(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = dense(), keras.layers.Dense(2)

        def call(self, inputs: Any, both: bool = True) -> Any:
            outputs = self.first(inputs)
            return self.second(outputs) if both else outputs

    model = Model()
    model(tf.constant(ROWS), both=False)
    refuse(r"no weights yet: some are made", tmp_path, model, ROWS)


def test_an_index_without_classes(tmp_path: Path) -> None:
    refuse("no classes yet", tmp_path, index(), ROWS)


@pytest.mark.parametrize("kind", ["own", "keras"])
def test_batch_normalization_that_saw_no_batch(kind: str, tmp_path: Path) -> None:
    if kind == "own":
        layer = layers.DeepHashEmbedding(
            2, hidden_dim=4, num_hidden_layers=1, num_hashes=4
        )
        inputs = tf.constant([1, 2], tf.int64)
    else:
        layer = keras.layers.BatchNormalization()
        inputs = tf.constant(ROWS)
    layer.not_used = keras.layers.BatchNormalization()
    layer(inputs, training=False)
    refuse("is untrained", tmp_path, layer, inputs)
    serving.export(layer, tmp_path / "a", inputs, allow_untrained=True, warmup=False)
    layer(inputs, training=True)
    serving.export(layer, tmp_path / "b", inputs, warmup=False)


@pytest.mark.parametrize(
    ("sample_inputs", "match"),
    [
        ({}, "at least one input"),
        ({"user id": ROWS}, "'user id'"),
        ({"a": {"x": ROWS}, "b": {"x": ROWS}}, "several dicts with `x`"),
        (ROWS[:0], "leading batch dimension of at least 1"),
        (1.5, "leading batch dimension of at least 1"),
        ({"a": ROWS, "b": ROWS[:1]}, "same number of rows"),
        (tf.ragged.constant([[1.0], []]), "`inputs` must be dense"),
        ([[1, 2], [3]], "list of equal rows"),
        ({"a": ROWS}, "`serving_default` cannot be called with `a` float32"),
        (["user_1"], "`serving_default` cannot be called with `inputs` string"),
    ],
)
def test_sample_inputs_that_do_not_fit(
    sample_inputs: Any, match: str, tmp_path: Path
) -> None:
    def only_b(x: Any) -> Any:
        return x["b"] if isinstance(x, dict) else x * 2.0

    refuse(match, tmp_path, calling(only_b), sample_inputs)


def test_ids_that_are_floats(tmp_path: Path) -> None:
    layer = layers.DeepHashEmbedding(
        2, hidden_dim=4, num_hidden_layers=1, num_hashes=4, normalization=None
    )
    layer(tf.constant([1], tf.int64))
    refuse(
        r"(?s)`serving_default` .*float32.*must be integers",
        tmp_path,
        layer,
        [1.0, 2.0],
    )


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"k": 0}, "`k` must be a positive integer"),
        ({"k": "3"}, "`k` must be a positive integer"),
        ({"embeddings": True}, "needs an index with a query model"),
        ({"output_name": "movies"}, "`output_name` is for a model"),
        ({"input_name": "exclusions"}, "no other input may have this name"),
        ({"batch_sizes": []}, "`batch_sizes`"),
        ({"batch_sizes": [1, -1]}, "`batch_sizes`"),
        ({"batch_sizes": range(501)}, "at most 1000 warmup"),
        ({"any_length": ["no_input"]}, "`any_length`"),
        ({"any_length": "inputs"}, "`any_length`"),
    ],
)
def test_options_of_an_index(options: Any, match: str, tmp_path: Path) -> None:
    refuse(match, tmp_path, index().index([1, 2]), ROWS, **options)


def test_options_of_an_index_with_a_layer(tmp_path: Path) -> None:
    for name in ("k", "exclusions", "embeddings"):
        refuse(f"`{name}` is for an index", tmp_path, dense(), ROWS, **{name: 1})


def test_what_is_no_layer(tmp_path: Path) -> None:
    refuse("must be an index, a Keras model", tmp_path, lambda x: x, ROWS)
    refuse("Model has no `call`", tmp_path, keras.Model(), ROWS)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_weights_that_are_no_numbers(dtype: str, tmp_path: Path) -> None:
    """In Python and in the server the answers would be NaN, and so equal."""
    layer = keras.layers.Dense(2, dtype=dtype)
    inputs = tf.cast(ROWS, dtype)
    layer(inputs)
    layer.bias.assign([0, -np.inf])  # As of what is never to be chosen.
    serving.export(layer, tmp_path / "a", inputs, warmup=False)
    layer.kernel.assign(np.where(np.eye(3, 2), np.nan, 0))
    refuse("`servable.*kernel.*` has NaN", tmp_path, layer, inputs)


def test_an_index_of_vectors_that_are_no_numbers(tmp_path: Path) -> None:
    rows = np.where(np.eye(5, 4), np.nan, 1).astype(np.float32)
    layer = layers.MACHHead(5, 2, embedding_dim=4)
    layer.kernel.assign(rows[np.arange(10) % 5])
    made = MACH(layer, k=2)
    made.index([1, 2, 3])
    refuse("`servable.head.*` has NaN", tmp_path, made, np.ones([2, 4], np.float32))
