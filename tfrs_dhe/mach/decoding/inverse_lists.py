"""From a table of buckets to the classes of every bucket."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfrs_dhe.mach.decoding.sizes import Size, at_most, size


class InverseLists(NamedTuple):
    """The classes of every bucket, as the rows of a ragged table per repetition.

    Bucket b of repetition r holds the classes
    `members[r, offsets[r, b]:offsets[r, b + 1]]`, in ascending order of their bucket in
    the `partner` of r, and of the classes where that is the same.

    Attributes:
      members: tf.int32 [R, K], in each row all classes, sorted by bucket.
      offsets: tf.int32 [R, B + 1], from 0 to K in each row.
    """

    members: tf.Tensor
    offsets: tf.Tensor


def partner(repetition: Size, num_repetitions: Size) -> Size:
    """Returns the other repetition of a pair; of the last one, if R is odd, itself."""
    return at_most(repetition ^ 1, num_repetitions - 1)


def build_inverse_lists(
    buckets: tf.Tensor | tf.Variable, num_buckets: int
) -> InverseLists:
    """Returns the classes of every bucket.

    Example:
    >>> lists = build_inverse_lists(tf.constant([[1, 0, 1]]), num_buckets=3)
    >>> lists.members.numpy().tolist(), lists.offsets.numpy().tolist()
    ([[1, 0, 2]], [[0, 1, 3, 3]])

    Args:
      buckets: Integers [R, K], the bucket of every class in every repetition.
      num_buckets: B.

    Returns:
      `InverseLists`. On the way there is room for one repetition besides it.

    Raises:
      ValueError: If `buckets` are not integers [R, K].
      tf.errors.InvalidArgumentError: If a bucket is not within 0, ..., B - 1.
    """
    buckets = tf.convert_to_tensor(buckets)
    if not buckets.dtype.is_integer or buckets.shape.rank != 2:
        raise ValueError(
            "`buckets` must be integers of shape [num_repetitions, num_classes]. "
            f"Received dtype {buckets.dtype.name} and shape {buckets.shape}."
        )

    num_repetitions = size(buckets, 0)

    def of_repetition(r: tf.Tensor) -> InverseLists:
        other = buckets[partner(r, num_repetitions)]
        return lists_of_one(buckets[r], other, num_buckets)

    return tf.map_fn(
        of_repetition,
        tf.range(num_repetitions),
        fn_output_signature=InverseLists(
            tf.TensorSpec(buckets.shape[1:], tf.int32),
            tf.TensorSpec([num_buckets + 1], tf.int32),
        ),
        # Repetitions side by side would need room for several sorts at once.
        parallel_iterations=1,
    )


def partner_buckets(buckets: tf.Tensor | tf.Variable, lists: InverseLists) -> tf.Tensor:
    """Returns which bucket each of the lists' members has in the repetition's partner.

    That could be looked up in `buckets`, but all over them; here, what a search reads
    is side by side.

    Example:
    >>> buckets = tf.constant([[1, 0, 1], [2, 2, 0]])
    >>> partner_buckets(buckets, build_inverse_lists(buckets, 3)).numpy().tolist()
    [[2, 0, 2], [1, 0, 1]]

    Args:
      buckets: Integers [R, K].
      lists: What `build_inverse_lists` returns for them.

    Returns:
      [R, K], of the dtype of `buckets`.
    """
    buckets = tf.convert_to_tensor(buckets)
    num_repetitions = size(buckets, 0)
    others = tf.gather(buckets, partner(tf.range(num_repetitions), num_repetitions))
    return tf.gather(others, lists.members, batch_dims=1)


def lists_of_one(row: tf.Tensor, other: tf.Tensor, num_buckets: int) -> InverseLists:
    """Returns the classes [K] of every bucket of one repetition, and offsets [B + 1].

    Args:
      row: Integers [K], the buckets.
      other: Integers [K], those of the repetition's partner.
      num_buckets: B.

    Raises:
      tf.errors.InvalidArgumentError: If a bucket is not within 0, ..., B - 1.
    """
    numbers = tf.cast(row, tf.int32)
    in_range = tf.reduce_all((numbers >= 0) & (numbers < num_buckets))
    message = (
        f"`buckets` must be numbers from 0 to num_buckets - 1 = {num_buckets - 1}."
    )
    check = tf.debugging.Assert(in_range, [message])
    # Stable sorts, of which the second one keeps the order of the first.
    if tf.executing_eagerly():
        # NumPy sorts short integers by their digits, in a fifth of the time.
        members = _argsort(other.numpy())
        members = members[_argsort(row.numpy()[members])]
    else:
        with tf.control_dependencies([check]):
            members = tf.argsort(tf.cast(other, tf.int32), stable=True)
        of_members = tf.gather(numbers, members)
        members = tf.gather(members, tf.argsort(of_members, stable=True))
    sizes = tf.math.bincount(numbers, minlength=num_buckets, maxlength=num_buckets)
    offsets = tf.concat([[0], tf.cumsum(sizes)], axis=0)
    return InverseLists(members, offsets)


def _argsort(numbers: np.ndarray) -> np.ndarray:
    return np.argsort(numbers, kind="stable").astype(np.int32)
