"""Inference forms against a float64 reference of the layers they are made of."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tfrs_dhe import hashing
from tfrs_dhe._keras import is_legacy
from tfrs_dhe.layers import DeepHashEmbedding, EmbeddingNetwork

#: Rounding of float32: relative error of one operation.
UNIT = 2.0**-24

IDS = tf.strings.as_string(tf.range(300))
KEYS = hashing.int64_keys(IDS)
ORDERS = ["normalize_then_activate", "activate_then_normalize"]


def make(**options: Any) -> DeepHashEmbedding:
    """Returns a layer whose weights and statistics all have moved."""
    defaults = {"hidden_dim": (24, 12), "num_hidden_layers": 2, "num_hashes": 32}
    layer = DeepHashEmbedding(4, **{**defaults, **options})
    generator = np.random.default_rng(7)
    layer(IDS, training=False)
    for weight in layer.weights:
        noise = generator.uniform(0.2, 1.0, weight.shape)
        weight.assign(weight + tf.cast(noise, weight.dtype))
    return layer


def reference(network: Any, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the outputs in float64, and how far float32 may be from them.

    The bound follows the network: an error goes through a Dense layer by the
    absolute values of its kernel, and a sum of n products adds (n + 2) roundings of
    its absolute terms. Mish has slopes below 1.1; ten roundings of its value cover
    exp, log, tanh and the product. Normalization is a scale and an offset, which
    the folded network has in its kernels, so its terms count as those of the sums.
    """
    rows = inputs.astype(np.float64)
    error = np.zeros_like(rows)
    for i in range(network.num_hidden_layers):
        rows, error = _dense(getattr(network, f"hidden_{i}"), rows, error)
        norm = getattr(network, f"normalization_{i}")
        if network.order == ORDERS[0]:
            rows, error = _mish(*_normalize(norm, rows, error))
        else:
            rows, error = _normalize(norm, *_mish(rows, error))
    return _dense(network.output_layer, rows, error)


def _dense(dense: Any, rows: Any, error: Any) -> tuple[np.ndarray, np.ndarray]:
    kernel = np.asarray(dense.kernel, np.float64)
    bias = 0.0 if dense.bias is None else np.asarray(dense.bias, np.float64)
    terms = np.abs(rows) @ np.abs(kernel) + np.abs(bias)
    roundings = (len(kernel) + 2) * UNIT * terms
    return rows @ kernel + bias, error @ np.abs(kernel) + roundings


def _mish(rows: Any, error: Any) -> tuple[np.ndarray, np.ndarray]:
    value = rows * np.tanh(np.log1p(np.exp(rows)))
    return value, 1.1 * error + 10 * UNIT * np.abs(rows)


def _normalize(layer: Any, rows: Any, error: Any) -> tuple[np.ndarray, np.ndarray]:
    gamma, beta, mean, variance = (
        np.asarray(weight, np.float64)
        for weight in (
            layer.gamma,
            layer.beta,
            layer.moving_mean,
            layer.moving_variance,
        )
    )
    scale = gamma / np.sqrt(variance + layer.epsilon)
    terms = np.abs(rows * scale) + np.abs(mean * scale) + np.abs(beta)
    return (rows - mean) * scale + beta, np.abs(scale) * error + 10 * UNIT * terms


@pytest.mark.parametrize("order", ORDERS)
def test_is_equal_but_for_rounding(order: str) -> None:
    layer = make(order=order)
    expected, bound = reference(layer.network, np.asarray(layer.encoding(KEYS)))
    for each in (layer, layer.inference_form()):
        error = np.abs(each(IDS, training=False) - expected)
        assert np.all(error <= bound)
    # The bound tells: a normalization left out is far beyond it.
    layer.network.normalization_1.gamma.assign_add(tf.fill([12], 1e-3))
    assert np.any(np.abs(layer.inference_form()(IDS) - expected) > bound)


@pytest.mark.parametrize("normalization", ["layer", None])
def test_what_cannot_be_folded_is_the_same(normalization: str | None) -> None:
    layer = make(normalization=normalization, activation="relu")
    np.testing.assert_array_equal(layer.inference_form()(IDS), layer(IDS))


def test_float64_is_kept() -> None:
    layer = make(dtype="float64")
    folded = layer.inference_form()
    np.testing.assert_allclose(folded(IDS), layer(IDS, training=False), rtol=1e-12)


def test_holds_only_what_it_needs() -> None:
    layer = make()
    folded = layer.inference_form()
    # Kernels and biases, each in lines of 32 numbers.
    lines = [32 * 24 // 32, 1, 24 * 12 // 32, 1, 2, 1]
    assert [tuple(weight.shape) for weight in folded.weights] == [(sum(lines), 32)]
    assert not folded.trainable_weights
    assert folded.name == layer.name


def test_is_a_copy() -> None:
    layer = make()
    folded = layer.inference_form()
    before = folded(IDS).numpy()
    layer(IDS, training=True)
    layer.network.hidden_0.kernel.assign(layer.network.hidden_0.kernel + 1.0)
    np.testing.assert_array_equal(folded(IDS), before)


def test_budget_becomes_widths() -> None:
    layer = make(hidden_dim=None, parameter_budget=2000)
    folded = layer.inference_form()
    copy = type(folded).from_config(folded.get_config())
    copy(IDS)
    copy.set_weights(folded.get_weights())
    np.testing.assert_array_equal(copy(IDS), folded(IDS))


@pytest.mark.parametrize("deduplicate", [True, False])
def test_repeated_ids_are_computed_once(deduplicate: bool) -> None:
    layer = make(deduplicate=not deduplicate)
    folded = layer.inference_form(deduplicate=deduplicate)
    assert layer.inference_form().deduplicate == layer.deduplicate
    seen = []
    folded.network.call = counting(folded.network.call, seen)
    repeated = tf.constant(["a", "b", "a", "a", "b", "a"])
    outputs = folded(repeated)
    assert seen == [2 if deduplicate else 6]
    np.testing.assert_allclose(outputs, layer(repeated, training=False), atol=1e-4)
    np.testing.assert_array_equal(outputs[0], outputs[2])


def counting(call: Any, seen: list[int]) -> Any:
    def counted(inputs: tf.Tensor, **kwargs: Any) -> tf.Tensor:
        seen.append(len(inputs))
        return call(inputs, **kwargs)

    return counted


def test_training_is_an_error() -> None:
    folded = make().inference_form()
    with pytest.raises(ValueError, match="InferenceDeepHashEmbedding is for inference"):
        folded(IDS, training=True)
    with pytest.raises(ValueError, match="InferenceEmbeddingNetwork is for inference"):
        folded.network(tf.ones([1, 32]), training=True)
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError)) as error:
        tf.function(lambda: folded(IDS, training=True))()
    assert "is for inference and cannot be trained" in str(error.value)


def test_without_weights_there_is_nothing_to_fold() -> None:
    for layer in (
        DeepHashEmbedding(4, hidden_dim=8),
        EmbeddingNetwork(4, hidden_dim=8),
    ):
        with pytest.raises(ValueError, match="Train it, load it, or call it"):
            layer.inference_form()


@pytest.mark.skipif(is_legacy, reason="legacy Keras does not quantize")
@pytest.mark.parametrize("name", ["hidden_1", "output_layer"])
def test_integers_of_keras_are_not_taken_for_weights(name: str) -> None:
    layer = make()
    getattr(layer.network, name).quantize("int8")
    layer(IDS, training=False)  # The layer itself goes on.
    for form in (
        layer.inference_form,
        layer.network.inference_form,
        lambda: layer.materialize(IDS),
    ):
        with pytest.raises(ValueError, match=f"kernel of {name} has the dtype int8"):
            form()
