"""Rows of floats in fewer bytes."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

ROW_DTYPES = ("float32", "bfloat16", "int8")

#: The dtype of the weight that holds them. Files of legacy Keras hold no bfloat16,
#: so its bits are kept as integers.
STORED = {"float32": "float32", "bfloat16": "int16", "int8": "int8"}

#: The largest integer of 8 bits that has a negative.
_INT8_MAX = 127


class CompactRows(NamedTuple):
    """Rows as they are kept.

    Attributes:
      values: [n, d], of the dtype that `STORED` has.
      scales: float32 [n], what a row's integers are multiplied by; None for floats.
    """

    values: np.ndarray
    scales: np.ndarray | None


def compact(rows: np.ndarray, dtype: str) -> CompactRows:
    """Rounds rows to a dtype.

    Floats are rounded to the nearest. Of int8, the largest absolute value of each
    row becomes 127, and the others follow: no value is off by more than half of the
    row's scale.

    Args:
      rows: Finite floats [n, d].
      dtype: One of `ROW_DTYPES`.

    Returns:
      The rows.
    """
    if dtype != "int8":
        floats = rows.astype(tf.as_dtype(dtype).as_numpy_dtype)
        return CompactRows(floats.view(STORED[dtype]), None)
    largest = np.abs(rows).max(axis=-1, initial=0.0)
    scales = (largest / _INT8_MAX).astype(np.float32)
    # A scale of zero is that of a row of zeros.
    divisors = np.where(scales == 0, np.float32(1), scales)
    integers = np.rint(rows / divisors[:, np.newaxis])
    # A scale that was rounded down can make 128 of the largest value.
    values = np.clip(integers, -_INT8_MAX, _INT8_MAX).astype(np.int8)
    return CompactRows(values, scales)


def restore(
    values: tf.Tensor, scales: tf.Tensor | None, dtype: str, compute_dtype: str
) -> tf.Tensor:
    """Returns rows as floats.

    Args:
      values: [..., d], as `compact` made them.
      scales: tf.float32 [..., 1], or None.
      dtype: The dtype that they were rounded to.
      compute_dtype: That of the result.

    Returns:
      Floats [..., d].
    """
    if dtype == "bfloat16":
        values = tf.bitcast(values, tf.bfloat16)
    if scales is not None:
        values = tf.cast(values, tf.float32) * scales
    return tf.cast(values, compute_dtype)


def bytes_per_row(width: int, dtype: str) -> int:
    """Returns the memory of one row, scale included."""
    scale = 4 if dtype == "int8" else 0
    return width * tf.as_dtype(dtype).size + scale
