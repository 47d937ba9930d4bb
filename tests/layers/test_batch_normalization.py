"""Row-weighted batch normalization against NumPy, Keras and repeated rows."""

import numpy as np
import pytest
import tensorflow as tf

from tfrs_dhe._keras import keras
from tfrs_dhe.layers._batch_normalization import RowWeightedBatchNormalization

X = np.array([[1, 10], [2, 20], [3, 0], [6, 2]], np.float32)


def test_statistics_worked_by_hand() -> None:
    # Column 0: mean 3, variance (4 + 1 + 0 + 9) / 4 = 3.5; column 1: 8, 62.
    layer = RowWeightedBatchNormalization(momentum=0.75, epsilon=0.0)
    outputs = layer(X, training=True)
    expected = (X - [3, 8]) / np.sqrt([3.5, 62])
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=1e-6)
    # A quarter of the batch's and three of the initial 0 and 1.
    np.testing.assert_allclose(layer.moving_mean, [0.75, 2.0])
    np.testing.assert_allclose(layer.moving_variance, [1.625, 16.25])


def test_is_keras_batch_normalization_without_weights() -> None:
    rng = np.random.default_rng(0)
    ours = RowWeightedBatchNormalization(momentum=0.9)
    keras_layer = keras.layers.BatchNormalization(momentum=0.9)
    for _ in range(3):
        # Rank 2, where Keras, too, takes the variance without Bessel's correction.
        x = rng.normal(3, 2, [50, 7]).astype(np.float32)
        np.testing.assert_allclose(
            ours(x, training=True), keras_layer(x, training=True), rtol=0, atol=1e-5
        )
    for actual, expected in zip(
        ours.get_weights(), keras_layer.get_weights(), strict=True
    ):
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        ours(x, training=False), keras_layer(x, training=False), rtol=0, atol=1e-5
    )


def test_a_weight_counts_like_that_many_rows() -> None:
    repetitions = np.array([3, 0, 1, 2])
    weighted, repeated = (RowWeightedBatchNormalization() for _ in range(2))
    outputs = weighted(X, row_weights=repetitions.astype(np.float32), training=True)
    expected = repeated(np.repeat(X, repetitions, axis=0), training=True)
    np.testing.assert_allclose(
        np.repeat(outputs, repetitions, axis=0), expected, rtol=0, atol=1e-5
    )
    for actual, wanted in zip(
        weighted.get_weights(), repeated.get_weights(), strict=True
    ):
        np.testing.assert_allclose(actual, wanted, rtol=1e-6)


def test_gradient_is_that_of_repeated_rows() -> None:
    repetitions = np.array([3, 1, 1, 2])
    x = tf.Variable(X)
    layer = RowWeightedBatchNormalization()
    layer.build((None, 2))
    direction = tf.constant(np.random.default_rng(1).normal(size=[7, 2]), tf.float32)
    gradients = []
    for repeat_first in (True, False):
        with tf.GradientTape() as tape:
            if repeat_first:
                y = layer(tf.repeat(x, repetitions, axis=0), training=True)
            else:
                weights = tf.constant(repetitions, tf.float32)
                y = layer(x, row_weights=weights, training=True)
                y = tf.repeat(y, repetitions, axis=0)
            loss = tf.reduce_sum(y * y * direction)
        gradients.append(tape.gradient(loss, x))
    np.testing.assert_allclose(gradients[1], gradients[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("weights", [None, np.zeros(4, np.float32)])
def test_no_rows_leave_the_statistics(weights: np.ndarray | None) -> None:
    layer = RowWeightedBatchNormalization()
    layer(X, training=True)
    before = layer.get_weights()
    rows = X if weights is not None else X[:0]
    outputs = layer(rows, row_weights=weights, training=True)
    assert np.isfinite(outputs).all()
    for old, new in zip(before, layer.get_weights(), strict=True):
        np.testing.assert_array_equal(new, old)


def test_frozen_layer_uses_and_keeps_its_moving_statistics() -> None:
    layer = RowWeightedBatchNormalization()
    layer(X, training=True)
    layer.trainable = False
    before = layer.get_weights()
    np.testing.assert_array_equal(layer(X, training=True), layer(X, training=False))
    for old, new in zip(before, layer.get_weights(), strict=True):
        np.testing.assert_array_equal(new, old)


@pytest.mark.parametrize("momentum", [-0.1, 1.0])
def test_momentum_out_of_range(momentum: float) -> None:
    with pytest.raises(ValueError, match="`momentum` must be in"):
        RowWeightedBatchNormalization(momentum=momentum)
