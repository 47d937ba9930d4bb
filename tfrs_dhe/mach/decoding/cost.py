"""What decoding costs, to choose between its two ways.

The constants are nanoseconds of processor time, fitted to the figures of
`python benchmarks/speed/mach_decoding.py --costs`. Only their ratios matter, and
those are much alike on one machine and the next; a wrong one costs time, never the
answer.
"""

import tensorflow as tf

from tfrs_dhe.mach.decoding.sizes import Size, as_float, at_least, at_most

#: Scoring every class: each of its R buckets is looked up once for all queries, and
#: gives a value to each of them.
LOOK_UP = 5.3
ADD_VALUE = 2.6
#: Certifying: to start, to read through the R B values of a query, and to list an
#: entry, that is a class of one of its best buckets.
START = 2_500_000.0
READ_VALUE = 5.1
LIST_ENTRY = 82.0
#: Scoring one class by itself costs as much as listing so many entries, and so much
#: looking up a pair of buckets does.
ENTRIES_PER_CLASS = 8
ENTRIES_PER_LOOKUP = 15

#: How many times more buckets each round of a search looks at than the one before.
GROWTH = 4
#: What a search lists altogether, in terms of its first round: one for pairs rarely
#: needs a second round, all others do.
ROUNDS_OF_SUMS = 8.0
ROUNDS_OF_PAIRS = 1.5


def first_of_sums(k: Size, num_buckets: int) -> Size:
    """Returns how many buckets of a repetition a weighted search begins with.

    With fewer than these, too little would be known of the top k to find some of them.
    """
    return at_most(at_least(16, k // 3), num_buckets)


def first_of_pairs(k: Size, num_buckets: int) -> Size:
    """Returns how many buckets of a repetition a search for pairs begins with.

    With a few more than k, most top k are proven at once. But among an eighth of all
    buckets a class has a pair by chance too often.
    """
    return at_most(at_least(4, k + k // 5), max(num_buckets // 8, 1))


def scoring(
    num_queries: Size, num_repetitions: int, num_classes: Size
) -> tf.Tensor | float:
    """Returns the cost per query of scoring every class."""
    num_queries = as_float(at_least(num_queries, 1))
    values = num_repetitions * as_float(num_classes)
    return values * (LOOK_UP / num_queries + ADD_VALUE)


def searching(
    num_repetitions: int, num_buckets: int, num_classes: Size, k: Size, pairs: bool
) -> tf.Tensor | float:
    """Returns the cost of a search for one query.

    Args:
      num_repetitions: R.
      num_buckets: B.
      num_classes: K.
      k: From 1 to K.
      pairs: Whether it looks for pairs.
    """
    first = (first_of_pairs if pairs else first_of_sums)(k, num_buckets)
    rounds = ROUNDS_OF_PAIRS if pairs else ROUNDS_OF_SUMS
    size = as_float(num_classes) / num_buckets
    entries = rounds * num_repetitions * as_float(first) * size
    values = num_repetitions * num_buckets
    return START + READ_VALUE * values + LIST_ENTRY * entries


def worthwhile_entries(cost: tf.Tensor | float) -> tf.Tensor | float:
    """Returns how many entries a round may list instead of scoring at a cost.

    Half of what costs as much, as there have been rounds before.
    """
    return cost / (2 * LIST_ENTRY)
