"""Keras's own Dense on sparse tensors, as the first layer of a bag of words.

`FeatureHashing` and the documentation rely on it under both Kerases.
"""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tfrs_dhe._keras import keras
from tfrs_dhe.datasets import SparseExamples

# An empty row in the middle and one at the end, a zero, and columns in disorder.
INDICES = [[0, 5], [0, 1], [0, 3], [2, 5], [2, 0], [3, 2]]
VALUES = np.float32([1, -2, 0.5, 3, 4, 0])
SPARSE = tf.SparseTensor(INDICES, VALUES, [5, 6])
DENSE = np.zeros([5, 6], np.float32)
DENSE[tuple(zip(*INDICES, strict=True))] = VALUES


def make(**arguments: Any) -> Any:
    layer = keras.layers.Dense(3, bias_initializer="ones", **arguments)
    layer.build((None, 6))
    return layer


def loss_and_gradients(layer: Any, inputs: tf.SparseTensor) -> Any:
    with tf.GradientTape() as tape:
        outputs = layer(inputs)
        loss = tf.reduce_sum(outputs**3)
    gradients = tape.gradient(loss, layer.trainable_variables)
    return outputs, [tf.convert_to_tensor(gradient) for gradient in gradients]


@pytest.mark.parametrize("wrap", [lambda f: f, tf.function], ids=["eager", "graph"])
def test_forward_and_gradients_in_numpy(wrap: Any) -> None:
    layer = make(activation="relu")
    outputs, (of_kernel, of_bias) = wrap(lambda x: loss_and_gradients(layer, x))(SPARSE)
    kernel, bias = (np.asarray(v, np.float64) for v in layer.trainable_variables)
    expected = np.maximum(DENSE @ kernel + bias, 0)
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-6)
    upstream = 3 * expected**2
    np.testing.assert_allclose(of_kernel, DENSE.T @ upstream, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(of_bias, upstream.sum(axis=0), rtol=1e-4)


def test_a_column_given_twice_counts_twice() -> None:
    layer = make()
    twice = tf.SparseTensor([[0, 4], [0, 4]], np.float32([1, 2]), [1, 6])
    once = tf.SparseTensor([[0, 4]], np.float32([3]), [1, 6])
    np.testing.assert_allclose(layer(twice), layer(once), rtol=1e-6)


@pytest.mark.parametrize("rows", [0, 2])
def test_nothing_at_all(rows: int) -> None:
    nothing = tf.SparseTensor(np.zeros([0, 2], np.int64), np.float32([]), [rows, 6])
    np.testing.assert_array_equal(make()(nothing), np.ones([rows, 3]))


def test_never_made_dense() -> None:
    """Dense, this input would have 64 GiB, and a step on it needs none of them."""
    rows, columns = 2**12, 2**22
    layer = keras.layers.Dense(2)
    indices = np.stack([np.arange(rows), np.arange(rows) * 1000], axis=1)
    wide = tf.SparseTensor(indices, np.ones(rows, np.float32), [rows, columns])

    @tf.function
    def step(inputs: tf.SparseTensor) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(inputs))
        return tape.gradient(loss, layer.kernel)

    gradient = step(wide)
    # Nor is the gradient: only the rows that occur have one.
    assert isinstance(gradient, tf.IndexedSlices)
    assert tf.size(gradient.indices) == rows
    np.testing.assert_array_equal(tf.sort(gradient.indices), indices[:, 1])
    np.testing.assert_array_equal(gradient.values, np.ones([rows, 2]))


@pytest.mark.parametrize(
    # Rounding to 8 and 11 bits, of products that reach 10.
    ("policy", "dtype", "tolerance"),
    [("mixed_bfloat16", tf.bfloat16, 2**-4), ("mixed_float16", tf.float16, 2**-7)],
)
def test_mixed_precision(policy: str, dtype: tf.DType, tolerance: float) -> None:
    layer = make(dtype=policy)
    outputs = layer(SPARSE)
    assert outputs.dtype == dtype
    kernel, bias = (np.asarray(v) for v in layer.trainable_variables)
    expected = DENSE @ kernel + bias
    difference = np.abs(np.float32(outputs) - expected).max()
    assert difference < tolerance * np.abs(expected).max()


def test_a_model_trains_on_the_batches_of_a_data_set() -> None:
    rng = np.random.default_rng(0)
    n, width = 64, 30
    columns = np.sort(rng.permuted(np.tile(np.arange(width), (n, 1)), axis=1)[:, :4])
    examples = SparseExamples(
        feature_splits=np.arange(n + 1) * 4,
        feature_ids=columns.reshape(-1),
        feature_values=np.ones(4 * n, np.float32),
        label_splits=np.arange(n + 1),
        labels=columns[:, 0],
        num_features=width,
        num_labels=width,
    )
    batches = examples.batches(16).map(
        lambda batch: (batch["features"], batch["labels"].to_tensor(shape=[None, 1]))
    )
    inputs = keras.Input((width,), sparse=True)
    model = keras.Model(inputs, keras.layers.Dense(width)(inputs))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.1), loss, metrics=["accuracy"])
    history = model.fit(batches, epochs=20, verbose=0).history
    # The smallest of four columns is a linear function of them.
    assert history["accuracy"][-1] > 0.95 > 0.3 > history["accuracy"][0]
    assert model.predict(batches.map(lambda x, y: x), verbose=0).shape == (n, width)


def test_signature_of_sparse_tensors(tmp_path: Any) -> None:
    inputs = keras.Input((6,), sparse=True)
    model = keras.Model(inputs, keras.layers.Dense(3)(inputs))
    module = tf.Module()
    module.model = model
    module.serve = tf.function(lambda features: {"logits": model(features)})
    spec = tf.SparseTensorSpec([None, 6], tf.float32)
    signature = module.serve.get_concrete_function(spec)
    tf.saved_model.save(module, str(tmp_path), signatures=signature)
    loaded = tf.saved_model.load(str(tmp_path))
    np.testing.assert_allclose(
        loaded.serve(SPARSE)["logits"], model(SPARSE), rtol=1e-6, atol=1e-6
    )
    served = loaded.signatures["serving_default"]
    # One input for each of indices, values and shape.
    parts = served.structured_input_signature[1]
    assert sorted(str(part.dtype) for part in parts.values()) == [
        "<dtype: 'float32'>",
        "<dtype: 'int64'>",
        "<dtype: 'int64'>",
    ]
