"""Sizes of tensors, known or not."""

from typing import TypeAlias

import tensorflow as tf

#: A number where it is known as the graph is made, else a scalar tf.int32.
Size: TypeAlias = "int | tf.Tensor"


def size(tensor: tf.Tensor, axis: int) -> Size:
    """Returns a dimension as a number where it is known, else as a tensor."""
    known = tensor.shape[axis]
    return tf.shape(tensor)[axis] if known is None else known


def at_least(first: Size, second: Size) -> Size:
    """Returns the greater one, a number if both are."""
    if isinstance(first, int) and isinstance(second, int):
        return max(first, second)
    return tf.maximum(first, second)


def at_most(first: Size, second: Size) -> Size:
    """Returns the smaller one, a number if both are."""
    if isinstance(first, int) and isinstance(second, int):
        return min(first, second)
    return tf.minimum(first, second)


def as_float(value: Size) -> tf.Tensor | float:
    """Returns a size to calculate with."""
    return float(value) if isinstance(value, int) else tf.cast(value, tf.float32)
