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
LOOK_UP = 4.0
ADD_VALUE = 1.8
#: Certifying: to start, to read through the R B values of a query, and to list an
#: entry, that is a class of one of its best buckets.
START = 1_200_000.0
READ_VALUE = 6.0
LIST_ENTRY = 85.0
#: Scoring one class by itself costs as much as listing so many entries.
ENTRIES_PER_CLASS = 4

#: A search begins with so many buckets per repetition, or this share of k if that is
#: more. With fewer it would miss some of the top k at first, and go on from too low
#: a score.
FIRST_BUCKETS = 20
SHARE_OF_K = 3


def first_buckets(num_repetitions: int, num_buckets: int, k: Size) -> Size:
    """Returns how many buckets the first round of a search looks at."""
    each = at_most(at_least(FIRST_BUCKETS, k // SHARE_OF_K), num_buckets)
    return num_repetitions * each


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
    """Returns the cost per query of a search that ends in its first round."""
    first = as_float(first_buckets(num_repetitions, num_buckets, k))
    entries = first * as_float(num_classes) / num_buckets
    values = num_repetitions * num_buckets
    return START + READ_VALUE * values + LIST_ENTRY * entries


def worthwhile_entries(cost: tf.Tensor | float) -> tf.Tensor | float:
    """Returns how many entries a round may list instead of scoring at a cost.

    Half of what costs as much, as there have been rounds before.
    """
    return cost / (2 * LIST_ENTRY)
