"""The Mish activation, with one exponential and a gradient that stays finite."""

from collections.abc import Callable

import tensorflow as tf

from tfrs_dhe._keras import keras


@keras.saving.register_keras_serializable(package="tfrs_dhe")
def mish(x: tf.Tensor) -> tf.Tensor:
    """Returns `x tanh(ln(1 + e^x))`, elementwise.

    With `e = e^-|x|`, which never overflows, `tanh(ln(1 + e^x))` is the rational
    `n / d` with `n = 1 + 2 e, d = n + 2 e^2` for x >= 0 and
    `n = e^2 + 2 e, d = n + 2` for x < 0. The textbook form takes three
    transcendental functions and `e^x` overflows in float16 from x = 12.

    Example:
    >>> mish(tf.constant([-1e4, 0.0, 1e4])).numpy().tolist()
    [-0.0, 0.0, 10000.0]

    Args:
      x: Floating-point tensor [...].

    Returns:
      Tensor of the shape and dtype of `x`.

    References:
      Misra, "Mish: A Self Regularized Non-Monotonic Activation Function",
      BMVC 2020.
    """
    return _mish(tf.convert_to_tensor(x))


@tf.custom_gradient
def _mish(x: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    e = tf.exp(-tf.abs(x))
    positive = x >= 0
    numerator = tf.where(positive, 1 + 2 * e, e * (e + 2))
    denominator = numerator + tf.where(positive, 2 * e * e, tf.constant(2, x.dtype))
    tanh_softplus = numerator / denominator

    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        # t + x (1 - t^2) sigmoid(x) with t = n / d; the last two factors are
        # 4 e^a (1 + e) / d^2, a = 2 for x >= 0 and 1 otherwise, which loses no
        # digits where t rounds to 1.
        slope = 4 * (e * (1 + e)) * tf.where(positive, e, tf.ones_like(e))
        slope = slope / (denominator * denominator)
        return upstream * (tanh_softplus + x * slope)

    return x * tanh_softplus, gradient
