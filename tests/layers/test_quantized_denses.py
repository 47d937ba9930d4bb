"""Models that Keras 3 has quantized answer the same once they are saved and loaded."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tfrs_dhe._keras import keras
from tfrs_dhe.layers import DedicatedRowsEmbedding, DeepHashEmbedding

pytestmark = pytest.mark.skipif(
    not hasattr(keras.Model, "quantize"), reason="legacy Keras does not quantize"
)
Int4Config = getattr(getattr(keras, "quantizers", None), "Int4QuantizationConfig", None)
needs_4_bits = pytest.mark.skipif(
    Int4Config is None, reason="4 bits came with Keras 3.12"
)

IDS = tf.range(40, dtype=tf.int64)


def deep_hash() -> Any:
    return DeepHashEmbedding(4, hidden_dim=6, num_hidden_layers=2, num_hashes=16)


def dedicated() -> Any:
    return DedicatedRowsEmbedding(deep_hash(), np.arange(9))


def model_of(layer: Any) -> Any:
    inputs = keras.Input((), dtype="int64")
    model = keras.Model(inputs, keras.layers.Dense(1)(layer(inputs)))
    model.compile("adam", "mse")
    return model


def trained(layer: Any) -> Any:
    """Returns a model whose weights and statistics all have moved."""
    model = model_of(layer)
    model.fit(IDS, tf.sin(tf.range(40.0)), batch_size=20, verbose=0)
    return model


def network(model: Any) -> Any:
    layer = model.layers[1]
    return getattr(layer, "embedding", layer).network


def assert_same(loaded: Any, model: Any) -> None:
    np.testing.assert_array_equal(loaded(IDS), model(IDS))


@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method")
@pytest.mark.parametrize("make", [deep_hash, dedicated])
@pytest.mark.parametrize("mode", ["int8", pytest.param("int4", marks=needs_4_bits)])
def test_keras_file(make: Any, mode: str, tmp_path: Any) -> None:
    model = trained(make())
    model.quantize(mode)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert network(loaded).hidden_0.quantization_mode == mode
    dtypes, expected = (
        [weight.dtype for weight in network(m).weights] for m in (loaded, model)
    )
    assert dtypes == expected
    assert "int8" in dtypes  # holds two numbers of 4 bits
    assert_same(loaded, model)


def test_weights_of_a_layer_that_is_quantized_in_part(tmp_path: Any) -> None:
    model = trained(deep_hash())
    network(model).hidden_1.quantize("int8")
    model.save_weights(tmp_path / "model.weights.h5")
    loaded = model_of(deep_hash())
    for _ in range(2):  # once into numbers, once into integers
        loaded.load_weights(tmp_path / "model.weights.h5")
        assert_same(loaded, model)
    assert network(loaded).hidden_0.quantization_mode is None


@needs_4_bits
def test_settings_of_the_quantization(tmp_path: Any) -> None:
    model = trained(deep_hash())
    network(model).hidden_0.quantize("int4", config=Int4Config(block_size=4))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert network(loaded).hidden_0.quantization_config.block_size == 4
    assert_same(loaded, model)


@needs_4_bits
def test_integers_do_not_fit_another_quantization(tmp_path: Any) -> None:
    model, other = trained(deep_hash()), model_of(deep_hash())
    network(model).hidden_0.quantize("int8")
    network(other).hidden_0.quantize("int4")
    model.save_weights(tmp_path / "model.weights.h5")
    with pytest.raises(ValueError, match="already quantized"):
        other.load_weights(tmp_path / "model.weights.h5")
