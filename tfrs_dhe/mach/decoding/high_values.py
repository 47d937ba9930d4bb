"""The highest values of every repetition, without sorting all of them."""

from typing import NamedTuple

import tensorflow as tf

from tfrs_dhe.mach.decoding.sizes import Size, at_least, at_most

#: Values in a group, or fewer where there have to be more groups.
GROUP_SIZE = 16
#: Groups for each of the highest values that are sought.
GROUPS_PER_VALUE = 8
#: Room for more values of a repetition than were sought, that are as high as those.
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


def group_maxima(values: tf.Tensor, number: Size) -> tf.Tensor:
    """Returns the maxima of groups of values, from which `level` finds levels.

    Args:
      values: tf.float32 [R, B].
      number: How many of each repetition are sought.

    Returns:
      tf.float32 [n].
    """
    size = values.shape.num_elements()
    groups = GROUPS_PER_VALUE * values.shape[0] * number
    group_size = at_least(at_most(size // groups, GROUP_SIZE), 1)
    num_groups = size // group_size
    flat = tf.reshape(values, [-1])[: num_groups * group_size]
    return tf.reduce_max(tf.reshape(flat, [num_groups, group_size]), axis=1)


def level(maxima: tf.Tensor, number: Size) -> tf.Tensor:
    """Returns what so many values, or a few more, reach.

    As many groups have a maximum of that size. Two of the highest values in one group
    make it lower.

    Args:
      maxima: tf.float32 [n], of groups.
      number: At least 1.

    Returns:
      tf.float32; -inf if there are fewer groups, so that all values reach it.
    """
    num_groups = tf.size(maxima)
    highest = tf.math.top_k(maxima, tf.minimum(number, num_groups)).values[-1]
    return tf.where(number <= num_groups, highest, float("-inf"))


def high_values(values: tf.Tensor, floors: tf.Tensor, number: Size) -> HighValues:
    """Returns all values that reach the floors, where there is room for them.

    Args:
      values: tf.float32 [R, B].
      floors: tf.float32 [R].
      number: How many of a repetition are expected to reach its floor.
    """
    num_repetitions, num_buckets = values.shape
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
