"""The adapter of TFRS's UnifiedEmbedding."""

import numpy as np
import pytest
import tensorflow as tf

from tfrs_dhe._keras import is_legacy, keras
from tfrs_dhe.layers import UnifiedEmbedding

with_tfrs = pytest.mark.skipif(not is_legacy, reason="TFRS needs legacy Keras")

IDS = np.array([f"id-{i}" for i in range(50)], dtype=object)


@with_tfrs
@pytest.mark.parametrize("num_tables", [1, 2, 3])
def test_chunks_are_rows_of_the_tables_in_turns(num_tables: int) -> None:
    layer = UnifiedEmbedding(6, 11, num_chunks=3, num_tables=num_tables)
    outputs = layer(IDS)
    tables = {weight.name.split("/")[-1]: weight.numpy() for weight in layer.weights}
    assert len(tables) == num_tables
    for chunk in range(3):
        table = tables[f"unified_{chunk % num_tables}:0"]
        rows = keras.layers.Hashing(11, salt=[0, chunk])(IDS)
        part = outputs[:, 2 * chunk : 2 * chunk + 2]
        np.testing.assert_array_equal(part, table[rows])


@with_tfrs
def test_integers_of_any_width_are_the_same_ids() -> None:
    layer = UnifiedEmbedding(6, 11)
    ids = tf.constant([-1, 5, 7], tf.int64)
    expected = layer(ids)
    np.testing.assert_array_equal(layer(tf.cast(ids, tf.int8)), expected)
    np.testing.assert_array_equal(layer(tf.cast(ids, tf.uint64)), expected)


@with_tfrs
def test_budget_is_kept() -> None:
    layer = UnifiedEmbedding(8, parameter_budget=0.5, table_shape=(200, 8))
    layer(IDS)
    assert layer.count_params() == 800


@with_tfrs
def test_trains() -> None:
    model = keras.Sequential([UnifiedEmbedding(8, 40), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    labels = np.arange(50) % 2
    losses = model.fit(IDS, labels, epochs=5, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


@with_tfrs
def test_errors() -> None:
    with pytest.raises(ValueError, match="`num_chunks` must divide `output_dim`"):
        UnifiedEmbedding(5, 11)
    with pytest.raises(ValueError, match="`num_tables` must be at most `num_chunks`"):
        UnifiedEmbedding(4, 11, num_tables=3)
    with pytest.raises(ValueError, match="either by `num_buckets` or by"):
        UnifiedEmbedding(4)
    with pytest.raises(ValueError, match="`side_features` have no place"):
        UnifiedEmbedding(4, 11)(IDS, side_features=np.ones([50, 1]))
    with pytest.raises(ValueError, match="`ids` must be integers"):
        UnifiedEmbedding(4, 11)(tf.constant([1.0]))


@pytest.mark.skipif(is_legacy, reason="TFRS is there under legacy Keras")
def test_says_that_it_needs_tfrs() -> None:
    with pytest.raises(
        ImportError, match=r"layers\.UnifiedEmbedding needs TensorFlow Recomm"
    ):
        UnifiedEmbedding(4, 11)
