"""The classes of some buckets whose bucket in the partner has a value high enough."""

from typing import NamedTuple

import tensorflow as tf

from tfrs_dhe.mach.decoding import cost
from tfrs_dhe.mach.decoding.entries import at, bounds_of, entries_of, places_of
from tfrs_dhe.mach.decoding.high_values import HighValues
from tfrs_dhe.mach.decoding.inverse_lists import InverseLists, partner
from tfrs_dhe.mach.decoding.partners import Partners

#: Buckets of which it is worked out how many others they go with. Where there are
#: more, most go with more others than could be looked up.
MAX_MATCHED = 2**13


class Wanted(NamedTuple):
    """Classes by a bucket, and by what its partner's has to be.

    Attributes:
      repetitions: tf.int64 [n].
      buckets: tf.int64 [n].
      least: tf.float32 [n], which value the class's bucket in the repetition's
        partner has at least.
    """

    repetitions: tf.Tensor
    buckets: tf.Tensor
    least: tf.Tensor


class Plan(NamedTuple):
    """How the classes are to be found.

    Attributes:
      begins: tf.int64 [n], where the bucket's classes begin.
      ends: tf.int64 [n], where they end.
      looked_up: tf.bool [n], whether their partner's buckets are looked up in the
        bucket's classes, or these are all read.
      pairs: tf.int64 [m, 2], what is looked up: one of n, and one of the partner's
        high values.
      entries: tf.int64, what it costs, in entries that are read.
    """

    begins: tf.Tensor
    ends: tf.Tensor
    looked_up: tf.Tensor
    pairs: tf.Tensor
    entries: tf.Tensor


def plan(wanted: Wanted, lists: InverseLists, high: HighValues) -> Plan:
    """Returns the cheapest way to find what is wanted."""
    begins, ends = bounds_of(lists, wanted.repetitions, wanted.buckets)
    sizes = ends - begins
    num_wanted = tf.size(sizes)
    matched = tf.where(num_wanted <= MAX_MATCHED, num_wanted, 0)
    partners = partner(wanted.repetitions[:matched], high.values.shape[0])
    least = wanted.least[:matched]
    good = tf.gather(high.values, partners) >= least[:, tf.newaxis]
    num_good = tf.math.count_nonzero(good, axis=1)
    lookup_entries = num_good * cost.ENTRIES_PER_LOOKUP
    all_known = least >= tf.gather(high.floors, partners)
    worth_it = all_known & (lookup_entries < sizes[:matched])
    looked_up = tf.concat([worth_it, tf.zeros([num_wanted - matched], tf.bool)], 0)
    saved = tf.boolean_mask(sizes[:matched] - lookup_entries, worth_it)
    entries = tf.reduce_sum(sizes) - tf.reduce_sum(saved)
    pairs = tf.where(good & worth_it[:, tf.newaxis])
    return Plan(begins, ends, looked_up, pairs, entries)


def find(
    wanted: Wanted,
    reading: Plan,
    affordable: tf.Tensor,
    values: tf.Tensor,
    lists: InverseLists,
    partners: Partners,
    high: HighValues,
) -> tf.Tensor:
    """Returns the classes that are wanted, some of them repeatedly.

    Args:
      wanted: Which, n buckets.
      reading: What `plan` returned for them.
      affordable: tf.bool; if False, none is returned.
      values: tf.float32 [R, B].
      lists: The classes of every bucket.
      partners: Their buckets in the partner of the repetition.
      high: What `plan` was given.

    Returns:
      tf.int32 [c].
    """

    def find_all() -> tf.Tensor:
        read = _read(wanted, reading, values, lists, partners)
        looked_up = _look_up(wanted, reading, lists, partners, high)
        return tf.concat([read, looked_up], axis=0)

    return tf.cond(affordable, find_all, lambda: tf.zeros([0], tf.int32))


def _read(
    wanted: Wanted,
    reading: Plan,
    values: tf.Tensor,
    lists: InverseLists,
    partners: Partners,
) -> tf.Tensor:
    """Returns those of the classes of whole buckets that are wanted."""
    chosen = tf.where(~reading.looked_up)[:, 0]
    repetitions, least = (
        tf.gather(x, chosen) for x in (wanted.repetitions, wanted.least)
    )
    ranges, places = places_of(
        tf.gather(reading.begins, chosen),
        tf.gather(reading.ends, chosen),
        repetitions,
        tf.shape(lists.members, tf.int64)[1],
    )
    others = partners.at_places(tf.gather(repetitions, ranges), places)
    rows = tf.gather(partner(repetitions, values.shape[0]), ranges)
    is_wanted = at(values, rows, others) >= tf.gather(least, ranges)
    members = tf.reshape(lists.members, [-1])
    return tf.gather(members, tf.boolean_mask(places, is_wanted))


def _look_up(
    wanted: Wanted,
    reading: Plan,
    lists: InverseLists,
    partners: Partners,
    high: HighValues,
) -> tf.Tensor:
    """Returns the classes of pairs of buckets, by a binary search for each.

    The classes of a bucket are in the order of their partner's buckets.
    """
    of_wanted, of_high = reading.pairs[:, 0], reading.pairs[:, 1]
    repetitions = tf.gather(wanted.repetitions, of_wanted)
    others = at(high.buckets, partner(repetitions, high.values.shape[0]), of_high)
    # Where the first class is that has this bucket in the partner, or a later one.
    sought = tf.stack([others, others + 1])
    everywhere = tf.zeros_like(sought)
    width = tf.shape(lists.members, tf.int64)[1]

    def halve(low: tf.Tensor, high: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        middle = tf.bitwise.right_shift(low + high, tf.constant(1, tf.int64))
        # An empty range may be at the end of the row; it stays as it is.
        places = repetitions * width + tf.minimum(middle, width - 1)
        below = partners.at_places(repetitions, places) < sought
        is_open = low < high
        return (
            tf.where(is_open & below, middle + 1, low),
            tf.where(is_open & ~below, middle, high),
        )

    low, _ = tf.while_loop(
        lambda low, high: tf.reduce_any(low < high),
        halve,
        (
            everywhere + tf.gather(reading.begins, of_wanted),
            everywhere + tf.gather(reading.ends, of_wanted),
        ),
    )
    return entries_of(low[0], low[1], repetitions, lists.members)[1]
