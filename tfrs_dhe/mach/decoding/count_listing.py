"""The classes of one query's best buckets, and in how many of them each is."""

from typing import NamedTuple

import tensorflow as tf

from tfrs_dhe.mach.decoding.entries import bounds_of, entries_of
from tfrs_dhe.mach.decoding.inverse_lists import InverseLists


class Listing(NamedTuple):
    """Classes, every one once.

    Attributes:
      classes: tf.int32 [n], in no order.
      counts: tf.int32 [n], how many buckets each was listed for.
      complete: tf.bool; False if there were too many to list, and none is.
    """

    classes: tf.Tensor
    counts: tf.Tensor
    complete: tf.Tensor


def list_classes(
    values: tf.Tensor,
    lists: InverseLists,
    thresholds: tf.Tensor,
    max_entries: tf.Tensor,
) -> Listing:
    """Returns the classes of all buckets that reach their threshold.

    Memory grows with the entries, classes counted once for each such bucket, and
    not with K.

    Args:
      values: tf.float32 [R, B].
      lists: The classes of every bucket.
      thresholds: tf.float32 [R].
      max_entries: tf.int64, entries that may be listed.
    """
    places = tf.where(values >= thresholds[:, tf.newaxis])
    begins, ends = bounds_of(lists, places[:, 0], places[:, 1])
    complete = tf.reduce_sum(ends - begins) <= max_entries
    kept = tf.where(complete, tf.size(begins), 0)
    _, entries = entries_of(begins[:kept], ends[:kept], places[:kept, 0], lists.members)
    classes, _, counts = tf.unique_with_counts(entries)
    return Listing(classes, counts, complete)
