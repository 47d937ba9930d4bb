"""Reading parts of the lists of classes."""

import tensorflow as tf

from tfrs_dhe.mach.decoding.inverse_lists import InverseLists

#: A range of integers holds a bucket's number above these bits and places below.
PLACE_BITS = 37


def at(table: tf.Tensor, rows: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
    """Returns the elements of a table [a, b] at rows and columns, tf.int64 [...]."""
    width = tf.shape(table, tf.int64)[1]
    return tf.gather(tf.reshape(table, [-1]), rows * width + columns)


def bounds_of(
    lists: InverseLists, repetitions: tf.Tensor, buckets: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the first place of buckets in `members`, and the one after the last.

    Args:
      lists: The classes of every bucket.
      repetitions: tf.int64 [n].
      buckets: tf.int64 [n].

    Returns:
      tf.int64 [n] and [n].
    """
    begins = at(lists.offsets, repetitions, buckets)
    ends = at(lists.offsets, repetitions, buckets + 1)
    return tf.cast(begins, tf.int64), tf.cast(ends, tf.int64)


def entries_of(
    begins: tf.Tensor, ends: tf.Tensor, repetitions: tf.Tensor, members: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the range of each of the concatenated members of ranges, and these.

    Args:
      begins: tf.int64 [n], a range's first place in the row of its repetition.
      ends: tf.int64 [n], the place after its last.
      repetitions: tf.int64 [n].
      members: tf.int32 [R, K].

    Returns:
      tf.int64 [entries], numbers below n, and tf.int32 [entries].
    """
    width = tf.shape(members, tf.int64)[1]
    ranges, places = places_of(begins, ends, repetitions, width)
    return ranges, tf.gather(tf.reshape(members, [-1]), places)


def places_of(
    begins: tf.Tensor, ends: tf.Tensor, repetitions: tf.Tensor, width: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the range of each of the concatenated places of ranges, and these.

    Both come from one op: the range of a bucket's places in the flat members starts
    at its number shifted beyond all places. `tf.repeat` would make a matrix as wide
    as the largest bucket.

    Args:
      begins: tf.int64 [n], a range's first place in the row of its repetition.
      ends: tf.int64 [n], the place after its last.
      repetitions: tf.int64 [n].
      width: tf.int64, K.

    Returns:
      tf.int64 [entries], numbers below n, and tf.int64 [entries], places in what
      [R, K] is when it is flat.
    """
    row = repetitions * width
    bits = tf.constant(PLACE_BITS, tf.int64)
    first = row + tf.bitwise.left_shift(tf.range(tf.size(row, tf.int64)), bits)
    numbers = tf.ragged.range(first + begins, first + ends).values
    ranges = tf.bitwise.right_shift(numbers, bits)
    return ranges, tf.bitwise.bitwise_and(numbers, 2**PLACE_BITS - 1)
