"""When and how hash encodings are compiled by XLA, without being asked to.

Op by op, an encoding is a dozen passes over [n, k] integers of 64 bits. Compiled, it
is one loop that takes little more than writing the result. Its bits are the same.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tfrs_dhe.layers import _compilation

#: Numbers of an encoding from which on compiling is worth the while: below, op by op
#: takes a millisecond at most.
MIN_SIZE = 2**18

Encode = Callable[[tf.Tensor], tf.Tensor]


def is_safe(training: Any) -> bool:
    """Returns whether what is computed now may be compiled.

    It may in eager mode and in graphs that train: one with training=False or None may
    become an export.
    """
    return _compilation.is_allowed() and (tf.executing_eagerly() or training is True)


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
    program = tf.function(
        encode, input_signature=signature, jit_compile=True, autograph=False
    )

    @tf.function(input_signature=signature, autograph=False)
    def encode_padded(keys: tf.Tensor) -> tf.Tensor:
        size = tf.size(keys)
        padding = _compilation.padded_size(size) - size
        # Rows at the end are cut without a copy.
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
