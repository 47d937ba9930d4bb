"""Mish against the textbook formula in float64."""

import numpy as np
import pytest
import tensorflow as tf

from tfrs_dhe.layers import mish

# The relative size of one unit in the last place.
DTYPES = [(tf.float32, 2**-23), (tf.float16, 2**-10), (tf.bfloat16, 2**-7)]


def inputs(dtype: tf.DType) -> tf.Tensor:
    magnitudes = np.concatenate([[0.0], np.logspace(-4, 4, 2001)])
    return tf.cast(np.concatenate([-magnitudes, magnitudes]), dtype)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(0, -x))


def reference(x: np.ndarray) -> np.ndarray:
    return x * np.tanh(np.logaddexp(0, x))


def reference_gradient(x: np.ndarray) -> np.ndarray:
    t = np.tanh(np.logaddexp(0, x))
    return t + x * (1 - t * t) * sigmoid(x)


@pytest.mark.parametrize(("dtype", "ulp"), DTYPES)
def test_value(dtype: tf.DType, ulp: float) -> None:
    x = inputs(dtype)
    values = x.numpy().astype(np.float64)
    expected = reference(values)
    # The exponential, two sums, a product, a quotient and a product: a few
    # roundings. It underflows for very negative x, in steps of float16's smallest
    # number, or all at once at float32's smallest normal one.
    underflow = 2.0**-24 if dtype == tf.float16 else 2.0**-126
    tolerance = 8 * ulp * np.abs(expected) + 4 * underflow * (1 + np.abs(values))
    errors = np.abs(mish(x).numpy().astype(np.float64) - expected)
    assert (errors <= tolerance).all()


@pytest.mark.parametrize(("dtype", "ulp"), DTYPES)
def test_gradient(dtype: tf.DType, ulp: float) -> None:
    x = inputs(dtype)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = mish(x)
    gradient = tape.gradient(y, x).numpy().astype(np.float64)
    expected = reference_gradient(x.numpy().astype(np.float64))
    # It crosses zero near x = -1.19, so the error is measured against its range.
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=8 * ulp)


def test_gradient_is_the_derivative_of_the_value() -> None:
    x = tf.constant(np.linspace(-6, 6, 101))  # float64, for the differences
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = mish(x)
    step = 1e-6
    differences = (mish(x + step) - mish(x - step)) / (2 * step)
    np.testing.assert_allclose(tape.gradient(y, x), differences, rtol=0, atol=1e-8)


def test_second_derivative() -> None:
    x = tf.constant(np.linspace(-6, 6, 101))
    x = x + 0.01  # off zero, where |x| has no derivative
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            y = mish(x)
        slope = inner.gradient(y, x)
    step = 1e-6
    values = x.numpy()
    differences = reference_gradient(values + step) - reference_gradient(values - step)
    np.testing.assert_allclose(
        outer.gradient(slope, x), differences / (2 * step), rtol=0, atol=1e-7
    )


def test_one_exponential_forward_and_backward() -> None:
    @tf.function
    def forward_and_backward(x: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = mish(x)
        return tape.gradient(y, x)

    graph = forward_and_backward.get_concrete_function(tf.TensorSpec([None])).graph
    types = [op.type for op in graph.get_operations()]
    costly = {"Exp", "Expm1", "Log", "Log1p", "Tanh", "Softplus", "Sigmoid", "Pow"}
    assert [t for t in types if t in costly] == ["Exp"]


def test_no_overflow_at_the_ends() -> None:
    for dtype, _ in DTYPES:
        x = tf.constant([-1e4, 1e4], dtype)
        assert mish(x).numpy().tolist() == [0.0, float(x[1])]
