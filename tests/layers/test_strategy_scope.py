"""What is not trained, made in the scope of a strategy, where variables are mirrored.

One device is enough for that.
"""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tfrs_dhe._keras import keras
from tfrs_dhe.layers import DeepHashEmbedding, MACHHead, factorized_top_k

QUERIES = np.random.default_rng(0).normal(size=[5, 4]).astype(np.float32)


def make_head() -> MACHHead:
    keras.utils.set_random_seed(2)
    return MACHHead(6, 3, embedding_dim=4, bias_initializer="ones")


def scope() -> object:
    return tf.distribute.MirroredStrategy(["CPU:0"]).scope()


@pytest.mark.parametrize("ids", [list("abcdef"), [5, 3, 9, -1, 2**62, 0]])
def test_index(ids: list, tmp_path: Path) -> None:
    expected = factorized_top_k.MACH(make_head(), k=4).index(ids[1:])
    with scope():
        index = factorized_top_k.MACH(make_head(), k=4).index(ids[:4])
        index.add(ids[4:]).remove(ids[:1])
        loaded = factorized_top_k.MACH(make_head(), k=4)
        loaded.build([None, 4])
    index.head.set_weights(expected.head.get_weights())
    index.build([None, 4])
    index.save_weights(tmp_path / "index.weights.h5")
    loaded.load_weights(tmp_path / "index.weights.h5")
    for one in (index, loaded):
        for actual, wanted in zip(one(QUERIES), expected(QUERIES), strict=True):
            np.testing.assert_array_equal(actual, wanted)


@pytest.mark.parametrize("key_index", ["hash_table", "sorted"])
def test_materialized_rows(key_index: str, tmp_path: Path) -> None:
    ids = np.arange(9)
    layer = DeepHashEmbedding(4, 8, num_hidden_layers=2, num_hashes=16)
    layer(ids, training=True)
    expected = layer(ids, training=False)
    inputs = keras.Input((), dtype="int64")
    with scope():
        rows = layer.materialize(ids[:5], key_index=key_index)
        model = keras.Model(inputs, rows(inputs))
    model.save(tmp_path / "model.keras")
    with scope():
        loaded = keras.models.load_model(tmp_path / "model.keras")
    for one in (model, loaded):
        np.testing.assert_allclose(one(ids), expected, rtol=0, atol=1e-5)
