"""What layers compile by XLA without being asked to: where, and in which sizes."""

import functools

import tensorflow as tf

# No public name says whether a function is traced for an export.
from tensorflow.python.saved_model import save_context


def is_allowed() -> bool:
    """Returns whether what is computed or traced now may hold programs of XLA.

    An export may not, as servers may not have XLA. Where there are accelerators, XLA is
    asked for by `jit_compile` of the whole step: a program of its own could run on
    another device than the rest.
    """
    return not save_context.in_save_context() and not _has_accelerator()


@functools.cache
def _has_accelerator() -> bool:
    kinds = {device.device_type for device in tf.config.list_physical_devices()}
    return kinds != {"CPU"}


def padded_size(size: tf.Tensor) -> tf.Tensor:
    """Rounds a number of rows up to one of at most nine between two powers of two.

    There is a program for each shape; sizes that are not known before have few of them.

    Args:
      size: tf.int32 scalar.

    Returns:
      tf.int32 scalar.
    """
    log2 = tf.math.log(tf.cast(tf.maximum(size, 1), tf.float32)) / tf.math.log(2.0)
    step = tf.bitwise.left_shift(1, tf.maximum(tf.cast(log2, tf.int32) - 3, 0))
    return (size + step - 1) // step * step
