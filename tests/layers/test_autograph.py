"""Layers are called by AutoGraph as they stand, and what users put into them is not."""

import traceback
from typing import Any

import pytest
import tensorflow as tf

from tfrs_dhe import layers
from tfrs_dhe._keras import is_legacy, keras
from tfrs_dhe.layers.factorized_top_k import MACH

LAYERS = [MACH, *(getattr(layers, name) for name in layers.__all__)]
IDS = tf.constant(["a", "b"])


@pytest.mark.parametrize("layer", [x for x in LAYERS if hasattr(x, "call")])
def test_every_layer_is_marked(layer: Any) -> None:
    assert hasattr(layer.call, "autograph_info__")


def test_nothing_of_a_layer_is_rewritten() -> None:
    names: list[str] = []

    def activation(x: tf.Tensor) -> tf.Tensor:
        names.extend(
            frame.name
            for frame in traceback.extract_stack()
            if "__autograph_generated_file" in frame.filename
        )
        return tf.nn.relu(x)

    layer = layers.DeepHashEmbedding(4, 6, num_hashes=8, activation=activation)
    layer(IDS)  # Makes the weights.
    names.clear()

    @tf.function
    def embed(ids: tf.Tensor) -> tf.Tensor:
        return layer(ids)

    embed(IDS)
    # The user's own function is rewritten, and nothing after it.
    assert set(names) == {"tf__embed"}


@pytest.mark.skipif(not is_legacy, reason="Keras 3 has no layer rewritten")
def test_a_layer_within_may_have_conditions_of_python() -> None:
    class Encoding(keras.layers.Layer):
        def call(self, inputs: tf.Tensor) -> tf.Tensor:
            if tf.reduce_max(inputs) > 0:
                inputs = 2 * inputs
            return tf.cast(inputs, tf.float32)[..., tf.newaxis]

    layer = layers.DeepHashEmbedding(
        1, 1, num_hidden_layers=1, encoding=Encoding(), normalization=None
    )
    graph = tf.function(lambda ids: layer(ids))
    for ids in (tf.constant([3, 4]), tf.constant([-3, -4])):
        expected = layer(ids)
        assert float(tf.reduce_max(tf.abs(graph(ids) - expected))) < 1e-6
