"""Checks of what is to be decoded."""

from typing import Any

import numpy as np
import tensorflow as tf

from tfrs_dhe.mach.decoding.inverse_lists import InverseLists
from tfrs_dhe.mach.decoding.sizes import Size


def check_values(values: tf.Tensor) -> tf.Tensor:
    """Returns the values [Q, R, B] as a tensor.

    Raises:
      ValueError: If the dtype is not float32, or R or B is unknown.
    """
    values = tf.convert_to_tensor(values)
    if values.dtype != tf.float32 or values.shape.rank != 3:
        raise ValueError(
            "`values` must be float32 of shape [num_queries, num_repetitions, "
            "num_buckets], as `tfrs_dhe.mach.bucket_values` returns them. Received "
            f"dtype {values.dtype.name} and shape {values.shape}."
        )
    num_repetitions, num_buckets = values.shape[1:]
    if not num_repetitions or num_buckets is None or num_buckets < 2:
        raise ValueError(
            "`values` must have a known number of repetitions, at least 1, and of "
            f"buckets, at least 2. Received shape {values.shape}."
        )
    return values


def assert_values(values: tf.Tensor) -> list[tf.Operation]:
    """Returns the check of the values for when the graph runs.

    -inf is the logarithm of a probability that is zero. Everything else has to be a
    number, small enough that sums of R and twice that are finite, so that no score
    is inf or NaN.
    """
    limit = tf.float32.max / (4.0 * values.shape[1])
    message = (
        f"`values` must be numbers below {limit:.3g}; -inf may be among them. Those of "
        "an index are the logits of its head: NaN in a query makes them NaN."
    )
    check = tf.debugging.Assert(tf.reduce_all(values < limit), [message])
    return [] if check is None else [check]


def check_buckets(buckets: Any, num_repetitions: int) -> tf.Tensor:
    """Returns the table [R, K] as a tensor.

    A variable is read here, once. To slice it later would copy all of it each time.

    Raises:
      ValueError: If it is no table of integers with R rows.
    """
    buckets = tf.convert_to_tensor(buckets)
    fits = buckets.shape.rank == 2 and buckets.shape[0] in (num_repetitions, None)
    if not buckets.dtype.is_integer or not fits:
        raise ValueError(
            "`buckets` must be integers of shape [num_repetitions, num_classes] with "
            f"the {num_repetitions} repetitions of `values`. Received dtype "
            f"{buckets.dtype.name} and shape {buckets.shape}."
        )
    return buckets


def check_k(k: Any, num_classes: Size) -> Size:
    """Returns k, as a number if it is known.

    Raises:
      ValueError: If k is known not to be from 1 to K.
    """
    message = "`k` must be an integer from 1 to the number of classes"
    if tf.is_tensor(k):
        if not k.dtype.is_integer or k.shape.rank not in (0, None):
            raise ValueError(
                f"{message}. Received dtype {k.dtype.name} and shape {k.shape}."
            )
        known = tf.get_static_value(k)
        k = tf.cast(k, tf.int32) if known is None else int(known)
    elif not isinstance(k, int | np.integer) or isinstance(k, bool):
        raise ValueError(f"{message}. Received: {k!r}.")
    else:
        k = int(k)
    if isinstance(k, int) and (
        k < 1 or (isinstance(num_classes, int) and k > num_classes)
    ):
        raise ValueError(f"{message}, {num_classes}. Received: {k}.")
    return k


def assert_k(k: Size, num_classes: Size) -> list[tf.Operation]:
    """Returns checks of k for when the graph runs, none where all is known."""
    if isinstance(k, int) and isinstance(num_classes, int):
        return []
    message = "`k` must be from 1 to the number of classes."
    in_range = (k >= 1) & (k <= num_classes)
    check = tf.debugging.Assert(in_range, [message, "k:", k, "classes:", num_classes])
    return [] if check is None else [check]


def check_lists(lists: Any, buckets: tf.Tensor, num_buckets: int) -> InverseLists:
    """Returns the inverse lists as tensors.

    Raises:
      ValueError: If they are not those of such a table.
    """
    members, offsets = (tf.convert_to_tensor(part) for part in lists)
    expected = (buckets.shape, [buckets.shape[0], num_buckets + 1])
    for name, part, shape in zip(
        InverseLists._fields, (members, offsets), expected, strict=True
    ):
        if part.dtype != tf.int32 or not part.shape.is_compatible_with(shape):
            raise ValueError(
                f"`inverse_lists.{name}` must be int32 of shape {shape}, as "
                "`build_inverse_lists` returns them for `buckets`. Received dtype "
                f"{part.dtype.name} and shape {part.shape}."
            )
    return InverseLists(members, offsets)


def check_partner_buckets(
    partner_buckets: Any, buckets: tf.Tensor
) -> tuple[tf.Tensor | None, list[tf.Operation]]:
    """Returns the partners' buckets as a tensor, and checks for when the graph runs.

    Raises:
      ValueError: If they are not those of such a table.
    """
    if partner_buckets is None:
        return None, []
    found = tf.convert_to_tensor(partner_buckets)
    if not found.dtype.is_integer or not found.shape.is_compatible_with(buckets.shape):
        raise ValueError(
            f"`partner_buckets` must be integers of shape {buckets.shape}, as the "
            f"function of this name returns them. Received dtype {found.dtype.name} "
            f"and shape {found.shape}."
        )
    is_same = tf.reduce_all(tf.shape(found) == tf.shape(buckets))
    message = "`partner_buckets` must be of the shape of `buckets`."
    check = tf.debugging.Assert(is_same, [message, tf.shape(found), tf.shape(buckets)])
    return found, [] if check is None else [check]
