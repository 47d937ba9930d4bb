"""The classes of one query's best buckets, with what speaks for each."""

from typing import NamedTuple

import tensorflow as tf

from tfrs_dhe.mach.decoding.bound import Bound
from tfrs_dhe.mach.decoding.inverse_lists import InverseLists

#: A range of integers holds a bucket's number above these bits and places below.
PLACE_BITS = 37


class Listing(NamedTuple):
    """Classes and the sums of their weights, every class once.

    Attributes:
      classes: tf.int32 [n], in no order.
      sums: tf.float64 [n].
      counts: tf.int32 [n], how many buckets each was listed for.
      complete: tf.bool; False if there were too many to list, and none is.
    """

    classes: tf.Tensor
    sums: tf.Tensor
    counts: tf.Tensor
    complete: tf.Tensor


def list_classes(
    values: tf.Tensor,
    lists: InverseLists,
    bound: Bound,
    thresholds: tf.Tensor,
    max_entries: tf.Tensor,
) -> Listing:
    """Returns the classes of all buckets that reach their threshold.

    Memory grows with the entries, classes counted once for each such bucket, and
    not with K.

    Args:
      values: tf.float32 [R, B].
      lists: The classes of every bucket.
      bound: Gives the weights.
      thresholds: tf.float32 [R].
      max_entries: tf.int64, entries that may be listed.
    """
    places = tf.where(values >= thresholds[:, tf.newaxis])
    begins = tf.cast(tf.gather_nd(lists.offsets, places), tf.int64)
    ends = tf.cast(
        tf.gather_nd(lists.offsets, places + tf.constant([0, 1], tf.int64)), tf.int64
    )
    complete = tf.reduce_sum(ends - begins) <= max_entries
    kept = tf.where(complete, tf.size(begins), 0)
    places, begins, ends = places[:kept], begins[:kept], ends[:kept]

    repetitions = places[:, 0]
    weights = bound.weights(
        tf.gather_nd(values, places), tf.gather(thresholds, repetitions)
    )
    buckets, entries = entries_of(begins, ends, repetitions, lists.members)
    classes, rows, counts = tf.unique_with_counts(entries)
    sums = tf.math.unsorted_segment_sum(
        tf.gather(weights, buckets), rows, tf.size(classes)
    )
    return Listing(classes, sums, counts, complete)


def entries_of(
    begins: tf.Tensor, ends: tf.Tensor, repetitions: tf.Tensor, members: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the concatenated members of buckets, and the bucket of each.

    Both come from one op: the range of a bucket's places in the flat members starts
    at its number shifted beyond all places. `tf.repeat` would make a matrix as wide
    as the largest bucket.

    Args:
      begins: tf.int64 [n], a bucket's first place in the row of its repetition.
      ends: tf.int64 [n], the place after its last.
      repetitions: tf.int64 [n].
      members: tf.int32 [R, K].

    Returns:
      tf.int64 [entries], numbers below n, and tf.int32 [entries].
    """
    row = repetitions * tf.shape(members, tf.int64)[1]
    bits = tf.constant(PLACE_BITS, tf.int64)
    first = row + tf.bitwise.left_shift(tf.range(tf.size(row, tf.int64)), bits)
    numbers = tf.ragged.range(first + begins, first + ends).values
    buckets = tf.bitwise.right_shift(numbers, bits)
    places = tf.bitwise.bitwise_and(numbers, 2**PLACE_BITS - 1)
    return buckets, tf.gather(tf.reshape(members, [-1]), places)
