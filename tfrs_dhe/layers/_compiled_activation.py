"""Mish in training, compiled by XLA, where no batch normalization is one with it.

Op by op, Mish and its gradient are some 30 passes over [rows, units], compiled 3: they
read the input, and write the output and what flows back.
"""

import contextlib
from collections.abc import Callable

import tensorflow as tf

# No public name keeps eager operations off the tapes.
from tensorflow.python.eager import record

from tfrs_dhe.layers import _tape
from tfrs_dhe.layers._mish import mish


@tf.custom_gradient
def compiled_mish(
    inputs: tf.Tensor,
) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    """Returns `mish` of [rows, units], by programs of XLA."""
    # Recorded, a function returns all that its gradient could need.
    eager = tf.executing_eagerly()
    with record.stop_recording() if eager else contextlib.nullcontext():
        outputs = _forward(inputs)

    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        if _tape.is_recording():  # For a second derivative.
            return _backward_op_by_op(inputs, upstream)
        return _backward(inputs, upstream)

    return outputs, gradient


def _backward_op_by_op(inputs: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = mish(inputs)
    return tape.gradient(outputs, inputs, upstream)


_forward = tf.function(mish, jit_compile=True, autograph=False)
_backward = tf.function(_backward_op_by_op, jit_compile=True, autograph=False)
