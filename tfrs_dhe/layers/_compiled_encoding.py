"""When and how hash encodings are compiled by XLA, without being asked to.

Op by op, an encoding is a dozen passes over [n, k] integers of 64 bits. Compiled, it
is one loop that takes little more than writing the result. Its bits are the same.
"""

import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf

# No public name says whether a function is traced for an export.
from tensorflow.python.saved_model import save_context

#: Numbers of an encoding from which on compiling is worth the while: below, op by op
#: takes a millisecond at most.
MIN_SIZE = 2**18

Encode = Callable[[tf.Tensor], tf.Tensor]


def is_safe(training: Any) -> bool:
    """Returns whether what is computed now may be compiled.

    It may in eager mode and in graphs that train. An export may not hold XLA programs,
    as servers may not have XLA, and a graph with training=False or None may become
    one. Where there are accelerators, XLA is asked for by `jit_compile` of the whole
    step: the program of an encoding alone could run on another device than the rest.
    """
    if save_context.in_save_context() or _has_accelerator():
        return False
    return tf.executing_eagerly() or training is True


@functools.cache
def _has_accelerator() -> bool:
    kinds = {device.device_type for device in tf.config.list_physical_devices()}
    return kinds != {"CPU"}


def compiled(encode: Encode, width: int) -> Encode:
    """Returns a function with the same results that compiles what is large.

    Args:
      encode: From tf.int64 [n] to tf.float32 [n, width], of ops that XLA knows.
      width: Of the encoding.

    Returns:
      A function of the same arguments.
    """
    signature = [tf.TensorSpec([None], tf.int64)]
    min_rows = -(-MIN_SIZE // width)
    program = tf.function(encode, input_signature=signature, jit_compile=True)

    @tf.function(input_signature=signature)
    def encode_padded(keys: tf.Tensor) -> tf.Tensor:
        # There is a program for each shape. Rows at the end are cut without a copy.
        size = tf.size(keys)
        padding = _padded_size(size) - size
        return program(tf.pad(keys, [[0, padding]]))[:size]

    def call(keys: tf.Tensor) -> tf.Tensor:
        size = keys.shape[0]
        if size is None:
            is_large = tf.size(keys) >= min_rows
            return tf.cond(is_large, lambda: encode_padded(keys), lambda: encode(keys))
        if size < min_rows:
            return encode(keys)
        if tf.executing_eagerly():  # The next call may have another size.
            return encode_padded(keys)
        return program(keys)

    return call


def _padded_size(size: tf.Tensor) -> tf.Tensor:
    """Rounds up to one of at most nine sizes between a power of two and the next."""
    log2 = tf.math.log(tf.cast(size, tf.float32)) / tf.math.log(2.0)
    step = tf.bitwise.left_shift(1, tf.maximum(tf.cast(log2, tf.int32) - 3, 0))
    return (size + step - 1) // step * step
