"""What decoding costs, to choose between its two ways.

The constants are nanoseconds of processor time, fitted to the figures of
`python benchmarks/speed/mach_decoding.py --costs`. Only their ratios matter, and
those are much alike on one machine and the next; a wrong one costs time, never the
answer.
"""

import tensorflow as tf

from tfrs_dhe.mach.decoding.sizes import Size, as_float, at_least

#: Scoring every class: each of its R buckets is looked up once for all queries, and
#: gives a value to each of them.
LOOK_UP = 4.0
ADD_VALUE = 1.2
#: Certifying: to start, to read through the R B values of a query, and to list an
#: entry, that is a class of one of its best buckets.
START = 1_500_000.0
READ_VALUE = 6.0
LIST_ENTRY = 60.0
#: Scoring one class by itself costs as much as listing so many entries.
ENTRIES_PER_CLASS = 8

#: What the search for the best k begins with.
FIRST_BUCKETS_PER_REPETITION = 8
BUCKETS_PER_K = 4


def first_buckets(num_repetitions: int, k: Size) -> Size:
    """Returns how many buckets the first round of a search looks at."""
    return num_repetitions * at_least(FIRST_BUCKETS_PER_REPETITION, k // BUCKETS_PER_K)


def scoring(
    num_queries: Size, num_repetitions: int, num_classes: Size
) -> tf.Tensor | float:
    """Returns the cost per query of scoring every class."""
    num_queries = as_float(at_least(num_queries, 1))
    values = num_repetitions * as_float(num_classes)
    return values * (LOOK_UP / num_queries + ADD_VALUE)


def searching(
    num_repetitions: int, num_buckets: int, num_classes: Size, k: Size
) -> tf.Tensor | float:
    """Returns the cost per query of a search that ends in the second round."""
    first = as_float(first_buckets(num_repetitions, k))
    entries = 2 * first * as_float(num_classes) / num_buckets
    values = num_repetitions * num_buckets
    return START + READ_VALUE * values + LIST_ENTRY * entries


def worthwhile_entries(
    num_queries: Size, num_repetitions: int, num_classes: Size
) -> tf.Tensor:
    """Returns how many entries cost as much to list as all classes to score."""
    cost = scoring(num_queries, num_repetitions, num_classes)
    return tf.cast(cost / LIST_ENTRY, tf.int64)
