"""Rows of floats in fewer bytes."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

ROW_DTYPES = ("float32", "bfloat16", "int8", "int4")

#: The dtype of the weight that holds them. Files of legacy Keras hold no bfloat16,
#: so its bits are kept as integers; two of int4 share a byte.
STORED = {"float32": "float32", "bfloat16": "int16", "int8": "int8", "int4": "int8"}

#: The largest integer that has a negative, of the dtypes that have a scale.
LARGEST = {"int8": 127, "int4": 7}


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

    Floats are rounded to the nearest. Of int8 and int4, the largest absolute value of
    each row becomes 127 or 7, and the others follow: no value is off by more than half
    of the row's scale. A byte holds two integers of int4, of the first half of the row
    and of the second: column i in its low bits, and column i + (d + 1) // 2 in its
    high ones.

    Args:
      rows: Finite floats [n, d].
      dtype: One of `ROW_DTYPES`.

    Returns:
      The rows.
    """
    if dtype not in LARGEST:
        floats = rows.astype(tf.as_dtype(dtype).as_numpy_dtype)
        return CompactRows(floats.view(STORED[dtype]), None)
    largest = np.abs(rows).max(axis=-1, initial=0.0)
    scales = (largest / LARGEST[dtype]).astype(np.float32)
    # A scale of zero is that of a row of zeros.
    divisors = np.where(scales == 0, np.float32(1), scales)
    integers = np.rint(rows / divisors[:, np.newaxis])
    # A scale that was rounded down can exceed the largest integer by one.
    values = np.clip(integers, -LARGEST[dtype], LARGEST[dtype]).astype(np.int8)
    return CompactRows(_pack(values) if dtype == "int4" else values, scales)


def _pack(values: np.ndarray) -> np.ndarray:
    half = stored_width(values.shape[1], "int4")
    low, high = values[:, :half], values[:, half:]
    high = np.pad(high, [(0, 0), (0, half - high.shape[1])])
    return (high << 4) | (low & 15)


def _unpack(values: tf.Tensor, width: int) -> tf.Tensor:
    # Shifts to the right repeat the sign.
    low = tf.bitwise.right_shift(tf.bitwise.left_shift(values, 4), 4)
    high = tf.bitwise.right_shift(values, 4)
    return tf.concat([low, high], axis=-1)[..., :width]


def restore(
    values: tf.Tensor,
    scales: tf.Tensor | None,
    width: int,
    dtype: str,
    compute_dtype: str,
) -> tf.Tensor:
    """Returns rows as floats.

    Args:
      values: [..., stored width], as `compact` made them.
      scales: tf.float32 [..., 1], or None.
      width: d.
      dtype: The dtype that they were rounded to.
      compute_dtype: That of the result.

    Returns:
      Floats [..., d].
    """
    if dtype == "bfloat16":
        values = tf.bitcast(values, tf.bfloat16)
    elif dtype == "int4":
        values = _unpack(values, width)
    if scales is not None:
        values = tf.cast(values, tf.float32) * scales
    return tf.cast(values, compute_dtype)


def stored_width(width: int, dtype: str) -> int:
    """Returns how many numbers of the `STORED` dtype a row of `width` numbers takes."""
    return (width + 1) // 2 if dtype == "int4" else width


def bytes_per_row(width: int, dtype: str) -> int:
    """Returns the memory of one row, scale included."""
    scale = 4 if dtype in LARGEST else 0
    return stored_width(width, dtype) * tf.as_dtype(STORED[dtype]).size + scale
