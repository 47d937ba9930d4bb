"""The highest values of every repetition, without sorting all of them."""

from typing import NamedTuple

import tensorflow as tf

from tfrs_dhe.mach.decoding.sizes import Size, at_least, at_most

#: Groups of buckets for each of the highest values that are sought.
GROUPS_PER_VALUE = 8
#: Room for more values than were sought, that are as high as those.
ROOM = 2


class HighValues(NamedTuple):
    """The highest values of every repetition, in no order.

    Attributes:
      values: tf.float32 [R, n], filled up with -inf.
      buckets: tf.int64 [R, n], where they are.
      floors: tf.float32 [R]; all values that reach it are here.
    """

    values: tf.Tensor
    buckets: tf.Tensor
    floors: tf.Tensor


def levels(values: tf.Tensor, number: Size) -> tf.Tensor:
    """Returns what so many values of each repetition, or a few more, reach.

    As many groups of buckets have a maximum of that size. Two of the highest values in
    one group make it lower.

    Args:
      values: tf.float32 [R, B].
      number: n, at least 1. If it is more than B, all values reach the levels.

    Returns:
      tf.float32 [R].
    """
    num_repetitions, num_buckets = values.shape
    number = at_most(number, num_buckets)
    size = at_least(num_buckets // (GROUPS_PER_VALUE * number), 1)
    num_groups = num_buckets // size
    # As a slice with steps it would take longer than all the rest.
    whole = tf.slice(values, [0, 0], [num_repetitions, num_groups * size])
    groups = tf.reshape(whole, [num_repetitions, num_groups, size])
    maxima = tf.reduce_max(groups, axis=2)
    return tf.math.top_k(maxima, number).values[:, -1]


def high_values(values: tf.Tensor, number: Size) -> HighValues:
    """Returns so many of the highest values of each repetition, or a few more.

    Args:
      values: tf.float32 [R, B].
      number: At least 1.
    """
    num_repetitions, num_buckets = values.shape
    floors = levels(values, number)
    places = tf.where(values >= floors[:, tf.newaxis])
    rows = tf.RaggedTensor.from_value_rowids(
        places[:, 1], places[:, 0], nrows=num_repetitions, validate=False
    )
    width = at_most(ROOM * number, num_buckets)
    high = rows.with_values(tf.gather_nd(values, places))
    shape = [num_repetitions, width]
    fits = rows.row_lengths() <= tf.cast(width, tf.int64)
    return HighValues(
        high.to_tensor(float("-inf"), shape=shape),
        rows.to_tensor(0, shape=shape),
        tf.where(fits, floors, float("inf")),
    )
