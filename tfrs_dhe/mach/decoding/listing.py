"""The classes of one query's best buckets, with what speaks for each."""

from typing import NamedTuple

import tensorflow as tf

from tfrs_dhe.mach.decoding.bound import Bound
from tfrs_dhe.mach.decoding.entries import bounds_of, entries_of
from tfrs_dhe.mach.decoding.inverse_lists import InverseLists


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
    begins, ends = bounds_of(lists, places[:, 0], places[:, 1])
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
